#include "protocol/client/rules/send_lanes.hpp"

#include <algorithm>

namespace parley::client {

void send_lanes::mark_ready(conversation_id c, lane& l) {
  if (!l.listed && !l.items.empty()) {
    l.listed = true;
    ready_.push_back(c);
  }
}

void send_lanes::landed(lane& l, const item& i) {
  --l.in_flight;
  --in_flight_;
  in_flight_bytes_ -= bytes_of(i);
}

std::deque<send_lanes::item>::iterator send_lanes::find(lane& l, std::uint64_t counter) {
  auto i = std::lower_bound(l.items.begin(), l.items.end(), counter,
                            [](const item& x, std::uint64_t n) { return x.it.counter < n; });
  return i != l.items.end() && i->it.counter == counter ? i : l.items.end();
}

void send_lanes::add(outgoing o) {
  auto& l = lanes_[o.conversation];
  const auto c = o.conversation;
  l.items.push_back({std::move(o)});
  ++size_;
  mark_ready(c, l);
}

std::uint64_t send_lanes::newest() const {
  std::uint64_t newest = 0;
  for (const auto& [c, l] : lanes_)
    if (!l.items.empty())
      newest = std::max(newest, l.items.back().it.counter);
  return newest;
}

const send_lanes::item* send_lanes::take(instant now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const auto c = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    if (auto l = lanes_.find(c); l != lanes_.end())
      mark_ready(c, l->second);
  }
  while (!ready_.empty()) {
    const auto c = ready_.front();
    auto found = lanes_.find(c);
    if (found != lanes_.end()) {
      auto& l = found->second;
      if (l.not_before <= now && l.in_flight < window_)
        for (std::size_t i = 0; i < std::min(window_, l.items.size()); ++i)
          if (auto& candidate = l.items[i]; !candidate.in_flight) {
            candidate.in_flight = true;
            ++candidate.attempts;
            candidate.taken_at = now;
            ++l.in_flight;
            ++in_flight_;
            in_flight_bytes_ += bytes_of(candidate);
            return &candidate; // the lane stays in front: its window may have room for more
          }
      l.listed = false;
      if (l.items.empty())
        lanes_.erase(found);
    }
    ready_.pop_front();
  }
  return nullptr;
}

outgoing send_lanes::settle(conversation_id c, std::uint64_t counter) {
  auto found = lanes_.find(c);
  if (found == lanes_.end())
    return {};
  auto& l = found->second;
  const auto i = find(l, counter);
  if (i == l.items.end())
    return {};
  if (i->in_flight)
    landed(l, *i);
  auto out = std::move(i->it);
  l.items.erase(i);
  --size_;
  if (l.items.empty() && !l.listed)
    lanes_.erase(found);
  else
    mark_ready(c, l);
  return out;
}

void send_lanes::again(conversation_id c, std::uint64_t counter, instant at) {
  auto found = lanes_.find(c);
  if (found == lanes_.end())
    return;
  auto& l = found->second;
  const auto i = find(l, counter);
  if (i == l.items.end() || !i->in_flight)
    return;
  landed(l, *i);
  i->in_flight = false;
  // The whole lane waits: what follows must not overtake.
  if (at > l.not_before) {
    l.not_before = at;
    delayed_.emplace(at, c);
  }
  mark_ready(c, l);
}

void send_lanes::renumbered(conversation_id c, std::uint64_t counter, std::uint64_t sent_as) {
  again(c, counter, {});
  if (const auto found = lanes_.find(c); found != lanes_.end())
    if (const auto i = find(found->second, counter); i != found->second.items.end()) {
      i->it.renumbered = sent_as;
      i->it.tried = false;
      i->attempts = 0;
      ++i->renumberings;
    }
}

const send_lanes::item* send_lanes::peek(conversation_id c, std::uint64_t counter) {
  const auto found = lanes_.find(c);
  if (found == lanes_.end())
    return nullptr;
  const auto i = find(found->second, counter);
  return i == found->second.items.end() ? nullptr : &*i;
}

} // namespace parley::client
