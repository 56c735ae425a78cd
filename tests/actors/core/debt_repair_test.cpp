// What an inbox lacks although nobody owes it that any more.
#include "actors/core/inbox_cover.hpp"
#include "tests/actors/core/debts.hpp"

#include <algorithm>
#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;
using namespace parley::test;
using namespace std::chrono_literals;

TEST_CASE("a receipt or an opening whose inbox lacks messages that nobody owes it any more brings them from "
          "the log") {
  const debt_ledger::history log = [](conversation_id, seq_no after, seq_no upto) {
    std::vector<core::message> out;
    for (auto seq = number(after) + 1; seq <= number(upto) && out.size() < 2; ++seq)
      out.push_back(text(seq));
    return out;
  };
  const std::vector<fan_out_target> to{{user_id{2}, 1, seq_no{5}}};
  const watermark mark{room, user_id{1}, seq_no{5}, seq_no{5}};
  opened_news opened;
  opened.conversation = room;
  for (const bool is_receipt : {true, false}) {
    CAPTURE(is_receipt);
    debt_ledger l;
    l.loaded(0); // the stored debts were read: there are none
    const auto what = is_receipt ? owed{owed_receipt{mark, to}} : owed{owed_opening{opened, to}};
    l.add({shard_id{0}, 1, what, {}}, debt_ledger::source::live);
    auto now = t0;
    std::uint64_t has = 2;
    bool told = false;
    std::size_t before_messages = 0;
    for (int attempt = 0; attempt < 20 && !l.idle(); ++attempt, now += 3s) {
      for (const auto& call : l.send(now)) {
        const auto parts = std::get<append_inbox>(decode<command>(call.what.command).value()).parts;
        REQUIRE(parts.size() == 1);
        const auto& part = parts[0];
        CHECK(well_formed(part));
        if (number(part.prev) > has) { // as an inbox judges
          before_messages += has == 2 ? 1 : 0;
          l.answered(call.number, ec::none, outcomes({{ec::gap, seq_no{has}}}), now, log);
          continue;
        }
        CHECK(leaves_nothing_out(part, seq_no{has}));
        has = std::max(has, number(part.upto));
        for (const auto& item : part.items)
          told |= !std::holds_alternative<message_news>(item);
        l.answered(call.number, ec::none, outcomes({{ec::none, seq_no{has}}}), now, log);
      }
    }
    CHECK(l.idle());
    CHECK(has == 5);
    CHECK(told);
    CHECK(before_messages >= 4); // earlier messages that are still owed have time to arrive first
  }
}

TEST_CASE("another shard is asked to renew streams until it has no more of them") {
  auto l = ready_ledger();
  REQUIRE(
      l.add({shard_id{3}, 1, owed_renewal{shard_id{2}, shard_id{3}, 7, 4}, {}}, debt_ledger::source::live));
  using renewed = streams_renewed;
  auto now = t0;
  for (const auto more : {renewed::at_once, renewed::later, renewed::at_once, renewed::nothing}) {
    const auto calls = l.send(now);
    REQUIRE(calls.size() == 1);
    const auto sent_to = sent<renew_streams>(calls[0]);
    CHECK((sent_to.of == shard_id{3} && sent_to.rescues == 7 && sent_to.shards == 4));
    CHECK((calls[0].what.shard == shard_id{2} && l.send(now).empty()));
    CHECK(l.answered(calls[0].number, ec::none, renewed{ec::none, more}, now, no_log).count == 0);
    CHECK((more == renewed::at_once || l.send(now).empty()));
    now += more == renewed::later ? 2s : 0s;
  }
  CHECK(l.idle());
  CHECK(l.confirmed() == 1);
}
