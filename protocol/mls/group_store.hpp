#pragma once
// Stores a group as many small parts; each save writes only the parts that changed.
//
//   main           format, own leaf, context, interim hash, size of the tree      each commit
//   keys           epoch secrets and private keys of the tree                     each commit
//   n/NODE         a node of the ratchet tree that is not blank                   commits that touch it
//   t/EPOCH/KIND/I a node or a ratchet of an epoch's secret tree                  each message
//   e/EPOCH        a past epoch: its context, two secrets, its signature keys     each commit
//   p/I, u/I       proposals received; keys of own Updates                        each proposal
//   pending        a commit that was sent and not confirmed                       save_pending
//   sum            a checksum that detects missing, damaged and old parts         each save
//
// Order: call `save` and commit the transaction, then send the message. If the process is killed in
// between, one generation is lost, and receivers skip it. The opposite order would use a key twice.
//
// For a commit of our own: call `save_pending`, commit the transaction, send. After a restart
// `load_pending` restores the commit. If `receive` then returns own_commit for the same bytes, or the
// server accepted them, confirm the commit. If another commit won, confirm that one; the next `save`
// erases the pending commit. Two commits of our own in one epoch are distinguished by their bytes,
// which the caller keeps until the server has decided.
//
// The keys of our own key packages are stored in a part_store of the device: key_package_store.hpp.
//
// Not stored: the settings, and the client_identity (signer and credential), because the caller has one
// for all of its groups. Both are arguments of `load`.
//
// Saving after one message writes less than 2 KiB, independent of the size of the group. What is
// written after a commit grows with the length of its path.
//
// Transactions: all calls of one save belong to one transaction of the caller. If a save is refused or
// its transaction fails, roll back, drop the group and load it again, because the list of changes to
// write has been lost.
#include "protocol/mls/group.hpp"

#include <string>

namespace parley::mls {

/// Stores the parts of one group in the caller's database. `save` and `load` pass
/// on its refusals (store_failed).
class part_store {
public:
  virtual ~part_store() = default;
  virtual result<void> put(std::string_view name, bytes_view value) = 0;
  virtual result<void> erase(std::string_view name) = 0; ///< does nothing if there is no such part
  /// Returns an empty optional if there is no such part, and a refusal if a part could not be read.
  virtual result<std::optional<secret>> get(std::string_view name) const = 0;
  virtual result<std::vector<std::string>> names(std::string_view prefix) const = 0;
};

class group_store {
public:
  static result<void> save(group& g, part_store& to);
  /// Refuses with state_damaged if the parts do not belong to one state of one group, or
  /// have an unknown format.
  static result<group> load(const part_store& from, client_identity who, const group_settings& settings = {});

  /// Saves the pending commit and the group.
  static result<void> save_pending(group& g, const pending_commit& pending, part_store& to);
  /// Returns an empty optional if no pending commit was saved in this epoch.
  static result<std::optional<pending_commit>> load_pending(group& g, const part_store& from);
  /// For a commit that the server has refused.
  static result<void> erase_pending(group& g, part_store& from);
};

} // namespace parley::mls
