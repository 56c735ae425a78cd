#include "tests/harness/bench/crowd.hpp"

#include <stdexcept>

namespace parley::bench {

/// Accepts messages and discards them.
class crowd::deaf final : public rpc::Receiver::Server {
public:
  explicit deaf(crowd& c) : crowd_{c} {}
  kj::Promise<void> deliver(DeliverContext) override { return kj::READY_NOW; }
  kj::Promise<void> closed(ClosedContext context) override {
    crowd_.trouble_ = "a node closed an idle connection: ";
    crowd_.trouble_ += context.getParams().getError().getName().cStr();
    return kj::READY_NOW;
  }

private:
  crowd& crowd_;
};

crowd::crowd(bench_cluster& bench, std::size_t count)
    : bench_{bench}, users_{bench.register_users(count)}, tasks_{*this} {}

void crowd::log_in() {
  bench_.log_in(users_);
}

void crowd::settle() {
  kj::Vector<kj::Promise<void>> receiving;
  for (auto& u : users_) {
    auto call = u->line->session().receiveRequest();
    call.setReceiver(kj::heap<deaf>(*this));
    receiving.add(call.send().ignoreResult());
  }
  kj::joinPromises(receiving.releaseAsArray()).wait(bench_.io.waitScope);
  if (!users_.empty())
    tasks_.add(keep_pinging(0));
}

kj::Promise<void> crowd::keep_pinging(std::size_t next) {
  tasks_.add(users_[next]->line->session().pingRequest().send().ignoreResult());
  const auto gap = heartbeat_every / static_cast<std::int64_t>(users_.size());
  return bench_.timer.afterDelay(gap).then([this, next] { return keep_pinging((next + 1) % users_.size()); });
}

void crowd::ping_all() {
  kj::Vector<kj::Promise<void>> pings;
  for (auto& u : users_)
    pings.add(u->line->session().pingRequest().send().ignoreResult());
  kj::joinPromises(pings.releaseAsArray()).wait(bench_.io.waitScope);
}

void crowd::check() const {
  if (!trouble_.empty())
    throw std::runtime_error{trouble_};
}

void crowd::taskFailed(kj::Exception&& e) {
  if (trouble_.empty())
    trouble_ = std::string{"an idle connection failed: "} + e.getDescription().cStr();
}

} // namespace parley::bench
