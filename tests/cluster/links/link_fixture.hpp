#pragma once
// Nodes for tests: each an actor system of its own, in this process, over real TLS on loopback.
#include "cluster/links/links.hpp"
#include "tests/support/patience.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

namespace parley::test {

using namespace cluster;

/// Certificates of nodes 1 to 4, made once for each authority and thrown away at the end.
inline const std::string& certificates(const std::string& authority = "ours") {
  struct directories {
    std::map<std::string, std::string> made;
    ~directories() {
      for (const auto& [name, dir] : made)
        std::filesystem::remove_all(dir);
    }
  };
  static directories all;
  auto& dir = all.made[authority];
  if (dir.empty()) {
    dir = (std::filesystem::temp_directory_path() /
           ("parley-links-" + std::to_string(::getpid()) + "-" + authority))
              .string();
    const auto command =
        std::string{PARLEY_SOURCE_DIR} + "/scripts/make_certs.sh " + dir + " 1 2 3 4 >/dev/null";
    if (std::system(command.c_str()) != 0)
      std::abort();
  }
  return dir;
}

/// Waits for a state, not for a time.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds deadline = std::chrono::seconds{15}) {
  const auto until = std::chrono::steady_clock::now() + test::patient(deadline);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  return true;
}

/// What a link tells, kept.
class recorder : public link_events {
public:
  struct entry {
    node_id peer{};
    bool is_reset = false;
    lane on{};
    std::string payload;
  };
  void received(node_id from, lane on, std::vector<std::string> payloads) override {
    std::lock_guard guard{mutex};
    for (auto& p : payloads) {
      bytes += p.size();
      entries.push_back({from, false, on, keep_payloads ? std::move(p) : std::string{}});
    }
  }
  void reset(node_id peer) override {
    std::lock_guard guard{mutex};
    entries.push_back({peer, true, lane::raft, {}});
    ++resets[peer];
  }
  void begun(node_id peer) override {
    std::lock_guard guard{mutex};
    ++begins[peer];
  }
  void disowned(node_id by, start_verdict why) override {
    std::lock_guard guard{mutex};
    disowns[by] = why;
  }
  start_verdict disowned_by(node_id peer) {
    std::lock_guard guard{mutex};
    return disowns[peer];
  }
  std::size_t resets_of(node_id peer) {
    std::lock_guard guard{mutex};
    return resets[peer];
  }
  std::size_t begins_of(node_id peer) {
    std::lock_guard guard{mutex};
    return begins[peer];
  }
  /// Payloads of one lane since the last reset.
  std::vector<std::string> latest(node_id peer, lane on) {
    std::lock_guard guard{mutex};
    std::vector<std::string> out;
    for (const auto& e : entries) {
      if (e.peer == peer && e.is_reset)
        out.clear();
      else if (e.peer == peer && e.on == on)
        out.push_back(e.payload);
    }
    return out;
  }
  std::size_t count(node_id peer, lane on) {
    std::lock_guard guard{mutex};
    std::size_t n = 0;
    for (const auto& e : entries)
      n += e.peer == peer && !e.is_reset && e.on == on;
    return n;
  }
  std::mutex mutex;
  std::vector<entry> entries;
  std::map<node_id, std::size_t> resets, begins;
  std::map<node_id, start_verdict> disowns;
  std::size_t bytes = 0;
  bool keep_payloads = true;
};

inline links_config test_links(std::uint64_t number_of_it, const std::string& authority = "ours",
                               std::uint64_t certificate_of = 0) {
  const auto& dir = certificates(authority);
  const auto home = dir + "/node-" + std::to_string(certificate_of ? certificate_of : number_of_it);
  links_config c;
  c.node = node_id{number_of_it};
  c.cert_file = home + "/node.pem";
  c.key_file = home + "/node.key";
  c.ca_file = dir + "/node-ca.pem";
  return c;
}

struct system_config : caf::actor_system_config {
  explicit system_config(const links_config& c) {
    configure_links(*this, c);
    set("scheduler.max-threads", 1);
  }
};

/// One node's transport.
struct test_node {
  explicit test_node(links_config c) : config{std::move(c)}, caf_config{config} {
    system = std::make_unique<caf::actor_system>(caf_config);
    transport = std::make_unique<links>(*system, config, events);
  }
  explicit test_node(std::uint64_t number_of_it) : test_node{test_links(number_of_it)} {}
  ~test_node() { transport.reset(); }
  node_id id() const { return config.node; }
  void knows(const test_node& other) {
    transport->set_peer(other.id(), "127.0.0.1", other.transport->port());
  }

  links_config config;
  system_config caf_config;
  recorder events;
  std::unique_ptr<caf::actor_system> system;
  std::unique_ptr<links> transport;
};

inline void introduce(test_node& a, test_node& b) {
  a.knows(b);
  b.knows(a);
}
inline bool both_up(test_node& a, test_node& b) {
  return eventually([&] { return a.transport->connected(b.id()) && b.transport->connected(a.id()); });
}

} // namespace parley::test
