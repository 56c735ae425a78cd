#pragma once
// The actors behind `links`: LINK, DOOR, ASKER and DIALER. Internal to cluster/links.
#include "cluster/links/caf_transport.hpp"
#include "cluster/links/link_messages.hpp"
#include "cluster/links/links.hpp"
#include "cluster/ops/logging.hpp"
#include "protocol/values/renewable.hpp"

#include <caf/all.hpp>
#include <caf/io/middleman_actor.hpp>

#include <map>
#include <mutex>

namespace parley::cluster {

/// From the door to a link of the same node: the peer has called and proved its identity.
struct link_admission {
  std::uint64_t attempt = 0;
  std::uint64_t session = 0;
  std::uint32_t version = 0;
  caf::strong_actor_ptr caller;
  std::uint64_t word = 0; ///< of the caller's start
};

/// The start with which the other side of a call greeted is judged.
struct start_judged {
  std::uint64_t call = 0; ///< to a link: the attempt; to a door: the session
  start_verdict verdict{};
};

/// From the door to a link: has the peer's process of another start than `word` been heard from this moment on?
struct link_probe {
  std::uint64_t session = 0; ///< the door's
  std::uint64_t word = 0;
};
struct link_probed {
  std::uint64_t session = 0;
  bool alive = false;
};

} // namespace parley::cluster
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::link_admission)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::link_probe)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::link_probed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::cluster::start_judged)

namespace parley::cluster {

/// The DOOR answers hellos; the ASKER asks one question and ends.
using door_actor = wire_actor::extend<caf::reacts_to<caf::tick_atom>, caf::reacts_to<start_judged>,
                                      caf::reacts_to<link_probed>>;
/// The LINK to one peer: sessions, batches, windows.
using link_actor = wire_actor::extend<
    // The outlet has something to send, or has overflowed.
    caf::reacts_to<caf::flush_atom>,
    // Every `tick_every`.
    caf::reacts_to<caf::tick_atom>,
    // From now on the peer has this address.
    caf::reacts_to<caf::update_atom, std::string, std::uint16_t>,
    // The door has admitted the peer.
    caf::reacts_to<link_admission>, caf::reacts_to<start_judged>,
    // It answers with `link_probed`, once, within `silence_max`.
    caf::reacts_to<link_probe, door_actor>>;

using asker_actor = wire_actor::extend<caf::reacts_to<caf::tick_atom>, caf::reacts_to<caf::timeout_atom>>;

/// The DIALER connects: it alone may block, for `dial_timeout`.
using dialer_actor = caf::typed_actor<
    caf::replies_to<caf::connect_atom, std::string, std::uint16_t>::with<caf::strong_actor_ptr>>;

/// Shared by a link and its senders.
struct link_entry {
  link_actor actor;
  std::shared_ptr<outlet> out;
};

/// Shared by all actors of one `links`.
struct link_context {
  links_config config;
  renewable<const link_identity> self; ///< set by `start`
  link_events& events;
  query_handler answer_query;
  tls_transport transport; ///< CAF's connections, over TLS; from `start` to `stop`, as the dialer
  dialer_actor dialer;

  mutable std::mutex mutex; ///< guards `peers` and `port`
  std::map<node_id, link_entry> peers;
  std::uint16_t port = 0;
  std::atomic<std::size_t> queries_waiting{0};
  std::atomic<std::uint64_t> versions_refused{0};
  std::atomic<std::uint64_t> starts_refused{0};
  log::limiter refusals{std::chrono::seconds{1}}; ///< so that strangers cannot fill the log

  link_context(links_config c, link_events& e) : config{std::move(c)}, events{e} {}
  std::optional<link_entry> find(node_id peer) const {
    std::lock_guard guard{mutex};
    const auto i = peers.find(peer);
    return i == peers.end() ? std::nullopt : std::optional{i->second};
  }
  /// `done` as of `start_book::judge`.
  void judge(node_id peer, const node_start& start, std::function<void(start_verdict)> done);
  /// Counts it, and says it once for each cause.
  void refuse_start(node_id peer, const node_start& start, start_verdict why);
};
using link_context_ptr = std::shared_ptr<link_context>;

/// One call from this node: hello, challenge, proof.
class outgoing_call {
public:
  enum class purpose { session, query };
  outgoing_call(const link_identity& self, purpose why, node_id to, const links_config& config);
  const link_hello& hello() const { return hello_; }
  std::uint64_t attempt() const { return hello_.attempt; }
  /// `none`, or the reason why the door is not the expected node.
  std::optional<std::string> check(const link_identity& self, const link_challenge& c);
  /// The proof to answer with, after `check`.
  link_proof proof(const link_identity& self, start_verdict verdict);
  node_id door() const { return door_; } ///< proved, once `check` found nothing
  const handshake_facts& facts() const { return facts_; }

private:
  link_hello hello_;
  handshake_facts facts_;
  node_id door_{};
};

// The states of these actors are internal to their files; these functions spawn them.
link_actor spawn_link(caf::actor_system& system, link_context_ptr context, node_id peer,
                      std::shared_ptr<outlet> out, std::string host, std::uint16_t port);
door_actor spawn_door(caf::actor_system& system, link_context_ptr context);
void spawn_asker(caf::actor_system& system, link_context_ptr context, std::string host, std::uint16_t port,
                 std::string question, query_done done);
dialer_actor spawn_dialer(caf::actor_system& system, caf::io::middleman_actor middleman,
                          const links_config& config);

} // namespace parley::cluster
