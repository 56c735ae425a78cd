#pragma once
// One part of a device alone: virtual time, a connection whose other end is nobody, a session that answers only
// when the test says so, and a host that writes down what it is asked.
#include "protocol/client/device/history.hpp"
#include "protocol/client/device/link_host.hpp"
#include "protocol/client/store/memory_store.hpp"
#include "protocol/wire/codec.hpp"
#include "tests/protocol/client/device/notes.hpp"

#include <doctest/doctest.h>
#include <kj/async-io.h>

#include <algorithm>
#include <deque>
#include <set>

namespace parley::test {

using namespace std::chrono_literals;

/// A loop without a clock: time moves only when the test says so.
struct virtual_loop {
  kj::EventLoop loop;
  kj::WaitScope scope{loop};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>() + 1 * kj::HOURS};

  /// Runs what can run without time passing.
  void turn() { pass(0ms); }
  /// Every timer that is due on the way fires at its own time.
  void pass(std::chrono::milliseconds time) {
    const auto until = timer.now() + client::duration(time);
    scope.poll();
    while (fire_next(until))
      scope.poll();
    timer.advanceTo(until);
    scope.poll();
  }
  /// The value of a promise that must be there by now.
  template <class T>
  T get(kj::Promise<T>& promise) {
    turn();
    REQUIRE(promise.poll(scope));
    return promise.wait(scope);
  }

private:
  bool fire_next(kj::TimePoint until) {
    KJ_IF_MAYBE (next, timer.nextEvent()) {
      if (*next > until)
        return false;
      timer.advanceTo(std::max(*next, timer.now()));
      return true;
    }
    return false;
  }
};

struct virtual_calendar final : kj::Clock {
  std::int64_t ms = 1'700'000'000'000;
  kj::Date now() const override { return kj::UNIX_EPOCH + ms * kj::MILLISECONDS; }
};

/// An authenticated line in this process.
class pipe_end final : public client::line {
public:
  explicit pipe_end(kj::Own<kj::AsyncIoStream> end) : end_{kj::mv(end)}, stream_{*end_} {}
  capnp::MessageStream& messages() override { return stream_; }
  std::array<std::uint8_t, 32> exporter() const override { return {7}; }

private:
  kj::Own<kj::AsyncIoStream> end_;
  capnp::AsyncIoMessageStream stream_;
};

inline void write(rpc::Error::Builder to, ec code, std::chrono::milliseconds retry_after = 0ms) {
  to.setCode(number(code));
  to.setRetryAfterMs(static_cast<std::uint32_t>(retry_after.count()));
}

/// Keeps every call until the test answers it.
struct scripted_session final : rpc::Session::Server {
  template <class Context>
  struct call {
    Context context;
    kj::Own<kj::PromiseFulfiller<void>> done;

    void refuse(ec why, std::chrono::milliseconds retry_after = 0ms) {
      write(context.getResults().initError(), why, retry_after);
      done->fulfill();
    }
    void accept() { done->fulfill(); }
  };
  template <class Context>
  using calls = std::deque<call<Context>>;

  calls<SendContext> sends;
  calls<SyncContext> pages;
  calls<SyncConversationContext> heals;
  calls<AckDeliveredContext> acks;
  calls<AckReadContext> reads;
  calls<ReceiveContext> receives;
  calls<ConversationsContext> lists;
  calls<PingContext> pings;

  // What they asked for, as they came: a call that was answered has no parameters any more.
  std::vector<std::uint64_t> counters;          ///< of sends
  std::vector<seq_no> heals_after;              ///< of syncConversation
  std::vector<conversation_id> heals_of;        ///< the same
  std::vector<std::string> acknowledged;        ///< cursors of ackDelivered
  std::vector<seq_no> read;                     ///< of ackRead
  std::vector<std::string> received_from;       ///< cursors of receive
  std::vector<rpc::Receiver::Client> receivers; ///< of receive

