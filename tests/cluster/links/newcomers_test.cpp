// Strangers at the port for nodes, who say nothing, or no TLS.
#include "tests/cluster/links/link_fixture.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;

namespace {

/// A TCP connection without TLS, which sends nothing until it is told to.
class caller {
public:
  explicit caller(std::uint16_t port) : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  }
  ~caller() { ::close(fd_); }
  caller(const caller&) = delete;
  void say(std::string_view bytes) const {
    [[maybe_unused]] const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  bool hung_up_on() const {
    char byte = 0;
    const auto n = ::recv(fd_, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
  }

private:
  int fd_;
};

std::size_t hung_up_on(const std::vector<std::unique_ptr<caller>>& all) {
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [](const auto& c) { return c->hung_up_on(); }));
}

} // namespace

TEST_CASE("of strangers who say nothing at the port for nodes some may wait, and they keep no node out") {
  auto config = test_links(1);
  config.newcomers_max = 8;
  config.handshake_timeout = 60s;
  test_node a{config}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  std::vector<std::unique_ptr<caller>> callers;
  for (int i = 0; i < 50; ++i)
    callers.push_back(std::make_unique<caller>(a.transport->port()));
  CHECK(eventually([&] { return hung_up_on(callers) == 42; }));
  introduce(a, b);
  CHECK(both_up(a, b)); // one of the strangers gave way
  for (int i = 0; i < 20; ++i)
    callers.push_back(std::make_unique<caller>(a.transport->port()));
  CHECK(eventually([&] { return hung_up_on(callers) >= 62; }));
  CHECK(a.transport->send(b.id(), lane::raft, "still here")); // a link is no newcomer any more
  CHECK(eventually([&] { return b.events.count(a.id(), lane::raft) == 1; }));
  CHECK(a.events.resets_of(b.id()) == 1);
}

TEST_CASE("a stranger at the port for nodes is hung up on when the time for the handshake is over") {
  auto config = test_links(1);
  config.handshake_timeout = 400ms;
  test_node a{config};
  REQUIRE_FALSE(a.transport->start());
  std::vector<std::unique_ptr<caller>> callers;
  for (int i = 0; i < 20; ++i)
    callers.push_back(std::make_unique<caller>(a.transport->port()));
  CHECK(eventually([&] { return hung_up_on(callers) == callers.size(); }));
}

TEST_CASE(
    "a stranger whose handshake fails costs no descriptor any more, and takes no place from one who waits") {
  auto config = test_links(1);
  config.newcomers_max = 8;
  config.handshake_timeout = 1h; // nobody looks at the deadlines meanwhile
  test_node a{config};
  REQUIRE_FALSE(a.transport->start());
  std::vector<std::unique_ptr<caller>> silent, failed;
  for (int i = 0; i < 4; ++i)
    silent.push_back(std::make_unique<caller>(a.transport->port()));
  for (int i = 0; i < 20; ++i) {
    failed.push_back(std::make_unique<caller>(a.transport->port()));
    failed.back()->say("GET / HTTP/1.1\r\n\r\n");
    CHECK(eventually([&] { return failed.back()->hung_up_on(); }));
  }
  CHECK(hung_up_on(silent) == 0);
}
