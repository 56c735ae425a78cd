// The pure rules of connecting, sending again, and acknowledging.
#include "protocol/client/rules/fork_search.hpp"
#include "protocol/client/rules/receipt_rules.hpp"
#include "protocol/client/rules/reconnect_rules.hpp"
#include "protocol/client/rules/resend_rules.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace parley;
using namespace parley::client;
using namespace std::chrono_literals;
using step = delivery_acks::step;

namespace {
constexpr conversation_id talk{1, 2};
}

// --- which node, and when ----------------------------------------------------------------------------------

TEST_CASE("every seed is tried once in a round, and a pause follows a round that fails") {
  dice chance{1};
  reconnect_rules rules{3, 1, {100ms, 1'000ms}, 5s, 5s};
  CHECK(rules.pause() == 0ms); // the first round begins at once
  std::vector<std::size_t> tried{rules.seed()};
  while (rules.failed(chance))
    tried.push_back(rules.seed());
  CHECK(tried == std::vector<std::size_t>{1, 2, 0});
  CHECK(rules.seed() == 1);
  CHECK(rules.pause() <= 100ms);
}

TEST_CASE(
    "nodes besides the seeds are tried at the end of a round, and a round after a loss begins at a seed") {
  dice chance{1};
  reconnect_rules rules{2, 1, {100ms, 1'000ms}, 5s, 5s};
  rules.set_others(2);
  std::vector<std::size_t> tried{rules.seed()};
  while (rules.failed(chance))
    tried.push_back(rules.seed());
  CHECK(tried == std::vector<std::size_t>{1, 0, 2, 3});
  CHECK(rules.seed() == 1);
  rules.failed(chance);
  rules.failed(chance);
  CHECK(rules.seed() == 2);
  rules.connected(1s);
  rules.lost(2s, chance);
  CHECK(rules.seed() < 2);
}

TEST_CASE("nodes that are not named stay known, and the same ones need not be kept again") {
  using nodes = std::vector<std::string>;
  CHECK(are_others_named(nodes{"a:1"}, {}));
  CHECK(are_others_named(nodes{"a:1", "b:1"}, nodes{"a:1"}));
  CHECK(!are_others_named(nodes{"a:1"}, nodes{"a:1"}));
  CHECK(!are_others_named({}, nodes{"a:1"}));
}

TEST_CASE("the pauses between rounds that fail grow up to the highest ceiling") {
  dice chance{7};
  reconnect_rules rules{1, 0, {100ms, 1'000ms}, 5s, 5s};
  auto longest = 0ms;
  for (int n = 0; n < 100; ++n) {
    CHECK(!rules.failed(chance));
    CHECK(rules.pause() <= 1'000ms);
    longest = std::max(longest, rules.pause());
  }
  CHECK(longest > 800ms);
}

TEST_CASE("after a loss the next seed is first, and the whole round is tried again") {
  dice chance{1};
  reconnect_rules rules{3, 0, {100ms, 1'000ms}, 5s, 5s};
  CHECK(rules.failed(chance));
  CHECK(rules.seed() == 1);
  rules.connected(1s);
  rules.lost(2s, chance);
  CHECK(rules.seed() == 2);
  CHECK(rules.failed(chance));
  CHECK(rules.failed(chance));
  CHECK(!rules.failed(chance));
}

TEST_CASE("while somebody waits for a connection no pause is long, unless a node advised it") {
  dice chance{5};
  reconnect_rules rules{1, 0, {1ms, 1'000'000ms}, 5s, 5s};
  for (int n = 0; n < 40; ++n) {
    rules.failed(chance, n % 2 == 0);
    if (n % 2 == 0)
      CHECK(rules.pause() <= 5s);
  }
  for (int n = 0; n < 40; ++n) // what is left of a long pause becomes short, and a short one stays
    CHECK(rules.wanted(1'000s, chance) <= 5s);
  CHECK(rules.wanted(4s, chance) == 4s);
  rules.connected(1s);
  rules.advised(30s);
  rules.lost(2s, chance, true);
  CHECK(rules.pause() == 30s);
  CHECK(rules.wanted(29s, chance) == 29s);
  rules.failed(chance, true); // the advice was about the node that is gone
  CHECK(rules.pause() <= 5s);
  rules.encouraged();
  rules.failed(chance);
  CHECK(rules.pause() <= 1ms);
}

TEST_CASE("who has something to send does not wait for as long as a node that leaves has advised") {
  dice chance{1};
  reconnect_rules rules{3, 0, {}, 10s, 5s};
  using advice = reconnect_rules::advice;
  rules.connected(instant{});
  rules.advised(30s, advice::soft);
  rules.lost(instant{} + 1min, chance, true);
  CHECK(rules.pause() <= 5s);
  rules.connected(instant{});
  rules.advised(30s, advice::soft);
  rules.lost(instant{} + 1min, chance);
  CHECK(rules.pause() == 30s);
  CHECK(rules.wanted(29s, chance) <= 5s); // something is to be sent now
  rules.connected(instant{});
  rules.advised(30s);
  rules.lost(instant{} + 1min, chance, true);
  CHECK(rules.pause() == 30s);
}

TEST_CASE("only after a connection that lasted do pauses begin at the lowest ceiling again") {
  dice chance{3};
  reconnect_rules rules{1, 0, {1ms, 1'000'000ms}, 5s, 5s};
  for (int n = 0; n < 20; ++n)
    rules.failed(chance);
  rules.connected(10s);
  rules.lost(14'999ms, chance);
  CHECK(rules.pause() > 1ms);
  rules.connected(20s);
  rules.lost(25s, chance);
  CHECK(rules.pause() <= 1ms);
}

TEST_CASE("a pause that a node asks for replaces the device's own, once") {
  dice chance{3};
  reconnect_rules rules{1, 0, {1ms, 2ms}, 5s, 5s};
  rules.connected(0s);
  rules.advised(700ms);
  rules.lost(1s, chance);
  CHECK(rules.pause() == 700ms);
  rules.connected(2s);
  rules.lost(3s, chance);
  CHECK(rules.pause() <= 2ms);
}

TEST_CASE("a node that drains gives soft advice, one that refuses its user gives firm advice, and others "
          "give none") {
  dice chance{1};
  reconnect_rules rules{3, 0, {1ms, 2ms}, 10s, 5s};
  rules.connected(0s);
  rules.closed(ec::draining, 30s);
  rules.lost(1min, chance, true);
  CHECK(rules.pause() <= 5s);
  rules.connected(0s);
  rules.closed(ec::rate_limited, 30s);
  rules.lost(1min, chance, true);
  CHECK(rules.pause() == 30s);
  rules.connected(0s);
  rules.closed(ec::session_closed, 0ms);
  rules.lost(1min, chance);
  CHECK(rules.pause() <= 2ms);
}

TEST_CASE(
    "nodes that the cluster named are tried after the seeds, each once, and what is no address is left out") {
  const std::vector<int> seeds{3, 1};
  const auto parse = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional{static_cast<int>(text.size())};
  };
  CHECK(nodes_to_try(seeds, {"x", "", "xxxx", "xxxx", "xx"}, parse) == std::vector{3, 1, 4, 2});
  CHECK(nodes_to_try(seeds, {}, parse) == seeds);
}

// --- sending again -----------------------------------------------------------------------------------------

TEST_CASE("outcomes of the message are final; conditions and the session's end are not") {
  dice chance{1};
  resend_rules rules{{50ms, 2'000ms}, 6, true};
  for (auto why : {ec::not_a_member, ec::too_large, ec::retry_too_old, ec::conflict, ec::bad_request})
    CHECK(!rules.refused(refuse(why), 1, 0s, 0s, chance).again);
  for (auto why : {ec::rate_limited, ec::not_leader, ec::overloaded, ec::timed_out, ec::unavailable,
                   ec::fenced, ec::not_authenticated})
    CHECK(rules.refused(refuse(why), 1, 0s, 0s, chance).again);
  // Codes of a newer cluster, by their band alone.
  for (auto why : {ec{39}, ec{500}})
    CHECK(!rules.refused(refuse(why), 1, 0s, 0s, chance).again);
  CHECK(rules.refused(refuse(ec{1'999}), 1, 0s, 0s, chance).again);
}

TEST_CASE("the pause grows with the attempts, stays bounded, and is never below the advice") {
  dice chance{1};
  resend_rules rules{{50ms, 2'000ms}, 1'000, true};
  auto longest = 0ms;
  for (unsigned attempt = 1; attempt < 200; ++attempt) {
    const auto pause = rules.refused(refuse(ec::rate_limited), attempt, 0s, 0s, chance).pause;
    CHECK(pause <= (attempt == 1 ? 50ms : 2'000ms));
    longest = std::max(longest, pause);
  }
  CHECK(longest > 1'000ms);
  CHECK(rules.refused({ec::rate_limited, "", 9'000ms}, 1, 0s, 0s, chance).pause == 9'000ms);
}

TEST_CASE("a node is left after several refusals in a row of a kind that another node may not have") {
  dice chance{1};
  resend_rules rules{{50ms, 2'000ms}, 3, true};
  const auto leave = [&](ec why) { return rules.refused(refuse(why), 1, 0s, 0s, chance).leave; };
  CHECK(!leave(ec::not_leader));
  CHECK(!leave(ec::timed_out));
  CHECK(!leave(ec::rate_limited)); // says nothing about the node
  CHECK(leave(ec::unavailable));
  rules.connected();
  CHECK(!leave(ec::not_leader));
  CHECK(!leave(ec::not_leader));
  rules.accepted();
  CHECK(!leave(ec::not_leader));
  resend_rules alone{{50ms, 2'000ms}, 1, false};
  CHECK(!alone.refused(refuse(ec::unavailable), 1, 0s, 0s, chance).leave);
}

// --- acknowledging -----------------------------------------------------------------------------------------

TEST_CASE("the first message is acknowledged at once, and those that follow are acknowledged together after "
          "a while") {
  delivery_acks acks{200ms, 5};
  CHECK(acks.idle());
  CHECK(!acks.begin(0ms));
  acks.advance("1", 1);
  CHECK(acks.next(1, 1s).what == step::now);
  CHECK(acks.begin(1s) == "1");
  acks.answered("1", true);
  CHECK(acks.idle());

  acks.advance("2", 1);
  const auto next = acks.next(1, 1'050ms);
  CHECK(next.what == step::at_due);
  CHECK(next.due == 1'250ms);
  acks.advance("3", 1);
  CHECK(acks.next(1, 1'060ms).what == step::nothing); // a timer is set
  acks.advance("6", 3);
  CHECK(acks.next(3, 1'070ms).what == step::now);
}

TEST_CASE("rows that are no messages are acknowledged later") {
  delivery_acks acks{200ms, 5};
  acks.advance("1", 0);
  const auto next = acks.next(0, 1s);
  CHECK(next.what == step::at_due);
  CHECK(next.due == 1'200ms);
}

TEST_CASE("one acknowledgement is under way at a time, and a lost one is sent again") {
  delivery_acks acks{200ms, 5};
  acks.advance("1", 1);
  CHECK(acks.begin(0ms) == "1");
  acks.advance("2", 9);
  CHECK(acks.next(9, 1s).what == step::nothing);
  CHECK(!acks.begin(1s));
  acks.lost();
  CHECK(!acks.idle());
  CHECK(acks.begin(2s) == "2");
  acks.answered("2", false);
  CHECK(!acks.idle());
  CHECK(acks.begin(3s) == "2");
}

TEST_CASE("a place that the cluster has confirmed and then forgotten is offered again") {
  delivery_acks acks{200ms, 5};
  acks.advance("2", 1);
  CHECK(acks.begin(0ms) == "2");
  acks.answered("2", true);
  acks.lost();
  CHECK(acks.idle());
  acks.forgotten("1");
  CHECK(!acks.idle());
  CHECK(acks.begin(1s) == "2");
}

TEST_CASE("a timer that was lost with its connection can be set again") {
  delivery_acks acks{200ms, 5};
  acks.advance("1", 0);
  CHECK(acks.next(0, 1s).what == step::at_due);
  CHECK(acks.next(0, 1s).what == step::nothing);
  acks.lost();
  CHECK(acks.next(0, 1s).what == step::at_due);
  acks.timer_fired();
  CHECK(acks.next(0, 2s).what == step::at_due);
}

TEST_CASE(
    "of what was read only the newest position is sent, once, with one call per conversation at a time") {
  read_marks reads;
  CHECK(reads.idle());
  CHECK(reads.news(talk, seq_no{3}));
  reads.want(talk, seq_no{3});
  CHECK(!reads.news(talk, seq_no{2}));
  auto told = reads.take();
  REQUIRE(told.size() == 1);
  CHECK(told[0].upto == seq_no{3});
  reads.want(talk, seq_no{5});
  reads.want(talk, seq_no{4});
  CHECK(reads.take().empty());
  reads.settled(told[0]);
  CHECK(!reads.idle());
  told = reads.take();
  REQUIRE(told.size() == 1);
  CHECK(told[0].upto == seq_no{5});
  reads.lost();
  told = reads.take();
  REQUIRE(told.size() == 1);
  reads.again(talk);
  CHECK(reads.take().size() == 1);
  reads.settled(told[0]);
  CHECK(reads.idle());
  CHECK(reads.take().empty());
}

TEST_CASE(
    "a mark that is refused for good is not told again; one that is refused for now is, after a pause") {
  using fate = read_marks::fate;
  CHECK(read_marks::judge(refuse(ec::none), 200ms).what == fate::settled);
  CHECK(read_marks::judge(refuse(ec::not_a_member), 200ms).what == fate::settled);
  CHECK(read_marks::judge(refuse(ec::fenced), 200ms).what == fate::next_session);
  CHECK(read_marks::judge(refuse(ec::not_authenticated), 200ms).what == fate::next_session);
  const auto v = read_marks::judge({ec::overloaded, "", 900ms}, 200ms);
  CHECK(v.what == fate::again);
  CHECK(v.pause == 900ms);
  CHECK(read_marks::judge(refuse(ec::timed_out), 200ms).pause == 200ms);
}

TEST_CASE("a place that the cluster does not want is not offered again, and one that it could not take is") {
  CHECK(delivery_acks::is_settled_by(ec::none));
  CHECK(delivery_acks::is_settled_by(ec::bad_cursor));
  for (const auto why : {ec::timed_out, ec::overloaded, ec::not_leader, ec::session_closed})
    CHECK(!delivery_acks::is_settled_by(why));
}

// --- two histories -----------------------------------------------------------------------------------------

TEST_CASE("where two histories part is found by few comparisons, whatever this device has of them") {
  for (const std::uint64_t newest : {1U, 2U, 3U, 7U, 64U, 1'000U})
    for (const std::uint64_t every : {1U, 3U}) // this device has every message, or every third
      for (std::uint64_t parted = 0; parted <= newest; ++parted) {
        std::set<std::uint64_t> mine;
        for (auto seq = newest; seq >= 1 && seq <= newest; seq -= every)
          mine.insert(seq);
        fork_search search{seq_no{newest}};
        unsigned looks = 0;
        while (const auto upto = search.next()) {
          REQUIRE(++looks < 100);
          const auto above = mine.upper_bound(number(*upto));
          const auto found = above == mine.begin() ? 0 : *std::prev(above);
          if (found <= number(search.same_upto()))
            search.nothing();
          else
            search.answer(seq_no{found}, found <= parted);
        }
        CHECK(looks <= 24);
        for (const auto seq : mine)
          REQUIRE((seq <= parted) == (seq <= number(search.same_upto())));
      }
}
