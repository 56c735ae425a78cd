#pragma once
// The parts of MLS groups, in the profile's database.
//
//   client::group_parts parts{store, group_id};
//   auto all = store.begin();
//   auto sealed = group.send(words, {}, surroundings);
//   if (!sealed) return;                                          // what refuses is rolled back by leaving
//   store.enqueue(conversation, *sealed);
//   if (!mls::group_store::save(group, parts)) return;
//   all.commit();                                                 // now the message may leave
//
// What the store could not do cannot be committed: `commit` throws. The same with `apply` for what arrives:
// then a delivery, the keys that it used up and the cursor behind it are kept together, or none of them. If
// it ends without `commit`, or that throws, the group in memory is ahead of the store: drop it and load it
// again.
#include "protocol/client/store/sqlite_store.hpp"
#include "protocol/mls/group_store.hpp"

#include <string>

namespace parley::client {

/// Owns:   nothing: the store must live longer.
/// Holds:  parts of different groups never collide, nor with those of the device itself. Other people choose a
///         group's id and its length, so each row is keyed by the hash of it.
class group_parts final : public mls::part_store {
public:
  group_parts(sqlite_store& in, mls::bytes_view group_id);
  /// What belongs to no group: key packages.
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
