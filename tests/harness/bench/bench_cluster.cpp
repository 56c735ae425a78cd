#include "tests/harness/bench/bench_cluster.hpp"

#include <time.h>

#include <cstdio>
#include <numeric>
#include <stdexcept>

namespace parley::bench {

namespace {

test::process_cluster_config cluster_config(const bench_options& o) {
  test::process_cluster_config c;
  c.nodes = o.nodes;
  c.parleyd = o.parleyd;
  c.directory = o.keep;
  c.bind = o.bind;
  c.flags = {"--log-level", "warn", "--replicas", std::to_string(o.replicas)};
  // The cluster is measured, not the limits that protect it from one user; an attack measures those.
  c.standard_rates = o.measure == bench_options::what::attack;
  if (!c.standard_rates)
    c.flags.insert(c.flags.end(),
                   {"--limits-user-sends-per-second", "1000000", "--limits-user-sends-burst", "1000000",
                    "--limits-conversation-sends-per-second", "1000000", "--limits-conversation-sends-burst",
                    "1000000", "--limits-codes-per-hour", "3600000"});
  c.flags.insert(c.flags.end(), o.node_flags.begin(), o.node_flags.end());
  return c;
}

std::chrono::nanoseconds own_cpu() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
}

double to_us(std::chrono::nanoseconds t) {
  return static_cast<double>(t.count()) / 1e3;
}

} // namespace

std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

double cpu_use::all_nodes_us() const {
  return std::accumulate(nodes_us.begin(), nodes_us.end(), 0.0);
}

bench_cluster::bench_cluster(const bench_options& options)
    : cluster{cluster_config(options)}, io{kj::setupAsyncIo()}, timer{io.provider->getTimer()},
      lean{test::make_lean_context(io, cluster.client_ca())} {
  lean.limits.message_words_max = transport::stream_limits::for_client().message_words_max;
  lean.login_timeout = 20 * kj::SECONDS; // when thousands log in at once, the last waits for the
                                         // handshakes of all others
  cluster.start_all();
  if (!cluster.wait_ready(std::chrono::seconds{30}))
    throw test::cluster_error{"the cluster did not become ready within 30 s"};
  for (const auto& seed : cluster.client_seeds())
    addresses_.push_back(*transport::resolve(*transport::parse_server_address(seed)));
}

template <class F>
void bench_cluster::in_batches(std::vector<std::unique_ptr<user>>& users, std::size_t at_once, F&& start) {
  // Runs `at_once` chains at the same time, each of which takes every `at_once`th user.
  kj::Vector<kj::Promise<void>> chains;
  for (std::size_t first = 0; first < std::min(at_once, users.size()); ++first) {
    kj::Promise<void> chain = kj::READY_NOW;
    for (auto i = first; i < users.size(); i += at_once)
      chain = chain.then([&start, &u = *users[i]] { return start(u); });
    chains.add(kj::mv(chain));
  }
  kj::joinPromises(chains.releaseAsArray()).wait(io.waitScope);
}

kj::Promise<void> bench_cluster::register_one(user& u, unsigned tries_left) {
  return test::lean_connection::open(lean, addresses_[u.node - 1], test::lean_source(u.number, tries_left))
      .then([this, &u](kj::Own<test::lean_connection> line) {
        auto& it = *line;
        return it.enroll(u.who, [this](const std::string& phone) { return cluster.code_for(phone); })
            .attach(kj::mv(line));
      })
      .catch_([this, &u, tries_left](kj::Exception&& e) -> kj::Promise<void> {
        if (tries_left == 0)
          return kj::mv(e);
        return timer.afterDelay(300 * kj::MILLISECONDS).then([this, &u, tries_left] {
          return register_one(u, tries_left - 1);
        });
      });
}

kj::Promise<void> bench_cluster::log_in_one(user& u, unsigned tries_left) {
  return test::lean_connection::open(lean, addresses_[u.node - 1], u.number + 1)
      .then([&u](kj::Own<test::lean_connection> line) {
        u.line = kj::mv(line);
        return u.line->login(u.who).then([&u] { u.line->let_go_of_gateway(); });
      })
      .catch_([this, &u, tries_left](kj::Exception&& e) -> kj::Promise<void> {
        if (tries_left == 0)
          return kj::mv(e);
        return timer.afterDelay(300 * kj::MILLISECONDS).then([this, &u, tries_left] {
          return log_in_one(u, tries_left - 1);
        });
      });
}

std::vector<std::unique_ptr<user>> bench_cluster::register_users(std::size_t count) {
  std::vector<std::unique_ptr<user>> users;
  for (const auto end = registered_ + count; registered_ < end; ++registered_) {
    const auto i = registered_;
    auto u = std::make_unique<user>();
    u->who.phone = test::test_phone(i);
    u->who.key = client::make_key();
    u->number = static_cast<unsigned>(i);
    u->node = i % cluster.size() + 1;
    users.push_back(std::move(u));
  }
  in_batches(users, 64, [this](user& u) { return register_one(u, 15); });
  return users;
}

void bench_cluster::log_in(std::vector<std::unique_ptr<user>>& users) {
  in_batches(users, 64, [this](user& u) { return log_in_one(u, 10); });
}

std::vector<std::unique_ptr<user>> bench_cluster::make_users(std::size_t count) {
  auto users = register_users(count);
  log_in(users);
  return users;
}

kj::Promise<void> bench_cluster::open_direct_into(user& a, const user& b, conversation_id& out) {
  auto call = a.line->session().openDirectRequest();
  call.setUser(parley::number(b.who.user));
  return call.send().then([&out](capnp::Response<rpc::Session::OpenDirectResults> r) {
    if (wire::to_code(r.getError()) != ec::none)
      kj::throwFatalException(test::refusal(wire::to_code(r.getError()), "openDirect"));
    out = wire::to_conversation(r.getConversation());
  });
}

conversation_id bench_cluster::open_direct(user& a, const user& b) {
  conversation_id out;
  open_direct_into(a, b, out).wait(io.waitScope);
  return out;
}

void bench_cluster::start_measuring() {
  cpu_before_.clear();
  for (std::size_t n = 1; n <= cluster.size(); ++n)
    cpu_before_.push_back(cluster.cpu(n));
  own_before_ = own_cpu();
  began_ns_ = now_ns();
}

cpu_use bench_cluster::measured() const {
  cpu_use use;
  for (std::size_t n = 1; n <= cluster.size(); ++n)
    use.nodes_us.push_back(to_us(cluster.cpu(n) - cpu_before_[n - 1]));
  use.generator_us = to_us(own_cpu() - own_before_);
  use.seconds = static_cast<double>(now_ns() - began_ns_) / 1e9;
  return use;
}

std::uint64_t bench_cluster::rss_bytes() const {
  std::uint64_t sum = 0;
  for (std::size_t n = 1; n <= cluster.size(); ++n)
    sum += cluster.rss_bytes(n);
  return sum;
}

} // namespace parley::bench
