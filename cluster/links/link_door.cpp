#include "cluster/links/link_actors.hpp"
#include "cluster/links/passing_refusals.hpp"
#include "protocol/values/chance.hpp"

#include <caf/openssl/all.hpp>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace parley::cluster {

using clock = std::chrono::steady_clock;

/// Callers between their hello and their proof. Nothing that they send is trusted before the proof.
struct door_state {
  static inline const char* name = "door";
  struct caller {
    caf::strong_actor_ptr who;
    std::uint64_t attempt = 0;
    peer_certificate certificate;
    handshake_facts facts;
    clock::time_point until;
    enum class step { proves, probed, judged } at = step::proves; ///< what is waited for
  };
  door_actor::pointer self{};
  link_context_ptr context;
  std::map<std::uint64_t, caller> waiting; ///< by session
  passing_refusals unlisted;               ///< of callers that the list of nodes lacks

  void refuse(std::uint64_t attempt, std::uint64_t claims, std::string why) {
    if (const auto left_out = context->refusals.admit(); left_out >= 0)
      log::warn("caller-refused", {{"claims", claims}, {"why", why}, {"left_out", left_out}});
    say(self->current_sender(), link_refused{attempt, std::move(why), start_verdict::fits});
  }
  template <class Message>
  void say(const caf::strong_actor_ptr& to, Message m) {
    if (to)
      self->send(caf::actor_cast<wire_actor>(to), std::move(m));
  }

  void greeted(const link_hello& h) {
    const auto& config = context->config;
    if (!self->current_sender())
      return;
    const auto no = [&](std::string why) { refuse(h.attempt, h.from, std::move(why)); };
    const auto version = highest_common(h.versions, config.versions);
    if (!version) {
      ++context->versions_refused;
      return no(
          fmt::format("no common version of the node protocol: you speak {} to {}, this node speaks {} to "
                      "{}; upgrade the older node",
                      h.versions.min, h.versions.max, config.versions.min, config.versions.max));
    }
    if (h.nonce.size() != random_nonce().size())
      return no("not a greeting");
    if (h.to != 0 && h.to != number(config.node))
      return no("you mean another node");
    const auto mine = context->self.now(); // it may be renewed meanwhile
    auto certificate = mine->check(h.certificate);
    if (!certificate)
      return no(certificate.error());
    if (number(certificate->node) != h.from)
      return no("your certificate names another node");
    if (h.is_query && !context->answer_query)
      return no("no questions are answered here");
    if (waiting.size() >= config.handshakes_waiting_max)
      return no("too many callers");

    const auto session = system_chance().nonzero();
    caller c{self->current_sender(),
             h.attempt,
             std::move(*certificate),
             {},
             clock::now() + config.handshake_timeout};
    c.facts = {h.is_query != 0, h.from,  number(config.node), h.nonce,
               random_nonce(),  session, h.versions.min,      h.versions.max,
               *version,        h.start, config.start};
    say(c.who, link_challenge{*version, h.attempt, session, c.facts.door, mine->certificate(),
                              c.facts.door_nonce, mine->sign(c.facts.for_door()), config.start});
    waiting.emplace(session, std::move(c));
  }

  void proved(link_proof& p) {
    const auto i = waiting.find(p.session);
    if (i == waiting.end() || i->second.who != self->current_sender() || i->second.at != caller::step::proves)
      return;
    auto& it = i->second;
    it.facts.verdict = p.verdict;
    const auto from = it.certificate.node;
    const bool proved = it.certificate.verify(it.facts.for_caller(), p.signature);
    if (proved && !it.facts.is_query && p.verdict == start_verdict::fits) {
      if (const auto entry = context->find(from)) {
        unlisted.end(from);
        it.at = caller::step::probed;
        self->send(entry->actor, link_probe{p.session, it.facts.caller_start.word()}, door_actor{self});
        return;
      }
    }
    const auto c = std::move(it);
    waiting.erase(i);
    if (!proved)
      return refuse(c.attempt, number(from), "your signature is wrong");
    if (!c.facts.is_query) {
      // An older copy may have forgotten its peers too. Whoever judges so has seen this very disk.
      if (p.verdict != start_verdict::fits)
        return context->events.disowned(from, p.verdict);
      std::string why =
          "the list of nodes here lacks the caller: this node has not joined its cluster yet, or the "
          "two are of different clusters";
      if (unlisted.lasts(from, clock::now()))
        return refuse(c.attempt, number(from), std::move(why));
      return say(c.who, link_refused{c.attempt, std::move(why), start_verdict::fits});
    }
    if (p.query.size() > context->config.query_bytes_max)
      return refuse(c.attempt, number(from), "the question is too long");
    say(c.who, link_accepted{c.attempt, p.session, context->answer_query(from, p.query)});
  }

