#pragma once
// The node transport: CAF over mutual TLS, a link for each peer, and a door that peers and new nodes call.
//
//   send() ──► outlet ──► LINK ═══ batch, ack ═══ LINK ──► link_events      sessions, windows: link_actor.cpp
//   a peer's call ──► DOOR ── proved identity ──► LINK                       handshake: link_messages.hpp
//   query() ──► ASKER ═══ hello … accepted ═══ DOOR ──► query handler        before nodes know each other
//
// CAF provides framing, heartbeats and DOWN messages, over TLS with certificates of the node authority on
// both ends. Links add what CAF lacks: the peer's identity, bounded memory, batches, and sessions whose
// end both sides see.
//
// Thread: all functions can be called from any thread. None blocks, except `start` and `stop`.
#include "cluster/links/link.hpp"
#include "cluster/links/link_identity.hpp"
#include "cluster/links/link_outlet.hpp"
#include "cluster/ops/node_config.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace parley::cluster {

struct links_config {
  using milliseconds = std::chrono::milliseconds;
  node_id node{};
  endpoint listen{"127.0.0.1", 0}; ///< port 0: any free one, for tests
  std::string cert_file, key_file, ca_file;
  version_range versions = link_versions; ///< another one only in tests
  node_start start;                       ///< this node's
  std::shared_ptr<start_book> book;       ///< null, in tests: every start fits
  outlet_config outlet;
  milliseconds tick_every{100}; ///< of a link: acknowledgements, time-outs, retries
  /// A link with nothing to send acknowledges this often.
  milliseconds sign_of_life = settings::link_heartbeat.standard;
  /// After this long without a message the session ends, even if TCP reports no error.
  milliseconds silence_max = settings::link_timeout.standard + settings::link_heartbeat.standard;
  milliseconds caf_heartbeat = settings::link_heartbeat.standard;
  /// After it CAF closes the connection, and frees its buffers towards a peer that was stopped.
  milliseconds caf_timeout = settings::link_timeout.standard;
  milliseconds dial_timeout{1000}; ///< TCP
  milliseconds handshake_timeout{3000};
  milliseconds retry_min{100}, retry_max{1000}; ///< between calls; doubled each time, with jitter
  milliseconds retry_disowned{10'000};          ///< after one side refused the other's start
  milliseconds yield_to_higher{300};            ///< the node with the lower id lets the other one call first
  std::size_t handshakes_waiting_max = 64;      ///< at the door; more callers are refused
  /// Connections to the port whose TLS handshake is not complete; it has to be within `handshake_timeout`.
  /// One more closes the oldest.
  std::size_t newcomers_max = 256;
  std::size_t queries_waiting_max = 64;
  milliseconds query_timeout{3000};
  std::size_t query_bytes_max = 256 << 10;
};
/// The part of a node's settings that links need.
links_config make_links_config(const node_config& c);

/// Prepares CAF: modules, certificates, heartbeats, message types. To be called before the
/// actor system is created.
void configure_links(caf::actor_system_config& caf_config, const links_config& config);

struct query_answer {
  node_id from{}; ///< proved
  std::string bytes;
};
/// Answers a question of the node `from`, which has proved that it is of this authority but need not
/// be a peer. Called from a thread that runs actors, one call at a time. It may sync a disk, but must
/// not wait for nodes.
using query_handler = std::function<std::string(node_id from, std::string_view question)>;
using query_done = std::function<void(tl::expected<query_answer, std::string>)>;

class links {
public:
  /// `events` outlives this object. `start` fails without fit certificates.
  links(caf::actor_system& system, links_config config, link_events& events);
  ~links(); ///< stops
  links(const links&) = delete;
  links& operator=(const links&) = delete;

  /// To be called before `start`. Without a handler, questions are refused.
  void on_query(query_handler handler);
  /// Opens the door. Returns `none`, or a sentence for the operator.
  std::optional<std::string> start();
  /// Reads the certificates again. New connections use them, existing ones go on. Returns `none`, or a sentence
  /// for the operator; then those in use stay.
  std::optional<std::string> renew();
  std::uint16_t port() const; ///< of the door
  /// Closes the door and ends all links. `events` is not called any more after this has returned.
  void stop();

  /// Keeps a link to `peer` at `host`:`port`. To be called again when its address changes.
  void set_peer(node_id peer, std::string host, std::uint16_t port);

  /// Per peer and lane, payloads of a session arrive in order and without duplicates. False: certainly not
  /// sent. True: sent, or lost with everything after it, in which case `link_events::reset` follows.
  bool send(node_id peer, lane on, std::string payload);
  bool connected(node_id peer) const;
  /// The bytes of the Raft lane that are queued or that the peer's link has not acknowledged; `none` without
  /// a session.
  std::optional<std::size_t> raft_waiting(node_id peer) const;

  /// Asks the node at `host`:`port`. `done` is called once, from a thread that runs actors, soon after
  /// `query_timeout` at the latest.
  void query(std::string host, std::uint16_t port, std::string question, query_done done);

  std::vector<link_status> status() const;
  /// Calls of nodes that have no version of the node protocol in common with this one.
  std::uint64_t versions_refused() const;
  /// Sessions that were refused because a node's directory is not the one that was seen before.
  std::uint64_t starts_refused() const;

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace parley::cluster
