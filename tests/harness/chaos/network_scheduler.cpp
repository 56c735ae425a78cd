#include "tests/harness/chaos/network_scheduler.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace parley::chaos {

using test::path;
using test::path_settings;

std::string_view name_of(network_fault f) {
  constexpr std::array<std::string_view, network_fault_kinds> names{
      "alone",    "halves", "one-way", "ring",  "leader alone",
      "flapping", "delay",  "rate",    "stall", "cut after"};
  return names.at(static_cast<std::size_t>(f));
}

std::uint64_t effect(network_fault f, const test::path_counters& c) {
  switch (f) {
  case network_fault::alone:
  case network_fault::halves:
  case network_fault::one_way:
  case network_fault::ring:
  case network_fault::leader_alone:
  case network_fault::flapping:
    return c.cut + c.refused + c.swallowed;
  case network_fault::delay:
    return c.delayed;
  case network_fault::rate:
    return c.paced;
  case network_fault::stall:
    return c.held;
  case network_fault::cut_after:
    return c.cut;
  }
  return 0;
}

network_scheduler::network_scheduler(network_config config, std::uint64_t seed, std::size_t nodes)
    : config_{config}, random_{seed * 0x9e3779b97f4a7c15ULL + 7}, nodes_{nodes} {
  refill();
  next_at_ = between(config_.calm_min, config_.calm_min * 2);
  const auto fit = static_cast<std::size_t>(
      std::max<std::int64_t>(1, (config_.length - config_.disk_reserve) / config_.room_for_each));
  promised_.assign(bag_.rbegin(), bag_.rbegin() + static_cast<std::ptrdiff_t>(std::min(fit, bag_.size())));
}

milliseconds network_scheduler::between(milliseconds low, milliseconds high) {
  const auto span = static_cast<std::uint64_t>((high - low).count()) + 1;
  return low + milliseconds{static_cast<std::int64_t>(random_() % span)};
}

/// Every kind once, in a drawn order: no kind waits for its luck.
void network_scheduler::refill() {
  using f = network_fault;
  if (config_.partitions)
    bag_.insert(bag_.end(), {f::alone, f::halves, f::one_way, f::ring, f::leader_alone, f::flapping});
  if (config_.links)
    bag_.insert(bag_.end(), {f::delay, f::rate, f::stall, f::cut_after});
  for (std::size_t i = bag_.size(); i > 1; --i)
    std::swap(bag_[i - 1], bag_[static_cast<std::size_t>(random_() % i)]);
}

/// Whether what is promised fits in only if no fault waits for the cluster to be whole.
bool network_scheduler::late(milliseconds now) const {
  const auto to_come = promised_.size() > begun_ ? promised_.size() - begun_ : 0;
  return config_.length - now < config_.room_for_each * static_cast<std::int64_t>(to_come);
}

bool network_scheduler::asks_for_leader() const {
  return !active_ && !bag_.empty() && bag_.back() == network_fault::leader_alone;
}

std::optional<network_step> network_scheduler::tick(milliseconds now, const network_view& view) {
  if (active_ && now >= ends_at_) {
    next_at_ = now + between(config_.calm_min, config_.calm_min * 2);
    return heal();
  }
  if (active_ && now_ == network_fault::flapping && now >= flaps_at_) {
    flaps_at_ += config_.flap;
    flapped_ = !flapped_;
    network_step step{network_step::what::change, now_, broken_};
    for (auto& s : step.set)
      s.as = flapped_ ? path{} : s.as;
    return step;
  }
  if (active_ || bag_.empty() || now < next_at_ || view.disk_missing ||
      now + config_.partition_min > config_.length)
    return std::nullopt;
  const bool fit = view.whole && (!asks_for_leader() || view.leader != 0);
  if (!fit && !late(now) && now < next_at_ + config_.calm_wait)
    return std::nullopt;
  return begin(now, view);
}

network_step network_scheduler::begin(milliseconds now, const network_view& view) {
  now_ = bag_.back();
  bag_.pop_back();
  ++begun_;
  active_ = true;
  flapped_ = false;
  ends_at_ = now + draw_length(now_, now);
  flaps_at_ = now + config_.flap;
  broken_ = settings_of(now_, view);
  if (bag_.empty())
    refill();
  return {network_step::what::begin, now_, broken_};
}

std::optional<network_step> network_scheduler::heal() {
  if (!active_)
    return std::nullopt;
  active_ = false;
  network_step step{network_step::what::end, now_, std::move(broken_)};
  for (auto& s : step.set)
    s.as = path{};
  return step;
}

void network_scheduler::once_more() {
  bag_.push_back(now_);
  --begun_;
}

