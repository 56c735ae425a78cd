#include "protocol/gateway/server.hpp"

#include "actors/core/limits.hpp"
#include "protocol/gateway/connection.hpp"
#include "protocol/gateway/waiting_room.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace parley::gateway {
namespace {

/// How long a step waits for a loop that is always busy. One of a handshake takes a third of a millisecond,
constexpr kj::Duration handshake_patience = 1 * kj::MILLISECONDS;
/// one of a page, of much that is written, or of somebody who says much, up to two.
constexpr kj::Duration bulk_patience = 10 * kj::MILLISECONDS;

constexpr std::chrono::milliseconds descriptors_retry{100}; ///< after EMFILE and the like
/// Connections that are refused at once cost no handshake and no room, but a system call or two each. After
/// so many of them the thread does something else first.
constexpr unsigned refused_in_a_row_max = 64;
constexpr std::chrono::milliseconds refused_pause{2};
/// After so many the connections that gave way are destroyed and the sockets are looked at, before more are accepted.
constexpr unsigned admitted_in_a_row_max = 16;
constexpr std::chrono::milliseconds crowded_pause{1}; ///< while as many handshakes wait for their turn as may

kj::Duration span(std::chrono::nanoseconds d) {
  return d.count() * kj::NANOSECONDS;
}

class server final : public gateway_server,
                     private server_hooks,
                     private transport::stream_buffers,
                     private kj::TaskSet::ErrorHandler {
public:
  server(kj::Own<server_parts> parts, pulse& beats, transport::renewable_tls tls, kj::AutoCloseFd listener)
      : transport::stream_buffers{parts->config.buffers_bytes_of_all_max}, parts_{kj::mv(parts)},
        config_{parts_->config}, metrics_{parts_->metrics}, pulse_{beats}, timer_{parts_->port.getTimer()},
        tls_{std::move(tls)}, listener_{kj::mv(listener)}, listened_{kj::heap<kj::UnixEventPort::FdObserver>(
                                                               parts_->port, listener_.get(),
                                                               kj::UnixEventPort::FdObserver::OBSERVE_READ)},
        local_port_{transport::local_port(listener_.get())}, handshakes_{config_.handshakes_burst,
                                                                         config_.handshake_every},
        handshakes_of_{{config_.address_handshakes_burst, config_.address_handshake_every,
                        config_.handshakes_burst, config_.handshake_every},
                       config_.addresses_max},
        handshake_steps_{timer_, handshake_patience}, large_steps_{timer_, bulk_patience},
        read_steps_{timer_, bulk_patience}, strangers_{config_.pre_login_max,
                                                       config_.pre_login_per_address_max},
        accepting_{kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))},
        tasks_{kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))} {
    parts_->server = this;
    parts_->buffers = this;
    parts_->pages->watch(this);
    parts_->handshake_steps = &handshake_steps_;
    parts_->large_steps = &large_steps_;
    parts_->read_steps = &read_steps_;
    accepting_->add(keep_accepting());
    tasks_->add(keep_sweeping());
  }

  ~server() noexcept(false) override {
    parts_->server = nullptr;
    parts_->draining = true; // calls that still arrive are refused as `draining`
    accepting_ = nullptr;
    tasks_ = nullptr;
    retired_.clear();
    for (auto& c : connections_)
      c->tear_down();
    parts_->pages->watch(nullptr);
    parts_->buffers = nullptr;
    parts_->handshake_steps = nullptr;
    parts_->large_steps = nullptr;
    parts_->read_steps = nullptr;
    metrics_.connections.fetch_sub(connections_.size(), std::memory_order_relaxed);
  }

  std::uint16_t port() const override { return local_port_; }
  std::size_t connections() const override { return connections_.size(); }

  void drain() override {
    if (parts_->draining)
      return;
    parts_->draining = true;
    pulse_.drains();
    accepting_ = nullptr;
    listened_ = nullptr;
    listener_ = nullptr;
    const auto spread = static_cast<std::uint64_t>(config_.drain_spread.count()) + 1;
    for (auto& c : connections_)
      c->close(ec::draining, static_cast<std::uint32_t>(parts_->dice.below(spread)));
    check_drained();
  }

  kj::Promise<void> drained() override {
    auto waiter = kj::newPromiseAndFulfiller<void>();
    drained_.add(kj::mv(waiter.fulfiller));
    check_drained();
    return kj::mv(waiter.promise);
  }

