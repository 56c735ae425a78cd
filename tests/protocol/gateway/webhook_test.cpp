#include "protocol/gateway/codes/webhook_code_sender.hpp"
#include "tests/support/patience.hpp"

#include <doctest/doctest.h>
#include <kj/async-io.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

using namespace parley;
using namespace std::chrono_literals;

namespace {

/// An HTTP server that answers every request with one status, or not at all.
class provider {
public:
  explicit provider(int status) : status_{status}, fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(fd_, 16) == 0);
    socklen_t size = sizeof at;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    thread_ = std::thread{[this] { serve(); }};
  }
  ~provider() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port) + "/sms"; }
  std::uint16_t port = 0;
  std::string last; ///< read after an answer
private:
  void serve() {
    for (;;) {
      const int c = ::accept(fd_, nullptr, nullptr);
      if (c < 0)
        return;
      std::string request;
      char buffer[4096];
      while (request.find("\"}") == std::string::npos) {
        const auto n = ::recv(c, buffer, sizeof buffer, 0);
        if (n <= 0)
          break;
        request.append(buffer, static_cast<std::size_t>(n));
      }
      last = request;
      const auto answer =
          "HTTP/1.1 " + std::to_string(status_) + " X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
      if (status_ != 0)
        (void)!::send(c, answer.data(), answer.size(), MSG_NOSIGNAL);
      else
        while (::recv(c, buffer, sizeof buffer, 0) > 0) {
        }
      ::close(c);
    }
  }
  int status_;
  int fd_;
  std::thread thread_;
};

struct webhook_fixture {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  ec send(gateway::code_sender& sender) {
    return io.provider->getTimer()
        .timeoutAfter(test::patient(10 * kj::SECONDS), sender.send("+491234567", "123456"))
        .wait(io.waitScope);
  }
};

} // namespace

TEST_CASE_FIXTURE(webhook_fixture, "a provider that cannot be reached is an error") {
  std::string url;
  {
    provider gone{200};
    url = gone.url();
  }
  gateway::webhook_code_sender sender{io.unixEventPort, {url}};
  CHECK(send(sender) == ec::code_send_failed);
}

TEST_CASE_FIXTURE(webhook_fixture, "a provider that refuses, or redirects, is an error") {
  for (const int status : {500, 401, 302}) {
    provider unwilling{status};
    gateway::webhook_code_sender sender{io.unixEventPort, {unwilling.url()}};
    CHECK(send(sender) == ec::code_send_failed);
  }
}

TEST_CASE_FIXTURE(webhook_fixture, "a provider that does not answer is an error after the deadline") {
  provider silent{0};
  gateway::webhook_code_sender sender{io.unixEventPort, {silent.url(), "", 100ms}};
  CHECK(send(sender) == ec::code_send_failed);
}

TEST_CASE_FIXTURE(webhook_fixture, "the number of codes that wait is bounded") {
  provider silent{0};
  gateway::webhook_code_sender sender{io.unixEventPort, {silent.url(), "", 200ms, 1}};
  auto first = sender.send("+491234567", "123456");
  CHECK(send(sender) == ec::overloaded);
  CHECK(first.wait(io.waitScope) == ec::code_send_failed);
}

TEST_CASE_FIXTURE(webhook_fixture, "a provider that accepts has received phone number and code") {
  provider willing{200};
  gateway::webhook_code_sender sender{io.unixEventPort, {willing.url(), "Bearer abc"}};
  CHECK(send(sender) == ec::none);
  CHECK(willing.last.find("Authorization: Bearer abc") != std::string::npos);
  CHECK(willing.last.find(R"({"phone":"+491234567","code":"123456"})") != std::string::npos);
}

TEST_CASE("the address of a webhook is a web address, and nothing else is accepted") {
  CHECK(validate(gateway::webhook_config{"ftp://x"})->field == "url");
  CHECK_FALSE(validate(gateway::webhook_config{"https://x"}).has_value());
}
