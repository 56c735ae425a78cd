#include "tests/harness/bench/direct.hpp"

#include "tests/harness/bench/crowd.hpp"

#include <cstring>
#include <stdexcept>

namespace parley::bench {

namespace {

struct traffic;

struct pair {
  user* from = nullptr;
  user* to = nullptr;
  conversation_id where;
  std::uint64_t counter = 0;
  std::string cursor; ///< received, and not confirmed yet
};

/// A recipient: measures each message and notes what has to be confirmed. Its connection owns it, and drops it when
/// the node goes away, so nothing else may keep a pointer to it.
class ear final : public rpc::Receiver::Server {
public:
  ear(traffic& t, pair& p) : traffic_{t}, pair_{p} {}
  kj::Promise<void> deliver(DeliverContext context) override;
  kj::Promise<void> closed(ClosedContext) override;

private:
  traffic& traffic_;
  pair& pair_;
};

struct traffic final : kj::TaskSet::ErrorHandler {
  traffic(bench_cluster& b, const bench_options& o) : bench{b}, options{o}, tasks{*this} {
    body.assign(std::max(o.body_bytes, sizeof(std::int64_t)), 'x');
  }
  /// One message, and when it was sent first.
  struct attempt {
    std::uint64_t counter = 0;
    std::int64_t began_ns = 0;
  };
  void send(pair& p) { send(p, {++p.counter, now_ns()}); }
  void send(pair& p, attempt a);
  void refuse(pair& p, attempt a, ec why, std::uint32_t retry_after_ms);
  kj::Promise<void> keep_rate(std::int64_t next_ns, std::size_t next_pair);
  kj::Promise<void> keep_confirming();
  void heard(std::string_view text);
  void pass(unsigned ms) { bench.timer.afterDelay(ms * kj::MILLISECONDS).wait(bench.io.waitScope); }
  void taskFailed(kj::Exception&& e) override {
    if (trouble.empty())
      trouble = e.getDescription().cStr();
  }

