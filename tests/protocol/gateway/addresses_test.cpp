// A server whose name has several addresses, and only some of them answer.
#include "protocol/transport/name_lookup.hpp"
#include "tests/protocol/gateway/fixture.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>

using namespace parley;
using namespace parley::test;
using transport::socket_address;

namespace {

socket_address address(const std::string& host, std::uint16_t port) {
  const auto found = transport::resolve({host, port});
  REQUIRE(found);
  return *found;
}

/// A port of this machine that refuses: it was free a moment ago.
std::uint16_t dead_port(const std::string& host) {
  const auto listening = transport::listen_on(address(host, 0), 1);
  REQUIRE(listening);
  return transport::local_port(listening->get());
}

struct addresses_fixture : fixture {
  addresses_fixture() { start(); }
  kj::Promise<kj::Own<transport::message_stream>> connect(std::vector<socket_address> to) {
    return transport::connect_to_any(io.unixEventPort, io.provider->getTimer(), std::move(to), "127.0.0.1",
                                     client_tls, client_limits);
  }
  std::string failure_of(std::vector<socket_address> to) {
    std::string why;
    get(connect(std::move(to))
            .then([](auto&&) {}, [&](kj::Exception&& e) { why = e.getDescription().cStr(); }));
    return why;
  }
};

std::vector<int> families(const std::vector<socket_address>& all) {
  std::vector<int> out;
  for (const auto& a : all)
    out.push_back(a.storage.ss_family);
  return out;
}

} // namespace

TEST_CASE("the families of a name's addresses take turns, in the order of the system, and their number is "
          "bounded") {
  const auto four = address("127.0.0.1", 1), six = address("::1", 1);
  CHECK(families(transport::in_turn({})).empty());
  CHECK(families(transport::in_turn({six, six, six, four})) ==
        std::vector{AF_INET6, AF_INET, AF_INET6, AF_INET6});
  CHECK(families(transport::in_turn({four, four, six})) == std::vector{AF_INET, AF_INET6, AF_INET});
  CHECK(transport::in_turn(std::vector(100, four)).size() == transport::addresses_max);
}

TEST_CASE_FIXTURE(addresses_fixture, "an address that refuses is followed by the next one") {
  const auto dead = address("127.0.0.1", dead_port("127.0.0.1"));
  CHECK(get(connect({dead, dead, address("127.0.0.1", port)})).get() != nullptr);
  if (transport::listen_on(address("::1", 0), 1)) // a machine without IPv6 has nothing to try
    CHECK(get(connect({address("::1", dead_port("::1")), address("127.0.0.1", port)})).get() != nullptr);
}

TEST_CASE_FIXTURE(addresses_fixture,
                  "an address that accepts and says nothing does not hold up the next one") {
  const auto mute = transport::listen_on(address("127.0.0.1", 0), 16);
  REQUIRE(mute);
  const auto silent = address("127.0.0.1", transport::local_port(mute->get()));
  CHECK(get(connect({silent, silent, address("127.0.0.1", port)})).get() != nullptr);
}

TEST_CASE_FIXTURE(addresses_fixture, "when no address accepts, the reason names each") {
  const auto one = dead_port("127.0.0.1"), two = dead_port("127.0.0.2");
  const auto why = failure_of({address("127.0.0.1", one), address("127.0.0.2", two)});
  CAPTURE(why);
  CHECK(why.find("127.0.0.1:" + std::to_string(one)) != std::string::npos);
  CHECK(why.find("127.0.0.2:" + std::to_string(two)) != std::string::npos);
  CHECK(why.find("refused") != std::string::npos);
  CHECK(!failure_of({}).empty());
}

TEST_CASE_FIXTURE(addresses_fixture,
                  "a look-up answers numbers at once, a name from a thread, and says what is wrong") {
  transport::name_lookup names;
  auto numeric = names.find({"127.0.0.1", 7000});
  REQUIRE(numeric.poll(io.waitScope));
  CHECK(to_string(get(kj::mv(numeric)).at(0)) == "127.0.0.1:7000");
  CHECK(to_string(get(names.find({"::1", 7000})).at(0)) == "[::1]:7000");

  std::vector<kj::Promise<transport::name_lookup::addresses>> asked; // more than there may be threads
  for (unsigned n = 0; n < 4 * transport::name_lookup::threads_max; ++n)
    asked.push_back(names.find({"localhost", port}));
  auto given_up = names.find({"localhost", port});
  { auto gone = kj::mv(given_up); }
  for (auto& promise : asked)
    CHECK(!get(kj::mv(promise)).empty());
  CHECK(!get(names.find({"localhost", port})).empty()); // and again

  std::string why;
  get(names.find({"a name with blanks", 1})
          .then([](auto&&) {}, [&](kj::Exception&& e) { why = e.getDescription().cStr(); }));
  CHECK(why.find("no address for that name") != std::string::npos);
}