  kj::Promise<void> send(SendContext c) override {
    counters.push_back(c.getParams().getId().getCounter());
    return keep(sends, c);
  }
  kj::Promise<void> sync(SyncContext c) override { return keep(pages, c); }
  kj::Promise<void> syncConversation(SyncConversationContext c) override {
    heals_after.push_back(seq_no{c.getParams().getAfter()});
    heals_of.push_back(wire::to_conversation(c.getParams().getConversation()));
    return keep(heals, c);
  }
  kj::Promise<void> ackDelivered(AckDeliveredContext c) override {
    acknowledged.push_back(wire::bytes(c.getParams().getCursor()));
    return keep(acks, c);
  }
  kj::Promise<void> ackRead(AckReadContext c) override {
    read.push_back(seq_no{c.getParams().getSeq()});
    return keep(reads, c);
  }
  kj::Promise<void> receive(ReceiveContext c) override {
    received_from.push_back(wire::bytes(c.getParams().getCursor()));
    receivers.push_back(c.getParams().getReceiver());
    return keep(receives, c);
  }
  kj::Promise<void> conversations(ConversationsContext c) override { return keep(lists, c); }
  kj::Promise<void> ping(PingContext c) override { return keep(pings, c); }

private:
  template <class Context>
  static kj::Promise<void> keep(calls<Context>& in, Context& c) {
    c.allowCancellation();
    auto paf = kj::newPromiseAndFulfiller<void>();
    in.push_back({c, kj::mv(paf.fulfiller)});
    return kj::mv(paf.promise);
  }
};

/// Has a connection when the test says so, and writes down what it is asked.
struct lone_host final : client::link_host {
  explicit lone_host(kj::Timer& timer) : timer{timer} {}

  client::client_link* link() override { return current.get(); }
  const client::connection_state& state() const override { return now; }
  const client::failure& last_failure() const override { return last; }
  kj::Promise<void> session_or(kj::TimePoint deadline) override {
    return current ? kj::Promise<void>{kj::READY_NOW} : timer.atTime(deadline);
  }
  void want_session() override { ++wanted; }
  void consider(const client::failure& f) override { considered.push_back(f.code); }
  void closed_by_node(client::failure why, std::chrono::milliseconds) override { closed.push_back(why.code); }
  void halt(client::link_state final_state, client::failure why) override {
    now.state = final_state;
    now.why = why.code;
    now.sentence = why.sentence;
  }

  kj::Timer& timer;
  client::connection_state now;
  client::failure last{ec::none, {}, {}};
  std::vector<ec> considered, closed;
  unsigned wanted = 0; ///< so often a session was asked for
  kj::Own<client::client_link> current;
};

struct part_fixture : virtual_loop {
  client::memory_store store{{1'000}};
  notes seen;
  client::config settings;
  client::identity who;
  client::dice chance{1};
  lone_host host{timer};
  client::history_writer history{&seen, who, host.now};
  kj::Own<kj::AsyncIoStream> other_end;
  scripted_session* session = nullptr; ///< of the connection

  part_fixture() {
    settings.seeds = *client::parse_seeds("node:1,node:2");
    settings.resend = {50ms, 2'000ms};
    who.user = user_id{1};
    who.device = device_id{10};
  }
  /// A connection with a session. Tell the part about it.
  client::client_link& connect() {
    auto pipe = kj::newTwoWayPipe();
    other_end = kj::mv(pipe.ends[1]);
    host.current =
        kj::heap<client::client_link>(kj::heap<pipe_end>(kj::mv(pipe.ends[0])), timer, settings.call_timeout);
    auto s = kj::heap<scripted_session>();
    session = s.get();
    host.current->set_session(kj::mv(s));
    return *host.current;
  }
  /// The connection is gone. Tell the part first.
  void cut() {
    session = nullptr;
    host.current = nullptr;
  }
};

inline constexpr conversation_id talk{1, 2};

} // namespace parley::test
