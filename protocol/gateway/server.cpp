#include "protocol/gateway/server.hpp"

#include "protocol/gateway/connection.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <unordered_map>
#include <vector>

namespace parley::gateway {
namespace {

constexpr std::chrono::milliseconds descriptors_retry{100}; ///< after EMFILE and the like

kj::Duration span(std::chrono::nanoseconds d) {
  return d.count() * kj::NANOSECONDS;
}

class server final : public gateway_server, private server_hooks, private kj::TaskSet::ErrorHandler {
public:
  server(kj::Own<server_parts> parts, transport::tls_context tls, kj::AutoCloseFd listener)
      : parts_{kj::mv(parts)}, config_{parts_->config}, metrics_{parts_->metrics},
        timer_{parts_->port.getTimer()}, tls_{std::move(tls)}, listener_{kj::mv(listener)},
        listened_{kj::heap<kj::UnixEventPort::FdObserver>(parts_->port, listener_.get(),
                                                          kj::UnixEventPort::FdObserver::OBSERVE_READ)},
        local_port_{transport::local_port(listener_.get())}, handshakes_{config_.handshakes_burst,
                                                                         config_.handshake_every},
        accepting_{kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))},
        tasks_{kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))} {
    parts_->server = this;
    accepting_->add(accept_some());
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
    metrics_.connections.fetch_sub(connections_.size(), std::memory_order_relaxed);
  }

  std::uint16_t port() const override { return local_port_; }
  std::size_t connections() const override { return connections_.size(); }

  void drain() override {
    if (parts_->draining)
      return;
    parts_->draining = true;
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

  /// Accepts the connections that wait, as fast as handshakes can be afforded. The others wait in the
  /// backlog.
  kj::Promise<void> accept_some() {
    for (;;) {
      const auto now = std::chrono::steady_clock::now();
      if (const auto wait = handshakes_.wait(now); wait.count() > 0)
        return pause_accepting(wait);
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
      handshakes_.take(now);
      admit(kj::mv(fd), key_of(from));
    }
  }

  void admit(kj::AutoCloseFd fd, address_key from) {
    add(metrics_.accepted);
    if (connections_.size() >= config_.connections_max || strangers_ >= config_.pre_login_max) {
      add(metrics_.refused);
      return;
    }
    auto& of_address = strangers_of_[from];
    if (of_address >= config_.pre_login_per_address_max) {
      add(metrics_.refused);
      return;
    }
    transport::tune(fd.get(), config_.tcp);
    ++of_address;
    ++strangers_;
    auto c = kj::refcounted<connection>(kj::addRef(*parts_), kj::mv(fd), tls_, from);
    c->slot = connections_.size();
    connections_.push_back(kj::mv(c));
    add(metrics_.connections);
    connections_.back()->start();
  }

  void no_longer_a_stranger(const connection& c) {
    --strangers_;
    if (const auto i = strangers_of_.find(c.from()); i != strangers_of_.end() && --i->second == 0)
      strangers_of_.erase(i);
  }

  void promoted(connection& c) override { no_longer_a_stranger(c); }

  void retire(connection& c) override {
    retired_.push_back(kj::addRef(c));
    if (retired_.size() == 1)
      tasks_->add(kj::evalLater([this] { bury(); }));
  }

  void bury() {
    auto dead = std::move(retired_);
    retired_.clear();
    for (auto& c : dead) {
      if (!c->logged_in())
        no_longer_a_stranger(*c);
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

  kj::Promise<void> keep_sweeping() {
    return timer_.afterDelay(span(config_.sweep_every)).then([this] {
      const auto now = timer_.now();
      for (auto& c : connections_)
        c->sweep(now); // may close it; closed connections are removed later, not from this loop
      return keep_sweeping();
    });
  }

  void taskFailed(kj::Exception&&) override { add(metrics_.internal_errors); }

  kj::Own<server_parts> parts_;
  const gateway_config& config_;
  gateway_metrics& metrics_;
  kj::Timer& timer_;
  transport::tls_context tls_;
  kj::AutoCloseFd listener_;
  kj::Own<kj::UnixEventPort::FdObserver> listened_;
  std::uint16_t local_port_;
  core::token_bucket handshakes_;
  std::vector<kj::Own<connection>> connections_;
  std::vector<kj::Own<connection>> retired_;
  std::size_t strangers_ = 0; ///< connections that have not logged in
  std::unordered_map<address_key, std::size_t> strangers_of_;
  kj::Vector<kj::Own<kj::PromiseFulfiller<void>>> drained_;
  kj::Own<kj::TaskSet> accepting_;
  kj::Own<kj::TaskSet> tasks_;
};

} // namespace

tl::expected<kj::Own<gateway_server>, server_fault>
make_gateway_server(kj::UnixEventPort& port, const gateway_config& config, transport::tls_context tls,
                    backend& cluster, code_sender& codes, const wall_clock& clock, gateway_shared& shared,
                    chance& dice) {
  if (const auto fault = validate(config))
    return tl::unexpected(server_fault{ec::bad_config, std::string{fault->field}});
  if (!tls)
    return tl::unexpected(server_fault{ec::bad_config, "tls"});
  const auto address = transport::resolve(config.listen);
  if (!address)
    return tl::unexpected(server_fault{ec::bad_config, "cannot resolve " + to_string(config.listen)});
  auto listener = transport::listen_on(*address, config.backlog);
  if (!listener)
    return tl::unexpected(server_fault{ec::bad_config, "cannot listen on " + to_string(config.listen)});
  auto parts =
      kj::refcounted<server_parts>(config, port, cluster, codes, clock, shared.metrics, shared.closed, dice);
  return kj::Own<gateway_server>{kj::heap<server>(kj::mv(parts), std::move(tls), kj::mv(*listener))};
}

} // namespace parley::gateway
