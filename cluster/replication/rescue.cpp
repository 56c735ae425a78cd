#include "cluster/replication/rescue.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace parley::cluster {
namespace {

struct stored_entry {
  row_header header;
  std::string payload;
};

struct stored_replica {
  replica_record record;
  std::map<std::uint64_t, stored_entry> log; ///< by index, above what is applied
  std::uint64_t last_sequence = 0;           ///< of all logs here
};

tl::expected<stored_replica, std::string> load(storage::read_txn& txn, shard_id shard, member self) {
  stored_replica out;
  const auto bytes = txn.get(storage::table::node, record_key(shard));
  auto record = bytes ? decode_record(*bytes) : core::decoded<replica_record>{};
  if (!record.it)
    return tl::unexpected("this node has no replica of shard " + std::to_string(number(shard)) +
                          " that can be read");
  out.record = std::move(*record.it);
  const auto& r = out.record;
  if (r.as != replica_record::life::live ||
      std::find(r.members.begin(), r.members.end(), self) == r.members.end())
    return tl::unexpected(
        std::string{"this node's replica of the shard has no state of its own, so it cannot go on: "
                    "try another survivor"});
  if (r.members.size() == 1)
    return tl::unexpected(std::string{"this node is the shard's only member already: start it"});
  if (r.applied_commands != 0)
    return tl::unexpected(
        std::string{"this node's replica of the shard halted within an entry: start it with a program "
                    "that understands it, or try another survivor"});
  std::string damage;
  txn.ascend(storage::table::log, {}, {}, [&](std::string_view key, std::string_view row) {
    key_reader in{key};
    out.last_sequence = in.get<std::uint64_t>();
    if (shard_of_row(row) != shard)
      return storage::scan::more;
    const auto header = get_row_header(row, core::reading::whole);
    if (!header.it) {
      damage = "a row of the shard's log cannot be read: try another survivor";
      return storage::scan::stop;
    }
    if (header.it->gen != r.gen || header.it->index <= r.applied_index)
      return storage::scan::more;
    out.log.erase(out.log.lower_bound(header.it->index), out.log.end()); // written again
    out.log.emplace(header.it->index, stored_entry{*header.it, std::string{row_payload(row)}});
    return storage::scan::more;
  });
  if (damage.empty() && txn.status() != ec::none)
    damage = "the log cannot be read: check the disk";
  auto next = r.applied_index;
  for (const auto& [index, entry] : out.log)
    if (index != ++next)
      damage = "the shard's log has a hole: try another survivor";
  if (!damage.empty())
    return tl::unexpected(std::move(damage));
  return out;
}

rescue_view view_of(const stored_replica& s, member self) {
  const auto& r = s.record;
  rescue_view v;
  v.gen = r.gen;
  v.members = r.members;
  v.term = r.term;
  v.applied = r.applied_index;
  v.last = s.log.empty() ? r.applied_index : s.log.rbegin()->first;
  v.last_term = s.log.empty() ? r.applied_term : s.log.rbegin()->second.header.term;
  for (std::size_t i = 0; i < r.members.size() && i < r.known.size(); ++i)
    if (r.members[i] != self && r.known[i].index > v.last)
      v.known_elsewhere.push_back({r.members[i].node, r.known[i]});
  return v;
}

} // namespace

tl::expected<rescue_view, std::string> look_at(storage::read_txn& txn, shard_id shard, member self) {
  const auto s = load(txn, shard, self);
  if (!s)
    return tl::unexpected(s.error());
  return view_of(*s, self);
}

tl::expected<rescue_view, std::string> rescue(storage::write_txn& txn, shard_id shard, member self,
                                              std::string_view counting) {
  auto s = load(txn, shard, self);
  if (!s)
    return tl::unexpected(s.error());
  auto view = view_of(*s, self);
  auto record = s->record;
  const bool may_be_committed =
      view.last_term == record.term; // it followed or led in the last term that it knows
  succession end;
  end.ended = record.gen;
  end.before = record.members;
  end.next = {self};
  record.gen = end.next_gen();
  record.members = {self};
  record.known.clear();
  record.term = record.snapshot_index = record.snapshot_term = 1;
  record.applied_index = record.applied_term = 1;
  record.vote = 0;
  record.first_index = 2;
  record.origin = std::move(end);
  record.ending.reset();
  // Rows of the generation that ended are erased when the replica is loaded.
  std::uint64_t index = 1;
  const auto append = [&](entry_kind kind, std::string_view payload) {
    auto row = begin_row(payload.size());
    row.append(payload);
    put_row_header(row, {shard, record.gen, kind, ++index, 1});
    txn.append(storage::table::log, log_key(++s->last_sequence), row);
  };
  std::string count;
  append_number(count, static_cast<std::uint32_t>(counting.size()));
  count.append(counting);
  if (!may_be_committed)
    append(entry_kind::commands, count);
  for (const auto& [old, entry] : s->log) {
    if (entry.header.kind == entry_kind::seal)
      break; // it was never applied, and names members of whom nobody is left
    append(entry.header.kind, entry.payload);
  }
  if (may_be_committed)
    append(entry_kind::commands, count);
  txn.put(storage::table::node, record_key(shard), encode(record));
  return view;
}

} // namespace parley::cluster
