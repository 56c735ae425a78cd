// The cluster may have another history than the device: its shards were rescued. As protocol/client/device does it: a device
// whose place the inbox does not know, or which finds that one of its newest messages is another one there, starts over. It
// compares all conversations, gives up what the cluster has lost, and fetches what it has not.
#include "protocol/client/rules/fork_search.hpp"
#include "tests/sim/sim_client_program.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace parley::sim {
namespace {

constexpr std::size_t conversations_looked_at = 8;
constexpr seq_no end_of_all{std::numeric_limits<std::int64_t>::max()};
constexpr std::uint32_t list_items = 4;

bool is_same(const core::message& there, const message& mine) {
  return there.seq == mine.seq && there.from == mine.sender && there.client_id == mine.client_id &&
         there.body.view() == mine.body;
}

} // namespace

/// One conversation under comparison.
struct sim_client_program::comparison {
  conversation_id conversation;
  seq_no newest; ///< of this device
  client::fork_search search;
  seq_no last{}; ///< of the cluster
  std::vector<conversation_id> left;
  std::function<void()> done;
};

/// After a login, of which the inbox knows that the device has acknowledged so much.
void sim_client_program::begin_stream(inbox_pos acknowledged) {
  const auto begin = [this, acknowledged] {
    const auto applied = place(in_.acks().applied());
    // An empty cursor means what the device has acknowledged: nothing, or what was there when it was added.
    link_->receive(applied == inbox_pos::none ? acknowledged : applied);
    if (in_.acks().idle() && applied > acknowledged)
      in_.acks().forgotten(place(acknowledged));
    send_ack();
  };
  if (store_.where().compare) {
    in_.acks().restore({}, {});
    std::set<conversation_id> all;
    for (const auto& [c, at] : store_.applied().positions)
      all.insert(c);
    for (const auto& c : store_.conversations())
      all.insert(c.conversation);
    return compare_all({all.begin(), all.end()}, begin);
  }
  if (!judge_.has_rescues() || !in_.acks().idle() || place(in_.acks().applied()) <= acknowledged)
    return begin();
  judge_history(newest_of_all(), [this, begin](bool same) {
    if (same)
      return begin();
    start_over();
    cut();
  });
}

void sim_client_program::start_over() {
  sim_.note("starts-over", number(device_));
  store_.start_over();
  in_.acks().restore({}, {});
}

std::vector<message> sim_client_program::newest_of_all() {
  std::vector<message> all;
  for (const auto& [c, at] : store_.applied().positions)
    for (auto& m : store_.newest(c, end_of_all, 1))
      all.push_back(std::move(m));
  std::ranges::stable_sort(all, std::greater{}, &message::at);
  if (all.size() > conversations_looked_at)
    all.resize(conversations_looked_at);
  return all;
}

void sim_client_program::judge_history(std::vector<message> newest, std::function<void(bool)> done) {
  if (newest.empty())
    return done(true);
  const auto mine = std::move(newest.back());
  newest.pop_back();
  look(mine, [this, newest = std::move(newest), done](bool same, seq_no) {
    if (!same)
      return done(false);
    judge_history(newest, done);
  });
}

/// Ends the connection if the cluster cannot tell now.
void sim_client_program::look(const message& mine, std::function<void(bool, seq_no)> done) {
  const auto make = [this, c = mine.conversation, seq = mine.seq] {
    return core::call{
        core::sync_conversation{c, user_, seq == seq_no::none ? seq : seq_no{number(seq) - 1}, 1}};
  };
  ask({make,
       [this, mine, done](core::answer* a, const client::failure& why) {
         if (a == nullptr)
           return why.code == ec::no_such_conversation || why.code == ec::not_a_member ? done(false, {})
                                                                                       : cut();
         const auto* page = core::answer_if<core::sync_conversation>(*a);
         if (page == nullptr)
           return sim_.violate("a sync is answered as another call");
         done(!page->messages.empty() && is_same(page->messages.front(), mine), page->last);
       },
       asking(), link_});
}

void sim_client_program::compare_all(std::vector<conversation_id> left, std::function<void()> done) {
  if (left.empty()) // what was acknowledged with the old place may be of conversations that are not known here
    return fetch_missing({}, [this, done] {
      store_.compared();
      done();
    });
  const auto c = left.back();
  left.pop_back();
  const auto mine = store_.newest(c, end_of_all, 1);
  const auto newest = mine.empty() ? seq_no::none : mine.front().seq;
  compare(std::make_shared<comparison>(
      comparison{c, newest, client::fork_search{newest}, {}, std::move(left), std::move(done)}));
}

void sim_client_program::compare(std::shared_ptr<comparison> one) {
  while (const auto upto = one->search.next()) {
    const auto mine = store_.newest(one->conversation, *upto, 1);
    if (!mine.empty() && mine.front().seq > one->search.same_upto())
      return look(mine.front(), [this, one, seq = mine.front().seq](bool same, seq_no last) {
        one->search.answer(seq, same);
        one->last = std::max(one->last, last);
        compare(one);
      });
    one->search.nothing();
  }
  if (one->newest != seq_no::none)
    return settle(*one);
  message none;
  none.conversation = one->conversation;
  look(none, [this, one](bool, seq_no last) {
    one->last = last;
    settle(*one);
  });
}

void sim_client_program::settle(const comparison& one) {
  const auto c = one.conversation;
  const auto there = store_.newest(c, end_of_all, 1);
  const auto wanted = std::max(one.last, there.empty() ? seq_no::none : there.front().seq);
  const bool lost = one.newest > one.search.same_upto();
  if (lost || position(c) > one.last) {
    const auto upto = lost ? one.search.same_upto() : one.last;
    sim_.note("falls", number(device_), c.hi, number(upto));
    store_.roll_back(c, upto);
    in_.applier().fall(c, upto);
    reads_.fall(c, upto);
  }
  const auto go_on = [this, one](reply) {
    if (position(one.conversation) < one.last)
      return cut();
    compare_all(one.left, one.done);
  };
  if (position(c) >= wanted)
    return go_on(reply::given);
  heal({c, position(c), wanted}, go_on);
}

void sim_client_program::fetch_missing(conversation_id after, std::function<void()> done) {
  const auto make = [this, after] { return core::call{core::list_conversations{user_, after, list_items}}; };
  ask({make,
       [this, done](core::answer* a, const client::failure&) {
         if (a == nullptr)
           return cut();
         const auto* list = core::answer_if<core::list_conversations>(*a);
         if (list == nullptr)
           return sim_.violate("a list is answered as another call");
         fetch_listed(std::make_shared<core::conversation_list>(*list), 0, done);
       },
       asking(), link_});
}

void sim_client_program::fetch_listed(std::shared_ptr<core::conversation_list> list, std::size_t at,
                                      std::function<void()> done) {
  if (at == list->items.size()) {
    if (list->more == 0 || list->items.empty())
      return done();
    return fetch_missing(list->items.back().conversation, done);
  }
  const auto& c = list->items[at];
  const auto go_on = [this, list, at, done](reply) {
    if (position(list->items[at].conversation) < list->items[at].last)
      return cut();
    fetch_listed(list, at + 1, done);
  };
  if (position(c.conversation) >= c.last)
    return go_on(reply::given);
  heal({c.conversation, position(c.conversation), c.last}, go_on);
}

} // namespace parley::sim
