#include "protocol/client/device/history_check.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace parley::client {
namespace {

/// So many conversations show whether the cluster has another history.
constexpr std::size_t conversations_looked_at = 8;
constexpr seq_no end_of_all{std::numeric_limits<std::int64_t>::max()};

/// Whether two messages with one number are one message. The cluster gives a message that it numbers again
/// another time, so time does not count.
bool is_same(const message& a, const message& b) {
  return a.seq == b.seq && a.sender == b.sender && a.client_id == b.client_id && a.body == b.body;
}

failure stopped_short() {
  return {ec::unavailable, "The conversation could not be fetched to its end.", {}};
}

using answer = result<nothing>;

} // namespace

/// One conversation under comparison.
struct history_check::comparison {
  conversation_id conversation;
  seq_no newest; ///< of this device
  fork_search search;
  seq_no last{}; ///< of the cluster
};

std::optional<message> history_check::newest(conversation_id c, seq_no upto) {
  auto found = store_.newest(c, upto, 1);
  if (found.empty())
    return std::nullopt;
  return std::move(found.front());
}

std::vector<conversation_id> history_check::known() {
  std::set<conversation_id> all;
  for (const auto& [c, at] : store_.applied().positions)
    all.insert(c);
  for (const auto& c : store_.conversations())
    all.insert(c.conversation);
  return {all.begin(), all.end()};
}

kj::Promise<result<history_check::finding>> history_check::look(conversation_id c, seq_no seq,
                                                                std::optional<message> mine) {
  const seq_no before{seq == seq_no::none ? 0 : number(seq) - 1};
  return calls_.sync_conversation(c, before, 1)
      .then([mine = std::move(mine)](result<conversation_page>&& page) -> result<finding> {
        if (page)
          return finding{mine && !page->messages.empty() && is_same(page->messages[0], *mine), page->last};
        const auto code = page.error().code;
        if (code == ec::no_such_conversation || code == ec::not_a_member)
          return finding{}; // it was opened after the copy was made
        return tl::unexpected{std::move(page.error())};
      });
}

// --- is it another history? --------------------------------------------------------------------------------

kj::Promise<history_check::verdict> history_check::judge() {
  std::vector<message> all;
  for (const auto& c : known())
    if (auto m = newest(c, end_of_all))
      all.push_back(std::move(*m));
  std::sort(all.begin(), all.end(), [](const message& a, const message& b) { return a.at > b.at; });
  if (all.size() > conversations_looked_at)
    all.resize(conversations_looked_at);
  // All at once: one that has no answer takes as long as all of them.
  auto looks = kj::heapArrayBuilder<kj::Promise<verdict>>(all.size());
  for (auto& mine : all) {
    const auto c = mine.conversation;
    const auto seq = mine.seq;
    looks.add(look(c, seq, std::move(mine)).then([](result<finding>&& found) {
      if (!found)
        return verdict::unknown;
      return found->same ? verdict::same : verdict::other;
    }));
  }
  return kj::joinPromises(looks.finish()).then([](kj::Array<verdict>&& found) {
    const auto any = [&](verdict v) { return std::find(found.begin(), found.end(), v) != found.end(); };
    if (any(verdict::other))
      return verdict::other;
    return found.size() == 0 || any(verdict::unknown) ? verdict::unknown : verdict::same;
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
  const auto mine = newest(c, end_of_all);
  const auto upto = mine ? mine->seq : seq_no::none;
  return compare(std::make_shared<comparison>(comparison{c, upto, fork_search{upto}}))
      .then([this, all, at](answer&& done) -> kj::Promise<answer> {
        if (!done)
          return kj::mv(done);
        return repair_next(all, at + 1);
      });
}

kj::Promise<answer> history_check::compare(std::shared_ptr<comparison> one) {
  std::optional<message> mine;
  while (const auto upto = one->search.next()) {
    mine = newest(one->conversation, *upto);
    if (mine && mine->seq > one->search.same_upto())
      break;
    one->search.nothing();
    mine.reset();
  }
  if (!mine) {
    if (one->newest != seq_no::none)
      return settle(*one);
    // This store keeps no messages to compare: only the numbers tell anything.
    return look(one->conversation, seq_no::none, std::nullopt)
        .then([this, one](result<finding>&& found) -> kj::Promise<answer> {
          if (!found)
            return answer{tl::unexpected{std::move(found.error())}};
          one->last = found->last;
          return settle(*one);
        });
  }
  const auto seq = mine->seq;
  return look(one->conversation, seq, std::move(mine))
      .then([this, one, seq](result<finding>&& found) -> kj::Promise<answer> {
        if (!found)
          return answer{tl::unexpected{std::move(found.error())}};
        one->search.answer(seq, found->same);
        one->last = std::max(one->last, found->last);
        return compare(one);
      });
}

kj::Promise<answer> history_check::settle(const comparison& one) {
  const auto c = one.conversation;
  const auto position = applier_.position(c);
  // What this device has sent meanwhile is behind the difference as well: it is fetched again.
  const auto mine = newest(c, end_of_all);
  const auto wanted = std::max(one.last, mine ? mine->seq : seq_no::none);
  const bool lost = one.newest > one.search.same_upto();
  if (lost || position > one.last) {
    const auto upto = lost ? one.search.same_upto() : one.last;
    if (!kept(host_, [&] { store_.roll_back(c, upto); }))
      return answer{tl::unexpected{host_.why_halted()}};
    applier_.fall(c, upto);
    reads_.fall(c, upto);
  }
  return fetch_upto(c, one.last, wanted).then([this](answer&& done) -> answer {
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
        std::set<conversation_id> here;
        for (const auto& c : store_.conversations())
          here.insert(c.conversation);
        for (const auto& c : list->items)
          if (!here.contains(c.conversation))
            batch.opened.push_back(c);
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
  return fetch_upto(c.conversation, c.last, c.last)
      .then([this, list, at, then](answer&& done) -> kj::Promise<answer> {
        if (!done && (host_.halted() || then == if_away::fail))
          return kj::mv(done);
        const auto& [c, members, last] = list->items[at];
        if (!done)
          hold_({c, applier_.position(c), last});
        return fetch_listed(list, at + 1, then);
      });
}

} // namespace parley::client
