#include "cluster/links/link_actors.hpp"

#include "cluster/links/passing_refusals.hpp"
#include "protocol/values/chance.hpp"

namespace parley::cluster {

std::optional<unpacked> unpack(std::vector<lane_payload> batch) {
  unpacked out;
  for (auto& p : batch) {
    out.bytes += outlet::cost_of(p.bytes);
    switch (p.on) {
    case lane::raft:
      out.raft.push_back(std::move(p.bytes));
      continue;
    case lane::calls:
      out.calls.push_back(std::move(p.bytes));
      continue;
    }
    return std::nullopt; // the number comes from outside
  }
  return out;
}

outgoing_call::outgoing_call(const link_identity& self, purpose why, node_id to, const links_config& config) {
  hello_ = {config.versions,
            static_cast<std::uint8_t>(why == purpose::query),
            number(self.node()),
            number(to),
            system_chance().nonzero(),
            self.certificate(),
            random_nonce(),
            config.start};
}

std::optional<std::string> outgoing_call::check(const link_identity& self, const link_challenge& c) {
  auto certificate = self.check(c.certificate);
  if (!certificate)
    return std::move(certificate.error());
  if (number(certificate->node) != c.from || (hello_.to != 0 && hello_.to != c.from))
    return "another node lives at this address";
  if (c.version < hello_.versions.min || c.version > hello_.versions.max)
    return "the door chose a version that this node does not speak";
  facts_ = {hello_.is_query != 0, hello_.from,         c.from,    hello_.nonce, c.nonce, c.session,
            hello_.versions.min,  hello_.versions.max, c.version, hello_.start, c.start};
  if (!certificate->verify(facts_.for_door(), c.signature))
    return "the door's signature is wrong";
  door_ = certificate->node;
  return std::nullopt;
}

link_proof outgoing_call::proof(const link_identity& self, start_verdict verdict) {
  facts_.verdict = verdict;
  return {facts_.session, self.sign(facts_.for_caller()), {}, verdict};
}

void link_context::judge(node_id peer, const node_start& start, std::function<void(start_verdict)> done) {
  if (config.book)
    config.book->judge(peer, start, std::move(done));
  else
    done(start_verdict::fits);
}

void link_context::refuse_start(node_id peer, const node_start& start, start_verdict why) {
  ++starts_refused;
  if (config.book && config.book->tell(peer, start, why))
    log::error("copy-refused",
               {{"peer", peer},
                {"start", start.number},
                {"why", describe(why)},
                {"next", "leave one process of that node, move its data directory away and start it "
                         "with an empty one, which the other nodes fill"}});
}

/// This node's side of the pair of links. It is in exactly one phase at a time; messages of another attempt
/// or session than the current one are dropped.
///
/// Either side may call. If both do, the call of the node with the higher id is kept: that node refuses the
/// other's call while its own has reached the peer, and the lower one abandons its own call.
struct link_state {
  static inline const char* name = "link";
  using clock = std::chrono::steady_clock;
  enum class phase { idle, dialing, greeting, judging, proving, live };

  link_actor::pointer self{};
  link_context_ptr context;
  node_id peer{};
  std::shared_ptr<outlet> out;
  std::string host;
  std::uint16_t port = 0;

  phase at = phase::idle;
  std::optional<outgoing_call> call;
  std::uint64_t session = 0;
  std::uint32_t version = 0;    ///< of the node protocol, in this session
  caf::strong_actor_ptr remote; ///< the peer's link, or the door while calling
  clock::time_point try_at{};   ///< idle: call then
  clock::time_point give_up_at{};
  std::chrono::milliseconds retry_after{0};
  clock::time_point heard_at{}, said_at{};
  passing_refusals refused_once_proved;
  std::uint64_t word = 0; ///< of the start of the process that the session is with
  struct probe {
    std::uint64_t session = 0;
    door_actor door;
    std::uint64_t number = 0; ///< the process that the session is with has to repeat it
    clock::time_point until;
  };
  std::optional<probe> probed;
  std::uint64_t batches_sent = 0, batches_received = 0;
  std::uint64_t bytes_received = 0, bytes_acknowledged = 0;

