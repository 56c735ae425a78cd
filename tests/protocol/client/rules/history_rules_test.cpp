// Another history in the cluster than in the store: how it is noticed, and what goes and what is fetched then.
#include "protocol/client/rules/history_rules.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

using namespace parley;
using namespace parley::client;

namespace {

constexpr conversation_id talk{1, 2};

message at(std::uint64_t seq, std::string body = "hello", std::int64_t when = 0) {
  message m;
  m.conversation = talk;
  m.seq = seq_no{seq};
  m.sender = user_id{4};
  m.client_id = {device_id{5}, seq};
  m.at = unix_ms{when};
  m.body = std::move(body);
  return m;
}

/// Messages 1 to `last`, of which those above `parted` are others than in another history.
std::vector<message> history(std::uint64_t last, std::uint64_t parted, const std::string& mark) {
  std::vector<message> all;
  for (std::uint64_t seq = 1; seq <= last; ++seq)
    all.push_back(at(seq, seq <= parted ? "the same" : mark));
  return all;
}

std::optional<message> newest_upto(const std::vector<message>& all, seq_no upto) {
  const auto above = std::ranges::find_if(all, [&](const message& m) { return m.seq > upto; });
  return above == all.begin() ? std::nullopt : std::optional{*std::prev(above)};
}

/// Compares two histories; answers the comparison when its search is over.
history_comparison compared(const std::vector<message>& mine, const std::vector<message>& there) {
  history_comparison c{talk, mine.empty() ? seq_no::none : mine.back().seq};
  unsigned looks = 0;
  while (const auto look = c.next([&](seq_no upto) { return newest_upto(mine, upto); })) {
    REQUIRE(++looks < 50);
    conversation_page page;
    if (const auto m = newest_upto(there, look->seq); m && m->seq == look->seq)
      page.messages.push_back(*m);
    page.last = there.empty() ? seq_no::none : there.back().seq;
    c.found(look->seq, found_in(page, look->mine ? &*look->mine : nullptr));
  }
  return c;
}

constexpr seq_no none = seq_no::none;
const finding same_there{true, seq_no{9}}, other_there{false, seq_no{9}};

} // namespace

// --- is it another history? --------------------------------------------------------------------------------

TEST_CASE("a message that the cluster numbers again is the same, although its time is another one") {
  CHECK(is_same(at(3, "hello", 1), at(3, "hello", 2)));
  CHECK(!is_same(at(3), at(4)));
  CHECK(!is_same(at(3, "hello"), at(3, "good-bye")));
  auto other_sender = at(3);
  other_sender.sender = user_id{6};
  CHECK(!is_same(at(3), other_sender));
  auto other_id = at(3);
  other_id.client_id.counter = 99;
  CHECK(!is_same(at(3), other_id));
}

TEST_CASE("the first message behind the number before it tells whether the cluster has a message") {
  CHECK(asked_after(seq_no{5}) == seq_no{4});
  CHECK(asked_after(none) == none);
  const auto mine = at(5);
  CHECK(found_in({{at(5)}, seq_no{8}, {}, false}, &mine).same);
  CHECK(found_in({{at(5)}, seq_no{8}, {}, false}, &mine).last == seq_no{8});
  CHECK(!found_in({{at(6)}, seq_no{8}, {}, false}, &mine).same);
  CHECK(!found_in({{}, seq_no{4}, {}, false}, &mine).same);
  CHECK(!found_in({{at(5)}, seq_no{8}, {}, false}, nullptr).same);
}

TEST_CASE("a refusal tells of the history only if the cluster does not have the conversation") {
  CHECK(lacks_conversation(ec::no_such_conversation));
  CHECK(lacks_conversation(ec::not_a_member));
  for (const auto why : {ec::timed_out, ec::unavailable, ec::overloaded, ec::fenced})
    CHECK(!lacks_conversation(why));
}

TEST_CASE("the few conversations that changed last tell whether the cluster has another history") {
  std::vector<message> newest;
  for (std::uint64_t n = 1; n <= 20; ++n)
    newest.push_back(at(n, "hello", static_cast<std::int64_t>(n * 7 % 20)));
  const auto telling = telling_messages(newest);
  REQUIRE(telling.size() == 8);
  CHECK(number(telling.front().at) == 19);
  CHECK(number(telling.back().at) == 12);
}

TEST_CASE("a conversation counts as known if anything of it is remembered, and once") {
  client_store::applied_state applied;
  applied.positions = {{{1, 2}, seq_no{3}}, {{1, 1}, seq_no{1}}};
  CHECK(known_conversations(applied, {{{1, 2}, {}, {}}, {{1, 3}, {}, {}}}) ==
        std::vector<conversation_id>{{1, 1}, {1, 2}, {1, 3}});
}

