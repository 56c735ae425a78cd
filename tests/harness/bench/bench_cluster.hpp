#pragma once
// What every measurement needs: a cluster, a KJ loop, and many users that are logged in.
#include "tests/harness/bench/bench.hpp"
#include "tests/harness/cluster/lean_client.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <kj/async-io.h>

#include <chrono>
#include <memory>
#include <vector>

namespace parley::bench {

std::int64_t now_ns();

/// One device, its connection and its results.
struct user {
  test::lean_device who;
  kj::Own<test::lean_connection> line;
  unsigned number = 0;
  std::size_t node = 0; ///< the node that it connects to, counted from 1
};

/// The CPU time of the nodes and of this process between two moments.
struct cpu_use {
  std::vector<double> nodes_us;
  double generator_us = 0;
  double seconds = 0;
  double all_nodes_us() const;
};

class bench_cluster {
public:
  explicit bench_cluster(const bench_options& options);

  /// Registers and logs in `count` users, spread over the nodes. Throws with a sentence.
  std::vector<std::unique_ptr<user>> make_users(std::size_t count);
  /// Registers users without logging them in.
  std::vector<std::unique_ptr<user>> register_users(std::size_t count);
  void log_in(std::vector<std::unique_ptr<user>>& users);
  conversation_id open_direct(user& a, const user& b);
  kj::Promise<void> open_direct_into(user& a, const user& b, conversation_id& out);

  void start_measuring();
  cpu_use measured() const;
  std::uint64_t rss_bytes() const; ///< of all nodes together

  test::process_cluster cluster;
  kj::AsyncIoContext io;
  kj::Timer& timer;
  test::lean_context lean;

private:
  kj::Promise<void> register_one(user& u, unsigned tries_left);
  kj::Promise<void> log_in_one(user& u, unsigned tries_left);
  template <class F>
  void in_batches(std::vector<std::unique_ptr<user>>& users, std::size_t at_once, F&& start);

  std::vector<transport::socket_address> addresses_;
  std::size_t registered_ = 0; ///< users so far
  std::vector<std::chrono::nanoseconds> cpu_before_;
  std::chrono::nanoseconds own_before_{};
  std::int64_t began_ns_ = 0;
};

} // namespace parley::bench
