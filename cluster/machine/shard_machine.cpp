#include "cluster/machine/shard_machine.hpp"

#include <cstdio>
#include <cstdlib>

namespace parley::cluster {

namespace detail {

void stop_node(const char* why, const log_position& at) {
  std::fprintf(stderr,
               "shard %u, generation %u, term %llu, index %llu: %s; stopping, or this replica would differ "
               "from its peers\n",
               static_cast<unsigned>(at.shard), static_cast<unsigned>(at.gen),
               static_cast<unsigned long long>(at.term), static_cast<unsigned long long>(at.index), why);
  std::abort();
}

} // namespace detail

void shard_machine::apply(storage::shard_txn& state, const log_position& at, std::string_view command,
                          std::uint64_t ticket) {
  auto c = core::decode<core::command>(command);
  if (!c)
    detail::stop_node("a command does not decode", at);
  step s{state, at, shards_[static_cast<std::uint16_t>(at.shard)]};
  auto what = std::visit([&](auto& x) { return on(s, x); }, *c);
  // A row that fails its checksum reads as absent, so whatever was just written may be wrong. Nothing of it
  // is committed: the transaction dies with the process.
  if (state.status() != ec::none)
    detail::stop_node("a state row failed its checksum", at);
  if (ticket != 0)
    results_.answers.push_back({at.shard, ticket, std::move(what)});
}

void shard_machine::replaced(shard_id shard) {
  auto& m = shards_[static_cast<std::uint16_t>(shard)];
  m = shard_memory{.leading = m.leading};
}

void shard_machine::set_leading(shard_id shard, bool leading) {
  shards_[static_cast<std::uint16_t>(shard)].leading = leading;
}

} // namespace parley::cluster
