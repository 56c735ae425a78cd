#include "cluster/replication/replica_record.hpp"

#include "protocol/values/codec.hpp"

namespace parley::cluster {
namespace {

constexpr std::uint8_t record_version = 1;
constexpr std::string_view record_prefix = "replica/";

void put_members(writer& out, const std::vector<member>& members) {
  out.put(static_cast<std::uint8_t>(members.size()));
  for (const auto& m : members)
    out.put(m.node).put(m.disk);
}

std::vector<member> get_members(reader& in) {
  std::vector<member> members(in.get<std::uint8_t>());
  for (auto& m : members) {
    m.node = in.get<node_id>();
    m.disk = in.get<disk_id>();
  }
  return members;
}

void put_optional(writer& out, const std::optional<succession>& s) {
  out.put(static_cast<std::uint8_t>(s.has_value()));
  if (s)
    put_succession(out, *s);
}

} // namespace

void put_succession(writer& out, const succession& s) {
  out.put(s.ended).put(s.seal_index).put(s.seal_term);
  put_members(out, s.before);
  put_members(out, s.next);
}

succession get_succession(reader& in) {
  succession s;
  s.ended = in.get<generation>();
  s.seal_index = in.get<std::uint64_t>();
  s.seal_term = in.get<std::uint64_t>();
  s.before = get_members(in);
  s.next = get_members(in);
  return s;
}

std::string encode_members(const std::vector<member>& members) {
  writer out;
  put_members(out, members);
  return std::move(out).bytes();
}

std::optional<std::vector<member>> decode_members(std::string_view bytes) {
  reader in{bytes};
  auto members = get_members(in);
  if (!in.done() || members.empty() || members.size() > members_max)
    return std::nullopt;
  return members;
}

std::string record_key(shard_id shard) {
  return key_writer{}.raw(record_prefix).put(shard).bytes();
}

std::string encode(const replica_record& r) {
  writer out{160};
  out.put(record_version).put(r.as).put(r.gen).put(r.slot).put(static_cast<std::uint8_t>(r.other_slot_dirty));
  out.put(r.term).put(r.vote).put(r.snapshot_index).put(r.snapshot_term).put(r.first_index);
  out.put(r.applied_index).put(r.applied_term);
  put_members(out, r.members);
  put_optional(out, r.origin);
  put_optional(out, r.ending);
  return std::move(out).bytes();
}

std::optional<replica_record> decode_record(std::string_view bytes) {
  reader in{bytes};
  replica_record r;
  if (in.get<std::uint8_t>() != record_version)
    return std::nullopt;
  r.as = in.get<replica_record::life>();
  r.gen = in.get<generation>();
  r.slot = in.get<std::uint8_t>();
  r.other_slot_dirty = in.get<std::uint8_t>() != 0;
  r.term = in.get<std::uint64_t>();
  r.vote = in.get<std::uint64_t>();
  r.snapshot_index = in.get<std::uint64_t>();
  r.snapshot_term = in.get<std::uint64_t>();
  r.first_index = in.get<std::uint64_t>();
  r.applied_index = in.get<std::uint64_t>();
  r.applied_term = in.get<std::uint64_t>();
  r.members = get_members(in);
  if (in.get<std::uint8_t>() != 0)
    r.origin = get_succession(in);
  if (in.get<std::uint8_t>() != 0)
    r.ending = get_succession(in);
  const bool known_life = r.as >= replica_record::life::live && r.as <= replica_record::life::tombstone;
  if (!in.done() || !known_life || r.slot > 1 || r.gen == generation::none)
    return std::nullopt;
  return r;
}

void each_record(storage::read_txn& txn, const std::function<void(shard_id, std::string_view)>& visit) {
  std::string above{record_prefix};
  ++above.back();
  txn.ascend(storage::table::node, record_prefix, above, [&](std::string_view key, std::string_view value) {
    key_reader in{key.substr(record_prefix.size())};
    const auto shard = in.get<shard_id>();
    if (in.ok() && in.rest().empty())
      visit(shard, value);
    return storage::scan::more;
  });
}

std::uint64_t raft_id(shard_id shard, generation gen, const member& who) {
  auto id = mix64(number(who.node) + 0x9e3779b97f4a7c15ULL);
  id = mix64(id ^ number(who.disk));
  id = mix64(id ^ (number(shard) << 32 | number(gen)));
  return id == 0 ? 1 : id;
}

void put_row_header(std::string& row, const row_header& h) {
  char* at = row.data();
  const auto put = [&at](auto v) {
    std::memcpy(at, &v, sizeof v);
    at += sizeof v;
  };
  put(h.shard);
  put(h.gen);
  put(h.kind);
  put(h.index);
  put(h.term);
}

std::optional<row_header> get_row_header(std::string_view row) {
  reader in{row};
  row_header h;
  h.shard = in.get<shard_id>();
  h.gen = in.get<generation>();
  h.kind = in.get<entry_kind>();
  h.index = in.get<std::uint64_t>();
  h.term = in.get<std::uint64_t>();
  if (!in.ok() || h.kind < entry_kind::commands || h.kind > entry_kind::seal)
    return std::nullopt;
  return h;
}

std::string log_key(std::uint64_t sequence) {
  return key_writer{}.put(sequence).bytes();
}

} // namespace parley::cluster
