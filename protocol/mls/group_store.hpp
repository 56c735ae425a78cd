#pragma once
// A group on disk: many small parts, of which each save writes those that changed.
//
//   main           format, own leaf, context, interim hash, size of the tree      each commit
//   keys           epoch secrets and private keys of the tree                     each commit
//   n/NODE         a node of the ratchet tree that is not blank                   commits that touch it
//   t/EPOCH/KIND/I a node or a ratchet of an epoch's secret tree                  each message
//   e/EPOCH        an epoch that is over: its context, two secrets, who signed    each commit
//   p/I, u/I       proposals received; keys of own Updates                        each proposal
//   pending        a commit that was sent and not confirmed                       save_pending
//   sum            of all other parts: tells one that is missing, damaged or old  each save
//
// Order: `save` and commit the transaction, then let the message leave. A process that is killed in between
// has lost a generation, which receivers jump over; the other order would use a key twice.
// A commit of one's own: `save_pending`, commit the transaction, send. After a restart `load_pending` has it
// back. If `receive` then says own_commit for those bytes, or the server accepted them, confirm it; if
// another commit won, `save` after confirming that one erases it. Two commits of one's own in one epoch are
// told apart by their bytes, which the caller keeps until the server has decided.
//
// The keys of an own key package wait in a part_store of the device: key_package_store.hpp.
//
// Not stored: the client_identity (signer, credential: the caller has one for all of its groups) and the
// settings; both come with `load`.
//
// A message writes less than 2 KiB, however large the group is; what a commit writes grows with its path.
//
// Transactions: all calls of one save belong to one transaction of the caller. If a save is refused or its
// transaction fails, roll back, drop the group and load it again: what it would have to write is forgotten.
#include "protocol/mls/group.hpp"

#include <string>

namespace parley::mls {

/// The parts of one group, in the caller's database. Refusals (store_failed) pass through `save` and `load`.
class part_store {
public:
  virtual ~part_store() = default;
  virtual result<void> put(std::string_view name, bytes_view value) = 0;
  virtual result<void> erase(std::string_view name) = 0; ///< of what is not there: nothing happens
  /// Nothing: it is not there. What could not be read is a refusal.
  virtual result<std::optional<secret>> get(std::string_view name) const = 0;
  virtual result<std::vector<std::string>> names(std::string_view prefix) const = 0;
};

class group_store {
public:
  static result<void> save(group& g, part_store& to);
  /// state_damaged: the parts are not those of one state of one group, or of a format that is not known here.
  static result<group> load(const part_store& from, client_identity who, const group_settings& settings = {});

  /// And the group with it.
  static result<void> save_pending(group& g, const pending_commit& pending, part_store& to);
  /// Nothing: none was saved in this epoch.
  static result<std::optional<pending_commit>> load_pending(group& g, const part_store& from);
  /// The server refused it.
  static result<void> erase_pending(group& g, part_store& from);
};

} // namespace parley::mls
