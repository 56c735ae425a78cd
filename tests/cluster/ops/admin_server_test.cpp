// The admin port from the outside: what it answers, and what the slow, the rude and the unknown get.
#include "cluster/ops/admin_server.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/patience.hpp"
#include "tests/support/scratch_directory.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <ranges>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

struct fake_node final : admin_source {
  std::atomic<int> phase{0}; ///< 0 starting, 1 ready, 2 draining
  std::string big;
  std::shared_future<void> held; ///< /readyz waits for it
  std::atomic<int> asked{0};
  readiness state() override {
    ++asked;
    if (held.valid())
      held.wait();
    if (phase == 0)
      return {false, "starting: looking for the cluster among the seeds"};
    return phase == 1 ? readiness{true, "ready"} : readiness{false, "draining"};
  }
  readiness whole() override { return {phase == 1, phase == 1 ? "whole: 3 replicas here" : "not whole"}; }
  std::string metrics() override { return big.empty() ? "# TYPE a counter\na 1\n" : big; }
  std::string page() override { return "<!doctype html><p>a node"; }
};

/// A client that can be as slow and as rude as it likes.
class peer {
public:
  explicit peer(
      std::uint16_t port, const std::function<void()>& before_connecting = [] {})
      : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    const int small = 4096; // what a slow reader has not taken must stay at the server's
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    before_connecting();
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  }
  ~peer() { ::close(fd_); }
  peer(const peer&) = delete;
  peer& operator=(const peer&) = delete;

  bool say(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0)
        return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// All until the other end closes; "(open)" at the end if it does not in time.
  std::string hear(std::chrono::milliseconds deadline = 10s) {
    std::string out;
    const auto end = std::chrono::steady_clock::now() + test::patient(deadline);
    char buffer[4096];
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now())
              .count();
      pollfd p{fd_, POLLIN, 0};
      if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) != 1)
        return out + "(open)";
      const auto n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0)
        return out;
      out.append(buffer, static_cast<std::size_t>(n));
    }
  }
  std::string ask(const std::string& line) {
    return say(line + " HTTP/1.1\r\nHost: localhost\r\n\r\n") ? hear() : "(refused)";
  }

private:
  int fd_;
};

struct fixture {
  fake_node node;
  admin_config config;
  std::unique_ptr<admin_server> server;

