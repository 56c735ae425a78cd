#include "tests/harness/chaos/disk_scheduler.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace parley::chaos {

std::string_view name_of(disk_fault f) {
  constexpr std::array<std::string_view, disk_fault_kinds> names{"slow", "stalled", "full"};
  return names.at(static_cast<std::size_t>(f));
}

disk_scheduler::disk_scheduler(disk_config config, std::uint64_t seed, std::size_t nodes)
    : config_{config}, random_{seed * 0x9e3779b97f4a7c15ULL + 11}, nodes_{nodes} {
  refill();
  next_at_ = between(config_.calm_min, config_.calm_max);
}

milliseconds disk_scheduler::between(milliseconds low, milliseconds high) {
  const auto span = static_cast<std::uint64_t>((high - low).count()) + 1;
  return low + milliseconds{static_cast<std::int64_t>(random_() % span)};
}

void disk_scheduler::refill() {
  bag_ = {disk_fault::slow, disk_fault::stalled, disk_fault::full};
  for (std::size_t i = bag_.size(); i > 1; --i)
    std::swap(bag_[i - 1], bag_[static_cast<std::size_t>(random_() % i)]);
}

std::optional<disk_step> disk_scheduler::tick(milliseconds now, const std::vector<bool>& running) {
  if (active_ && (now >= ends_at_ || !running.at(now_.node - 1))) {
    next_at_ = now + between(config_.calm_min, config_.calm_max);
    return heal();
  }
  if (active_ || now < next_at_ || now + config_.fault_min > config_.length)
    return std::nullopt;
  const auto node = static_cast<std::size_t>(random_() % nodes_) + 1;
  if (!running.at(node - 1))
    return std::nullopt; // another one is drawn the next time
  now_ = {disk_step::what::begin, bag_.back(), node, milliseconds{0}};
  bag_.pop_back();
  if (bag_.empty())
    refill();
  if (now_.fault == disk_fault::slow)
    now_.delay = between(config_.slow_min, config_.slow_max);
  if (now_.fault == disk_fault::stalled)
    now_.delay = between(config_.stall_min, config_.stall_max);
  active_ = true;
  ends_at_ = std::min(config_.length, now + between(config_.fault_min, config_.fault_max));
  return now_;
}

std::optional<disk_step> disk_scheduler::heal() {
  if (!std::exchange(active_, false))
    return std::nullopt;
  auto step = now_;
  step.is = disk_step::what::end;
  return step;
}

} // namespace parley::chaos
