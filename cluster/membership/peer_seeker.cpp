#include "cluster/membership/peer_seeker.hpp"

#include "cluster/ops/logging.hpp"

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
      ask();
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
  bool any = false;
  for (const auto& n : nodes) {
    if (n.id == config_.self.id)
      continue;
    if (transport_.connected(n.id)) {
      missing_.erase(n.id);
      continue;
    }
    any = true;
    std::optional<endpoint> at;
    {
      std::lock_guard guard{found_->mutex};
      if (const auto f = found_->at.find(n.id); f != found_->at.end())
        at = f->second;
    }
    if (at)
      transport_.set_peer(n.id, at->host, at->port);
    auto& s = missing_.try_emplace(n.id, sought{now, now + config_.say_after}).first->second;
    if (now < s.say_at)
      continue;
    s.say_at = now + config_.say_every;
    log::warn(
        "peer-sought",
        {{"peer", n.id},
         {"at", at ? to_string(*at) : n.peer_address},
         {"seconds", std::chrono::duration_cast<std::chrono::seconds>(now - s.since).count()},
         {"next",
          "start it, or check the network between the two; if it has another address now, list it among "
          "the seeds of this node (--seeds)"}});
  }
  return any;
}

void peer_seeker::ask() {
  const auto question = core::encode(formation_question{formation_question::kind::standing, config_.self});
  for (const auto& seed : config_.seeds) {
    if (to_string(seed) == config_.self.peer_address)
      continue;
    transport_.query(
        seed.host, seed.port, question,
        [found = found_, cluster = config_.cluster](tl::expected<query_answer, std::string> said) {
          const auto a = said ? core::decode<formation_answer>(said->bytes) : std::nullopt;
          if (!a || a->self.id != said->from)
            return;
          std::lock_guard guard{found->mutex};
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