  const links_config& config() const { return context->config; }
  bool outranks_peer() const { return number(config().node) > number(peer); }
  bool from_remote() const { return remote && self->current_sender() == remote; }
  template <class Message>
  void say(const caf::strong_actor_ptr& to, Message m) {
    if (to)
      self->send(caf::actor_cast<wire_actor>(to), std::move(m));
  }

  void watch(caf::strong_actor_ptr other) {
    unwatch();
    remote = std::move(other);
    self->monitor(remote);
  }
  void unwatch() {
    if (remote)
      self->demonitor(remote->address());
    remote = nullptr;
  }

  // --- calling ---------------------------------------------------------------------------------------------

  void rest(clock::time_point now) {
    unwatch();
    at = phase::idle;
    call.reset();
    session = 0;
    retry_after = std::clamp(retry_after * 2, config().retry_min, config().retry_max);
    const auto jitter =
        std::chrono::milliseconds{system_chance().below(static_cast<std::uint64_t>(retry_after.count()) + 1)};
    try_at = now + retry_after / 2 + jitter / 2 +
             (outranks_peer() ? std::chrono::milliseconds{0} : config().yield_to_higher);
  }
  /// After a refusal that only an operator can change.
  void rest_long() {
    const auto now = clock::now();
    rest(now);
    try_at = now + config().retry_disowned;
  }

  void dial(clock::time_point now) {
    at = phase::dialing;
    call.emplace(*context->self.now(), outgoing_call::purpose::session, peer, config());
    give_up_at = now + config().dial_timeout + config().handshake_timeout;
    const auto attempt = call->attempt();
    self->request(context->dialer, config().dial_timeout + config().handshake_timeout,
                  caf::connect_atom::value, host, port)
        .then(
            [this, attempt](caf::strong_actor_ptr& door) {
              if (at != phase::dialing || call->attempt() != attempt)
                return;
              watch(std::move(door));
              at = phase::greeting;
              say(remote, call->hello());
            },
            [this, attempt](caf::error&) {
              if (at == phase::dialing && call->attempt() == attempt)
                rest(clock::now());
            });
  }

  void challenged(const link_challenge& c) {
    if (at != phase::greeting || c.attempt != call->attempt() || !from_remote())
      return;
    if (const auto why = call->check(*context->self.now(), c)) {
      refuse_loudly(*why);
      return rest(clock::now());
    }
    at = phase::judging;
    session = c.session;
    version = c.version;
    context->judge(peer, c.start, [me = link_actor{self}, attempt = c.attempt](start_verdict verdict) {
      caf::anon_send(me, start_judged{attempt, verdict});
    });
  }

  void judged(const start_judged& j) {
    if (at != phase::judging || j.call != call->attempt())
      return;
    at = phase::proving;
    say(remote, call->proof(*context->self.now(), j.verdict));
    if (j.verdict == start_verdict::fits)
      return;
    context->refuse_start(peer, call->facts().door_start, j.verdict);
    rest_long();
  }

  void accepted(const link_accepted& a) {
    if (at == phase::proving && a.attempt == call->attempt() && a.session == session)
      begin(session, version, self->current_sender(), call->facts().door_start.word());
  }

  void refused(const link_refused& r) {
    if ((at != phase::greeting && at != phase::judging && at != phase::proving) ||
        r.attempt != call->attempt())
      return;
    if (at == phase::proving && r.verdict != start_verdict::fits && from_remote()) {
      context->events.disowned(peer, r.verdict);
      return rest_long();
    }
    // Once both are proved, what is refused is a call of two at once, or one to a node that has just been started.
    const bool said = at != phase::proving || refused_once_proved.lasts(peer, clock::now());
    if (const auto left_out = said ? context->refusals.admit() : -1; left_out >= 0)
      log::warn("link-refused-by-peer",
                {{"peer", peer}, {"why", r.why.substr(0, 200)}, {"left_out", left_out}});
    rest(clock::now());
  }

