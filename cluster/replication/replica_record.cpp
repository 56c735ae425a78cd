#include "cluster/replication/replica_record.hpp"

namespace parley::cluster {
namespace {

constexpr std::string_view record_prefix = "replica/";
constexpr std::string_view damage_prefix = "damaged/";

} // namespace

core::decoded<seal> decode_seal(std::string_view bytes) {
  auto s = core::decode_whole<seal>(bytes);
  if (s.it && (s.it->next.empty() || s.it->next.size() > members_max))
    return {std::nullopt, core::format_fault::damaged};
  return s;
}

std::string record_key(shard_id shard) {
  return key_writer{}.raw(record_prefix).put(shard).bytes();
}

std::string damage_key(shard_id shard) {
  return key_writer{}.raw(damage_prefix).put(shard).bytes();
}

std::string encode(const replica_record& r) {
  return core::encode(r);
}

core::decoded<replica_record> decode_record(std::string_view bytes) {
  auto r = core::decode_whole<replica_record>(bytes);
  if (!r.it)
    return r;
  const bool known_life =
      r.it->as >= replica_record::life::live && r.it->as <= replica_record::life::tombstone;
  const bool lacks_succession = (r.it->as == replica_record::life::waiting && !r.it->origin) ||
                                (r.it->as == replica_record::life::sealed && !r.it->ending) ||
                                (r.it->ending && r.it->ending->next.empty());
  if (!known_life || lacks_succession || r.it->slot > 1 || r.it->gen == generation::none ||
      r.it->first_index == 0)
    return {std::nullopt, core::format_fault::damaged};
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

std::string begin_row(std::size_t payload_bytes) {
  writer w{32 + payload_bytes};
  core::encode(w, row_header{});
  return std::move(w).bytes();
}

void put_row_header(std::string& row, const row_header& h) {
  row.replace(0, row.size() - row_payload(row).size(), core::encode(h));
}

core::decoded<row_header> get_row_header(std::string_view row, core::reading how) {
  reader in{row};
  auto h = core::decode<row_header>(in, how);
  if (h.it && h.it->kind < entry_kind::commands)
    return {std::nullopt, core::format_fault::damaged};
  return h;
}

std::string_view row_payload(std::string_view row) {
  reader in{row};
  in.get_envelope();
  return in.rest();
}

std::optional<shard_id> shard_of_row(std::string_view row) {
  reader in{row};
  reader header{in.get_envelope().body};
  const auto shard = header.get<shard_id>();
  return header.ok() ? std::optional{shard} : std::nullopt;
}

std::string log_key(std::uint64_t sequence) {
  return key_writer{}.put(sequence).bytes();
}

} // namespace parley::cluster
