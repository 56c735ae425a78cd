#include "cluster/links/links.hpp"

#include "cluster/links/caf_transport.hpp"
#include "cluster/links/link_actors.hpp"

#include <caf/io/middleman.hpp>
#include <fmt/format.h>

#include <shared_mutex>

namespace parley::cluster {

links_config make_links_config(const node_config& c) {
  links_config out;
  out.node = c.node;
  out.listen = c.peer_listen;
  out.cert_file = c.peer_cert();
  out.key_file = c.peer_key();
  out.ca_file = c.peer_ca();
  out.sign_of_life = out.caf_heartbeat = c.link_heartbeat;
  out.caf_timeout = c.link_timeout;
  out.silence_max = c.link_timeout + c.link_heartbeat;
  return out;
}

void configure_links(caf::actor_system_config& caf_config, const links_config& config) {
  caf_config.load<caf::io::middleman>();
  caf_config.set("middleman.heartbeat-interval", caf::timespan{config.caf_heartbeat});
  caf_config.set("middleman.connection-timeout", caf::timespan{config.caf_timeout});
  caf_config.add_message_types<caf::id_block::parley_links>();
}

class links::impl {
public:
  impl(caf::actor_system& s, links_config c, link_events& e)
      : system{s}, context{std::make_shared<link_context>(std::move(c), e)} {}

  caf::actor_system& system;
  link_context_ptr context;
  door_actor door_handle;
  peer_tls_context tls; ///< the middleman has a copy, which shares its files
  bool started = false;

  /// A copy of the peers for senders; only `set_peer` blocks it.
  mutable std::shared_mutex senders_mutex;
  std::map<node_id, link_entry> senders;

  std::optional<link_entry> sender_of(node_id peer) const {
    std::shared_lock guard{senders_mutex};
    const auto i = senders.find(peer);
    return i == senders.end() ? std::nullopt : std::optional{i->second};
  }