  void admitted(const link_admission& a) {
    if ((at == phase::greeting || at == phase::judging || at == phase::proving) && outranks_peer())
      return say(a.caller, link_refused{a.attempt, "calling you already"});
    if (at == phase::live)
      end("the peer began anew");
    begin(a.session, a.version, a.caller, a.word);
    say(remote, link_accepted{a.attempt, a.session, {}});
  }

  void refuse_loudly(const std::string& why) {
    if (const auto left_out = context->refusals.admit(); left_out >= 0)
      log::warn("peer-refused",
                {{"peer", peer}, {"host", host}, {"port", port}, {"why", why}, {"left_out", left_out}});
  }

  // --- a session -------------------------------------------------------------------------------------------

  void begin(std::uint64_t number_of_it, std::uint32_t spoken, caf::strong_actor_ptr other,
             std::uint64_t peers_word) {
    watch(std::move(other));
    word = peers_word;
    at = phase::live;
    call.reset();
    session = number_of_it;
    version = spoken;
    retry_after = std::chrono::milliseconds{0};
    refused_once_proved.end(peer);
    heard_at = said_at = clock::now();
    batches_sent = batches_received = bytes_received = bytes_acknowledged = 0;
    // The order matters: a payload that is put between the two is sent in this session, late but whole. The
    // other way round it would be lost after the reset that should report the loss.
    out->begin();
    context->events.reset(peer);
    context->events.begun(peer);
    log::info("link-up", {{"peer", peer}, {"session", session}, {"version", version}});
  }

  void end(std::string_view why) {
    say(remote, link_goodbye{session});
    log::info("link-down", {{"peer", peer}, {"session", session}, {"why", why}});
    answer_probe(false);
    out->end();
    rest(clock::now());
    context->events.reset(peer);
  }

  void flush() {
    if (at != phase::live)
      return;
    if (out->overflowed())
      return end("it does not keep up: its window is full");
    while (auto payloads = out->take()) {
      say(remote, link_batch{session, ++batches_sent, bytes_received, std::move(*payloads)});
      said_at = clock::now();
      bytes_acknowledged = bytes_received;
    }
  }

  /// Whether a message belongs to this session. Others are answered with a goodbye, so that a session that
  /// only one side still knows ends on both.
  bool belongs(std::uint64_t to_session) {
    if (at == phase::live && to_session == session && from_remote()) {
      heard_at = clock::now();
      return true;
    }
    say(self->current_sender(), link_goodbye{to_session});
    return false;
  }

  /// A node that was started again has no process of an earlier start: only a second one, on a copy of its
  /// directory, calls while that answers. What a process had sent before it died may still arrive, so it has to answer
  /// what it is asked now; and a connection that outlived its process must not block the node.
  void probe_session(const link_probe& p, door_actor from) {
    answer_probe(false);
    probed =
        probe{p.session, std::move(from), system_chance().nonzero(), clock::now() + config().silence_max};
    if (at != phase::live || word == 0 || word == p.word)
      return answer_probe(false);
    say(remote, link_ack{session, bytes_received, probed->number, 0});
  }
  void answer_probe(bool alive) {
    if (const auto p = std::exchange(probed, std::nullopt))
      self->send(p->door, link_probed{p->session, alive});
  }

  void received(link_batch& b) {
    if (!belongs(b.session))
      return;
    if (b.number != ++batches_received)
      return end("a batch is missing");
    if (!out->acknowledge(b.bytes_received))
      return end("it acknowledges what was never sent");
    auto payloads = unpack(std::move(b.payloads));
    if (!payloads)
      return end("a batch cannot be read");
    bytes_received += payloads->bytes;
    out->bytes_received += payloads->bytes;
    ++out->batches_received;
    if (!payloads->raft.empty())
      context->events.received(peer, lane::raft, std::move(payloads->raft));
    if (!payloads->calls.empty())
      context->events.received(peer, lane::calls, std::move(payloads->calls));
    if (bytes_received - bytes_acknowledged >= config().outlet.window_bytes_max / 16)
      acknowledge();
  }