private:
  kj::Promise<void> pause_accepting(std::chrono::nanoseconds d) {
    add(metrics_.accepts_paused);
    return timer_.afterDelay(span(d)).then([this] { return accept_some(); });
  }

  /// Whatever is thrown on the way (memory is used up, or epoll's watches) ends one connection. It must not
  /// end the accepting, which nothing would begin again.
  kj::Promise<void> keep_accepting() {
    return kj::evalNow([this] { return accept_some(); }).catch_([this](kj::Exception&&) {
      add(metrics_.internal_errors);
      return timer_.afterDelay(span(descriptors_retry)).then([this] { return keep_accepting(); });
    });
  }

  /// Does it when the loop has looked at its sockets, after what is in the queue by then.
  template <class F>
  kj::Promise<void> after_a_look(F then) {
    return timer_.afterDelay(0 * kj::NANOSECONDS).then([then]() mutable {
      return kj::evalLater(kj::mv(then));
    });
  }

  /// Accepts the connections that wait, as fast as handshakes can be afforded and take their turns. The others wait in the
  /// backlog. Those of an address or a network that has had its share are refused, and cost nobody else's handshake.
  kj::Promise<void> accept_some() {
    for (unsigned refused = 0, admitted = 0;;) {
      const auto now = pulse_clock::now();
      pulse_.accepting_turned(now);
      if (const auto wait = handshakes_.wait(now); wait.count() > 0)
        return pause_accepting(wait);
      if (handshake_steps_.waiting() >= config_.handshakes_waiting_max)
        return pause_accepting(crowded_pause);
      sockaddr_storage from{};
      socklen_t size = sizeof from;
      kj::AutoCloseFd fd{::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size,
                                   SOCK_NONBLOCK | SOCK_CLOEXEC)};
      if (fd.get() < 0) {
        switch (errno) {
        case EAGAIN:
          return listened_->whenBecomesReadable().then([this] { return accept_some(); });
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
          return pause_accepting(descriptors_retry);
        default:
          continue; // only that connection failed
        }
      }
      if (admit(kj::mv(fd), networks_of(from), now)) {
        handshakes_.take(now);
        if (++admitted == admitted_in_a_row_max)
          return after_a_look([this] { return accept_some(); });
        continue;
      }
      if (++refused == refused_in_a_row_max)
        return pause_accepting(refused_pause);
    }
  }

  /// False if the connection is refused: it is closed, and costs neither a handshake nor room.
  bool admit(kj::AutoCloseFd fd, const network_keys& from, core::token_bucket::time_point now) {
    add(metrics_.accepted);
    if (connections_.size() >= config_.connections_max) {
      add(metrics_.refused_full);
      return false;
    }
    if (!handshakes_of_.admit(from, now)) {
      add(metrics_.refused);
      return false;
    }
    // More than one if a bound of its address and one of its network are reached.
    while (auto* in_the_way = strangers_.who_gives_way_to(from)) {
      strangers_.leave(*in_the_way);
      in_the_way->give_way();
    }
    auto c = kj::refcounted<connection>(kj::addRef(*parts_), kj::mv(fd), tls_.now(), from);
    c->slot = connections_.size();
    connections_.push_back(kj::mv(c));
    add(metrics_.connections);
    auto& it = *connections_.back();
    strangers_.enter(from, it);
    it.start();
    return true;
  }

  void spoke(connection& c) override { strangers_.spoke(c); }
  void promoted(connection& c) override { strangers_.leave(c); }

  void relieve() override { close_largest_until(bytes_max()); }
  void eased() override { parts_->pages->give(); }

  /// Who has buffered most is the least likely to be somebody who only talks.
  /// All are looked at once, because thousands may have a little each.
  void close_largest_until(std::size_t bytes_left) {
    if (bytes() <= bytes_left)
      return;
    std::vector<std::pair<std::size_t, connection*>> those;
    for (auto& c : connections_)
      if (const auto buffered = c->buffered_bytes(); buffered > 0)
        those.emplace_back(buffered, c.get());
    for (std::make_heap(those.begin(), those.end()); bytes() > bytes_left && !those.empty();
         those.pop_back()) {
      std::pop_heap(those.begin(), those.end());
      those.back().second->give_up_buffers(); // which releases them at once
    }
  }

  /// Pages are not read while the buffers are crowded, and some who read on purpose slowly could keep everybody from
  /// reading. So a few of those who have most give way while somebody has waited for long. A crowd with slow ways to
  /// the node is spared: its buffers get emptier all the time, so that turns are given.
  void relieve_pages(kj::TimePoint now) {
    auto& pages = *parts_->pages;
    if (crowded() && now - pages.held_since() > span(config_.pages_held_back_max) && pages.wanted())
      close_largest_until(std::max(bytes_max() / 2, bytes() - bytes_max() / 16));
  }

  void retire(connection& c) override {
    retired_.push_back(kj::addRef(c));
    if (retired_.size() == 1)
      tasks_->add(kj::evalLater([this] { bury(); }));
  }

  void bury() {
    auto dead = std::move(retired_);
    retired_.clear();
    for (auto& c : dead) {
      strangers_.leave(*c);
      c->tear_down();
      const auto slot = c->slot;
      if (slot + 1 != connections_.size()) {
        connections_[slot] = kj::mv(connections_.back());
        connections_[slot]->slot = slot;
      }
      connections_.pop_back();
    }
    metrics_.connections.fetch_sub(dead.size(), std::memory_order_relaxed);
    check_drained();
  }

  void check_drained() {
    if (!parts_->draining || !connections_.empty())
      return;
    for (auto& w : drained_)
      w->fulfill();
    drained_.clear();
  }

  /// The accepting turns when a connection arrives. While none waits in the backlog, it need not.
  void beat() {
    const auto now = pulse_clock::now();
    pulse_.loop_turned(now);
    pollfd backlog{listener_.get(), POLLIN, 0};
    if (!parts_->draining && ::poll(&backlog, 1, 0) == 0)
      pulse_.accepting_turned(now);
  }

  kj::Promise<void> keep_sweeping() {
    return timer_.afterDelay(span(config_.sweep_every)).then([this] {
      beat();
      const auto now = timer_.now();
      const auto seen_at = pulse_clock::now();
      handshakes_of_.age(seen_at);
      parts_->code_asks.age(seen_at);
      parts_->registrations.age(seen_at);
      for (auto& c : connections_) {
        // It may close the connection; closed connections are removed later, not from this loop. What is
        // thrown must not end the deadlines of all the others.
        const auto failed = kj::runCatchingExceptions([&] { c->sweep(now); });
        if (failed != nullptr)
          add(metrics_.internal_errors);
      }
      relieve_pages(now);
      return keep_sweeping();
    });
  }

  void taskFailed(kj::Exception&&) override { add(metrics_.internal_errors); }

  kj::Own<server_parts> parts_;
  const gateway_config& config_;
  gateway_metrics& metrics_;
  pulse& pulse_;
  kj::Timer& timer_;
  transport::renewable_tls tls_;
  kj::AutoCloseFd listener_;
  kj::Own<kj::UnixEventPort::FdObserver> listened_;
  std::uint16_t local_port_;
  core::token_bucket handshakes_;
  network_limits handshakes_of_;
  transport::step_line handshake_steps_; ///< outlives the connections
  transport::step_line large_steps_;     ///< the same
  transport::step_line read_steps_;      ///< the same
  waiting_room<connection> strangers_;
  std::vector<kj::Own<connection>> connections_;
  std::vector<kj::Own<connection>> retired_;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> drained_;
  kj::Own<kj::TaskSet> accepting_;
  kj::Own<kj::TaskSet> tasks_;
};

} // namespace