  /// Returns the port.
  std::optional<std::uint16_t> publish_door() {
    const auto& listen = context->config.listen;
    const bool anywhere = listen.host == "0.0.0.0" || listen.host == "::";
    std::optional<std::uint16_t> out;
    caf::scoped_actor self{system};
    self->request(context->transport.middleman, context->config.handshake_timeout, caf::publish_atom::value,
                  listen.port, caf::actor_cast<caf::strong_actor_ptr>(door_handle),
                  system.message_types(door_handle), anywhere ? std::string{} : listen.host, true)
        .receive([&](std::uint16_t port) { out = port; }, [](caf::error&) {});
    return out;
  }
};

links::links(caf::actor_system& system, links_config config, link_events& events)
    : impl_{std::make_unique<impl>(system, std::move(config), events)} {}

links::~links() {
  stop();
}

void links::on_query(query_handler handler) {
  impl_->context->answer_query = std::move(handler);
}

std::optional<std::string> links::start() {
  auto& context = *impl_->context;
  const auto& c = context.config;
  auto self = link_identity::load(c.node, c.cert_file, c.key_file, c.ca_file);
  if (!self)
    return self.error();
  if (std::max(c.outlet.window_bytes_max, c.query_bytes_max) > caf_payload_bytes_max - caf_wrapping_bytes_max)
    return "links: a peer would refuse frames as large as this window or these questions";
  const auto tls = peer_tls_context::load(c.cert_file, c.key_file, c.ca_file);
  if (!tls)
    return tls.error();
  if (caf::get_or(impl_->system.config(), "middleman.connection-timeout", caf::timespan{}) != c.caf_timeout)
    return "links: the actor system was not prepared with configure_links";
  context.self.replace(std::make_shared<const link_identity>(std::move(*self)));
  impl_->tls = *tls;
  context.transport = spawn_tls_transport(impl_->system, *tls, {c.handshake_timeout, c.newcomers_max});
  context.dialer = spawn_dialer(impl_->system, context.transport.middleman, c);
  impl_->door_handle = spawn_door(impl_->system, impl_->context);
  const auto port = impl_->publish_door();
  impl_->started = true;
  if (!port) {
    stop();
    return fmt::format("cannot listen for other nodes at {}: is the port taken?", to_string(c.listen));
  }
  std::lock_guard guard{context.mutex};
  context.port = *port;
  return std::nullopt;
}

std::optional<std::string> links::renew() {
  auto& context = *impl_->context;
  const auto& c = context.config;
  auto self = link_identity::load(c.node, c.cert_file, c.key_file, c.ca_file);
  if (!self)
    return self.error();
  const auto tls = peer_tls_context::load(c.cert_file, c.key_file, c.ca_file);
  if (!tls)
    return tls.error();
  context.self.replace(std::make_shared<const link_identity>(std::move(*self)));
  impl_->tls.replace(*tls);
  return std::nullopt;
}

std::uint16_t links::port() const {
  std::lock_guard guard{impl_->context->mutex};
  return impl_->context->port;
}

void links::stop() {
  if (!std::exchange(impl_->started, false))
    return;
  auto& context = *impl_->context;
  caf::scoped_actor self{impl_->system};
  if (const auto at = port(); at != 0) {
    // Unpublishing only removes the actor from the port; closing frees the port too.
    self->request(context.transport.middleman, std::chrono::seconds{2}, caf::close_atom::value, at)
        .receive([] {}, [](caf::error&) {});
  }
  {
    std::unique_lock guard{impl_->senders_mutex};
    impl_->senders.clear();
  }
  std::map<node_id, link_entry> ending;
  {
    std::lock_guard guard{context.mutex};
    ending.swap(context.peers);
  }
  for (auto& [peer, entry] : ending) {
    self->send_exit(entry.actor, caf::exit_reason::user_shutdown);
    self->wait_for(entry.actor);
  }
  self->send_exit(impl_->door_handle, caf::exit_reason::user_shutdown);
  self->wait_for(impl_->door_handle);
  self->send_exit(context.dialer, caf::exit_reason::user_shutdown);
  self->wait_for(context.dialer);
  self->send_exit(context.transport.middleman, caf::exit_reason::kill);
  self->wait_for(context.transport.middleman);
  impl_->door_handle = nullptr;
  context.dialer = nullptr;
  context.transport = {};
}

void links::set_peer(node_id peer, std::string host, std::uint16_t port) {
  auto& context = *impl_->context;
  if (!impl_->started || peer == context.config.node)
    return;
  std::lock_guard guard{context.mutex};
  if (const auto i = context.peers.find(peer); i != context.peers.end()) {
    caf::anon_send(i->second.actor, caf::update_atom::value, std::move(host), port);
    return;
  }
  auto out = std::make_shared<outlet>(context.config.outlet);
  link_entry entry{spawn_link(impl_->system, impl_->context, peer, out, std::move(host), port), out};
  context.peers.emplace(peer, entry);
  std::unique_lock senders_guard{impl_->senders_mutex};
  impl_->senders.emplace(peer, std::move(entry));
}

bool links::send(node_id peer, lane on, std::string payload) {
  std::shared_lock guard{impl_->senders_mutex};
  const auto i = impl_->senders.find(peer);
  if (i == impl_->senders.end())
    return false;
  const auto result = i->second.out->put(on, std::move(payload));
  if (result == outlet::put_result::wake)
    caf::anon_send(i->second.actor, caf::flush_atom::value);
  return result != outlet::put_result::refused;
}

bool links::connected(node_id peer) const {
  const auto entry = impl_->sender_of(peer);
  return entry && entry->out->connected.load(std::memory_order_acquire);
}

std::optional<std::size_t> links::raft_waiting(node_id peer) const {
  std::shared_lock guard{impl_->senders_mutex};
  const auto i = impl_->senders.find(peer);
  return i == impl_->senders.end() ? std::nullopt : i->second.out->raft_waiting();
}

void links::query(std::string host, std::uint16_t port, std::string question, query_done done) {
  auto& context = *impl_->context;
  if (!impl_->started || ++context.queries_waiting > context.config.queries_waiting_max) {
    if (impl_->started)
      --context.queries_waiting;
    return done(tl::unexpected(std::string{"too many questions at once"}));
  }
  spawn_asker(impl_->system, impl_->context, std::move(host), port, std::move(question), std::move(done));
}

std::uint64_t links::versions_refused() const {
  return impl_->context->versions_refused;
}

std::uint64_t links::starts_refused() const {
  return impl_->context->starts_refused;
}

std::vector<link_status> links::status() const {
  std::shared_lock guard{impl_->senders_mutex};
  std::vector<link_status> out;
  for (const auto& [peer, entry] : impl_->senders)
    out.push_back(entry.out->status(peer));
  return out;
}

} // namespace parley::cluster
