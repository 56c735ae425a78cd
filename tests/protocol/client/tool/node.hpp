#pragma once
// A node in this process, over TLS, and programs that are run beside it.
#include "tests/protocol/client/fake_cluster.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

namespace parley::test {

struct output {
  int status = -1;
  std::string text;
};

inline output run(const std::string& command) {
  output o;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe);
  char buffer[4096];
  while (const auto n = std::fread(buffer, 1, sizeof buffer, pipe))
    o.text.append(buffer, n);
  const int status = ::pclose(pipe);
  o.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return o;
}

inline std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size()))
    ++n;
  return n;
}

/// A node on a thread of its own, with fresh certificates.
struct node {
  scratch_directory scratch;
  const std::string dir = scratch.path();
  std::thread thread;
  std::atomic<std::uint16_t> port{0};
  std::atomic<bool> done{false};
  std::atomic<std::size_t> acks{0}; ///< acknowledgements of deliveries
  std::mutex wish;
  std::function<void(fake_cluster&)> wanted; ///< guarded by `wish`

  node() {
    REQUIRE(run(std::string{PARLEY_SOURCE_DIR} + "/scripts/make_certs.sh " + dir + "/certs 1").status == 0);
    thread = std::thread{[this] {
      auto io = kj::setupAsyncIo();
      fake_cluster cluster{io.provider->getTimer()};
      cluster.receipts = true;
      cluster.on_code = [this](const std::string& phone, const std::string& code) {
        std::ofstream{dir + "/console", std::ios::app} << "code for " << phone.substr(0, 3) << "…"
                                                       << phone.substr(phone.size() - 2) << ": " << code
                                                       << "\n";
      };
      auto tls = transport::make_server_context(
          {dir + "/certs/node-1/client.pem", dir + "/certs/node-1/client.key"});
      if (tls)
        port = cluster.listen(io.unixEventPort, *tls);
      while (!done) {
        io.provider->getTimer().afterDelay(5 * kj::MILLISECONDS).wait(io.waitScope);
        acks = cluster.acks.size();
        const std::lock_guard guard{wish};
        if (const auto now = std::exchange(wanted, {}))
          now(cluster);
      }
    }};
    while (port == 0)
      std::this_thread::yield();
  }
  ~node() {
    done = true;
    thread.join();
  }
  /// Runs `f` on the node's thread, and returns afterwards.
  void with(std::function<void(fake_cluster&)> f) {
    {
      const std::lock_guard guard{wish};
      wanted = std::move(f);
    }
    for (bool done = false; !done;) {
      std::this_thread::yield();
      const std::lock_guard guard{wish};
      done = !wanted;
    }
  }
  /// The next sends are refused in this way, and nothing else is any more.
  void refuse(std::vector<ec> next) {
    with([&next](fake_cluster& cluster) { cluster.send_refusals = std::move(next); });
  }
  void enter(const std::string& who, const std::string& phone) {
    const auto o = parley(who, "register --phone " + phone + " --code -", "echo 123456 |");
    CAPTURE(o.text);
    REQUIRE(o.status == 0);
  }
  /// What a shell runs.
  std::string command(const std::string& who, const std::string& rest,
                      const std::string& ca = "client-ca.pem") const {
    return std::string{"NO_COLOR=1 "} + PARLEY_TOOL + " --profile " + dir + "/" + who +
           " --seeds 127.0.0.1:" + std::to_string(port) + " --ca " + dir + "/certs/" + ca + " " + rest;
  }
  output parley(const std::string& who, const std::string& rest, const std::string& before = "",
                const std::string& ca = "client-ca.pem") const {
    return run(before + " " + command(who, rest, ca));
  }
};

} // namespace parley::test
