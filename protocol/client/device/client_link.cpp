#include "protocol/client/device/client_link.hpp"

#include "protocol/values/limits.hpp"

namespace parley::client {
namespace {

capnp::ReaderOptions reader_options() {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 4 * page_bytes_max / sizeof(capnp::word); // a page, read up to four times
  options.nestingLimit = 16;
  return options;
}

rpc::Gateway::Client bootstrap(capnp::RpcSystem<capnp::rpc::twoparty::VatId>& system) {
  capnp::word scratch[8] = {};
  capnp::MallocMessageBuilder message{scratch};
  auto vat = message.initRoot<capnp::rpc::twoparty::VatId>();
  vat.setSide(capnp::rpc::twoparty::Side::SERVER);
  return system.bootstrap(vat).castAs<rpc::Gateway>();
}

} // namespace

client_link::client_link(kj::Own<line> l, kj::Timer& timer, std::chrono::milliseconds call_timeout)
    : timer_{timer}, calls_{call_timeout, now(timer)}, over_{nullptr}, line_{kj::mv(l)},
      network_{line_->messages(), capnp::rpc::twoparty::Side::CLIENT, reader_options()},
      system_{capnp::makeRpcClient(network_)}, gateway_{bootstrap(system_)}, tasks_{*this} {
  auto ended = kj::newPromiseAndFulfiller<void>();
  ended_ = kj::mv(ended.fulfiller);
  over_ = ended.promise.fork();
  tasks_.add(network_.onDisconnect().then([this] {
    end({ec::unavailable, "The connection was lost.", {}});
  }));
}

calls_under_way::ticket client_link::begin_call() {
  auto ticket = calls_.begin(now(timer_));
  refresh();
  if (!watching_)
    watch(*calls_.due());
  return ticket;
}

/// The timer's time moves between turns of the loop only, and may be far behind when a program that blocks
/// elsewhere makes a call. A timer without delay fires after it has moved.
void client_link::refresh() {
  if (std::exchange(refreshing_, true))
    return;
  tasks_.add(timer_.afterDelay(0 * kj::SECONDS).then([this, since = now(timer_)] {
    refreshing_ = false;
    calls_.moved(since, now(timer_));
  }));
}

// One timer at a time, however many calls: set for the oldest, and looked at again when it fires.
void client_link::watch(instant due) {
  watching_ = true;
  tasks_.add(timer_.atTime(point(due)).then([this, due] {
    watching_ = false;
    if (calls_.is_dead(due, now(timer_)))
      end({ec::timed_out, "The node does not answer.", {}});
    else if (const auto next = calls_.due())
      watch(*next);
  }));
}

void client_link::end(failure why) {
  if (why_.code != ec::none)
    return;
  why_ = std::move(why);
  ended_->fulfill();
}

void client_link::taskFailed(kj::Exception&& e) {
  end({ec::unavailable,
       e.getDescription().size() > 0 ? e.getDescription().cStr() : "The connection failed.",
       {}});
}

} // namespace parley::client
