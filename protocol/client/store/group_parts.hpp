#pragma once
// The durable parts of MLS groups, in the profile's database.
//
//   client::group_parts parts{store, group_id};
//   auto all = store.begin();
//   auto sealed = group.send(words, {}, surroundings);
//   if (!sealed) return;                                 // a refusal rolls back by leaving the scope
//   store.enqueue(conversation, *sealed);
//   if (!mls::group_store::save(group, parts)) return;
//   all.commit();                                        // now the message may be sent
//
// If a part could not be stored, `commit` throws. A delivery is stored in the same way, with `apply`: its
// messages, the keys that it used up and the cursor after it are stored together or not at all. If the
// transaction ends without `commit`, or `commit` throws, the group in memory is ahead of the store: discard
// it and load it again.
#include "protocol/client/store/sqlite_store.hpp"
#include "protocol/mls/group_store.hpp"

#include <string>

namespace parley::client {

/// Owns:   nothing; the store must outlive it.
/// Holds:  parts of different groups, and those of the device itself, never collide. Other people choose a
///         group's id and its length, so the key of a row contains the id's hash.
class group_parts final : public mls::part_store {
public:
  group_parts(sqlite_store& in, mls::bytes_view group_id);
  /// The parts that belong to no group: key packages.
  static group_parts of_device(sqlite_store& in);

  mls::result<void> put(std::string_view name, mls::bytes_view value) override;
  mls::result<void> erase(std::string_view name) override;
  mls::result<std::optional<mls::secret>> get(std::string_view name) const override;
  mls::result<std::vector<std::string>> names(std::string_view prefix) const override;

private:
  group_parts(database& in, std::string owner);
  database& db_;
  std::string owner_;
};

} // namespace parley::client