/// Most are short: the product of two draws favours small values. What is promised has to fit in.
milliseconds network_scheduler::draw_length(network_fault f, milliseconds now) {
  if (f == network_fault::stall)
    return config_.stall;
  const bool link = f >= network_fault::delay;
  const auto low = link ? config_.link_min : config_.partition_min;
  const auto high = link ? config_.link_max : config_.partition_max;
  const auto draw =
      static_cast<double>(random_() % 1000) / 1000 * static_cast<double>(random_() % 1000) / 1000;
  const auto drawn =
      low + milliseconds{static_cast<std::int64_t>(static_cast<double>((high - low).count()) * draw)};
  const auto to_come = promised_.size() > begun_ ? promised_.size() - begun_ : 0;
  const auto kept = to_come == 0
                        ? milliseconds{0}
                        : config_.room_for_each * static_cast<std::int64_t>(to_come) + config_.disk_reserve;
  const auto left = config_.length - now - kept;
  return std::clamp(drawn, low, std::max(low, left));
}

path network_scheduler::broken() {
  path p;
  p.how = coin() ? path::mode::cut : path::mode::blackhole;
  return p;
}

/// Both directions between a node and every other one.
void network_scheduler::isolate(path_settings& out, std::size_t node, path as) const {
  for (std::size_t n = 1; n <= nodes_; ++n) {
    if (n == node)
      continue;
    out.push_back({node, n, as});
    out.push_back({n, node, as});
  }
}

/// The links of one node, its clients' too; those of all clients; or all.
path_settings network_scheduler::scope(path as) {
  path_settings out;
  const auto which = random_() % 3;
  const auto node = any_node();
  for (std::size_t from = 0; from <= nodes_; ++from) {
    for (std::size_t to = 0; to <= nodes_; ++to) {
      const bool of_node = from == node || to == node;
      const bool of_clients = from == 0 || to == 0;
      if (from != to && (which == 0 ? of_node : which == 1 ? of_clients : true))
        out.push_back({from, to, as});
    }
  }
  return out;
}

path_settings network_scheduler::settings_of(network_fault f, const network_view& view) {
  path_settings out;
  switch (f) {
  case network_fault::alone:
  case network_fault::flapping:
    isolate(out, any_node(), broken());
    break;
  case network_fault::leader_alone:
    isolate(out, view.leader != 0 ? view.leader : any_node(), broken());
    break;
  case network_fault::halves: {
    std::vector<std::size_t> all(nodes_);
    std::iota(all.begin(), all.end(), std::size_t{1});
    std::shuffle(all.begin(), all.end(), random_);
    const std::vector<std::size_t> one(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(nodes_ / 2));
    const auto in_one = [&](std::size_t n) { return std::find(one.begin(), one.end(), n) != one.end(); };
    const bool clients_in_one = coin();
    const auto as = broken();
    for (std::size_t from = 0; from <= nodes_; ++from) {
      for (std::size_t to = 0; to <= nodes_; ++to) {
        if ((from == 0 ? clients_in_one : in_one(from)) != (to == 0 ? clients_in_one : in_one(to)))
          out.push_back({from, to, as});
      }
    }
    break;
  }
  case network_fault::one_way: {
    const auto node = any_node();
    const bool deaf = coin();
    path p;
    p.how = path::mode::blackhole;
    for (std::size_t n = 1; n <= nodes_; ++n) {
      if (n != node)
        out.push_back(deaf ? test::path_setting{n, node, p} : test::path_setting{node, n, p});
    }
    break;
  }
  case network_fault::ring: {
    const auto as = broken();
    const auto bridge = any_node(); // of three nodes: the one that still has both neighbours
    for (std::size_t a = 1; a <= nodes_; ++a) {
      for (std::size_t b = 1; b <= nodes_; ++b) {
        const auto apart = a > b ? a - b : b - a;
        const bool neighbours = apart == 1 || apart == nodes_ - 1;
        if (a != b && (nodes_ == 3 ? a != bridge && b != bridge : !neighbours))
          out.push_back({a, b, as});
      }
    }
    break;
  }
  case network_fault::delay: {
    path p;
    p.delay = config_.delay;
    p.jitter = config_.jitter;
    return scope(p);
  }
  case network_fault::rate: {
    path p;
    p.bytes_per_second = config_.bytes_per_second;
    return scope(p);
  }
  case network_fault::stall: {
    path p;
    p.how = path::mode::stall;
    return scope(p);
  }
  case network_fault::cut_after: {
    // Each order of magnitude is as likely as the next: within a handshake, within a frame, after many.
    const auto low = std::log2(static_cast<double>(config_.cut_after_min));
    const auto high = std::log2(static_cast<double>(config_.cut_after_max));
    path p;
    p.cut_after = static_cast<std::uint64_t>(
        std::exp2(low + (high - low) * static_cast<double>(random_() % 1000) / 1000));
    return scope(p);
  }
  }
  return out;
}

} // namespace parley::chaos
