#include "cluster/membership/peer_seeker.hpp"

#include "cluster/ops/logging.hpp"

#include <algorithm>

namespace parley::cluster {

std::vector<core::node_record> addresses_in(const formation_answer& answer, cluster_id cluster) {
  if (answer.as != formation_answer::standing::member || answer.what.record.cluster != cluster)
    return {};
  // What a node says of itself is newer than what it knows of others.
  std::vector<core::node_record> out{answer.self};
  for (const auto& n : answer.nodes)
    if (n.id != answer.self.id)
      out.push_back(n);
  return out;
}

peer_seeker::peer_seeker(peer_seeker_config config, links& transport, std::function<node_list()> nodes,
                         std::function<void(const node_list&)> remember)
    : config_{std::move(config)}, transport_{transport}, nodes_{std::move(nodes)},
      remember_{std::move(remember)}, thread_{[this] { run(); }} {}

peer_seeker::~peer_seeker() {
  {
    std::lock_guard guard{mutex_};
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void peer_seeker::run() {
  std::unique_lock lock{mutex_};
  while (!stop_) {
    lock.unlock();
    const auto nodes = nodes_();
    keep(nodes);
    if (look(nodes))
      ask(nodes);
    lock.lock();
    stopping_.wait_for(lock, config_.look_every, [this] { return stop_; });
  }
}

/// A node that is killed has no time for it later.
void peer_seeker::keep(const node_list& nodes) {
  if (auto now = core::encode(peers_list{nodes}); now != remembered_) {
    remember_(nodes);
    remembered_ = std::move(now);
  }
}

/// Whether a node is missing. What was found of it is tried, and said if it has been missing for long.
bool peer_seeker::look(const node_list& nodes) {
  const auto now = clock::now();
  std::erase_if(missing_, [&](const auto& m) {
    return std::none_of(nodes.begin(), nodes.end(), [&](const auto& n) { return n.id == m.first; });
  });
  bool any = false;
  for (const auto& n : nodes) {
    if (n.id == config_.self.id)
      continue;
    if (transport_.connected(n.id)) {
      missing_.erase(n.id);
      std::lock_guard guard{found_->mutex};
      found_->elsewhere.erase(n.id);
      continue;
    }
    any = true;
    std::optional<endpoint> at;
    bool elsewhere = false;
    {
      std::lock_guard guard{found_->mutex};
      if (const auto f = found_->at.find(n.id); f != found_->at.end())
        at = f->second;
      elsewhere = found_->elsewhere.contains(n.id);
    }
    if (at)
      transport_.set_peer(n.id, at->host, at->port);
    auto& s = missing_.try_emplace(n.id, sought{now, now + config_.say_after}).first->second;
    if (now < s.say_at && elsewhere == s.elsewhere)
      continue;
    s.say_at = now + config_.say_every;
    s.elsewhere = elsewhere;
    const std::string_view next =
        elsewhere
            ? "it runs there, in another cluster: stop it, move its data directory away, list other nodes "
              "of this cluster among its seeds (--seeds), and start it again"
            : "start it, or check the network between the two; if it has another address now, list it "
              "among the seeds of this node (--seeds)";
    log::warn("peer-sought",
              {{"peer", n.id},
               {"at", at ? to_string(*at) : n.peer_address},
               {"seconds", std::chrono::duration_cast<std::chrono::seconds>(now - s.since).count()},
               {"next", next}});
  }
  return any;
}

/// The seeds, and the missing nodes where they were last: one may have lost its disk and know nobody (formation_service).
void peer_seeker::ask(const node_list& nodes) {
  auto whom = config_.seeds;
  for (const auto& n : nodes)
    if (const auto at = missing_.contains(n.id) ? parse_endpoint(n.peer_address) : std::nullopt;
        at && std::find(whom.begin(), whom.end(), *at) == whom.end())
      whom.push_back(*at);
  const auto question = core::encode(formation_question{formation_question::kind::standing, config_.self});
  for (const auto& address : whom) {
    if (to_string(address) == config_.self.peer_address)
      continue;
    transport_.query(
        address.host, address.port, question,
        [found = found_, cluster = config_.cluster](tl::expected<query_answer, std::string> said) {
          const auto a = said ? core::decode<formation_answer>(said->bytes) : std::nullopt;
          if (!a || a->self.id != said->from)
            return;
          std::lock_guard guard{found->mutex};
          if (a->as == formation_answer::standing::member && a->what.record.cluster != cluster)
            found->elsewhere.insert(a->self.id);
          else
            found->elsewhere.erase(a->self.id);
          for (const auto& n : addresses_in(*a, cluster))
            if (const auto at = parse_endpoint(n.peer_address)) {
              if (n.id == a->self.id)
                found->at[n.id] = *at;
              else
                found->at.try_emplace(n.id, *at);
            }
        });
  }
}

} // namespace parley::cluster
