#include "cluster/machine/shard_machine.hpp"

#include "cluster/machine/shard_rows.hpp"
#include "protocol/values/last_words.hpp"

namespace parley::cluster {

namespace {

/// Says what cannot be gone on with, where, and what to do, and ends the process.
[[noreturn]] void stop_node(const std::string& why, const log_position& at) {
  end_process(
      "parleyd: shard " + std::to_string(number(at.shard)) + ", generation " +
      std::to_string(number(at.gen)) + ", term " + std::to_string(at.term) + ", index " +
      std::to_string(at.index) + ": " + why +
      ", and the command has written already. The process stops here, or this replica would differ from "
      "its peers. If the disk is to blame: " +
      std::string{replace_directory_advice} + ".");
}

} // namespace

std::optional<std::string> shard_machine::apply(storage::shard_txn& state, const log_position& at,
                                                std::string_view command, std::uint64_t ticket) {
  step s{detail::written_rows{state}, at, shards_[static_cast<std::uint16_t>(at.shard)]};
  core::outcome what;
  const auto objection = [&](std::string why) {
    if (state.status() == ec::corrupt) // then nothing of this transaction is kept
      return std::string{"a row of its state does not match its checksum"};
    if (s.rows.wrote())
      stop_node(why, at);
    return why;
  };
  try {
    check_format(s);
    auto c = detail::must(core::decode_whole<core::command>(command), "a command of the log");
    next_debt(s); // rows like others: they are read before the command writes
    rescues(s);
    what = std::visit([&](auto& x) { return on(s, x); }, c);
  } catch (const detail::cannot_apply& e) {
    return objection(e.why);
  } catch (const core::cannot_encode& e) {
    return objection(e.what());
  }
  // A row that fails its checksum reads as absent, so whatever was just written may be wrong.
  if (state.status() == ec::corrupt)
    return objection({});
  if (state.status() != ec::none)
    stop_node("the rows of the state cannot be read", at);
  if (ticket != 0)
    results_.answers.push_back({at.shard, ticket, std::move(what)});
  return std::nullopt;
}

void shard_machine::check_format(step& s) {
  auto& known = s.memory.format;
  if (!known)
    known = detail::load<rows::shard_format>(s.rows, rows::format_key(), "the shard's format row")
                .value_or(rows::shard_format{})
                .number;
  if (*known > core::format_number::newest)
    throw detail::cannot_apply{"the shard's format is " + std::to_string(number(*known)) +
                               ", and this program knows formats up to " +
                               std::to_string(number(core::format_number::newest))};
  s.rows.set_format(*known);
}

void shard_machine::replaced(shard_id shard) {
  auto& m = shards_[static_cast<std::uint16_t>(shard)];
  m = shard_memory{.leading = m.leading};
}

void shard_machine::set_leading(shard_id shard, bool leading) {
  shards_[static_cast<std::uint16_t>(shard)].leading = leading;
}

} // namespace parley::cluster
