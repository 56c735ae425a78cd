#include "protocol/gateway/address_limits.hpp"
#include "protocol/gateway/closed_sessions.hpp"
#include "protocol/gateway/code_limits.hpp"
#include "protocol/gateway/codes/code_sender.hpp"
#include "protocol/gateway/config.hpp"
#include "protocol/gateway/crypto.hpp"
#include "protocol/gateway/text.hpp"
#include "protocol/transport/socket.hpp"

#include <doctest/doctest.h>

#include <arpa/inet.h>

#include <set>

using namespace parley;
using namespace std::chrono_literals;

TEST_CASE("overlong, surrogate, truncated and too high sequences are refused as UTF-8") {
  for (const std::string_view bad :
       {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\x80", "a\xe2\x82", "\xff"})
    CHECK_FALSE(gateway::is_utf8(bad));
  for (const std::string_view good : {"", "plain", "grüße", "日本", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "👍"})
    CHECK(gateway::is_utf8(good));
}

TEST_CASE("the address of a server needs a host and a port") {
  for (const auto* bad : {"", "host", "host:", ":1", "host:x", "host:70000", "::1:80", "[]:1", "host:1x"})
    CHECK_FALSE(transport::parse_server_address(bad).has_value());
  const auto v6 = transport::parse_server_address("[::1]:7400");
  REQUIRE(v6.has_value());
  CHECK(*v6 == transport::server_address{"::1", 7400});
  CHECK(to_string(*v6) == "[::1]:7400");
  CHECK(transport::parse_server_address("chat.example:1")->host == "chat.example");
}

TEST_CASE("an address whose bucket is full again is forgotten, and one that has to wait is not") {
  gateway::address_limits limits{2, 10s, 1'000};
  const auto begin = core::token_bucket::time_point{} + 1h;
  const auto who = [](std::uint64_t n) { return gateway::address_key{n}; };
  limits.age(begin);
  for (std::uint64_t n = 1; n <= 100; ++n)
    CHECK(limits.admit(who(n), begin + 1s).count() == 0);
  CHECK(limits.remembered() == 100);
  limits.age(begin + 19s); // too early for a bucket of 20 s
  limits.age(begin + 20s);
  CHECK(limits.admit(who(1), begin + 20s).count() == 0);
  CHECK(limits.admit(who(1), begin + 20s).count() == 0);
  CHECK(limits.admit(who(1), begin + 20s).count() > 0);
  CHECK(limits.remembered() >= 100);
  limits.age(begin + 40s);
  CHECK(limits.remembered() == 1);
  limits.age(begin + 60s);
  CHECK(limits.remembered() == 0);
}

TEST_CASE("an address that has used up its tokens is told how long to wait, and others are not affected") {
  gateway::address_limits limits{2, 10s, 100};
  const auto now = core::token_bucket::time_point{} + 1h;
  const gateway::address_key a{1}, b{2};
  CHECK(limits.admit(a, now) == 0ns);
  CHECK(limits.admit(a, now) == 0ns);
  CHECK(limits.admit(a, now) > 0ns);
  CHECK(limits.admit(b, now) == 0ns);
  CHECK(limits.admit(a, now + 10s) == 0ns);
}

namespace {

sockaddr_storage address_of(const std::string& text) {
  sockaddr_storage a{};
  auto& six = reinterpret_cast<sockaddr_in6&>(a);
  auto& four = reinterpret_cast<sockaddr_in&>(a);
  if (::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
  } else {
    REQUIRE(::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1);
    four.sin_family = AF_INET;
  }
  return a;
}

/// How many codes get through from `addresses`, each asking `times` times.
int admitted(gateway::code_limits& limits, const std::vector<std::string>& addresses, int times) {
  const auto now = core::token_bucket::time_point{} + 100h;
  int n = 0;
  for (const auto& a : addresses)
    for (int i = 0; i < times; ++i)
      n += limits.admit(gateway::networks_of(address_of(a)), now) == 0ns;
  return n;
}

} // namespace

TEST_CASE("an address, and the networks around it, have bounded room for codes") {
  const gateway::code_rates rates{10, 10s, 10'000, 100'000, 1ms};
  std::vector<std::string> in_64, in_56, in_48, in_24, anywhere;
  for (int i = 0; i < 250; ++i) {
    const auto n = std::to_string(i);
    in_64.push_back("2001:db8:1:2::" + n);
    in_56.push_back("2001:db8:1:" + n.substr(n.size() > 2 ? n.size() - 2 : 0) + "::1");
    char high[8];
    std::snprintf(high, sizeof high, "%x", static_cast<unsigned>(i) << 8);
    in_48.push_back(std::string{"2001:db8:1:"} + high + "::1");
    in_24.push_back("198.51.100." + n);
    anywhere.push_back("198.51." + n + ".1");
  }
  const auto room = [&](const std::vector<std::string>& of, int times = 20) {
    gateway::code_limits limits{rates};
    return admitted(limits, of, times);
  };
  CHECK(room({"198.51.100.1"}) == 10);
  CHECK(room({"::ffff:198.51.100.1", "198.51.100.1"}) == 10); // one address, written in two ways
  CHECK(room(in_64) == 10);
  CHECK(room(in_56) == 40);
  CHECK(room(in_48) == 160);
  CHECK(room(in_24) == 160);
  CHECK(room(anywhere, 1) == 250);
}

TEST_CASE("all addresses of a node together have bounded room, and who is refused takes none") {
  gateway::code_limits limits{{5, 10s, 10'000, 12, 1h}};
  CHECK(admitted(limits, {"198.51.100.1"}, 50) == 5);
  CHECK(admitted(limits, {"198.51.101.1", "198.51.102.1", "198.51.103.1"}, 50) == 7);
}

TEST_CASE("one network has a quarter of what a node may send, and what was not sent is given back") {
  const gateway::code_rates rates{30, 10s, 10'000, 400, 9s};
  std::vector<std::string> in_24, in_48;
  for (int i = 1; i < 200; ++i) {
    in_24.push_back("198.51.100." + std::to_string(i));
    char high[8];
    std::snprintf(high, sizeof high, "%x", static_cast<unsigned>(i) << 8);
    in_48.push_back(std::string{"2001:db8:1:"} + high + "::1");
  }
  gateway::code_limits limits{rates};
  CHECK(admitted(limits, in_24, 1) == 100);
  CHECK(admitted(limits, in_48, 1) == 100);
  CHECK(admitted(limits, {"198.51.101.1"}, 20) == 20); // others are left enough
  const auto who = gateway::networks_of(address_of("198.51.100.77"));
  for (int i = 0; i < 7; ++i)
    limits.give_back(who);
  CHECK(admitted(limits, in_24, 1) == 7);
  // The address that asked has asked, whether or not a code went out.
  gateway::code_limits again{rates};
  for (int i = 0; i < 30; ++i) {
    CHECK(admitted(again, {"198.51.100.1"}, 1) == 1);
    again.give_back(gateway::networks_of(address_of("198.51.100.1")));
  }
  CHECK(admitted(again, {"198.51.100.1"}, 1) == 0);
}

TEST_CASE("addresses are forgotten before they fill the memory, the most recent ones last") {
  gateway::address_limits limits{1, 1h, 10};
  const auto now = core::token_bucket::time_point{} + 100h;
  const gateway::address_key busy{1};
  CHECK(limits.admit(busy, now) == 0ns);
  for (std::uint64_t i = 2; i < 1000; ++i) {
    CHECK(limits.admit(gateway::address_key{i}, now) == 0ns);
    REQUIRE(limits.admit(busy, now) > 0ns); // seen all the time, so remembered
  }
}

TEST_CASE(
    "the reason for which a session was closed is told once, and the number of kept reasons is bounded") {
  gateway::closed_sessions closed{10};
  closed.note(user_id{1}, device_id{1}, ec::fenced);
  CHECK(closed.take(user_id{1}, device_id{2}) == ec::none);
  CHECK(closed.take(user_id{1}, device_id{1}) == ec::fenced);
  CHECK(closed.take(user_id{1}, device_id{1}) == ec::none);
  closed.note(user_id{1}, device_id{1}, ec::fenced);
  for (std::uint64_t i = 2; i < 100; ++i)
    closed.note(user_id{i}, device_id{1}, ec::draining);
  CHECK(closed.take(user_id{1}, device_id{1}) == ec::none);
}

TEST_CASE("codes have six digits and differ") {
  static_assert(code_digits == 6);
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto code = gateway::random_code(system_chance());
    REQUIRE(gateway::is_code(code));
    seen.insert(code);
  }
  CHECK(seen.size() > 90);
}

TEST_CASE("the same code of a number is another hash with each ticket, so that nobody can list the hashes of "
          "all codes") {
  CHECK(gateway::hash_of_code("one", "+491700000001", "123456") !=
        gateway::hash_of_code("two", "+491700000001", "123456"));
  CHECK(gateway::hash_of_code("one", "+491700000001", "123456") !=
        gateway::hash_of_code("one", "+491700000002", "123456"));
  CHECK(gateway::hash_of_code("one", "+491700000001", "123456") ==
        gateway::hash_of_code("one", "+491700000001", "123456"));
}

TEST_CASE("codes that are drawn from a seeded source are the same each time") {
  seeded_chance a{7}, again{7}, other{8};
  const auto code = gateway::random_code(a);
  CHECK(gateway::is_code(code));
  CHECK(gateway::random_code(again) == code);
  CHECK(gateway::random_code(other) != code);
}

TEST_CASE("only the first and the last digits of a phone number are shown to the operator") {
  CHECK(gateway::veiled("+4915112345612") == "+49…12");
  CHECK(gateway::veiled("+1") == "…");
}

TEST_CASE("the default configuration lacks only what no default can know") {
  gateway::gateway_config config;
  CHECK(validate(config)->field == "cluster");
  config.cluster = {1, 2};
  CHECK(validate(config)->field == "node");
  config.node = node_id{1};
  CHECK_FALSE(validate(config).has_value());
}
