#include "tests/harness/bench/lag.hpp"

#include "tests/harness/chaos/body_sizes.hpp"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <optional>
#include <random>
#include <stdexcept>

namespace parley::bench {

namespace {

constexpr std::size_t pairs_max = 64;  // they share the writing, and later the load
constexpr unsigned window = 4;         // messages of a pair that are not answered yet, while writing
constexpr std::size_t text_bytes = 12; // of the shortest bodies, as in chaos
constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t deadline_ns = 600 * second_ns; // then the node has not caught up
constexpr std::int64_t settle_ns = 5 * second_ns;     // after the last message, until nothing is left to do

struct lane {
  user* from = nullptr;
  conversation_id where;
  std::uint64_t counter = 0;
};

/// By shard, how much of its log a node has applied. Empty if the node does not answer.
std::map<unsigned, std::uint64_t> applied(const test::process_cluster& cluster, std::size_t node) {
  std::map<unsigned, std::uint64_t> out;
  const auto page = cluster.get(node, "/metrics", std::chrono::milliseconds{1'000});
  constexpr std::string_view name = "\nparley_shard_applied_total{shard=\"";
  for (auto at = page ? page->find(name) : std::string::npos; at != std::string::npos;
       at = page->find(name, at + 1)) {
    const char* from = page->c_str() + at + name.size();
    char* end = nullptr;
    const auto shard = static_cast<unsigned>(std::strtoul(from, &end, 10));
    out[shard] = static_cast<std::uint64_t>(std::strtod(end + 2, nullptr)); // after "}
  }
  return out;
}

/// The sum of a metric over its labels; none if the node does not answer.
std::optional<double> metric(const test::process_cluster& cluster, std::size_t node,
                             const std::string& name) {
  const auto page = cluster.get(node, "/metrics", std::chrono::milliseconds{1'000});
  if (!page)
    return std::nullopt;
  double sum = 0;
  const auto line = "\n" + name;
  for (auto at = page->find(line); at != std::string::npos; at = page->find(line, at + 1)) {
    const auto after = at + line.size();
    if ((*page)[after] != ' ' && (*page)[after] != '{')
      continue;
    sum += std::strtod(page->c_str() + page->find(' ', after), nullptr);
  }
  return sum;
}

struct laggard final : kj::TaskSet::ErrorHandler {
  laggard(bench_cluster& b, const bench_options& o) : bench{b}, options{o}, dead{o.nodes}, tasks{*this} {
    load_body.assign(o.body_bytes, 'x');
  }

  void pass(unsigned ms) {
    bench.timer.afterDelay(ms * kj::MILLISECONDS).wait(bench.io.waitScope);
    if (!trouble.empty())
      throw std::runtime_error{trouble};
  }
  void taskFailed(kj::Exception&& e) override {
    if (trouble.empty())
      trouble = e.getDescription().cStr();
  }

  kj::Promise<void> send_until_stored(lane& l, std::uint64_t counter, std::string body);
  kj::Promise<void> write(lane& l);
  kj::Promise<void> keep_rate(std::int64_t next_ns, std::size_t next_lane);
  void kill_and_write();
  void wait_for_others();
  std::map<unsigned, std::uint64_t> applied_by_others() const;
  std::uint64_t resets() const;
  lag_round catch_up();

  bench_cluster& bench;
  const bench_options& options;
  std::size_t dead;
  std::vector<std::unique_ptr<user>> users;
  std::vector<lane> lanes;
  std::mt19937_64 random{1};
  std::string load_body;
  std::uint64_t bytes_left = 0, messages = 0, acked = 0, refused = 0;
  bool loaded = false;
  std::string trouble;
  kj::TaskSet tasks; ///< must be last, so that it is destroyed first
};

kj::Promise<void> laggard::send_until_stored(lane& l, std::uint64_t counter, std::string body) {
  auto call = l.from->line->session().sendRequest(capnp::MessageSize{24 + body.size() / 8, 0});
  parley::wire::write(call.initConversation(), l.where);
  call.initId().setCounter(counter);
  call.setBody(parley::wire::as_data(body));
  return call.send().then([this, &l, counter, body = std::move(body)](
                              capnp::Response<rpc::Session::SendResults> r) mutable -> kj::Promise<void> {
    if (parley::wire::to_code(r.getError()) == ec::none)
      return kj::READY_NOW;
    // Leaders are elected when a node dies, and a retry with the same id is the same message.
    return bench.timer.afterDelay(100 * kj::MILLISECONDS)
        .then([this, &l, counter, body = std::move(body)]() mutable {
          return send_until_stored(l, counter, std::move(body));
        });
  });
}

kj::Promise<void> laggard::write(lane& l) {
  if (bytes_left == 0)
    return kj::READY_NOW;
  const auto size = chaos::draw_size(random, text_bytes, true);
  bytes_left -= std::min<std::uint64_t>(bytes_left, size);
  ++messages;
  return send_until_stored(l, ++l.counter, std::string(size, 'x')).then([this, &l] { return write(l); });
}

/// Open loop, as in `direct`: a slow answer does not delay the next send.
kj::Promise<void> laggard::keep_rate(std::int64_t next_ns, std::size_t next_lane) {
  const auto gap = static_cast<std::int64_t>(1e9 / options.rate);
  if (!loaded)
    return kj::READY_NOW;
  const auto now = now_ns();
  for (; next_ns <= now; next_ns += gap) {
    auto& l = lanes[next_lane++ % lanes.size()];
    auto call = l.from->line->session().sendRequest(capnp::MessageSize{24 + load_body.size() / 8, 0});
    parley::wire::write(call.initConversation(), l.where);
    call.initId().setCounter(++l.counter);
    call.setBody(parley::wire::as_data(load_body));
    tasks.add(call.send().then([this](capnp::Response<rpc::Session::SendResults> r) {
      ++(parley::wire::to_code(r.getError()) == ec::none ? acked : refused);
    }));
  }
  return bench.timer.afterDelay((next_ns - now) * kj::NANOSECONDS).then([this, next_ns, next_lane] {
    return keep_rate(next_ns, next_lane);
  });
}

void laggard::wait_for_others() {
  for (const auto end = now_ns() + deadline_ns; now_ns() < end;) {
    bool all = true;
    for (std::size_t n = 1; n <= bench.cluster.size() && all; ++n)
      all = n == dead || (bench.cluster.ready(n) && metric(bench.cluster, n, "parley_debts") == 0.0);
    if (all)
      return;
    pass(100);
  }
  throw std::runtime_error{
      "the other nodes were not ready, or owed something, ten minutes after one was killed"};
}

void laggard::kill_and_write() {
  bench.cluster.kill(dead);
  wait_for_others();
  bytes_left = options.lag_mib << 20;
  messages = 0;
  kj::Vector<kj::Promise<void>> writing;
  for (auto& l : lanes)
    for (unsigned k = 0; k < window; ++k)
      writing.add(write(l));
  kj::joinPromises(writing.releaseAsArray()).wait(bench.io.waitScope);
  wait_for_others();
}

std::map<unsigned, std::uint64_t> laggard::applied_by_others() const {
  std::map<unsigned, std::uint64_t> out;
  for (std::size_t n = 1; n <= bench.cluster.size(); ++n)
    if (n != dead)
      for (const auto& [shard, index] : applied(bench.cluster, n))
        out[shard] = std::max(out[shard], index);
  return out;
}

/// The node that comes back counts from zero, so that all of its resets are new.
std::uint64_t laggard::resets() const {
  double sum = 0;
  for (std::size_t n = 1; n <= bench.cluster.size(); ++n)
    sum += metric(bench.cluster, n, "parley_link_resets_total").value_or(0);
  return static_cast<std::uint64_t>(sum);
}

/// It has caught up when it has applied all that the others had applied a second before; with nothing to do, that
/// is everything. A node of more than three need not have a replica of each shard: those that it had before count.
lag_round laggard::catch_up() {
  lag_round out;
  const auto before = resets();
  const auto acked_before = acked, refused_before = refused;
  std::deque<std::pair<std::int64_t, std::map<unsigned, std::uint64_t>>> seen;
  seen.emplace_back(now_ns() - second_ns, applied_by_others());
  const auto began = now_ns();
  bench.cluster.start(dead);
  for (;;) {
    pass(50);
    const auto now = now_ns();
    const auto its = applied(bench.cluster, dead);
    while (seen.size() > 1 && seen[1].first <= now - second_ns)
      seen.pop_front();
    const auto& target = seen.front().second;
    const bool has_all = std::all_of(target.begin(), target.end(), [&](const auto& t) {
      const auto it = its.find(t.first);
      return it != its.end() && it->second >= t.second;
    });
    if (has_all) {
      out.caught_up_s = static_cast<double>(now - began) / 1e9;
      out.resets = resets() - std::min(before, resets());
      out.acked_per_s = static_cast<double>(acked - acked_before) / out.caught_up_s;
      out.refused = refused - refused_before;
      return out;
    }
    if (now > began + deadline_ns)
      throw std::runtime_error{"the node had not caught up after ten minutes"};
    seen.emplace_back(now, applied_by_others());
  }
}

} // namespace

lag_result measure_lag(bench_cluster& bench, const bench_options& options) {
  if (options.nodes != 3)
    throw std::runtime_error{"lag needs three nodes: each then has a replica of every shard"};
  laggard t{bench, options};
  const auto pairs = std::min(options.pairs, pairs_max);
  t.users = bench.register_users(2 * pairs);
  for (std::size_t i = 0; i < t.users.size(); ++i)
    t.users[i]->node = i % (options.nodes - 1) + 1; // nobody is connected to the node that dies
  bench.log_in(t.users);
  t.lanes.resize(pairs);
  for (std::size_t i = 0; i < pairs; ++i)
    t.lanes[i] = {t.users[2 * i].get(), bench.open_direct(*t.users[2 * i], *t.users[2 * i + 1]), 0};

  lag_result out;
  t.kill_and_write();
  out.messages = t.messages;
  t.pass(static_cast<unsigned>(settle_ns / 1'000'000));
  bench.start_measuring();
  t.pass(options.seconds * 1'000);
  out.dead = bench.measured();
  out.idle = t.catch_up();

  if (options.rate > 0) {
    t.pass(static_cast<unsigned>(settle_ns / 1'000'000));
    t.kill_and_write();
    t.loaded = true;
    t.tasks.add(t.keep_rate(now_ns(), 0));
    t.pass(1'000);
    out.under_load = t.catch_up();
    t.loaded = false;
    t.pass(2'000); // for the answers
  }
  return out;
}

} // namespace parley::bench
