#include "tests/harness/chaos/copy_trial.hpp"

#include <algorithm>

namespace parley::chaos {
namespace {

constexpr auto copy_name = "chaos"; // of the one copy that there is

bool says_fenced(const std::string& page) {
  return page.starts_with("503 ") && page.find("fenced") != std::string::npos;
}

} // namespace

copy_trial::copy_trial(test::process_cluster& cluster, const copy_config& config, std::uint64_t seed,
                       std::function<void(const fault&)> inflict)
    : cluster_{cluster}, scheduler_{config, seed, cluster.size()}, inflict_{std::move(inflict)} {}

void copy_trial::killed(std::size_t node, milliseconds now) {
  if (scheduler_.killed(node, now))
    cluster_.copy_data(node, copy_name);
}

/// A node that is fenced may begin anew within a second or two, so a directory that was set aside counts too.
bool copy_trial::recognised() {
  if (seen_ || !scheduler_.struck())
    return seen_;
  const auto node = scheduler_.node();
  seen_ = scheduler_.fault() == copy_fault::beside
              ? says_fenced(cluster_.page_beside("/readyz"))
              : cluster_.asides(node) > asides_ ||
                    (cluster_.running(node) && says_fenced(cluster_.page(node, "/readyz")));
  return seen_;
}

bool copy_trial::apply(const copy_step& step) {
  using what = copy_step::what;
  switch (step.is) {
  case what::take:
    cluster_.copy_data(step.node, copy_name);
    return false;
  case what::kill:
    inflict_({fault::kind::kill, step.node});
    return true;
  case what::put_back:
    seen_ = false;
    asides_ = cluster_.asides(step.node);
    cluster_.put_back(step.node, copy_name);
    return true;
  case what::start:
    inflict_({fault::kind::start, step.node});
    return true;
  case what::start_beside:
    seen_ = false;
    cluster_.start_beside(step.node, copy_name);
    return false;
  case what::end_beside:
    cluster_.end_beside();
    return false;
  case what::recognised:
    ++recognised_.at(static_cast<std::size_t>(scheduler_.fault()));
    cluster_.remove_asides(step.node); // as an operator does, so that the node may set aside the next one
    return true;
  case what::missed:
    complaints_.push_back("a copy of the directory of node " + std::to_string(step.node) + " (" +
                          std::string{name_of(scheduler_.fault())} +
                          ") was not recognised: it was not fenced");
    return true;
  }
  return false;
}

bool copy_trial::tick(milliseconds now, bool whole) {
  copy_view view;
  view.whole = whole;
  view.up = true;
  for (std::size_t n = 1; n <= cluster_.size(); ++n)
    view.up = view.up && cluster_.running(n);
  view.recognised = recognised();
  bool recovers = false;
  for (const auto& step : scheduler_.tick(now, view))
    recovers = apply(step) || recovers;
  return recovers;
}

void copy_trial::heal() {
  for (const auto& step : scheduler_.heal())
    apply(step);
}

std::string copy_trial::current() const {
  return scheduler_.struck()
             ? std::string{name_of(scheduler_.fault())} + " copy of node " + std::to_string(scheduler_.node())
             : std::string{};
}

std::string copy_trial::summary() const {
  std::string out;
  for (std::size_t i = 0; i < recognised_.size(); ++i)
    out += (i == 0 ? "" : "  ") + std::string{name_of(static_cast<copy_fault>(i))} + " " +
           std::to_string(recognised_[i]);
  return out;
}

std::string copy_trial::json() const {
  std::string out = "{";
  for (std::size_t i = 0; i < recognised_.size(); ++i)
    out += (i == 0 ? "\"" : ",\"") + std::string{name_of(static_cast<copy_fault>(i))} +
           "\":" + std::to_string(recognised_[i]);
  return out + "}";
}

std::vector<std::string> copy_trial::missing() const {
  std::vector<std::string> out;
  for (const auto f : scheduler_.promised())
    if (recognised_.at(static_cast<std::size_t>(f)) == 0)
      out.push_back("the copy \"" + std::string{name_of(f)} + "\" never had an effect");
  return out;
}

} // namespace parley::chaos
