#include "cluster/membership/formation.hpp"

#include <fmt/format.h>

namespace parley::cluster {
namespace {

using standing = formation_answer::standing;
using kind = formation_step::kind;

formation_step wait_for(std::string why) {
  formation_step s;
  s.why = std::move(why);
  return s;
}

bool same_disk(const core::node_record& a, const core::node_record& b) {
  return a.id == b.id && a.disk == b.disk;
}

constexpr auto only_you_know =
    "if you are sure that no seed holds a cluster, stop one node and start it again with --form";

} // namespace

bool lists(const std::vector<core::node_record>& nodes, const core::node_record& who) {
  return std::any_of(nodes.begin(), nodes.end(), [&](const auto& n) { return same_disk(n, who); });
}

std::uint64_t digest(std::vector<endpoint> seeds) {
  std::sort(seeds.begin(), seeds.end());
  std::uint64_t h = 0xcbf29ce484222325ULL; // FNV-1a
  for (const auto& s : seeds)
    for (const char c : to_string(s) + ",")
      h = (h ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  return h;
}

bool holds_newer_record(std::string_view answer, node_id from) {
  reader in{answer};
  reader body{in.get_envelope().body};
  // The fields before the record, as `formation_answer` lists them.
  const auto self = core::decode<core::node_record>(body, core::reading::known);
  const auto as = body.get<standing>();
  body.get<std::uint64_t>();
  body.get<std::uint8_t>();
  const auto what = core::decode<promise>(body, core::reading::whole);
  return self.it && self.it->id == from && as != standing::empty && what.why == core::format_fault::newer;
}

/// The nodes of the other seeds, each once, and the reasons why these may not be all.
struct formation::view {
  std::vector<const formation_answer*> others;
  std::string silent;   ///< a seed that did not answer
  bool patient = true;  ///< every silent seed was asked often enough for --form
  std::string conflict; ///< a fault that does not go away by waiting
};

formation::formation(formation_config config, std::optional<promise> promised,
                     std::optional<founding> founded)
    : config_{std::move(config)}, promised_{std::move(promised)}, founded_{std::move(founded)} {
  for (const auto& s : to_ask())
    seeds_[s];
}

bool formation::is_seed() const {
  return std::any_of(config_.seeds.begin(), config_.seeds.end(),
                     [&](const auto& s) { return to_string(s) == config_.self.peer_address; });
}

std::vector<endpoint> formation::to_ask() const {
  std::vector<endpoint> out;
  for (const auto& s : config_.seeds)
    if (to_string(s) != config_.self.peer_address)
      out.push_back(s);
  return out;
}

void formation::heard(const endpoint& seed, formation_answer answer) {
  seeds_[seed] = {std::move(answer), 0, false};
}

void formation::silent(const endpoint& seed) {
  auto& s = seeds_[seed];
  s.last.reset();
  s.newer = false;
  ++s.silences;
}

void formation::not_understood(const endpoint& seed) {
  seeds_[seed] = {std::nullopt, 0, true};
}

formation_answer formation::answer() const {
  formation_answer a;
  a.self = config_.self;
  a.seeds_digest = digest(config_.seeds);
  a.wants_form = config_.form;
  if (founded_) {
    a.as = standing::member;
    a.what.record = *founded_;
    a.nodes = founded_->nodes;
  } else if (promised_) {
    a.as = standing::promised;
    a.what = *promised_;
  }
  return a;
}

formation_step formation::decide() const {
  if (founded_) {
    formation_step s;
    s.as = kind::done;
    s.what.record = *founded_;
    return s;
  }

  for (const auto& [address, s] : seeds_)
    if (s.newer)
      return wait_for(fmt::format(
          "seed {} has a founding record that was written by a newer version of this program, so this node "
          "does not take it over: start this node with the version that the seed runs",
          to_string(address)));

  const formation_answer* member = nullptr;
  for (const auto& [address, s] : seeds_) {
    if (!s.last || s.last->as != standing::member)
      continue;
    if (member && member->what.record.cluster != s.last->what.record.cluster)
      return wait_for("the seeds belong to two clusters, so this node has joined neither: "
                      "list seeds of one of them only (--seeds)");
    member = &*s.last;
  }
  if (member)
    return as_told(*member);
  if (!is_seed())
    return wait_for(fmt::format("no seed holds a cluster yet, and {} is not in the list of seeds, "
                                "so this node waits to join: start the seeds, "
                                "or list this address too if it is one of the first nodes (--seeds)",
                                config_.self.peer_address));

  view v;
  for (const auto& [address, s] : seeds_) {
    if (!s.last) {
      v.silent = to_string(address);
      v.patient = v.patient && s.silences >= config_.form_after_silences;
      continue;
    }
    const auto& a = *s.last;
    if (same_disk(a.self, config_.self))
      continue; // this node, under another name
    const auto twin = std::find_if(v.others.begin(), v.others.end(),
                                   [&](const auto* o) { return o->self.id == a.self.id; });
    if (a.self.id == config_.self.id || (twin != v.others.end() && !same_disk((*twin)->self, a.self)))
      return wait_for(
          fmt::format("two nodes have the number {}, so no cluster forms: give each its own (--node)",
                      number(a.self.id)));
    if (twin != v.others.end())
      continue; // one node under two names
    if (a.seeds_digest != digest(config_.seeds) && !a.what.forced)
      v.conflict = fmt::format(
          "node {} at {} was started with another list of seeds, so no cluster forms: start all first "
          "nodes with the same list (--seeds)",
          number(a.self.id), to_string(address));
    v.others.push_back(&a);
  }

  // Another node was started with --form and proposes a cluster with this node.
  for (const auto* o : v.others) {
    if (o->as != standing::promised || !o->what.forced || !lists(o->what.record.nodes, config_.self))
      continue;
    if (promised_ && promised_->record.cluster == o->what.record.cluster)
      continue;
    if (promised_ && promised_->forced)
      return wait_for(
          "two nodes were started with --form and each proposes a cluster: stop one of them, remove its data "
          "directory, and start it again without --form");
    formation_step s;
    s.as = kind::promise;
    s.what = o->what;
    return s;
  }

  auto step = promised_ ? as_promised(v) : [&]() -> formation_step {
    if (!v.conflict.empty())
      return wait_for(v.conflict);
    if (!v.silent.empty())
      return wait_for(fmt::format("seed {} is silent, and a first cluster needs all of them: "
                                  "start it, or check its address and the network",
                                  v.silent));
    const formation_answer* first = nullptr;
    for (const auto* o : v.others) {
      if (o->as != standing::promised)
        continue;
      if (first && first->what.record.cluster != o->what.record.cluster)
        return wait_for(fmt::format("the seeds have promised two different clusters: {}", only_you_know));
      first = o;
    }
    if (!first) {
      for (const auto* o : v.others)
        if (number(o->self.id) < number(config_.self.id))
          return wait_for(fmt::format(
              "all seeds answer; node {} will propose the cluster, because it has the lowest number",
              number(o->self.id)));
      return propose(v, 0);
    }
    const auto& record = first->what.record;
    bool as_recorded = record.nodes.size() == v.others.size() + 1 && lists(record.nodes, config_.self);
    for (const auto* o : v.others)
      as_recorded = as_recorded && lists(record.nodes, o->self);
    if (!as_recorded)
      return wait_for(
          fmt::format("node {} has promised a cluster of other disks than those that answer now: {}",
                      number(first->self.id), only_you_know));
    formation_step s;
    s.as = kind::promise;
    s.what = first->what;
    return s;
  }();

  // This node was started with --form. If several were, the one with the lowest number proposes.
  if (step.as != kind::wait || !config_.form || (promised_ && promised_->forced) || !v.patient)
    return step;
  for (const auto* o : v.others)
    if (o->wants_form && number(o->self.id) < number(config_.self.id))
      return step;
  const bool in_time =
      v.silent.empty() && v.conflict.empty() && !promised_; // nothing is wrong: the usual way
  return in_time && step.why.find(only_you_know) == std::string::npos ? step : propose(v, 1);
}

formation_step formation::as_told(const formation_answer& member) const {
  const auto& record = member.what.record;
  formation_step s;
  s.what.record = record;
  if (!lists(record.nodes, config_.self)) {
    s.as = kind::join;
    s.nodes = member.nodes;
    return s;
  }
  // The others have founded what this node promised before it stopped.
  if (!promised_ || promised_->record.cluster != record.cluster)
    return wait_for("a cluster counts this disk among its founders, but the disk holds no such promise, "
                    "so its data is not what it was: move the data directory away and start this node again; "
                    "it joins as a new node, and the other replicas fill it");
  s.as = kind::found;
  s.what = *promised_;
  return s;
}

formation_step formation::as_promised(const view& v) const {
  std::string missing; // what waiting can bring; what it cannot bring is reported first
  for (const auto& n : promised_->record.nodes) {
    if (same_disk(n, config_.self))
      continue;
    const auto other =
        std::find_if(v.others.begin(), v.others.end(), [&](const auto* o) { return o->self.id == n.id; });
    if (other == v.others.end()) {
      missing = fmt::format(
          "node {} has not promised the cluster yet, and it is silent: start it, or check the network",
          number(n.id));
      continue;
    }
    const auto& a = **other;
    if (!same_disk(a.self, n))
      return wait_for(
          fmt::format("node {} lost its disk while the cluster formed: {}", number(n.id), only_you_know));
    if (a.as != standing::promised)
      missing = fmt::format("node {} has not promised the cluster yet; this takes a moment", number(n.id));
    else if (a.what.record.cluster != promised_->record.cluster)
      return wait_for(fmt::format("node {} has promised another cluster: {}", number(n.id), only_you_know));
  }
  if (!missing.empty())
    return wait_for(missing);
  formation_step s;
  s.as = kind::found;
  s.what = *promised_;
  return s;
}

formation_step formation::propose(const view& v, std::uint8_t forced) const {
  formation_step s;
  s.as = kind::promise;
  s.what.forced = forced;
  auto& r = s.what.record;
  r.cluster = config_.fresh;
  r.shards = config_.shards;
  r.replicas = config_.replicas;
  r.nodes.push_back(config_.self);
  for (const auto* o : v.others)
    r.nodes.push_back(o->self);
  std::sort(r.nodes.begin(), r.nodes.end(),
            [](const auto& a, const auto& b) { return number(a.id) < number(b.id); });
  return s;
}

} // namespace parley::cluster
