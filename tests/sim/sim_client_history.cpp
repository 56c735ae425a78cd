// The cluster may have another history than the device: its shards were rescued. What the device does then is decided by
// client::history_rules; here it is asked, kept and fetched, as protocol/client/device/history_check does it.
#include "protocol/client/rules/history_rules.hpp"
#include "tests/sim/sim_client_program.hpp"

#include <algorithm>

namespace parley::sim {
namespace {

constexpr std::uint32_t list_items = 4;

} // namespace

/// After a login, of which the inbox knows that the device has acknowledged so much.
void sim_client_program::begin_stream(inbox_pos acknowledged) {
  const auto begin = [this, acknowledged] {
    const auto applied = place(in_.acks().applied());
    // An empty cursor means what the device has acknowledged: nothing, or what was there when it was added.
    link_->receive(applied == inbox_pos::none ? acknowledged : applied);
    send_ack();
  };
  if (store_.where().compare) {
    in_.acks().restore({}, {});
    return compare_all(known(), begin);
  }
  if (place(in_.acks().applied()) <= acknowledged)
    return begin();
  const bool idle = in_.acks().idle(); // else the acknowledgement is on its way
  const auto judged = [this, acknowledged, begin, idle](const client::judgement& judged) {
    switch (client::after_judging(judged.history, idle && in_.acks().idle(), store_.where().compare)) {
    case client::late_place::go_on:
      return begin();
    case client::late_place::offer_again:
      in_.acks().forgotten(place(acknowledged));
      return begin();
    case client::late_place::ask_later:
      if (in_.doubt(judged.doubts, place(acknowledged)))
        fetch_held_later();
      return begin();
    case client::late_place::begin_again:
      start_over();
      store_.compared();
      return cut();
    case client::late_place::start_over:
      start_over();
      return cut();
    }
  };
  if (judge_.has_rescues())
    judge_history(judged);
  else
    judged({client::history_verdict::same, {}}); // only a rescue gives the cluster another history
}

void sim_client_program::start_over() {
  sim_.note("starts-over", number(device_));
  store_.start_over();
  in_.acks().restore({}, {});
}

std::vector<conversation_id> sim_client_program::known() {
  return client::known_conversations(store_.applied(), store_.conversations());
}

std::optional<message> sim_client_program::newest(conversation_id c, seq_no upto) {
  auto found = store_.newest(c, upto, 1);
  return found.empty() ? std::nullopt : std::optional{std::move(found.front())};
}

/// Nothing: the cluster cannot tell now.
void sim_client_program::look(conversation_id c, seq_no seq, std::optional<message> mine,
                              std::function<void(std::optional<client::finding>)> done) {
  const auto make = [this, c, seq] {
    return core::call{core::sync_conversation{c, user_, client::asked_after(seq), 1}};
  };
  ask({make,
       [this, mine = std::move(mine), done](core::answer* a, const client::failure& why) {
         if (a == nullptr)
           return done(client::lacks_conversation(why.code) ? std::optional{client::finding{}}
                                                            : std::nullopt);
         const auto* page = core::answer_if<core::sync_conversation>(*a);
         if (page == nullptr)
           return sim_.violate("a sync is answered as another call");
         done(client::found_in(as_client_sees(*page), mine ? &*mine : nullptr));
       },
       asking(), link_});
}

void sim_client_program::judge_history(std::function<void(client::judgement)> done) {
  std::vector<message> all;
  for (const auto& c : known())
    if (auto m = newest(c, client::above_all))
      all.push_back(std::move(*m));
  all = client::telling_messages(std::move(all));
  if (all.empty())
    return done(client::judge_history({}, {}));
  struct looks {
    std::vector<client::doubt> telling;
    std::vector<std::optional<client::finding>> found;
    std::size_t open;
  };
  const auto answers = std::make_shared<looks>(looks{{}, {}, all.size()});
  for (const auto& m : all)
    answers->telling.push_back({m.conversation, m.seq});
  answers->found.resize(all.size());
  for (std::size_t i = 0; i < all.size(); ++i)
    look(all[i].conversation, all[i].seq, all[i],
         [answers, i, done](const std::optional<client::finding>& found) {
           answers->found[i] = found;
           if (--answers->open == 0)
             done(client::judge_history(answers->telling, answers->found));
         });
}

void sim_client_program::compare_held(client::doubt at, std::function<void()> done) {
  look(at.conversation, at.seq, newest(at.conversation, at.seq),
       [this, at, done](const std::optional<client::finding>& there) {
         if (in_.doubted(at.conversation) != at.seq)
           return done();
         if (!there)
           return fetch_held(at.conversation, done);
         if (!there->same) {
           start_over();
           return cut();
         }
         in_.confirmed(at.conversation);
         fetch_held(std::nullopt, done);
       });
}

void sim_client_program::compare_all(std::vector<conversation_id> all, std::function<void()> done) {
  compare_next(std::make_shared<std::vector<conversation_id>>(std::move(all)), 0, std::move(done));
}

void sim_client_program::compare_next(std::shared_ptr<std::vector<conversation_id>> all, std::size_t at,
                                      std::function<void()> done) {
  if (at ==
      all->size()) // what was acknowledged with the old place may be of conversations that are not known here
    return fetch_missing({}, [this, done] {
      store_.compared();
      done();
    });
  const auto c = (*all)[at];
  const auto mine = newest(c, client::above_all);
  compare(std::make_shared<client::history_comparison>(c, mine ? mine->seq : seq_no::none),
          [this, all, at, done] { compare_next(all, at + 1, done); });
}

void sim_client_program::compare(std::shared_ptr<client::history_comparison> one,
                                 std::function<void()> done) {
  auto next = one->next([&](seq_no upto) { return newest(one->conversation(), upto); });
  if (!next)
    return settle(*one, std::move(done));
  look(one->conversation(), next->seq, std::move(next->mine),
       [this, one, seq = next->seq, done](const std::optional<client::finding>& found) {
         if (!found)
           return cut();
         one->found(seq, *found);
         compare(one, done);
       });
}

void sim_client_program::settle(const client::history_comparison& one, std::function<void()> done) {
  const auto c = one.conversation();
  const auto mine = newest(c, client::above_all);
  const auto repair = one.outcome(position(c), mine ? mine->seq : seq_no::none);
  if (repair.falls_to) {
    sim_.note("falls", number(device_), c.hi, number(*repair.falls_to));
    store_.roll_back(c, *repair.falls_to);
    in_.applier().fall(c, *repair.falls_to);
    reads_.fall(c, *repair.falls_to);
  }
  fetch_upto(c, one.last(), repair.wanted, std::move(done));
}

/// Ends the connection if it does not get to `last`; goes on to `wanted` if the conversation is as long.
void sim_client_program::fetch_upto(conversation_id c, seq_no last, seq_no wanted,
                                    std::function<void()> done) {
  if (position(c) >= wanted)
    return done();
  heal({c, position(c), wanted}, [this, c, last, done](reply) {
    if (position(c) < last)
      return cut();
    done();
  });
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
         auto seen = as_client_sees(*list);
         client::applied_batch batch;
         batch.opened = client::not_opened_yet(seen, store_.conversations());
         store_.apply(batch);
         fetch_listed(std::make_shared<conversation_list>(std::move(seen)), 0, done);
       },
       asking(), link_});
}

void sim_client_program::fetch_listed(std::shared_ptr<conversation_list> list, std::size_t at,
                                      std::function<void()> done) {
  if (at == list->items.size()) {
    if (!list->more || list->items.empty())
      return done();
    return fetch_missing(list->items.back().conversation, done);
  }
  const auto& c = list->items[at];
  fetch_told(c.conversation, c.last, [this, list, at, done] { fetch_listed(list, at + 1, done); });
}

/// Up to `told`, which is the inbox's word, or to where the conversation ends itself.
void sim_client_program::fetch_told(conversation_id c, seq_no told, std::function<void()> done) {
  if (position(c) >= told)
    return done();
  heal({c, position(c), told}, [this, c, told, done](reply got) {
    if (position(c) >= told)
      return done();
    if (got == reply::not_now)
      return cut();
    look(c, seq_no::none, std::nullopt, [this, c, told, done](const std::optional<client::finding>& there) {
      if (!there || position(c) < client::end_of_listed(told, *there))
        return cut();
      done();
    });
  });
}

} // namespace parley::sim
