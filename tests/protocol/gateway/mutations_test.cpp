// Every kind of bad input a hundred times, each time damaged in another way, while somebody decent goes on
// chatting. Afterwards nothing may be left of it: no connection, no session, no memory.
#include "tests/protocol/gateway/bad_streams.hpp"
#include "tests/support/mutations.hpp"

#include "protocol/gateway/tokens.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <malloc.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <set>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;
using transport::close_reason;

namespace {

constexpr std::uint64_t mutations = 100; ///< of each stream

double milliseconds_of_cpu() {
  return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}
std::size_t heap_bytes() {
  return mallinfo2().uordblks; // 0 under a sanitizer, which counts by itself
}
double resident_mib() {
  std::ifstream in{"/proc/self/statm"};
  std::size_t total = 0, resident = 0;
  in >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1024 * 1024);
}

/// A gateway in use: one device is logged in, sends, and is heard.
struct besieged : fixture {
  besieged() {
    config.handshakes_burst = 1'000'000; // they are not the subject
    config.login_deadline = std::chrono::milliseconds{2'000};
    cluster.on_session_call = [this](core::call c) -> kj::Promise<core::answer> {
      if (std::holds_alternative<core::submit>(c)) {
        core::placement p;
        p.seq = seq_no{++stored};
        return core::answer{core::answer_to<core::submit>{p}};
      }
      return core::refusal(c, ec::unavailable);
    };
    cluster.devices[{hostile_user, hostile_device}] = hostile_key.public_half;
    begin_again();
  }

  /// A server with `config` as it is by now, and the bystander at it.
  void begin_again() {
    decent = nullptr;
    session = nullptr;
    server = nullptr;
    start();
    decent = kj::heap<test_client>(*this);
    session = decent->login();
  }
  void bystander_sends() {
    const auto began = std::chrono::steady_clock::now();
    auto request = KJ_ASSERT_NONNULL(session).sendRequest();
    request.initId().setCounter(++counter);
    request.setBody(bytes_of("hello"));
    auto answer = get(request.send());
    REQUIRE(answer.getError().getCode() == 0);
    REQUIRE(answer.getSeq() > 0);
    took.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count());
  }
  /// Somebody new can come, send and go.
  void stranger_is_served() {
    {
      test_client next{*this};
      auto theirs = next.login(decent->key, user_id{1}, device_id{2});
      auto request = theirs.sendRequest();
      request.initId().setCounter(++counter);
      CHECK(get(request.send()).getError().getCode() == 0);
    }
    REQUIRE(until([&] { return server->connections() == 1; }));
  }
  void torment(const bad_stream& s, std::uint64_t seed) {
    mutator damage{seed};
    {
      raw_client hostile{*this};
      if (s.after != stage::connected)
        REQUIRE(hostile.handshake());
      if (s.after == stage::logged_in)
        REQUIRE(log_in(hostile, *this, hostile_key));
      const auto bytes = damage.of(s.bytes);
      if (s.after == stage::connected)
        hostile.send_plain(bytes);
      else
        hostile.send(bytes);
      if (damage.one_in(8))
        hostile.reset();
      else
        hostile.finish();
      REQUIRE(until([&] { return hostile.ended() && server->connections() == 1; }));
    }
    REQUIRE(cluster.live_sessions == 1);
    cluster.calls.clear();
    codes.sent.clear();
  }
  std::string figure() {
    std::sort(took.begin(), took.end());
    const auto p99 = took.at(took.size() * 99 / 100);
    std::string text =
        "p50 " + std::to_string(took.at(took.size() / 2)) + ", p99 " + std::to_string(p99) + " ms";
    took.clear();
    return text;
  }

  std::uint64_t stored = 0, counter = 0;
  device_key hostile_key;
  kj::Own<test_client> decent;
  kj::Maybe<rpc::Session::Client> session;
  std::vector<double> took;
};

} // namespace

