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
#include <vector>

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

/// Answers nobody until `together` requests are there; counts them.
class crowded_provider {
public:
  explicit crowded_provider(std::size_t together) : together_{together} {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(fd_, 64) == 0);
    socklen_t size = sizeof at;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread{[this] { serve(); }};
  }
  ~crowded_provider() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    for (const int c : clients_)
      ::close(c);
    ::close(fd_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/sms"; }
  std::atomic<std::size_t> asked{0};

private:
  void serve() {
    for (int c = 0; (c = ::accept(fd_, nullptr, nullptr)) >= 0;) {
      clients_.push_back(c);
      if (++asked < together_)
        continue;
      for (const int each : clients_) {
        char buffer[1024];
        (void)!::recv(each, buffer, sizeof buffer, 0);
        constexpr std::string_view answer =
            "HTTP/1.1 200 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        (void)!::send(each, answer.data(), answer.size(), MSG_NOSIGNAL);
        ::close(each);
      }
      clients_.clear();
    }
  }
  std::size_t together_;
  int fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::uint16_t port_ = 0;
  std::vector<int> clients_;
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

TEST_CASE_FIXTURE(webhook_fixture,
                  "several codes are on their way at once, so a slow provider delays nobody else's") {
  crowded_provider slow{4};
  gateway::webhook_config config{slow.url()};
  config.deadline = test::patient(3'000ms);
  config.at_once_max = 4;
  gateway::webhook_code_sender sender{io.unixEventPort, config};
  std::vector<kj::Promise<ec>> all;
  all.reserve(8);
  for (int i = 0; i < 4; ++i)
    all.push_back(sender.send("+491234567", "123456"));
  for (auto& each : all)
    CHECK(each.wait(io.waitScope) == ec::none);
}

TEST_CASE_FIXTURE(webhook_fixture,
                  "the requests under way are bounded, and a code that waits ends at the same deadline") {
  crowded_provider silent{100};
  gateway::webhook_config config{silent.url()};
  config.deadline = 300ms;
  config.at_once_max = 2;
  gateway::webhook_code_sender sender{io.unixEventPort, config};
  std::vector<kj::Promise<ec>> all;
  all.reserve(8);
  for (int i = 0; i < 6; ++i)
    all.push_back(sender.send("+491234567", "123456"));
  for (auto& each : all)
    CHECK(each.wait(io.waitScope) == ec::code_send_failed);
  CHECK(silent.asked <= 2); // nobody's code was sent after its asker was told that it was not
}

TEST_CASE_FIXTURE(webhook_fixture, "a sender that is destroyed gives up what is under way") {
  crowded_provider silent{100};
  gateway::webhook_config config{silent.url()};
  config.deadline = 3'600'000ms;
  auto sender = kj::heap<gateway::webhook_code_sender>(io.unixEventPort, config);
  auto asked = sender->send("+491234567", "123456");
  while (silent.asked == 0)
    io.provider->getTimer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  sender = nullptr; // and does not wait for an hour
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
  CHECK(validate(gateway::webhook_config{"http://x"})->field == "url");
  CHECK(validate(gateway::webhook_config{"https://x", "a\r\nb: c"})->field == "authorization");
  CHECK_FALSE(validate(gateway::webhook_config{"https://x"}).has_value());
}
