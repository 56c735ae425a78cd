#include "tests/harness/chaos/network_trial.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace parley::chaos {
namespace {

constexpr std::uint64_t again_max =
    3; ///< of a kind that had no effect: one that never has any is a fault of this program

} // namespace

network_trial::network_trial(test::process_cluster& cluster, const network_config& config, std::uint64_t seed)
    : cluster_{cluster}, scheduler_{config, seed, cluster.size()} {}

/// The node that leads the most shards, by the nodes' own metrics; 0 if nobody leads any.
std::size_t network_trial::leader() const {
  std::size_t best = 0;
  std::size_t most = 0;
  for (std::size_t n = 1; n <= cluster_.size(); ++n) {
    const auto leads = cluster_.leads(n);
    if (leads > most) {
      most = leads;
      best = n;
    }
  }
  return best;
}

std::uint64_t network_trial::effect_so_far(network_fault f) const {
  test::path_counters sum;
  for (const auto& s : settings_)
    sum += cluster_.network().counters(s.from, s.to);
  return effect(f, sum);
}

bool network_trial::apply(const network_step& step) {
  if (step.is == network_step::what::begin) {
    settings_ = step.set;
    now_ = step.fault;
    effect_before_ = effect_so_far(now_);
  }
  if (step.is == network_step::what::end) {
    // What was in force at the end still counts: before it is undone.
    const auto effect = effect_so_far(now_) - effect_before_;
    auto& t = tallies_.at(static_cast<std::size_t>(now_));
    if (effect > 0)
      ++t.injected;
    else if (++t.without_effect <= again_max)
      scheduler_.once_more();
    t.effect += effect;
  }
  cluster_.network().set(step.set);
  return step.is == network_step::what::end;
}

bool network_trial::tick(milliseconds now, network_view view) {
  if (scheduler_.asks_for_leader() && view.whole)
    view.leader = leader();
  const auto step = scheduler_.tick(now, view);
  return step && apply(*step);
}

bool network_trial::heal() {
  const auto step = scheduler_.heal();
  return step && apply(*step);
}

std::string network_trial::current() const {
  return scheduler_.active() ? std::string{name_of(now_)} : std::string{};
}

std::string network_trial::summary() const {
  std::string out;
  for (std::size_t i = 0; i < tallies_.size(); ++i) {
    const auto& t = tallies_[i];
    if (t.injected + t.without_effect == 0)
      continue;
    out += (out.empty() ? "" : "  ") + std::string{name_of(static_cast<network_fault>(i))} + " " +
           std::to_string(t.injected);
    if (t.without_effect != 0)
      out += " (and " + std::to_string(t.without_effect) + " without effect)";
  }
  return out.empty() ? "none" : out;
}

std::string network_trial::json() const {
  std::string out;
  for (std::size_t i = 0; i < tallies_.size(); ++i) {
    std::string name{name_of(static_cast<network_fault>(i))};
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c == ' ' || c == '-'; }, '_');
    out += (out.empty() ? "\"" : ",\"") + name + "\":" + std::to_string(tallies_[i].injected);
  }
  return "{" + out + "}";
}

std::vector<std::string> network_trial::missing() const {
  std::vector<std::string> out;
  for (const auto f : scheduler_.promised()) {
    const auto& t = tallies_.at(static_cast<std::size_t>(f));
    if (t.injected != 0)
      continue;
    out.push_back("the network's fault \"" + std::string{name_of(f)} + "\" " +
                  (t.without_effect == 0 ? "was never injected" : "never had an effect"));
  }
  return out;
}

} // namespace parley::chaos
