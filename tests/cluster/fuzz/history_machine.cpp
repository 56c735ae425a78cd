#include "tests/cluster/fuzz/history_machine.hpp"

#include <fmt/format.h>

#include <cstring>

namespace parley::fuzz {

namespace {

constexpr std::string_view summary_key = "c";
enum class op : std::uint8_t { put, erase, erase_range };
constexpr std::size_t rows_max = 48;

template <class T>
void add(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof bytes);
}

std::uint64_t number_at(std::string_view bytes, std::size_t offset) {
  std::uint64_t n = 0;
  std::memcpy(&n, bytes.data() + offset, sizeof n);
  return n;
}

std::string row_key(std::uint8_t n) {
  return {'k', static_cast<char>(n)};
}

std::uint64_t row_hash(std::string_view key, std::string_view value) {
  return mix64(hash_bytes(key) * 3 + hash_bytes(value));
}

} // namespace

std::string make_command(std::uint64_t id, chance& luck, std::size_t bytes) {
  std::string out;
  add(out, id);
  const auto what = luck.below(10);
  add(out, what < 7 ? op::put : what < 9 ? op::erase : op::erase_range);
  add(out, static_cast<std::uint8_t>(luck.below(rows_max)));
  out.resize(std::max(out.size(), bytes), static_cast<char>('a' + id % 26));
  return out;
}

std::optional<summary> read_summary(storage::shard_view& state) {
  auto row = state.get(summary_key);
  if (!row || row->size() != 3 * sizeof(std::uint64_t))
    return std::nullopt;
  return summary{number_at(*row, 0), number_at(*row, 8), number_at(*row, 16)};
}

std::uint64_t digest_rows(storage::shard_view& state) {
  std::uint64_t digest = 0;
  state.ascend({}, {}, [&](std::string_view key, std::string_view value) {
    if (key != summary_key)
      digest ^= row_hash(key, value);
    return storage::scan::more;
  });
  return digest;
}

std::optional<std::string> history_machine::apply(storage::shard_txn& state, const cluster::log_position& at,
                                                  std::string_view command, std::uint64_t ticket) {
  if (command.size() < 10) {
    sim_.violate(fmt::format("node {}: a command of {} bytes was applied", number(node_), command.size()));
    return std::nullopt;
  }
  auto s = read_summary(state).value_or(summary{});
  if (auto cached = cache_.find(at.shard); cached != cache_.end() && cached->second != s)
    sim_.violate(fmt::format("node {}, shard {}: the state changed behind the machine's back at number {}",
                             number(node_), number(at.shard), s.count));
  const auto erase = [&](std::string_view key) {
    if (auto old = state.get(key)) {
      s.digest ^= row_hash(key, *old);
      state.erase(key);
    }
  };
  const auto id = number_at(command, 0);
  const auto row = static_cast<std::uint8_t>(command[9]);
  switch (static_cast<op>(command[8])) {
  case op::put:
    erase(row_key(row));
    s.digest ^= row_hash(row_key(row), command);
    state.put(row_key(row), command);
    break;
  case op::erase:
    erase(row_key(row));
    break;
  case op::erase_range: {
    const auto to = static_cast<std::uint8_t>(row + 8);
    state.ascend(row_key(row), row_key(to), [&](std::string_view key, std::string_view value) {
      s.digest ^= row_hash(key, value);
      return storage::scan::more;
    });
    state.erase_range(row_key(row), row_key(to), rows_max);
    break;
  }
  }
  ++s.count;
  s.chain = mix64(s.chain ^ hash_bytes(command));
  std::string bytes;
  for (auto n : {s.count, s.chain, s.digest})
    add(bytes, n);
  state.put(summary_key, bytes);
  cache_[at.shard] = s;
  judge_.applied(node_, at, id, s, ticket);
  return std::nullopt;
}

void history_machine::replaced(shard_id shard) {
  cache_.erase(shard);
  ++replacements_;
  ++sim_.count.installs;
  sim_.note("replaced", number(node_), number(shard));
}

} // namespace parley::fuzz
