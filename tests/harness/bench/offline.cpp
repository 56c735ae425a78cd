#include "tests/harness/bench/offline.hpp"

#include "tests/harness/bench/crowd.hpp"

#include <stdexcept>

namespace parley::bench {

namespace {

void pass(bench_cluster& bench, unsigned ms) {
  bench.timer.afterDelay(ms * kj::MILLISECONDS).wait(bench.io.waitScope);
}

} // namespace

idle_result measure_idle(bench_cluster& bench, const bench_options& options) {
  // Registration also uses memory, so the baseline is taken after it.
  crowd idle{bench, options.connections};
  pass(bench, 2'000);
  // Heartbeats and timers cost the same whether somebody logs in or not. The longer the logins take, on a busy machine
  // for example, the more of that would be counted as theirs.
  bench.start_measuring();
  pass(bench, 3'000);
  const auto resting = bench.measured();
  const auto before = bench.rss_bytes();
  bench.start_measuring();
  idle.log_in();
  const auto logins = bench.measured();
  idle.settle();
  pass(bench, 3'000);
  idle_result out;
  out.connections = idle.size();
  const auto count = static_cast<double>(idle.size());
  out.logins_per_s = count / logins.seconds;
  out.cores_before = resting.all_nodes_us() / resting.seconds / 1e6;
  out.login_cpu_all_us = logins.all_nodes_us() / count;
  out.login_cpu_us = out.login_cpu_all_us - out.cores_before * 1e6 / out.logins_per_s;
  bench.start_measuring();
  for (unsigned s = 0; s < options.seconds; ++s)
    pass(bench, 1'000);
  out.cpu = bench.measured();
  const auto after = bench.rss_bytes();
  out.kib_per_connection = static_cast<double>(after > before ? after - before : 0) / 1024 / count;
  // No connection may have been dropped: memory that is saved by closing connections does not count.
  idle.ping_all();
  idle.check();
  return out;
}

namespace {

struct filling {
  user* from = nullptr;
  user* to = nullptr;
  conversation_id where;
  std::uint64_t counter = 0, left = 0;
};

kj::Promise<void> fill(filling& f, const std::string& body) {
  if (f.left == 0)
    return kj::READY_NOW;
  --f.left;
  auto call = f.from->line->session().sendRequest(capnp::MessageSize{24 + body.size() / 8, 0});
  wire::write(call.initConversation(), f.where);
  call.initId().setCounter(++f.counter);
  call.setBody(wire::as_data(body));
  return call.send().then([&f, &body](capnp::Response<rpc::Session::SendResults> r) {
    if (wire::to_code(r.getError()) != ec::none)
      kj::throwFatalException(test::refusal(wire::to_code(r.getError()), "send"));
    return fill(f, body);
  });
}

/// Reads all pages of the inbox from the beginning and counts the messages.
kj::Promise<void> drain(user& u, std::string cursor, std::uint64_t& messages) {
  auto call = u.line->session().syncRequest();
  call.setCursor(wire::as_data(cursor));
  call.setLimit(500);
  return call.send().then([&u, &messages](capnp::Response<rpc::Session::SyncResults> r) -> kj::Promise<void> {
    if (wire::to_code(r.getError()) != ec::none)
      return test::refusal(wire::to_code(r.getError()), "sync");
    for (const auto item : r.getItems())
      messages += item.isMessage();
    if (!r.getMore())
      return kj::READY_NOW;
    return drain(u, std::string{wire::view(r.getNext())}, messages);
  });
}

} // namespace

drain_result measure_drain(bench_cluster& bench, const bench_options& options) {
  auto users = bench.make_users(2 * options.users);
  std::vector<filling> pairs(options.users);
  const std::string body(options.body_bytes, 'x');
  for (std::size_t i = 0; i < options.users; ++i) {
    auto& f = pairs[i];
    f.from = users[i].get();
    f.to = users[options.users + i].get();
    f.where = bench.open_direct(*f.from, *f.to);
    f.left = options.messages / options.users;
  }
  for (std::size_t i = 0; i < options.users; ++i)
    users[options.users + i]->line = nullptr; // the recipients are offline
  drain_result out;
  const auto stored = options.messages / options.users * options.users;
  auto began = now_ns();
  kj::Vector<kj::Promise<void>> fills;
  for (auto& f : pairs) {
    for (int k = 0; k < 4; ++k)
      fills.add(fill(f, body));
  }
  kj::joinPromises(fills.releaseAsArray()).wait(bench.io.waitScope);
  out.store_per_s = static_cast<double>(stored) * 1e9 / static_cast<double>(now_ns() - began);

  std::vector<std::unique_ptr<user>> readers;
  for (std::size_t i = 0; i < options.users; ++i)
    readers.push_back(std::move(users[options.users + i]));
  bench.log_in(readers);
  const auto fetch = [&] {
    std::uint64_t messages = 0;
    kj::Vector<kj::Promise<void>> drains;
    for (auto& u : readers)
      drains.add(drain(*u, {}, messages));
    kj::joinPromises(drains.releaseAsArray()).wait(bench.io.waitScope);
    return messages;
  };
  // Fan-out follows the acknowledgement, so the first rounds also wait for it. They warm only the page cache.
  for (int tries = 0; fetch() < stored; ++tries) {
    if (tries > 100)
      throw std::runtime_error{"fan-out did not fill the inboxes in time"};
    pass(bench, 100);
  }
  bench.start_measuring();
  began = now_ns();
  constexpr unsigned rounds = 5; // nothing is confirmed, so each round fetches everything again
  for (unsigned r = 0; r < rounds; ++r)
    out.messages += fetch();
  out.drain_per_s = static_cast<double>(out.messages) * 1e9 / static_cast<double>(now_ns() - began);
  out.cpu = bench.measured();
  return out;
}

} // namespace parley::bench
