#include "tests/harness/chaos/copy_scheduler.hpp"

#include <algorithm>
#include <array>

namespace parley::chaos {

std::string_view name_of(copy_fault f) {
  constexpr std::array<std::string_view, copy_fault_kinds> names{"older", "laggard", "running", "beside"};
  return names.at(static_cast<std::size_t>(f));
}

std::size_t copies_in(const copy_config& c) {
  return static_cast<std::size_t>(
      std::clamp<std::int64_t>(c.length / c.room_for_each, 1, std::int64_t{copy_fault_kinds}));
}

copy_scheduler::copy_scheduler(copy_config config, std::uint64_t seed, std::size_t nodes)
    : config_{config}, random_{seed * 0x9e3779b97f4a7c15ULL + 13}, nodes_{nodes} {
  refill();
  until_ = between(config_.calm_min, config_.calm_max);
  promised_.assign(bag_.rbegin(), bag_.rbegin() + static_cast<std::ptrdiff_t>(copies_in(config_)));
}

milliseconds copy_scheduler::between(milliseconds low, milliseconds high) {
  const auto span = static_cast<std::uint64_t>((high - low).count()) + 1;
  return low + milliseconds{static_cast<std::int64_t>(random_() % span)};
}

/// Every kind once, in a drawn order: no kind waits for its luck.
void copy_scheduler::refill() {
  bag_ = {copy_fault::older, copy_fault::laggard, copy_fault::running, copy_fault::beside};
  for (std::size_t i = bag_.size(); i > 1; --i)
    std::swap(bag_[i - 1], bag_[static_cast<std::size_t>(random_() % i)]);
}

void copy_scheduler::calm_down(milliseconds now) {
  now_ = state::calm;
  until_ = now + between(config_.calm_min, config_.calm_max);
}

void copy_scheduler::live(std::size_t node, milliseconds now) {
  node_ = node;
  now_ = state::living;
  until_ = now + between(config_.life_min, config_.life_max);
}

bool copy_scheduler::killed(std::size_t node, milliseconds now) {
  if (now_ != state::taking || (fault_ != copy_fault::older && fault_ != copy_fault::laggard))
    return false;
  live(node, now);
  return true;
}

void copy_scheduler::lost(std::size_t node) {
  if (node == node_ && (now_ == state::living || now_ == state::gathering))
    now_ = state::taking;
}

std::vector<copy_step> copy_scheduler::tick(milliseconds now, const copy_view& view) {
  using what = copy_step::what;
  if (!view.whole)
    whole_since_ = milliseconds{-1};
  else if (whole_since_ < milliseconds{0})
    whole_since_ = now;
  switch (now_) {
  case state::calm:
    if (now < until_)
      return {};
    fault_ = bag_.back();
    now_ = state::taking;
    return {};
  case state::taking: {
    if (now >= config_.length || fault_ == copy_fault::older || fault_ == copy_fault::laggard)
      return {};                        // a copy of a node that is down is taken when the next one is killed
    if (fault_ == copy_fault::beside) { // it runs at once
      node_ = any_node();
      now_ = state::living; // until no node is down
      return {};
    }
    if (!view.up)
      return {};
    live(any_node(), now);
    return {{what::take, node_}};
  }
  case state::living:
    if (now >= until_ && view.up)
      now_ = state::gathering;
    return {};
  case state::gathering:
    if (now >= config_.length) {
      calm_down(now);
      return {};
    }
    if (whole_since_ < milliseconds{0} || now < whole_since_ + config_.quiet)
      return {};
    return strike(now);
  case state::lagging:
    return now < until_ ? std::vector<copy_step>{} : meet(now);
  case state::meeting:
    return now < until_ && !view.recognised ? std::vector<copy_step>{} : start_others();
  case state::waiting:
    return judge(now, view);
  case state::resting:
    if (now < until_)
      return {};
    calm_down(now);
    return {{what::end_beside, node_}};
  }
  return {};
}

std::vector<copy_step> copy_scheduler::strike(milliseconds now) {
  using what = copy_step::what;
  bag_.pop_back();
  if (bag_.empty())
    refill();
  recognised_ = false;
  struck_at_ = now;
  now_ = state::waiting;
  if (fault_ == copy_fault::beside)
    return {{what::take, node_}, {what::start_beside, node_}};
  if (fault_ == copy_fault::laggard) {
    now_ = state::lagging;
    until_ = now + config_.lag;
    laggard_ = (node_ + static_cast<std::size_t>(random_() % (nodes_ - 1))) % nodes_ + 1;
    return {{what::kill, laggard_}};
  }
  return {{what::kill, node_}, {what::put_back, node_}, {what::start, node_}};
}

/// The others end before the two begin: nobody who was there at last may help to recognise the copy.
std::vector<copy_step> copy_scheduler::meet(milliseconds now) {
  using what = copy_step::what;
  std::vector<copy_step> out;
  for (std::size_t n = 1; n <= nodes_; ++n)
    if (n != laggard_)
      out.push_back({what::kill, n});
  out.insert(out.end(), {{what::put_back, node_}, {what::start, laggard_}, {what::start, node_}});
  struck_at_ = now;
  now_ = state::meeting;
  until_ = now + config_.meet;
  return out;
}

std::vector<copy_step> copy_scheduler::start_others() {
  std::vector<copy_step> out;
  for (std::size_t n = 1; n <= nodes_; ++n)
    if (n != node_ && n != laggard_)
      out.push_back({copy_step::what::start, n});
  now_ = state::waiting;
  return out;
}

std::vector<copy_step> copy_scheduler::judge(milliseconds now, const copy_view& view) {
  using what = copy_step::what;
  if (view.recognised && !recognised_) {
    recognised_ = true;
    struck_at_ = now;
    if (fault_ == copy_fault::beside) {
      now_ = state::resting;
      until_ = now + between(config_.beside_min, config_.beside_max);
      return {{what::recognised, node_}};
    }
  }
  // What was seen as whole may be from before the node was fenced.
  if (recognised_
          ? (view.whole && now >= struck_at_ + config_.quiet) || now >= struck_at_ + config_.whole_wait
          : now >= struck_at_ + config_.recognise_wait) {
    calm_down(now);
    std::vector<copy_step> out{{recognised_ ? what::recognised : what::missed, node_}};
    if (fault_ == copy_fault::beside)
      out.insert(out.begin(), {what::end_beside, node_});
    return out;
  }
  return {};
}

std::vector<copy_step> copy_scheduler::heal() {
  using what = copy_step::what;
  std::vector<copy_step> out;
  if (now_ == state::lagging)
    out = {{what::start, laggard_}};
  else if (now_ == state::meeting)
    out = start_others();
  else if (now_ == state::resting || (now_ == state::waiting && fault_ == copy_fault::beside))
    out = {{what::end_beside, node_}};
  now_ = state::calm;
  return out;
}

} // namespace parley::chaos
