#include "protocol/client/device/history_check.hpp"

namespace parley::client {
namespace {

failure stopped_short() {
  return {ec::unavailable, "The conversation could not be fetched to its end.", {}};
}

using answer = result<nothing>;

} // namespace

std::optional<message> history_check::newest(conversation_id c, seq_no upto) {
  auto found = store_.newest(c, upto, 1);
  if (found.empty())
    return std::nullopt;
  return std::move(found.front());
}

std::vector<conversation_id> history_check::known() {
  return known_conversations(store_.applied(), store_.conversations());
}

kj::Promise<result<finding>> history_check::look(conversation_id c, seq_no seq, std::optional<message> mine) {
  return calls_.sync_conversation(c, asked_after(seq), 1)
      .then([mine = std::move(mine)](result<conversation_page>&& page) -> result<finding> {
        if (page)
          return found_in(*page, mine ? &*mine : nullptr);
        if (lacks_conversation(page.error().code))
          return finding{};
        return tl::unexpected{std::move(page.error())};
      });
}

// --- is it another history? --------------------------------------------------------------------------------

kj::Promise<judgement> history_check::judge() {
  std::vector<message> all;
  for (const auto& c : known())
    if (auto m = newest(c, above_all))
      all.push_back(std::move(*m));
  all = telling_messages(std::move(all));
  // All at once: one that has no answer takes as long as all of them.
  auto looks = kj::heapArrayBuilder<kj::Promise<std::optional<finding>>>(all.size());
  std::vector<doubt> telling;
  for (auto& mine : all) {
    const auto c = mine.conversation;
    const auto seq = mine.seq;
    telling.push_back({c, seq});
    looks.add(look(c, seq, std::move(mine)).then([](result<finding>&& found) {
      return found ? std::optional{*found} : std::nullopt;
    }));
  }
  return kj::joinPromises(looks.finish())
      .then([telling = std::move(telling)](kj::Array<std::optional<finding>>&& found) {
        return judge_history(telling, {found.begin(), found.size()});
      });
}

// --- the cluster was put back ------------------------------------------------------------------------------

kj::Promise<answer> history_check::repair() {
  return repair_next(std::make_shared<std::vector<conversation_id>>(known()), 0);
}

kj::Promise<answer> history_check::repair_next(std::shared_ptr<std::vector<conversation_id>> all,
                                               std::size_t at) {
  if (host_.halted())
    return answer{tl::unexpected{host_.why_halted()}};
  if (at == all->size())
    // Rows of conversations that are not known here may have been acknowledged with the old cursor.
    return fetch_missing(if_away::fail).then([this](answer&& done) -> answer {
      if (done && !kept(host_, [&] { store_.compared(); }))
        return tl::unexpected{host_.why_halted()};
      return kj::mv(done);
    });
  const auto c = (*all)[at];
  const auto mine = newest(c, above_all);
  const auto upto = mine ? mine->seq : seq_no::none;
  return compare(std::make_shared<history_comparison>(c, upto))
      .then([this, all, at](answer&& done) -> kj::Promise<answer> {
        if (!done)
          return kj::mv(done);
        return repair_next(all, at + 1);
      });
}

kj::Promise<answer> history_check::compare(std::shared_ptr<history_comparison> one) {
  auto next = one->next([&](seq_no upto) { return newest(one->conversation(), upto); });
  if (!next)
    return settle(*one);
  return look(one->conversation(), next->seq, std::move(next->mine))
      .then([this, one, seq = next->seq](result<finding>&& found) -> kj::Promise<answer> {
        if (!found)
          return answer{tl::unexpected{std::move(found.error())}};
        one->found(seq, *found);
        return compare(one);
      });
}

kj::Promise<answer> history_check::settle(const history_comparison& one) {
  const auto c = one.conversation();
  const auto mine = newest(c, above_all);
  const auto repair = one.outcome(applier_.position(c), mine ? mine->seq : seq_no::none);
  if (repair.falls_to) {
    const auto upto = *repair.falls_to;
    if (!kept(host_, [&] { store_.roll_back(c, upto); }))
      return answer{tl::unexpected{host_.why_halted()}};
    applier_.fall(c, upto);
    reads_.fall(c, upto);
  }
  return fetch_upto(c, one.last(), repair.wanted).then([this](answer&& done) -> answer {
    if (done)
      tell_lost();
    return kj::mv(done);
  });
}

void history_check::tell_lost() {
  kept(host_, [&] {
    const auto lost = store_.lost();
    for (const auto& m : lost)
      if (const auto here = newest(m.conversation, m.seq); !here || !is_same(*here, m))
        observer_.on_lost(m);
    if (!lost.empty())
      store_.told_lost();
  });
}

kj::Promise<answer> history_check::fetch_upto(conversation_id c, seq_no last, seq_no wanted) {
  if (applier_.position(c) >= wanted)
    return answer{};
  return fetch_({c, applier_.position(c), wanted}).then([this, c, last](answer&& asked) -> answer {
    if (applier_.position(c) >= last)
      return {};
    if (host_.halted())
      return tl::unexpected{host_.why_halted()};
    return tl::unexpected{asked ? stopped_short() : std::move(asked.error())};
  });
}

// --- the profile was put back ------------------------------------------------------------------------------

kj::Promise<answer> history_check::fetch_missing(if_away then) {
  return fetch_page({}, then);
}

kj::Promise<answer> history_check::fetch_page(conversation_id after, if_away then) {
  return calls_.conversations(after, page_items_max)
      .then([this, then](result<conversation_list>&& list) -> kj::Promise<answer> {
        if (!list)
          return answer{tl::unexpected{std::move(list.error())}};
        applied_batch batch;
        batch.opened = not_opened_yet(*list, store_.conversations());
        if (!kept(host_, [&] { store_.apply(batch); }))
          return answer{tl::unexpected{host_.why_halted()}};
        for (const auto& c : batch.opened)
          observer_.on_opened(c);
        return fetch_listed(std::make_shared<conversation_list>(std::move(*list)), 0, then);
      });
}

kj::Promise<answer> history_check::fetch_listed(std::shared_ptr<conversation_list> list, std::size_t at,
                                                if_away then) {
  if (at == list->items.size()) {
    if (!list->more || list->items.empty())
      return answer{};
    return fetch_page(list->items.back().conversation, then);
  }
  const auto& c = list->items[at];
  return fetch_told(c.conversation, c.last)
      .then([this, list, at, then](answer&& done) -> kj::Promise<answer> {
        if (!done && (host_.halted() || then == if_away::fail))
          return kj::mv(done);
        const auto& [c, members, last] = list->items[at];
        if (!done)
          hold_({c, applier_.position(c), last});
        return fetch_listed(list, at + 1, then);
      });
}

kj::Promise<answer> history_check::fetch_told(conversation_id c, seq_no told) {
  if (applier_.position(c) >= told)
    return answer{};
  return fetch_({c, applier_.position(c), told}).then([this, c, told](answer&& asked) -> kj::Promise<answer> {
    if (!asked || applier_.position(c) >= told)
      return kj::mv(asked);
    if (host_.halted())
      return answer{tl::unexpected{host_.why_halted()}};
    return look(c, seq_no::none, std::nullopt).then([this, c, told](result<finding>&& there) -> answer {
      if (!there)
        return tl::unexpected{std::move(there.error())};
      if (applier_.position(c) < end_of_listed(told, *there))
        return tl::unexpected{stopped_short()};
      return {};
    });
  });
}

} // namespace parley::client