  void acknowledge() {
    say(remote, link_ack{session, bytes_received, 0, 0});
    bytes_acknowledged = bytes_received;
    said_at = clock::now();
  }

  void acknowledged(const link_ack& a) {
    if (!belongs(a.session))
      return;
    if (!out->acknowledge(a.bytes_received))
      return end("it acknowledges what was never sent");
    if (probed && a.answers == probed->number)
      answer_probe(true);
    if (a.asks != 0)
      say(remote, link_ack{session, bytes_received, 0, a.asks});
  }

  void tick() {
    const auto now = clock::now();
    if (probed && now >= probed->until)
      answer_probe(false);
    switch (at) {
    case phase::idle:
      if (now >= try_at && port != 0)
        dial(now);
      break;
    case phase::dialing:
    case phase::greeting:
    case phase::judging:
    case phase::proving:
      if (now >= give_up_at)
        rest(now);
      break;
    case phase::live:
      if (now - heard_at > config().silence_max)
        end("silent");
      else if (bytes_received != bytes_acknowledged || now - said_at >= config().sign_of_life)
        acknowledge();
      break;
    }
    self->delayed_send(self, config().tick_every, caf::tick_atom::value);
  }

  void lost(const caf::actor_addr& whom) {
    if (!remote || remote->address() != whom)
      return;
    if (at == phase::live)
      end("the connection was lost");
    else if (at != phase::idle)
      rest(clock::now());
  }
};

static link_actor::behavior_type link(link_actor::stateful_pointer<link_state> self, link_context_ptr context,
                                      node_id peer, std::shared_ptr<outlet> out, std::string host,
                                      std::uint16_t port) {
  auto& st = self->state;
  st.self = self;
  st.context = std::move(context);
  st.peer = peer;
  st.out = std::move(out);
  st.host = std::move(host);
  st.port = port;
  st.try_at = link_state::clock::now() +
              (st.outranks_peer() ? std::chrono::milliseconds{0} : st.config().yield_to_higher);
  self->set_down_handler([&st](caf::down_msg& m) { st.lost(m.source); });
  self->set_default_handler(caf::drop);
  self->send(self, caf::tick_atom::value);
  return {
      [](link_hello&) {}, // for doors
      [&st](link_challenge& m) { st.challenged(m); },
      [](link_proof&) {}, // for doors
      [&st](link_accepted& m) { st.accepted(m); },
      [&st](link_refused& m) { st.refused(m); },
      [&st](link_batch& m) { st.received(m); },
      [&st](link_ack& m) { st.acknowledged(m); },
      [&st](link_goodbye& m) {
        if (st.at == link_state::phase::live && m.session == st.session && st.from_remote())
          st.end("the peer ended it");
      },
      [&st](caf::flush_atom) { st.flush(); },
      [&st](caf::tick_atom) { st.tick(); },
      [&st](caf::update_atom, std::string& new_host, std::uint16_t new_port) {
        if (st.host == new_host && st.port == new_port)
          return;
        st.host = std::move(new_host);
        st.port = new_port;
        if (st.at == link_state::phase::idle)
          st.try_at = link_state::clock::now();
      },
      [&st](link_admission& m) { st.admitted(m); },
      [&st](start_judged& m) { st.judged(m); },
      [&st](link_probe& m, door_actor& from) { st.probe_session(m, std::move(from)); },
  };
}

link_actor spawn_link(caf::actor_system& system, link_context_ptr context, node_id peer,
                      std::shared_ptr<outlet> out, std::string host, std::uint16_t port) {
  return system.spawn(link, std::move(context), peer, std::move(out), std::move(host), port);
}

} // namespace parley::cluster