TEST_CASE_FIXTURE(
    besieged, "a hundred mutations of every bad stream leave nothing behind, and disturb no other client") {
  const auto all = streams();
  for (int i = 0; i < 200; ++i)
    bystander_sends();
  const auto quiet = figure();
  const auto round = [&](const bad_stream& s, std::uint64_t from, std::uint64_t to) {
    for (auto seed = from; seed < to; ++seed) {
      INFO("stream: " << s.name << ", seed " << seed);
      torment(s, seed);
      bystander_sends();
    }
    INFO("after " << s.name);
    stranger_is_served();
  };
  for (const auto& s : all) // what is kept for ever, tables and buffers, is there after this
    round(s, 1'000'000, 1'000'020);
  took.clear();
  const auto heap_before = heap_bytes();
  const auto resident_before = resident_mib();
  const auto cpu_before = milliseconds_of_cpu();
  for (const auto& s : all)
    round(s, 1, 1 + mutations);
  took.shrink_to_fit();
  const auto cpu = milliseconds_of_cpu() - cpu_before;
  const auto count = static_cast<double>(all.size() * mutations);
  const auto heap_after = heap_bytes();
  MESSAGE("bystander's send: quiet " << quiet << "; besieged " << figure());
  MESSAGE(count << " streams, " << cpu / count << " ms of CPU each, both ends; resident memory grew by "
                << resident_mib() - resident_before << " MiB");
  CHECK(heap_after < heap_before + 128 * 1024); // 60 bytes per stream
  if (memory_is_telling)
    CHECK(resident_mib() < resident_before + 16);
  CHECK(shared.metrics.internal_errors == 0);
  CHECK(shared.metrics.connections == 1);
  CHECK(shared.metrics.sessions == 1);
}