  fixture() {
    config.listen = {"127.0.0.1", 0};
    config.request_within = 5'000ms;
    config.connection_within = 8'000ms;
  }
  void start() {
    auto s = start_admin_server(config, node);
    REQUIRE(s);
    server = std::move(*s);
  }
  std::string ask(const std::string& line) { return peer{server->port()}.ask(line); }
  static bool until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + test::patient(10s);
    while (std::chrono::steady_clock::now() < end) {
      if (done())
        return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
  /// So many clients that ask for a page of 16 MiB, and do not read it.
  std::vector<std::unique_ptr<peer>> ask_and_do_not_read(int clients) {
    std::vector<std::unique_ptr<peer>> slow;
    for (int i = 0; i < clients; ++i) {
      slow.push_back(std::make_unique<peer>(server->port()));
      slow.back()->say("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    return slow;
  }
  bool comes_alive() {
    return until([this] { return ask("GET /healthz").starts_with("HTTP/1.1 200 "); });
  }
};

bool has(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

} // namespace

TEST_CASE_FIXTURE(fixture, "unknown paths and other methods are refused with a sentence") {
  start();
  CHECK(ask("GET /nothing").starts_with("HTTP/1.1 404 "));
  CHECK(has(ask("GET /metrics/deeper"), "There are /, /metrics, /healthz, /readyz and /wholez."));
  for (const auto* method : {"POST", "PUT", "DELETE"}) {
    CAPTURE(method);
    const auto said = ask(std::string{method} + " /metrics");
    CHECK(said.starts_with("HTTP/1.1 405 "));
    CHECK(has(said, "Only GET."));
  }
}

TEST_CASE_FIXTURE(fixture, "a request that does not end is disconnected, whatever its size") {
  config.request_within = 300ms;
  start();
  peer silent{server->port()};
  peer slow{server->port()};
  slow.say("GET /heal");
  peer endless{server->port()};
  endless.say("GET /healthz HTTP/1.1\r\n");
  for (int i = 0; i < 400 && endless.say("X-Padding: " + std::string(1000, 'x') + "\r\n"); ++i) {
  }
  CHECK(!has(endless.hear(), "(open)"));
  CHECK(!has(silent.hear(), "(open)"));
  CHECK(!has(slow.hear(), "(open)"));
  CHECK(ask("GET /healthz").starts_with("HTTP/1.1 200 "));
}

TEST_CASE_FIXTURE(fixture, "bytes that are no HTTP end the connection, not the server") {
  start();
  for (const auto* nonsense : {"\r\n\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02 hello\r\n\r\n"}) {
    peer p{server->port()};
    p.say(nonsense);
    const auto said = p.hear();
    CHECK(!has(said, "200 OK"));
    CHECK(!has(said, "(open)"));
  }
  CHECK(ask("GET /healthz").starts_with("HTTP/1.1 200 "));
}

TEST_CASE_FIXTURE(fixture, "clients that do not read are disconnected, and delay no others") {
  config.connection_within = 1'000ms;
  config.connections_max = 6;
  node.big = std::string(16 << 20, '#') + "\n";
  start();
  auto slow = ask_and_do_not_read(5);
  CHECK(ask("GET /healthz").starts_with("HTTP/1.1 200 "));
  slow.push_back(std::make_unique<peer>(server->port())); // says nothing at all
  CHECK(comes_alive());
  for (auto& p : slow | std::views::reverse) { // the last to come is the last to be cut off
    const auto got = p->hear();
    CHECK(!has(got, "(open)"));
    CHECK(got.size() < node.big.size());
  }
}

TEST_CASE_FIXTURE(fixture, "however many clients send nothing, or half a request, a probe is answered") {
  config.request_within = config.connection_within = 60'000ms;
  config.connections_max = 8;
  node.phase = 1;
  start();
  std::vector<std::unique_ptr<peer>> hung;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 50; ++i) {
      hung.push_back(std::make_unique<peer>(server->port()));
      if (i % 2 == 0)
        hung.back()->say("GET /readyz HTTP/1.1\r\nHost: loc");
    }
    CHECK(has(ask("GET /readyz"), "\r\n\r\nready\n"));
  }
  CHECK(hung.front()->hear() == ""); // it gave way, long before its time was over
}

TEST_CASE_FIXTURE(fixture, "clients that do not read their answers give way to others") {
  config.connection_within = 60'000ms;
  config.connections_max = 4;
  node.big = std::string(16 << 20, '#') + "\n";
  start();
  const auto slow = ask_and_do_not_read(4);
  CHECK(comes_alive());
}

TEST_CASE_FIXTURE(fixture, "probes that have just connected keep their places while others do not read") {
  config.connection_within = config.request_within = 60'000ms;
  config.connections_max = 4;
  node.big = std::string(16 << 20, '#') + "\n";
  start();
  const auto slow = ask_and_do_not_read(4);
  CHECK(comes_alive()); // so the server has read what came before
  peer first{server->port()}, second{server->port()};
  for (auto* probe : {&first, &second}) {
    REQUIRE(probe->say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    CHECK(has(probe->hear(), "HTTP/1.1 200 "));
  }
}

TEST_CASE_FIXTURE(
    fixture, "all who ask while a page waits for its turn share it, and none is told what was so before") {
  std::promise<void> answered;
  node.held = answered.get_future().share();
  start();
  peer first{server->port()};
  REQUIRE(first.say("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  REQUIRE(until([this] { return node.asked > 0; }));
  std::vector<std::unique_ptr<peer>> others;
  for (int i = 0; i < 20; ++i) {
    others.push_back(std::make_unique<peer>(server->port()));
    REQUIRE(others.back()->say("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  }
  CHECK(comes_alive()); // so the server has read what came before
  node.phase = 1;
  answered.set_value();
  first.hear();
  for (auto& p : others)
    CHECK(has(p->hear(), "\r\n\r\nready\n"));
  CHECK(node.asked <= 3); // the first, and the others; perhaps one was read late
}

TEST_CASE_FIXTURE(fixture, "while all connections wait for the node, one more is closed at once") {
  config.connections_max = 1;
  std::promise<void> answered;
  node.held = answered.get_future().share();
  start();
  peer waiting{server->port()};
  REQUIRE(waiting.say("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  REQUIRE(until([this] { return node.asked > 0; }));
  CHECK(peer{server->port()}.hear() == "");
  answered.set_value();
  CHECK(has(waiting.hear(), "starting"));
  CHECK(comes_alive());
}

TEST_CASE_FIXTURE(fixture,
                  "a server that was asked while no descriptor was left answers once there are some") {
  start();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{std::min<rlim_t>(before.rlim_cur, 256), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  {
    std::vector<int> hoard;
    peer asks{server->port(), [&] {
                for (int fd = ::dup(0); fd >= 0; fd = ::dup(0))
                  hoard.push_back(fd);
              }};
    asks.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(has(asks.hear(300ms), "(open)")); // it waits in the backlog
    for (const int fd : hoard)
      ::close(fd);
    CHECK(asks.hear().starts_with("HTTP/1.1 200 "));
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(comes_alive());
}

TEST_CASE_FIXTURE(fixture, "a port that is taken is refused with a sentence that says what to do") {
  start();
  config.listen.port = server->port();
  const auto second = start_admin_server(config, node);
  REQUIRE(!second);
  CHECK(has(second.error(), "--admin-listen"));
  CHECK(has(second.error(), ":" + std::to_string(server->port())));
}

TEST_CASE_FIXTURE(fixture, "a node is alive from start to drain, and ready only between them") {
  start();
  CHECK(has(ask("GET /healthz"), "alive"));
  auto said = ask("GET /readyz");
  CHECK(said.starts_with("HTTP/1.1 503 "));
  CHECK(has(said, "starting: looking for the cluster among the seeds"));
  CHECK(ask("GET /wholez").starts_with("HTTP/1.1 503 "));
  node.phase = 1;
  said = ask("GET /readyz");
  CHECK(said.starts_with("HTTP/1.1 200 "));
  CHECK(has(said, "\r\n\r\nready\n"));
  CHECK(has(ask("GET /wholez"), "200 OK"));
  node.phase = 2;
  said = ask("GET /readyz");
  CHECK(said.starts_with("HTTP/1.1 503 "));
  CHECK(has(said, "draining"));
  CHECK(has(ask("GET /healthz"), "alive"));
}

TEST_CASE_FIXTURE(fixture, "pages come with their types, queries are ignored, HEAD has no body") {
  start();
  const auto metrics = ask("GET /metrics?name=x");
  CHECK(has(metrics, "text/plain; version=0.0.4"));
  CHECK(has(metrics, "\r\n\r\n# TYPE a counter\na 1\n"));
  CHECK(has(ask("GET /"), "text/html"));
  CHECK(ask("HEAD /healthz").ends_with("\r\n\r\n"));
}

TEST_CASE_FIXTURE(fixture, "that the node is alive is answered while another page waits for its store") {
  start();
  std::promise<void> answered;
  node.held = answered.get_future().share();
  peer waiting{server->port()};
  REQUIRE(waiting.say("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  REQUIRE(until([this] { return node.asked > 0; }));
  CHECK(has(ask("GET /healthz"), "alive"));
  answered.set_value();
  CHECK(has(waiting.hear(), "starting"));
}

TEST_CASE_FIXTURE(fixture, "on loopback, whoever was told another name than this machine's is refused") {
  start();
  const auto as = [&](const std::string& host) {
    peer p{server->port()};
    return p.say("GET /metrics HTTP/1.1\r\nHost: " + host + "\r\n\r\n") ? p.hear() : "(refused)";
  };
  for (const auto* host : {"evil.example", "evil.example:7201", "127.0.0.1.evil.example", "[fe80::1]:80"})
    CHECK(as(host).starts_with("HTTP/1.1 403 "));
  for (const auto* host :
       {"127.0.0.1:7201", "localhost", "LOCALHOST:80", "localhost.", "[::1]:7201", "[::1]"})
    CHECK(as(host).starts_with("HTTP/1.1 200 "));
  peer without{server->port()};
  REQUIRE(without.say("GET /healthz HTTP/1.0\r\n\r\n"));
  CHECK(has(without.hear(), " 200 "));
}

TEST_CASE("127.0.0.0/8, ::1 and localhost count as loopback, and nothing else does") {
  for (const auto* host : {"127.0.0.1", "127.8.9.1", "::1", "localhost"})
    CHECK(is_loopback(host));
  for (const auto* host : {"0.0.0.0", "::", "10.0.0.1", "127.evil.example", "node-1", "1270.0.0.1"})
    CHECK(!is_loopback(host));
}

namespace {

/// Certificates of one node, thrown away at the end.
struct certificates {
  std::string dir =
      (std::filesystem::temp_directory_path() / ("parley-admin-" + std::to_string(::getpid()))).string();
  certificates() {
    const auto command = std::string{PARLEY_SOURCE_DIR} + "/scripts/make_certs.sh " + dir + " 1 >/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
  }
  ~certificates() { std::filesystem::remove_all(dir); }
};

/// Where everybody reaches it, with TLS.
void listen_with(const certificates& made, admin_config& c) {
  c.listen.host = "0.0.0.0";
  c.certificate_file = made.dir + "/node-1/admin.pem";
  c.key_file = made.dir + "/node-1/admin.key";
  c.ca_file = made.dir + "/admin-ca.pem";
}

std::size_t collect(char* data, std::size_t size, std::size_t n, void* into) {
  static_cast<std::string*>(into)->append(data, size * n);
  return size * n;
}

/// The body, or curl's reason in brackets.
std::string fetch(const std::string& url, const std::string& ca, const std::string& pair) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl{curl_easy_init(), curl_easy_cleanup};
  std::string text;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, 10'000L);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca.c_str());
  if (!pair.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_SSLCERT, (pair + ".pem").c_str());
    curl_easy_setopt(curl.get(), CURLOPT_SSLKEY, (pair + ".key").c_str());
  }
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, collect);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
  const auto code = curl_easy_perform(curl.get());
  return code == CURLE_OK ? text : std::string{"("} + curl_easy_strerror(code) + ")";
}

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "on an address other than loopback the server does not start without certificates") {
  config.listen.host = "0.0.0.0";
  config.certificate_file = "/nowhere/admin.pem";
  const auto none = start_admin_server(config, node);
  REQUIRE(!none);
  CHECK(has(none.error(), "make_certs.sh"));
  CHECK(has(none.error(), "/nowhere/admin.pem"));
}

TEST_CASE_FIXTURE(fixture, "renewed certificates are used by the next connection, and unfit ones never") {
  const certificates made;
  const test::scratch_directory scratch;
  const auto others = scratch.path().string();
  test::make_certificates(others, "1");
  const auto node_1 = made.dir + "/node-1/", ca = made.dir + "/admin-ca.pem";
  listen_with(made, config);
  start();
  const auto url = "https://127.0.0.1:" + std::to_string(server->port()) + "/healthz";
  using std::filesystem::copy_file, std::filesystem::copy_options;
  copy_file(node_1 + "admin.pem", others + "/ours.pem");
  copy_file(node_1 + "admin.key", others + "/ours.key");
  copy_file(ca, others + "/our-ca.pem");
  copy_file(others + "/node-1/admin.pem", node_1 + "admin.pem", copy_options::overwrite_existing);
  CHECK(server->renew_certificate()); // without its key
  CHECK(fetch(url, others + "/our-ca.pem", others + "/ours") == "alive\n");
  copy_file(others + "/node-1/admin.key", node_1 + "admin.key", copy_options::overwrite_existing);
  copy_file(others + "/admin-ca.pem", ca, copy_options::overwrite_existing);
  CHECK(!server->renew_certificate());
  CHECK(fetch(url, others + "/admin-ca.pem", others + "/node-1/admin") == "alive\n");
  CHECK(fetch(url, others + "/our-ca.pem", others + "/ours").starts_with("("));
}

TEST_CASE_FIXTURE(fixture,
                  "on an address other than loopback only certificates of the admin authority are accepted") {
  const certificates made;
  const auto node_1 = made.dir + "/node-1/";
  listen_with(made, config);
  config.request_within = 2'000ms;
  start();
  const auto url = "https://127.0.0.1:" + std::to_string(server->port()) + "/healthz";
  const auto ca = made.dir + "/admin-ca.pem";
  CHECK(!has(ask("GET /healthz"), "alive")); // plain
  CHECK(fetch(url, ca, "").starts_with("("));
  CHECK(fetch(url, ca, node_1 + "client").starts_with("("));
  CHECK(fetch(url, ca, node_1 + "node").starts_with("("));
  CHECK(fetch(url, made.dir + "/client-ca.pem", node_1 + "admin").starts_with("(")); // the caller's check
  peer stalls{server->port()}; // in the middle of a handshake
  stalls.say("\x16\x03\x01");
  CHECK(fetch(url, ca, node_1 + "admin") == "alive\n");
  CHECK(!has(stalls.hear(), "(open)"));
}

TEST_CASE_FIXTURE(fixture,
                  "strangers who begin no handshake do not shut the port: the oldest of them gives way") {
  const certificates made;
  const auto node_1 = made.dir + "/node-1/";
  listen_with(made, config);
  config.request_within = config.connection_within = 60'000ms;
  config.connections_max = 3;
  start();
  std::vector<std::unique_ptr<peer>> silent;
  for (int i = 0; i < 8; ++i)
    silent.push_back(std::make_unique<peer>(server->port()));
  for (int i = 0; i < 5; ++i)
    CHECK(silent[static_cast<std::size_t>(i)]->hear() == "");
  const auto url = "https://127.0.0.1:" + std::to_string(server->port()) + "/healthz";
  CHECK(fetch(url, made.dir + "/admin-ca.pem", node_1 + "admin") == "alive\n");
}
