#include "tests/cluster/fuzz/virtual_network.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::fuzz {

void virtual_network::send(node_id from, node_id to, std::string bytes) {
  auto& c = between(from, to);
  auto& p = one_way(from, to);
  if (!c.open)
    count_idle(from, to, bytes.size());
  if (!c.open || (!p.ready && !profile_.late_frames_cross_over))
    return;
  if (p.sent - p.acknowledged + bytes.size() > profile_.window_bytes_max) {
    sim_.violate(
        fmt::format("the link from node {} to node {} overflowed: {} bytes wait, and {} more do not fit",
                    number(from), number(to), p.sent - p.acknowledged, bytes.size()));
    return break_connection(from, to);
  }
  p.sent += bytes.size();
  micros latency = sim_.luck.between(50, profile_.latency_max);
  if (!calm_ && sim_.luck.one_in(profile_.spike_one_in))
    latency += sim_.luck.between(0, profile_.latency_spike_max);
  p.last_arrival = std::max(p.last_arrival, sim_.time.now() + latency);
  p.under_way.emplace_back(p.last_arrival, std::move(bytes));
  pump(from, to);
}

// Delivers the frames that are due, and schedules itself for the others.
void virtual_network::pump(node_id from, node_id to) {
  auto& p = one_way(from, to);
  while (!p.under_way.empty() && p.how != blocked::stalls) {
    auto& [arrival, bytes] = p.under_way.front();
    if (arrival > sim_.time.now()) {
      if (!p.pumping) {
        p.pumping = true;
        sim_.time.at(arrival, [this, from, to] {
          one_way(from, to).pumping = false;
          pump(from, to);
        });
      }
      return;
    }
    auto frame = std::move(bytes);
    p.under_way.pop_front();
    if (p.how == blocked::drops) {
      p.lost_some = true;
      continue;
    }
    p.received += frame.size();
    acknowledge_soon(from, to);
    if (user_.is_up(to))
      user_.frame_arrived(to, from, std::move(frame));
  }
}

// The peer's link acknowledges what it has received, whatever its node does with it.
void virtual_network::acknowledge_soon(node_id from, node_id to) {
  sim_.time.in(profile_.latency_max, [this, from, to, epoch = between(from, to).epoch] {
    auto& p = one_way(from, to);
    if (between(from, to).epoch == epoch && !is_blocked(to, from))
      p.acknowledged = p.received;
  });
}

void virtual_network::count_idle(node_id from, node_id to, std::size_t bytes) {
  auto& p = one_way(from, to);
  const auto now = sim_.time.now();
  if (now - between(from, to).lost_at < profile_.idle_within)
    return; // the node may not know yet
  if (now - p.idle_since >= profile_.idle_within) {
    p.idle_since = now;
    p.idle_bytes = 0;
  }
  p.idle_bytes += bytes;
  if (p.idle_bytes > profile_.idle_bytes_max)
    sim_.violate(fmt::format("node {} built {} bytes within {} ms for node {}, to which it has no connection",
                             number(from), p.idle_bytes, profile_.idle_within / one_ms, number(to)));
}

std::optional<std::size_t> virtual_network::waiting(node_id from, node_id to) {
  const auto& p = one_way(from, to);
  if (!between(from, to).open)
    return std::nullopt;
  return p.sent - p.acknowledged;
}

void virtual_network::block(node_id from, node_id to, blocked how) {
  auto& p = one_way(from, to);
  const auto was = p.how;
  p.how = how;
  sim_.note("block", number(from), number(to), static_cast<std::uint64_t>(how));
  if (how == blocked::no) {
    if (was != blocked::no && p.lost_some)
      return break_connection(from, to); // a gap in the stream never closes
    pump(from, to);
    acknowledge_soon(to, from); // an acknowledgement of the other direction may have been held up
    return;
  }
  if (was == blocked::no) {
    p.blocked_since = sim_.time.now();
    watch(from, to);
  }
}

// Keep-alive: a direction that is blocked for too long breaks the connection.
void virtual_network::watch(node_id from, node_id to) {
  const auto since = one_way(from, to).blocked_since;
  sim_.time.in(profile_.keepalive, [this, from, to, since] {
    auto& p = one_way(from, to);
    if (p.how != blocked::no && p.blocked_since == since && between(from, to).open)
      break_connection(from, to);
  });
}

void virtual_network::unblock_all() {
  std::vector<std::pair<node_id, node_id>> all;
  for (auto& [ends, p] : pipes_)
    if (p.how != blocked::no)
      all.push_back(ends);
  for (auto [from, to] : all)
    block(from, to, blocked::no);
}

void virtual_network::break_connection(node_id a, node_id b) {
  auto& c = between(a, b);
  for (auto [from, to] : {std::pair{a, b}, std::pair{b, a}}) {
    auto& p = one_way(from, to);
    p.under_way.clear();
    p.lost_some = false;
    p.last_arrival = sim_.time.now();
    p.ready = false;
    p.sent = p.received = p.acknowledged = 0;
  }
  ++c.epoch;
  if (c.open)
    for (auto [at, peer] : {std::pair{a, b}, std::pair{b, a}})
      sim_.time.in(sim_.luck.between(0, profile_.notice_max), [this, at, peer, epoch = c.epoch] {
        // A connection that was already re-established has reported the loss itself.
        if (auto& now = between(at, peer); !now.open && now.epoch == epoch && user_.is_up(at))
          user_.connection_reset(at, peer);
      });
  if (c.open)
    c.lost_at = sim_.time.now();
  c.open = false;
  ++sim_.count.resets;
  sim_.note("break", number(a), number(b));
  if (!c.reconnecting)
    reconnect(a, b);
}

void virtual_network::reconnect(node_id a, node_id b) {
  between(a, b).reconnecting = true;
  sim_.time.in(sim_.luck.between(one_ms, profile_.reconnect_max), [this, a, b] {
    auto& c = between(a, b);
    if (is_blocked(a, b) || is_blocked(b, a) || !user_.is_up(a) || !user_.is_up(b) ||
        !user_.may_connect(a, b))
      return reconnect(a, b);
    c.reconnecting = false;
    c.open = true;
    sim_.note("connect", number(a), number(b));
    user_.connection_reset(a, b);
    user_.connection_reset(b, a);
  });
}

void virtual_network::break_all_of(node_id node, std::size_t nodes) {
  for (std::size_t n = 1; n <= nodes; ++n)
    if (node_id{n} != node)
      break_connection(node, node_id{n});
}

} // namespace parley::fuzz