TEST_CASE("one message that the cluster has not is enough, and all have to be there for the contrary") {
  using found = std::vector<std::optional<finding>>;
  CHECK(judge_history(found{same_there, other_there, std::nullopt}) == history_verdict::other);
  CHECK(judge_history(found{same_there, same_there}) == history_verdict::same);
  CHECK(judge_history(found{same_there, std::nullopt}) == history_verdict::unknown);
  CHECK(judge_history(found{}) == history_verdict::nothing);

  // Those that could not be asked are asked later, if that may still tell anything.
  const std::vector<doubt> telling{{{1, 1}, seq_no{5}}, {{1, 2}, seq_no{6}}};
  const auto unknown = judge_history(telling, found{same_there, std::nullopt});
  CHECK(unknown.history == history_verdict::unknown);
  REQUIRE(unknown.doubts.size() == 1);
  CHECK(unknown.doubts[0].conversation == conversation_id{1, 2});
  CHECK(unknown.doubts[0].seq == seq_no{6});
  CHECK(judge_history(telling, found{other_there, std::nullopt}).doubts.empty());
}

TEST_CASE("a late place is offered again only in a history that is certainly the same, and if nothing else "
          "is under way") {
  using verdict = history_verdict;
  for (const bool idle : {false, true})
    for (const bool to_compare : {false, true}) {
      CHECK(after_judging(verdict::other, idle, to_compare) == late_place::start_over);
      const bool forgotten = idle && !to_compare;
      CHECK(after_judging(verdict::same, idle, to_compare) ==
            (forgotten ? late_place::offer_again : late_place::go_on));
      CHECK(after_judging(verdict::unknown, idle, to_compare) ==
            (forgotten ? late_place::ask_later : late_place::go_on));
      // Nothing can be compared, now or later: what came since is taken again.
      CHECK(after_judging(verdict::nothing, idle, to_compare) ==
            (forgotten ? late_place::begin_again : late_place::go_on));
    }
}

TEST_CASE("a stream that ends because its place is not there began at a place") {
  CHECK(is_place_unknown(ec::bad_cursor, "place"));
  CHECK(!is_place_unknown(ec::bad_cursor, ""));
  CHECK(!is_place_unknown(ec::overloaded, "place"));
}

TEST_CASE("a number that another message has shows that the cluster has lost that message") {
  auto placed = at(7);
  CHECK(!is_number_taken({}, placed));
  CHECK(!is_number_taken({at(6)}, placed));
  CHECK(!is_number_taken({at(7)}, placed)); // a repeat
  placed.client_id.counter = 99;
  CHECK(is_number_taken({at(7)}, placed));
}

// --- what goes, and what is fetched ------------------------------------------------------------------------

TEST_CASE("what the cluster has lost falls, and what it has instead is fetched") {
  for (const std::uint64_t mine : {1U, 2U, 9U, 40U})
    for (const std::uint64_t there : {0U, 1U, 5U, 40U, 45U})
      for (std::uint64_t parted = 0; parted <= std::min(mine, there); ++parted) {
        const auto here = history(mine, parted, "mine");
        const auto c = compared(here, history(there, parted, "theirs"));
        const auto repair = c.outcome(seq_no{mine}, seq_no{mine});
        CHECK(c.last() == seq_no{there});
        CHECK(repair.falls_to == (parted < mine ? std::optional{seq_no{parted}} : std::nullopt));
        CHECK(repair.wanted == seq_no{std::max(mine, there)});
      }
}

TEST_CASE("what this device has sent while it compared is fetched again") {
  const auto c = compared(history(5, 3, "mine"), history(4, 3, "theirs"));
  CHECK(c.outcome(seq_no{5}, seq_no{6}).wanted == seq_no{6});
}

TEST_CASE("a store that keeps no messages falls to what the cluster has") {
  const auto c = compared({}, history(4, 4, ""));
  CHECK(c.last() == seq_no{4});
  CHECK(c.outcome(seq_no{9}, none).falls_to == seq_no{4});
  CHECK(!c.outcome(seq_no{4}, none).falls_to);
  CHECK(!c.outcome(seq_no{2}, none).falls_to);
  CHECK(c.outcome(seq_no{2}, none).wanted == seq_no{4});
}

TEST_CASE(
    "numbers without a message do not count as lost while the conversation goes as far in the cluster") {
  // A rescue leaves numbers out, and the store has none of the messages that it was not sent.
  const std::vector<message> mine{at(1, "the same"), at(2, "the same")};
  const auto c = compared(mine, history(6, 6, ""));
  CHECK(!c.outcome(seq_no{6}, seq_no{2}).falls_to);
  CHECK(c.outcome(seq_no{7}, seq_no{2}).falls_to == seq_no{6});
}

TEST_CASE("conversations that the cluster lists and the store does not know are opened") {
  const conversation_info known{{1, 1}, {user_id{1}, user_id{2}}, {}},
      fresh{{1, 2}, {user_id{1}, user_id{3}}, {}};
  CHECK(not_opened_yet({{known, fresh}, false}, {known}) == std::vector{fresh});
  CHECK(not_opened_yet({{known}, false}, {known}).empty());
}

TEST_CASE("a conversation ends where it says, although the inbox may have been told of more") {
  CHECK(end_of_listed(seq_no{8}, {false, seq_no{7}}) == seq_no{7}); // its shard was rescued
  CHECK(end_of_listed(seq_no{8}, {false, seq_no{9}}) == seq_no{8}); // what is new comes through the inbox
  CHECK(end_of_listed(seq_no{8}, {}) == seq_no::none);              // it is lost as a whole
}