  void probed(const link_probed& p) {
    const auto i = waiting.find(p.session);
    if (i == waiting.end() || i->second.at != caller::step::probed)
      return;
    i->second.at = caller::step::judged;
    if (p.alive)
      return judged({p.session, start_verdict::twice});
    context->judge(i->second.certificate.node, i->second.facts.caller_start,
                   [me = door_actor{self}, session = p.session](start_verdict verdict) {
                     caf::anon_send(me, start_judged{session, verdict});
                   });
  }

  void judged(const start_judged& j) {
    const auto i = waiting.find(j.call);
    if (i == waiting.end() || i->second.at != caller::step::judged)
      return;
    const auto c = std::move(i->second);
    waiting.erase(i);
    const auto from = c.certificate.node;
    if (j.verdict != start_verdict::fits) {
      context->refuse_start(from, c.facts.caller_start, j.verdict);
      return say(c.who, link_refused{c.attempt, std::string{describe(j.verdict)}, j.verdict});
    }
    if (const auto entry = context->find(from))
      self->send(entry->actor,
                 link_admission{c.attempt, j.call, c.facts.version, c.who, c.facts.caller_start.word()});
  }

  void tick() {
    const auto now = clock::now();
    std::erase_if(waiting, [now](const auto& entry) { return now >= entry.second.until; });
    context->transport.close_late_newcomers();
    self->delayed_send(self, context->config.handshake_timeout / 4, caf::tick_atom::value);
  }
};

static door_actor::behavior_type door(door_actor::stateful_pointer<door_state> self,
                                      link_context_ptr context) {
  auto& st = self->state;
  st.self = self;
  st.context = std::move(context);
  self->set_default_handler(caf::drop); // CAF would print any other message that a peer sends
  self->send(self, caf::tick_atom::value);
  return {
      [&st](link_hello& m) { st.greeted(m); },
      [](link_challenge&) {},
      [&st](link_proof& m) { st.proved(m); },
      [](link_accepted&) {},
      [](link_refused&) {},
      [](link_batch&) {},
      [](link_ack&) {},
      [](link_goodbye&) {},
      [&st](caf::tick_atom) { st.tick(); },
      [&st](start_judged& m) { st.judged(m); },
      [&st](link_probed& m) { st.probed(m); },
  };
}

/// One question to one address.
struct asker_state {
  static inline const char* name = "asker";
  asker_actor::pointer self{};
  link_context_ptr context;
  std::string host;
  std::uint16_t port = 0;
  std::string question;
  query_done done;
  std::optional<outgoing_call> call;
  caf::strong_actor_ptr door;

  void finish(tl::expected<query_answer, std::string> result) {
    if (!done)
      return;
    --context->queries_waiting;
    std::exchange(done, nullptr)(std::move(result));
    self->quit();
  }
  void fail(std::string why) { finish(tl::unexpected(std::move(why))); }
  bool from_door() const { return door && self->current_sender() == door; }
  template <class Message>
  void say(Message m) {
    self->send(caf::actor_cast<wire_actor>(door), std::move(m));
  }

  void dial() {
    call.emplace(*context->self.now(), outgoing_call::purpose::query, node_id::none, context->config);
    self->request(context->dialer, context->config.query_timeout, caf::connect_atom::value, host, port)
        .then(
            [this](caf::strong_actor_ptr& found) {
              door = std::move(found);
              self->monitor(door);
              say(call->hello());
            },
            [this](caf::error&) { fail("nobody answers at this address"); });
  }
  /// When two nodes connect to each other at the same moment, CAF may close both connections: until the
  /// deadline, try again at another moment.
  void lost() {
    door = nullptr;
    self->delayed_send(self, std::chrono::milliseconds{20 + system_chance().below(150)},
                       caf::tick_atom::value);
  }
};

