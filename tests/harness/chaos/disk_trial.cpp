#include "tests/harness/chaos/disk_trial.hpp"

#include <algorithm>

namespace parley::chaos {

disk_trial::disk_trial(test::process_cluster& cluster, const disk_config& config, std::uint64_t seed)
    : cluster_{cluster}, scheduler_{config, seed, cluster.size()} {}

std::uint64_t disk_trial::effect_so_far() const {
  const auto& disk = cluster_.disk(now_.node);
  return now_.fault == disk_fault::full ? disk.lied() : disk.delayed();
}

bool disk_trial::apply(const disk_step& step) {
  const bool ends = step.is == disk_step::what::end;
  now_ = step;
  if (!ends) {
    ++begun_;
    effect_before_ = effect_so_far();
  } else if (effect_so_far() > effect_before_)
    ++injected_.at(static_cast<std::size_t>(now_.fault));
  auto& disk = cluster_.disk(step.node);
  disk.set_delay(ends ? milliseconds{0} : step.delay);
  disk.set_full(!ends && step.fault == disk_fault::full);
  return ends;
}

bool disk_trial::tick(milliseconds now, const std::vector<bool>& running) {
  const auto step = scheduler_.tick(now, running);
  return step && apply(*step);
}

bool disk_trial::heal() {
  const auto step = scheduler_.heal();
  return step && apply(*step);
}

std::string disk_trial::current() const {
  return active() ? std::string{name_of(now_.fault)} + " disk at node " + std::to_string(now_.node) : "";
}

std::string disk_trial::summary() const {
  std::string out;
  for (std::size_t i = 0; i < injected_.size(); ++i)
    out += (i == 0 ? "" : "  ") + std::string{name_of(static_cast<disk_fault>(i))} + " " +
           std::to_string(injected_[i]);
  return out;
}

std::string disk_trial::json() const {
  std::string out = "{";
  for (std::size_t i = 0; i < injected_.size(); ++i)
    out += (i == 0 ? "\"" : ",\"") + std::string{name_of(static_cast<disk_fault>(i))} +
           "\":" + std::to_string(injected_[i]);
  return out + "}";
}

std::vector<std::string> disk_trial::missing() const {
  constexpr std::uint64_t several = 3; // one may hit a node that does nothing, or is killed
  if (begun_ < several || std::ranges::any_of(injected_, [](auto n) { return n != 0; }))
    return {};
  return {"none of " + std::to_string(begun_) + " ailments of disks had an effect"};
}

} // namespace parley::chaos
