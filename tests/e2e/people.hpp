#pragma once
// Real clients against real nodes, for end-to-end tests. Every wait has a deadline and none is a fixed sleep.
#include "actors/core/rescue_numbers.hpp"
#include "protocol/client/client.hpp"
#include "tests/harness/cluster/process_cluster.hpp"
#include "tests/support/patience.hpp"

#include <kj/async-io.h>

#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace parley::test {

using namespace std::chrono_literals;

/// Of a file, a log for example: the lines that contain `what`.
inline std::size_t lines_with(const std::string& file, const std::string& what) {
  std::ifstream in{file};
  std::size_t n = 0;
  for (std::string line; std::getline(in, line);)
    n += line.find(what) != std::string::npos;
  return n;
}

/// The event loop of one test, and its nodes.
struct town {
  explicit town(process_cluster_config config = {})
      : cluster{with_flags(std::move(config))}, io{kj::setupAsyncIo()}, dial{io.unixEventPort,
                                                                             *client::trust(
                                                                                 cluster.client_ca())} {
    cluster.start_all();
    if (!cluster.wait_ready(30s))
      throw cluster_error{"the cluster did not get ready within 30 s"};
    for (const auto& s : cluster.client_seeds())
      settings.seeds.push_back(*transport::parse_server_address(s));
    settings.reconnect = {50ms, 500ms};
    settings.resend = {20ms, 300ms};
    settings.dial_timeout = 2'000ms;
    settings.call_timeout = 4'000ms;
    settings.ack_every = 50ms;
  }
  static process_cluster_config with_flags(process_cluster_config c) {
    if (c.flags.empty())
      c.flags = {"--drain-spread", "500ms", "--drain-deadline", "3s"};
    return c;
  }
  /// Runs the loop until `done` returns true; returns false after the deadline.
  template <class F>
  bool until(milliseconds deadline, F&& done) {
    const auto end = std::chrono::steady_clock::now() + patient(deadline);
    while (!done()) {
      if (std::chrono::steady_clock::now() > end)
        return false;
      io.provider->getTimer().afterDelay(10 * kj::MILLISECONDS).wait(io.waitScope);
    }
    return true;
  }

  process_cluster cluster;
  kj::AsyncIoContext io;
  client::tls_dialer dial;
  client::config settings;
};

/// A person with a device that is registered and online.
struct person final : client::observer {
  person(town& t, std::size_t number) : where{t}, phone{test_phone(number)} {
    start();
    const auto asked = device->request_code(phone).wait(t.io.waitScope);
    if (!asked)
      throw cluster_error{"no code: " + asked.error().sentence};
    std::string code;
    if (!t.until(5s, [&] {
          const auto found = t.cluster.code_for(phone);
          code = found.value_or("");
          return found.has_value();
        }))
      throw cluster_error{"no code was printed"};
    const auto me = device->register_device(phone, code, "test").wait(t.io.waitScope);
    if (!me)
      throw cluster_error{"not registered: " + me.error().sentence};
    device->start();
    if (!t.until(10s, [this] { return device->state().state == client::link_state::online; }))
      throw cluster_error{"never came online"};
  }
  ~person() noexcept override {}

  void start() {
    device =
        kj::heap<client::device>(where.io.provider->getTimer(), where.dial, where.settings, store, *this);
  }
  /// The phone's process ends, and a new one starts with the data on its disk.
  void restart() {
    device = nullptr;
    start();
    device->start();
  }
  conversation_id chat_with(person& other) {
    const auto opened = device->open_direct(other.phone).wait(where.io.waitScope);
    if (!opened)
      throw cluster_error{"no conversation: " + opened.error().sentence};
    return opened->conversation;
  }
  /// The whole conversation as the cluster stores it.
  std::vector<std::string> bodies(conversation_id c) {
    std::vector<std::string> out;
    for (seq_no after{};;) {
      const auto page = device->sync_conversation(c, after).wait(where.io.waitScope);
      if (!page)
        throw cluster_error{"no sync: " + page.error().sentence};
      for (const auto& m : page->messages) {
        if (!core::follows(after, m.seq))
          throw cluster_error{"a sync with a gap"};
        after = m.seq;
        out.push_back(m.body);
      }
      if (!page->more)
        return out;
    }
  }

  void on_message(const client::message& m) override { heard.push_back(m.body); }
  void on_delivered(conversation_id, user_id, seq_no upto) override { delivered = std::max(delivered, upto); }
  void on_read(conversation_id, user_id, seq_no upto) override { read = std::max(read, upto); }
  void on_lost(const client::message& was) override { lost.push_back(was.body); }

  town& where;
  std::string phone;
  client::memory_store store{{1'000}}; ///< messages of a conversation
  std::vector<std::string> heard;
  std::vector<std::string> lost; ///< by the cluster, as the device reported it
  seq_no delivered{}, read{};
  kj::Own<client::device> device;
};

} // namespace parley::test