tl::expected<kj::Own<gateway_server>, server_fault>
make_gateway_server(kj::UnixEventPort& port, const gateway_config& config, transport::renewable_tls tls,
                    backend& cluster, code_sender& codes, const wall_clock& clock, gateway_shared& shared,
                    chance& dice) {
  if (const auto fault = validate(config))
    return tl::unexpected(server_fault{ec::bad_config, std::string{fault->field}});
  if (!tls.now())
    return tl::unexpected(server_fault{ec::bad_config, "tls"});
  const auto address = transport::resolve(config.listen);
  if (!address)
    return tl::unexpected(server_fault{ec::bad_config, "cannot resolve " + to_string(config.listen)});
  auto listener = transport::listen_on(*address, config.backlog);
  if (!listener)
    return tl::unexpected(server_fault{ec::bad_config, "cannot listen on " + to_string(config.listen)});
  transport::tune(listener->get(), config.tcp); // Linux gives what is accepted the options of its listener
  constexpr std::chrono::nanoseconds hour = std::chrono::hours{1};
  shared.code_asks.begin({config.codes_burst, config.code_every, config.addresses_max, config.codes_per_hour,
                          hour / config.codes_per_hour});
  // As many as a node can have asked for, and the wrong ones that their limits allow.
  const auto tries = config.codes_per_hour * std::int64_t{core::limits{}.code_tries_max};
  shared.registrations.begin(
      {config.registrations_burst, config.registration_every, config.addresses_max, tries, hour / tries});
  auto parts = kj::refcounted<server_parts>(config, port, cluster, codes, clock, shared.metrics,
                                            shared.closed, shared.nodes, shared.lookups, dice,
                                            shared.code_asks.get(), shared.registrations.get());
  return kj::Own<gateway_server>{kj::heap<server>(kj::mv(parts), shared.pulses.begin(pulse_clock::now()),
                                                  std::move(tls), kj::mv(*listener))};
}

} // namespace parley::gateway