static asker_actor::behavior_type asker(asker_actor::stateful_pointer<asker_state> self,
                                        link_context_ptr context, std::string host, std::uint16_t port,
                                        std::string question, query_done done) {
  auto& st = self->state;
  st.self = self;
  st.context = std::move(context);
  st.question = std::move(question);
  st.done = std::move(done);
  st.host = std::move(host);
  st.port = port;
  self->set_down_handler([&st](caf::down_msg& m) {
    if (st.door && st.door->address() == m.source)
      st.lost();
  });
  self->set_exit_handler([&st, self](caf::exit_msg& m) {
    st.fail("this node stops");
    self->quit(m.reason);
  });
  self->set_default_handler(caf::drop);
  self->delayed_send(self, st.context->config.query_timeout, caf::timeout_atom::value);
  st.dial();
  return {
      [](link_hello&) {},
      [&st](link_challenge& m) {
        if (!st.from_door() || m.attempt != st.call->attempt())
          return;
        if (const auto why = st.call->check(*st.context->self.now(), m))
          return st.fail(*why);
        auto proof = st.call->proof(*st.context->self.now(), start_verdict::fits);
        proof.query = st.question; // kept: it may have to be asked again
        st.say(std::move(proof));
      },
      [](link_proof&) {},
      [&st](link_accepted& m) {
        if (st.from_door() && m.attempt == st.call->attempt() && st.call->door() != node_id::none)
          st.finish(query_answer{st.call->door(), std::move(m.answer)});
      },
      [&st](link_refused& m) {
        if (st.from_door() && m.attempt == st.call->attempt())
          st.fail("refused: " + m.why.substr(0, 200));
      },
      [](link_batch&) {},
      [](link_ack&) {},
      [](link_goodbye&) {},
      [&st](caf::tick_atom) {
        if (st.done)
          st.dial();
      },
      [&st](caf::timeout_atom) { st.fail("no answer in time"); },
  };
}

namespace {

/// Whether something accepts TCP connections there now. CAF's own connect blocks its only utility
/// thread while the kernel tries (minutes, if packets are dropped on the way), and with it the calls
/// to all other peers.
bool accepts_connections(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    return false;
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses{found, &freeaddrinfo};
  const auto until = clock::now() + timeout;
  for (const auto* a = found; a; a = a->ai_next) {
    const int fd = ::socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
      continue;
    bool good = ::connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!good && errno == EINPROGRESS) {
      pollfd p{fd, POLLOUT, 0};
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
      int error = 0;
      socklen_t size = sizeof error;
      good = left > 0 && ::poll(&p, 1, static_cast<int>(left)) == 1 &&
             ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    ::close(fd);
    if (good)
      return true;
  }
  return false;
}

} // namespace

static dialer_actor::behavior_type dialer(dialer_actor::pointer self, caf::io::middleman_actor middleman,
                                          std::chrono::milliseconds dial_timeout,
                                          std::chrono::milliseconds handshake_timeout) {
  return {
      [self, middleman, dial_timeout, handshake_timeout](
          caf::connect_atom, std::string& host, std::uint16_t port) -> caf::result<caf::strong_actor_ptr> {
        if (!accepts_connections(host, port, dial_timeout))
          return caf::make_error(caf::sec::cannot_connect_to_node);
        auto rp = self->make_response_promise<caf::strong_actor_ptr>();
        self->request(middleman, handshake_timeout, caf::connect_atom::value, std::move(host), port)
            .then(
                [rp](const caf::node_id&, caf::strong_actor_ptr& door, const std::set<std::string>&) mutable {
                  if (door)
                    rp.deliver(std::move(door));
                  else
                    rp.deliver(caf::make_error(caf::sec::no_actor_published_at_port));
                },
                [rp](caf::error& e) mutable { rp.deliver(std::move(e)); });
        return rp;
      },
  };
}

door_actor spawn_door(caf::actor_system& system, link_context_ptr context) {
  return system.spawn(door, std::move(context));
}
void spawn_asker(caf::actor_system& system, link_context_ptr context, std::string host, std::uint16_t port,
                 std::string question, query_done done) {
  system.spawn(asker, std::move(context), std::move(host), port, std::move(question), std::move(done));
}
dialer_actor spawn_dialer(caf::actor_system& system, caf::io::middleman_actor middleman,
                          const links_config& config) {
  return system.spawn<caf::detached>(dialer, std::move(middleman), config.dial_timeout,
                                     config.handshake_timeout);
}

} // namespace parley::cluster
