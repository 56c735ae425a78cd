// The console that codes are printed on: nobody has to read it.
#include "protocol/gateway/codes/console_code_sender.hpp"
#include "tests/support/patience.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <kj/async-io.h>
#include <unistd.h>

#include <string>
#include <vector>

using namespace parley;
using namespace std::chrono_literals;

namespace {

struct console_fixture {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  int reader = -1, writer = -1;

  console_fixture() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    reader = ends[0], writer = ends[1];
    REQUIRE(::fcntl(writer, F_SETPIPE_SZ, 4096) > 0);
  }
  ~console_fixture() {
    ::close(reader);
    ::close(writer);
  }
  void fill(std::size_t bytes) {
    const std::string junk(bytes, '#');
    REQUIRE(::write(writer, junk.data(), junk.size()) == static_cast<ssize_t>(bytes));
  }
  std::string read_some() {
    std::string out(8192, '\0');
    const auto n = ::read(reader, out.data(), out.size());
    out.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return out;
  }
  ec result_of(kj::Promise<ec> sent) {
    return io.provider->getTimer()
        .timeoutAfter(test::patient(10 * kj::SECONDS), kj::mv(sent))
        .wait(io.waitScope);
  }
};

} // namespace

TEST_CASE_FIXTURE(console_fixture,
                  "a console that nobody reads makes requests for codes fail, and never stops the loop") {
  fill(4090); // six bytes are free, which is less than a line
  gateway::console_code_sender sender{io.unixEventPort, {writer, 100ms}};
  std::vector<kj::Promise<ec>> sent;
  for (int i = 0; i < 3; ++i) // if this wrote, it would block
    sent.push_back(sender.send("+491234567", "123456"));
  for (auto& s : sent)
    CHECK(result_of(kj::mv(s)) == ec::code_send_failed);
  // Once somebody reads, codes are printed again, and none of those that failed is printed late.
  CHECK(read_some() == std::string(4090, '#'));
  CHECK(result_of(sender.send("+491234567", "654321")) == ec::none);
  CHECK(read_some() == "code for +49…67: 654321\n");
}

TEST_CASE_FIXTURE(console_fixture, "the number of codes that wait for a console is bounded") {
  fill(4090);
  gateway::console_code_sender sender{io.unixEventPort, {writer, 100ms}};
  std::vector<kj::Promise<ec>> sent;
  for (int i = 0; i < 64; ++i)
    sent.push_back(sender.send("+491234567", "123456"));
  CHECK(result_of(sender.send("+491234567", "123456")) == ec::overloaded);
  for (auto& s : sent)
    CHECK(result_of(kj::mv(s)) == ec::code_send_failed);
}

TEST_CASE_FIXTURE(console_fixture, "a console that was closed makes requests for codes fail") {
  ::close(reader);
  reader = -1;
  gateway::console_code_sender sender{io.unixEventPort, {writer, 100ms}};
  CHECK(result_of(sender.send("+491234567", "123456")) == ec::code_send_failed);
}
