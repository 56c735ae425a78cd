#include "protocol/client/tool/errands.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace parley::tool {
namespace {

/// The socket of a chat that does nothing by itself.
struct silent_chat {
  test::scratch_directory profile;
  kj::AutoCloseFd port{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  kj::AsyncIoContext io = kj::setupAsyncIo();
  bool kept = false;

  silent_chat() {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    const auto path = (std::filesystem::path{profile.path()} / "socket").string();
    REQUIRE(path.size() < sizeof at.sun_path);
    std::memcpy(at.sun_path, path.data(), path.size());
    REQUIRE(::bind(port.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(port.get(), 4) == 0);
  }

  void dies() { port = nullptr; }
  kj::AutoCloseFd accepts() { return kj::AutoCloseFd{::accept(port.get(), nullptr, nullptr)}; }
  /// The message "x" to "bob".
  kj::Promise<errand_end> gets_a_message(errand_line& line) {
    auto end = line.hand_over({"bob", "x"}, [this] { kept = true; });
    end.poll(io.waitScope);
    return end;
  }
};

} // namespace

TEST_CASE("a message that a chat had not read when it died is known to be unread") {
  silent_chat chat;
  auto line = errand_line::open(chat.io, chat.profile.path());
  REQUIRE(line);
  auto end = chat.gets_a_message(*line);
  SUBCASE("its connection waited in the queue") {
    chat.dies();
  }
  SUBCASE("it had taken the connection, and read nothing") {
    chat.accepts();
  }
  SUBCASE("it had read a part") {
    const auto fd = chat.accepts();
    char some[6];
    REQUIRE(::read(fd.get(), some, sizeof some) == sizeof some);
  }
  const auto how = end.wait(chat.io.waitScope);
  CHECK_FALSE(how.answer);
  CHECK_FALSE(how.read);
  CHECK_FALSE(chat.kept);
}

TEST_CASE("of a message that a chat had read when it died nobody knows whether it was kept") {
  silent_chat chat;
  auto line = errand_line::open(chat.io, chat.profile.path());
  REQUIRE(line);
  auto end = chat.gets_a_message(*line);
  {
    const auto fd = chat.accepts();
    char all[4'096];
    REQUIRE(::read(fd.get(), all, sizeof all) > 0);
  }
  const auto how = end.wait(chat.io.waitScope);
  CHECK_FALSE(how.answer);
  CHECK(how.read);
}

} // namespace parley::tool