  bench_cluster& bench;
  const bench_options& options;
  std::vector<pair> pairs;
  std::string body;
  bool sending = true, measuring = false;
  std::size_t confirming = 0;
  std::uint64_t acked_ever = 0, delivered_ever = 0;
  direct_result result;
  std::string trouble;
  kj::TaskSet tasks; ///< must be last, so that it is destroyed first
};

kj::Promise<void> ear::deliver(DeliverContext context) {
  const auto params = context.getParams();
  for (const auto item : params.getItems()) {
    if (item.isMessage())
      traffic_.heard(wire::view(item.getMessage().getIt().getBody()));
  }
  pair_.cursor = wire::view(params.getCursor());
  return kj::READY_NOW;
}

kj::Promise<void> ear::closed(ClosedContext context) {
  traffic_.trouble = "a node closed a recipient's connection: ";
  traffic_.trouble += context.getParams().getError().getName().cStr();
  return kj::READY_NOW;
}

void traffic::heard(std::string_view text) {
  ++delivered_ever;
  if (!measuring || text.size() < sizeof(std::int64_t))
    return;
  std::int64_t sent_ns = 0;
  std::memcpy(&sent_ns, text.data(), sizeof sent_ns);
  ++result.delivered;
  result.e2e_us.add(static_cast<std::uint64_t>(now_ns() - sent_ns) / 1000);
}

void traffic::send(pair& p, attempt a) {
  auto call = p.from->line->session().sendRequest(capnp::MessageSize{24 + body.size() / 8, 0});
  wire::write(call.initConversation(), p.where);
  call.initId().setCounter(a.counter);
  std::memcpy(body.data(), &a.began_ns, sizeof a.began_ns); // the same id has to have the same body
  call.setBody(wire::as_data(body));
  tasks.add(call.send().then([this, &p, a](capnp::Response<rpc::Session::SendResults> r) {
    if (const auto e = wire::to_code(r.getError()); e != ec::none)
      return refuse(p, a, e, r.getError().getRetryAfterMs());
    ++acked_ever;
    if (measuring) {
      ++result.acked;
      result.ack_us.add(static_cast<std::uint64_t>(now_ns() - a.began_ns) / 1000);
    }
    if (sending && options.rate <= 0)
      send(p);
  }));
}

/// When a leader steps down, everything that it had proposed is refused at once: the whole window of each of its
/// conversations. A client sends that again, so a bench that counted it as lost would tell of a fault that is none.
void traffic::refuse(pair& p, attempt a, ec why, std::uint32_t retry_after_ms) {
  ++result.refusals[why];
  if (!describe(why).retryable) {
    ++result.refused;
    if (trouble.empty() && result.refused > 1000)
      trouble = "sends are refused: " + std::string{describe(why).name};
    if (sending && options.rate <= 0)
      send(p);
    return;
  }
  ++result.repeated;
  constexpr std::uint32_t pause_ms = 50; // where the answer names none
  tasks.add(bench.timer.afterDelay(std::max(retry_after_ms, pause_ms) * kj::MILLISECONDS).then([this, &p, a] {
    if (sending)
      send(p, a);
  }));
}

/// Open loop: a slow answer does not delay the next send, so slowness cannot hide.
kj::Promise<void> traffic::keep_rate(std::int64_t next_ns, std::size_t next_pair) {
  const auto gap = static_cast<std::int64_t>(1e9 / options.rate);
  if (!sending)
    return kj::READY_NOW;
  auto now = now_ns();
  for (; next_ns <= now; next_ns += gap)
    send(pairs[next_pair++ % pairs.size()]);
  return bench.timer.afterDelay((next_ns - now) * kj::NANOSECONDS).then([this, next_ns, next_pair] {
    return keep_rate(next_ns, next_pair);
  });
}

kj::Promise<void> traffic::keep_confirming() {
  // In each slice of time a slice of the recipients confirms, so that confirmations come in no bursts.
  constexpr unsigned slices = 20;
  const auto slice = confirming++ % slices;
  for (auto i = slice; i < pairs.size(); i += slices) {
    const auto cursor = std::exchange(pairs[i].cursor, {});
    if (cursor.empty())
      continue;
    auto call = pairs[i].to->line->session().ackDeliveredRequest();
    call.setCursor(wire::as_data(cursor));
    tasks.add(call.send().ignoreResult());
  }
  return bench.timer.afterDelay(std::max<std::int64_t>(1, options.ack_every_ms / slices) * kj::MILLISECONDS)
      .then([this] { return keep_confirming(); });
}

} // namespace

direct_result measure_direct(bench_cluster& bench, const bench_options& options) {
  const crowd away{bench, options.away};
  crowd idle{bench, options.idle};
  idle.log_in();
  idle.settle();
  auto users = bench.make_users(2 * options.pairs);
  traffic t{bench, options};
  t.pairs.resize(options.pairs);
  kj::Vector<kj::Promise<void>> opened;
  for (std::size_t i = 0; i < options.pairs; ++i) {
    auto& p = t.pairs[i];
    p.from = users[2 * i].get();
    p.to = users[2 * i + 1].get();
    auto call = p.to->line->session().receiveRequest();
    call.setReceiver(kj::heap<ear>(t, p));
    opened.add(call.send().ignoreResult());
    opened.add(bench.open_direct_into(*p.from, *p.to, p.where));
  }
  kj::joinPromises(opened.releaseAsArray()).wait(bench.io.waitScope);

  t.tasks.add(t.keep_confirming());
  if (options.rate > 0) {
    t.tasks.add(t.keep_rate(now_ns(), 0));
  } else {
    for (auto& p : t.pairs) {
      for (unsigned k = 0; k < options.window; ++k)
        t.send(p);
    }
  }
  const auto check = [&t, &idle] {
    idle.check();
    if (!t.trouble.empty())
      throw std::runtime_error{t.trouble};
  };
  const auto run_for = [&](unsigned seconds) {
    for (const auto end = now_ns() + std::int64_t{seconds} * 1'000'000'000; now_ns() < end;) {
      t.pass(50);
      check();
    }
  };
  run_for(options.warm_up_seconds);
  bench.start_measuring();
  t.measuring = true;
  run_for(options.seconds);
  t.measuring = false;
  t.result.cpu = bench.measured();
  t.sending = false;
  // Every acknowledged message has to arrive, whether it was measured or not.
  for (const auto end = now_ns() + 10'000'000'000; t.delivered_ever < t.acked_ever && now_ns() < end;) {
    t.pass(20);
    check();
  }
  idle.ping_all();
  check();
  t.result.undelivered_end = t.acked_ever > t.delivered_ever ? t.acked_ever - t.delivered_ever : 0;
  return std::move(t.result);
}

} // namespace parley::bench
