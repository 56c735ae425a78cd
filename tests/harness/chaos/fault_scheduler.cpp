#include "tests/harness/chaos/fault_scheduler.hpp"

#include <algorithm>

namespace parley::chaos {

fault_scheduler::fault_scheduler(fault_config config, std::uint64_t seed, std::size_t nodes)
    : config_{config}, random_{seed * 0x9e3779b97f4a7c15ULL + 1}, repairs_(nodes),
      next_fault_{between(config.calm_min, config.calm_max)}, next_client_kill_{config.client_kill_every} {}

milliseconds fault_scheduler::between(milliseconds low, milliseconds high) {
  const auto span = static_cast<std::uint64_t>((high - low).count()) + 1;
  return low + milliseconds{static_cast<std::int64_t>(random_() % span)};
}

bool fault_scheduler::anything_broken() const {
  return std::any_of(repairs_.begin(), repairs_.end(), [](const auto& r) { return r.due; });
}

/// Whether fewer faults have happened than an even pace requires by now.
bool fault_scheduler::behind(std::uint64_t done, std::uint64_t wanted, milliseconds now) const {
  return static_cast<std::int64_t>(done) * config_.length.count() <
         static_cast<std::int64_t>(wanted) * now.count();
}

void fault_scheduler::strike_kill(std::vector<fault>& out, std::size_t node, milliseconds now) {
  out.push_back({fault::kind::kill, node});
  repairs_[node - 1] = {true, now + between(config_.down_min, config_.down_max), fault::kind::start};
  ++kills_;
}

std::vector<fault> fault_scheduler::tick(milliseconds now, const cluster_view& view) {
  std::vector<fault> out;
  if (now >= next_client_kill_) {
    out.push_back({fault::kind::client_kill, 0});
    next_client_kill_ = now + between(config_.client_kill_every / 2, config_.client_kill_every * 3 / 2);
  }
  for (std::size_t i = 0; i < repairs_.size(); ++i) {
    if (repairs_[i].due && now >= repairs_[i].at) {
      out.push_back({repairs_[i].how, i + 1});
      repairs_[i].due = false;
      calm_since_ = now;
      next_fault_ = now + between(config_.calm_min, config_.calm_max);
    }
  }
  if (anything_broken() || view.held || now < next_fault_ || now >= config_.length)
    return out;
  const bool up = std::all_of(view.nodes.begin(), view.nodes.end(),
                              [](const auto& n) { return n.running && !n.paused && n.ready; });
  if (disk_lost_at_ >= milliseconds{0}) {
    // If two disks are lost shortly after each other, a majority is lost, which no cluster of three survives.
    if (!view.whole && now < disk_lost_at_ + config_.whole_wait)
      return out;
    if (view.whole)
      disk_lost_at_ = milliseconds{-1};
  } else if (!up && now < calm_since_ + config_.ready_wait) {
    return out;
  }

  if (config_.outage > milliseconds{0} && !outage_over_ && up && now >= config_.length / 5) {
    outage_over_ = true;
    const auto dead = static_cast<std::size_t>(random_() % view.nodes.size()) + 1;
    strike_kill(out, dead, now);
    repairs_[dead - 1].at = now + config_.outage;
    return out;
  }
  const auto victim = static_cast<std::size_t>(random_() % view.nodes.size()) + 1;
  const bool disk_may_go =
      up && view.whole && disk_lost_at_ < milliseconds{0} && config_.disk_losses_wanted > 0;
  // The last fifth of the run is reserved for recovery.
  if (disk_may_go && now < config_.length * 4 / 5 &&
      behind(disk_losses_, config_.disk_losses_wanted, now + config_.length / 8)) {
    strike_kill(out, victim, now);
    out.push_back({fault::kind::wipe, victim});
    ++disk_losses_;
    disk_lost_at_ = now;
    return out;
  }
  const bool pause = behind(pauses_, config_.pauses_wanted, now)
                         ? !behind(kills_, config_.kills_wanted, now) || chance(40)
                         : !behind(kills_, config_.kills_wanted, now) && chance(30);
  if (pause && config_.pauses_wanted > 0) {
    out.push_back({fault::kind::pause, victim});
    // Most pauses are short: the product of two draws favours small values.
    const auto span = static_cast<double>((config_.pause_max - config_.pause_min).count());
    const auto draw =
        static_cast<double>(random_() % 1000) / 1000 * static_cast<double>(random_() % 1000) / 1000;
    repairs_[victim - 1] = {true,
                            now + config_.pause_min + milliseconds{static_cast<std::int64_t>(span * draw)},
                            fault::kind::resume};
    ++pauses_;
    return out;
  }
  strike_kill(out, victim, now);
  const bool all = chance(config_.kill_all_percent);
  const bool two = chance(config_.kill_two_percent);
  for (std::size_t n = 1; n <= view.nodes.size(); ++n) {
    if (n != victim && (all || (two && n == victim % view.nodes.size() + 1)))
      strike_kill(out, n, now);
  }
  return out;
}

std::vector<fault> fault_scheduler::heal() {
  std::vector<fault> out;
  for (std::size_t i = 0; i < repairs_.size(); ++i) {
    if (repairs_[i].due)
      out.push_back({repairs_[i].how, i + 1});
    repairs_[i].due = false;
  }
  return out;
}

} // namespace parley::chaos