TEST_CASE_FIXTURE(
    besieged,
    "each of a hundred mixtures of key updates and calls is answered, or its connection is closed") {
  for (std::uint64_t seed = 1; seed <= mutations; ++seed) {
    CAPTURE(seed);
    mutator damage{seed};
    const auto updates = damage.below(100);
    const auto closed_before = closes(close_reason::handshake_flood);
    {
      raw_client peer{*this};
      REQUIRE(peer.handshake());
      for (std::size_t i = 0; i < updates; ++i) {
        SSL_key_update(peer.ssl(),
                       damage.one_in(2) ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(peer.ssl());
        if (damage.one_in(20))
          io.waitScope.poll();
      }
      peer.send(bootstrap_message() +
                door_call<rpc::Gateway::HelloParams>(
                    1, door_method::hello, [](auto&, auto p) { p.setVersion(rpc::PROTOCOL_VERSION); }));
      REQUIRE(until([&] {
        return peer.ended() || answer_to<rpc::Gateway::HelloResults>(1, peer.received).has_value();
      }));
    }
    REQUIRE(until([&] { return server->connections() == 1; }));
    const bool flooded = closes(close_reason::handshake_flood) > closed_before;
    CHECK(flooded == (updates > config.stream.post_handshake_max));
    bystander_sends();
  }
}

TEST_CASE_FIXTURE(besieged,
                  "a hundred peers that send a byte at a time are all disconnected at the login deadline") {
  const auto all = streams();
  const std::set<close_reason> no_reason{close_reason::none, close_reason::local};
  std::vector<std::unique_ptr<raw_client>> slow;
  std::vector<std::string> to_say;
  mutator damage{7};
  for (std::uint64_t i = 0; i < mutations; ++i) {
    slow.push_back(std::make_unique<raw_client>(*this));
    REQUIRE(slow.back()->handshake());
    to_say.push_back(damage.of(all[damage.below(all.size())].bytes) + std::string(200'000, '\0'));
  }
  std::size_t said = 0;
  CHECK(until([&] {
    for (std::size_t i = 0; i < slow.size(); ++i)
      if (!slow[i]->ended() && said < to_say[i].size())
        slow[i]->send(std::string_view{to_say[i]}.substr(said, 1));
    ++said;
    return server->connections() == 1;
  }));
  for (auto r : no_reason)
    CHECK(closes(r) == 0);
  bystander_sends();
  stranger_is_served();
}

TEST_CASE_FIXTURE(
    besieged,
    "of ten thousand strangers as many wait as may, the oldest give way, and sessions are not disturbed") {
  config.login_deadline = 60s;
  begin_again();
  const auto resident_before = resident_mib();
  std::vector<int> strangers;
  const auto dial = [&](int from) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 * (1 + static_cast<std::uint32_t>(from) % 50));
    ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at);
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    strangers.push_back(fd);
  };
  for (int i = 0; i < 10'000; ++i) {
    dial(i);
    if (i % 100 != 99)
      continue;
    REQUIRE(until([&] { return shared.metrics.accepted == static_cast<std::uint64_t>(i) + 3; }));
    CHECK(until([&] { return server->connections() <= config.pre_login_max + 1; }));
    std::erase_if(strangers, [](int fd) { // who gave way
      char byte = 0;
      const auto n = ::recv(fd, &byte, 1, MSG_DONTWAIT);
      const bool gone = n == 0 || (n < 0 && errno != EAGAIN);
      if (gone)
        ::close(fd);
      return gone;
    });
    bystander_sends();
  }
  CHECK(server->connections() == config.pre_login_max + 1);
  CHECK(strangers.size() == config.pre_login_max);
  CHECK(shared.metrics.refused == 0);
  CHECK(closes(close_reason::refused) == 10'000 - config.pre_login_max);
  MESSAGE("2,000 strangers at the door hold " << resident_mib() - resident_before << " MiB; bystander's send "
                                              << figure());
  for (const int fd : strangers)
    ::close(fd);
  REQUIRE(until([&] { return server->connections() == 1; }));
  stranger_is_served();
}

TEST_CASE_FIXTURE(besieged,
                  "a hundred sends cut off at any moment have one number each, whenever they are repeated") {
  std::map<std::uint64_t, std::uint64_t> numbers;
  cluster.on_session_call = [&](core::call c) -> kj::Promise<core::answer> {
    const auto& s = std::get<core::submit>(c).what;
    core::placement p;
    p.duplicate = numbers.contains(s.id.counter) ? 1 : 0;
    p.seq = seq_no{numbers.try_emplace(s.id.counter, numbers.size() + 1).first->second};
    return core::answer{core::answer_to<core::submit>{p}};
  };
  std::size_t stored_before_the_reset = 0;
  for (std::uint64_t seed = 1; seed <= mutations; ++seed) {
    CAPTURE(seed);
    mutator chance{seed};
    const auto the_send = [&] {
      return session_call<rpc::Session::SendParams>(3, 2, session_method::send, [&](auto&, auto p) {
        p.initId().setCounter(seed);
        p.setBody(bytes_of("once"));
      });
    };
    {
      raw_client cut_off{*this};
      REQUIRE(cut_off.handshake());
      REQUIRE(log_in(cut_off, *this, hostile_key));
      auto bytes = the_send();
      if (chance.one_in(3)) // not even whole
        bytes.resize(chance.below(bytes.size()));
      cut_off.send(bytes);
      for (auto turns = chance.below(3); turns > 0; --turns)
        io.waitScope.poll();
      cut_off.reset();
    }
    REQUIRE(until([&] { return server->connections() == 1; }));
    const bool was_stored = numbers.contains(seed);
    stored_before_the_reset += was_stored;
    raw_client again{*this};
    REQUIRE(again.handshake());
    REQUIRE(log_in(again, *this, hostile_key));
    for (int repeat = 0; repeat < 2; ++repeat) {
      again.received.clear();
      again.send(the_send());
      std::uint64_t seq = 0;
      bool duplicate = false;
      REQUIRE(until([&] {
        again.ended();
        return any_message(again.received, [&](capnp::rpc::Message::Reader m) {
          if (!m.isReturn() || m.getReturn().getAnswerId() != 3)
            return false;
          const auto r = m.getReturn().getResults().getContent().getAs<rpc::Session::SendResults>();
          seq = r.getSeq();
          duplicate = r.getDuplicate();
          return true;
        });
      }));
      CHECK(seq == numbers.at(seed));
      CHECK(duplicate == (was_stored || repeat > 0));
      again.send(finish_message(3));
    }
  }
  CHECK(numbers.size() == mutations);
  CHECK(stored_before_the_reset > 0);
  CHECK(stored_before_the_reset < mutations);
  MESSAGE(stored_before_the_reset << " of " << mutations << " were stored before the reset");
}

TEST_CASE_FIXTURE(
    besieged,
    "a hundred receivers that stop at any moment are disconnected, and what they have not received is kept") {
  config.receiver_deadline = 200ms;
  begin_again();
  std::vector<std::unique_ptr<test_client>> stalled;
  std::vector<test_receiver::record> got(mutations);
  std::vector<rpc::Session::Client> sessions;
  constexpr std::size_t rows_each = 60;
  std::size_t untaken = 0;
  for (std::size_t i = 0; i < mutations; ++i) {
    CAPTURE(i);
    mutator chance{i};
    stalled.push_back(std::make_unique<test_client>(*this));
    sessions.push_back(stalled.back()->login(hostile_key, hostile_user, hostile_device));
    got[i].hangs = chance.one_in(2);
    auto request = sessions.back().receiveRequest();
    request.setReceiver(kj::heap<test_receiver>(got[i]));
    get(request.send());
    if (!got[i].hangs) {
      for (std::uint64_t n = 1, some = chance.below(5); n <= some; ++n) {
        cluster.queue.push_back(row(n, 100));
        cluster.sinks.back()->rows_ready();
        REQUIRE(until([&] { return got[i].seqs.size() >= n; }));
      }
      stalled.back()->stream->hold_reads();
    }
    for (std::uint64_t n = 1; n <= rows_each; ++n)
      cluster.queue.push_back(row(n, 4096));
    cluster.sinks.back()->rows_ready();
    // A window and a delivery of at most 32 KiB are taken, whoever it is.
    REQUIRE(until([&] { return cluster.queue.size() < rows_each; }));
    for (int turns = 0; turns < 20; ++turns)
      io.waitScope.poll();
    CHECK(cluster.queue.size() > rows_each / 4);
    untaken += cluster.queue.size();
    cluster.queue.clear();
  }
  CHECK(until(
      [&] { return closes(close_reason::receiver_stalled) == mutations && server->connections() == 1; }));
  CHECK(cluster.live_sessions == 1);
  bystander_sends();
  MESSAGE("of " << mutations * rows_each << " rows " << untaken << " stayed in the inbox");
}

TEST_CASE_FIXTURE(besieged,
                  "a hundred failures inside the gateway, in any call, reach the peer as a number") {
  const std::string secret = "secret-of-the-inside";
  raw_client peer{*this};
  REQUIRE(peer.handshake());
  REQUIRE(log_in(peer, *this, hostile_key));
  for (std::uint64_t seed = 1; seed <= mutations; ++seed) {
    CAPTURE(seed);
    mutator chance{seed};
    const auto how = chance.below(4);
    cluster.on_session_call = [&](core::call) -> kj::Promise<core::answer> {
      if (how == 0)
        throw std::runtime_error(secret);
      if (how == 1)
        throw 7;
      if (how == 2)
        return KJ_EXCEPTION(FAILED, "secret-of-the-inside", secret.c_str());
      return kj::evalLater([&]() -> core::answer { KJ_FAIL_REQUIRE("secret-of-the-inside"); });
    };
    const auto question = static_cast<std::uint32_t>(100 + seed);
    // `receive`, `ping` and `logout` ask nobody; an empty acknowledgement neither.
    const auto method = session_method{static_cast<std::uint16_t>(chance.below(7))};
    peer.received.clear();
    peer.send(of_session(method, question));
    std::optional<verdict> v;
    REQUIRE(until([&] {
      peer.ended();
      v = answer_to<rpc::Session::AckReadResults>(question,
                                                  peer.received); // `error` comes first in all of them
      return v.has_value();
    }));
    CHECK_FALSE(v->exception);
    CHECK(v->code == static_cast<std::uint16_t>(ec::internal));
    for (const auto& leak : {secret, std::string{".cpp"}, std::string{".hpp"}, std::string{"/usr"}})
      CHECK(peer.received.find(leak) == std::string::npos);
    peer.send(finish_message(question));
  }
  CHECK(shared.metrics.internal_errors == mutations);
}

TEST_CASE_FIXTURE(besieged, "no damaged proof, cursor or token is accepted") {
  config.login_attempts_max = 1000;
  config.login_bytes_max = 1024 * 1024;
  decent = nullptr;
  session = nullptr;
  server = nullptr;
  start();
  test_client c{*this};
  cluster.devices[{user_id{1}, device_id{2}}] = c.key.public_half;
  const auto proof = c.proof(c.key, user_id{1}, device_id{2});
  const auto attempt = [&](const std::string& signature) {
    auto request = c.door.loginRequest();
    request.setUser(1);
    request.setDevice(2);
    request.setSignature(bytes_of(signature));
    request.setSessionNumber(1);
    return ec{get(request.send()).getError().getCode()};
  };
  const gateway::resume_token token{user_id{1}, device_id{2}, inbox_pos{3}, clock.at};
  const auto cursor = gateway::encode_cursor(config.cluster, user_id{1}, inbox_pos{7});
  const auto good_token = gateway::encode_token(config.cluster, token);
  for (std::uint64_t seed = 1; seed <= mutations; ++seed) {
    CAPTURE(seed);
    mutator damage{seed};
    if (const auto bad = damage.of(proof); bad != proof)
      CHECK(attempt(bad) == ec::bad_signature);
    if (const auto bad = damage.of(cursor); bad != cursor && !bad.empty())
      CHECK_FALSE(gateway::decode_cursor(config.cluster, user_id{1}, bad).has_value());
    // A token names a device and no more: whatever it says now, it has to be signed for.
    if (const auto bad = damage.of(good_token); bad != good_token) {
      auto request = c.door.resumeRequest();
      request.setResumeToken(bytes_of(bad));
      request.setSignature(bytes_of(std::string(64, 's')));
      request.setSessionNumber(1);
      CHECK(get(request.send()).getError().getCode() != 0);
    }
  }
  CHECK(cluster.live_sessions == 0);
  CHECK(attempt(proof) == ec::none);
}
