#include "tests/cluster/links/link_fixture.hpp"

#include "cluster/links/caf_transport.hpp"
#include "cluster/links/link_messages.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <fstream>
#include <functional>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;

namespace {

constexpr node_id one{1}, two{2}, three{3}, four{4};

std::vector<std::string> numbered(std::size_t n) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < n; ++i)
    out.push_back(std::to_string(i));
  return out;
}

/// Sends, and tries again while the window is full.
void send_patiently(links& from, node_id to, lane on, const std::string& payload) {
  REQUIRE(eventually([&] { return from.send(to, on, payload); }));
}

std::size_t resident_kib() {
  std::ifstream in{"/proc/self/statm"};
  std::size_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
}

/// A TCP connection to `port` that says `bytes`; true when the other side has closed it.
bool is_hung_up_on(
    std::uint16_t port, const std::string& bytes, const std::function<void()>& before_connecting = [] {}) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  timeval limit{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  bool closed = false;
  before_connecting();
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
    [[maybe_unused]] const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    char buffer[512];
    ssize_t n = 0;
    while ((n = ::recv(fd, buffer, sizeof buffer, 0)) > 0) {
    }
    closed = n == 0 || errno == ECONNRESET;
  }
  ::close(fd);
  return closed;
}

/// Speaks the wire protocol as it likes, with a good certificate: a hostile node.
struct hostile_node {
  explicit hostile_node(std::uint64_t certificate_of)
      : config{test_links(certificate_of)}, caf_config{config} {
    system = std::make_unique<caf::actor_system>(caf_config);
    me = link_identity::load(config.node, config.cert_file, config.key_file, config.ca_file).value();
    middleman =
        spawn_tls_transport(*system,
                            peer_tls_context::load(config.cert_file, config.key_file, config.ca_file).value())
            .middleman;
  }
  ~hostile_node() { caf::anon_send_exit(middleman, caf::exit_reason::kill); }
  caf::actor connect(std::uint16_t port) {
    caf::actor door;
    caf::scoped_actor self{*system};
    self->request(middleman, std::chrono::seconds{30}, caf::connect_atom::value, "127.0.0.1", port)
        .receive([&](const caf::node_id&, caf::strong_actor_ptr& found,
                     const std::set<std::string>&) { door = caf::actor_cast<caf::actor>(found); },
                 [](caf::error&) {});
    REQUIRE(door);
    return door;
  }
  links_config config;
  system_config caf_config;
  std::unique_ptr<caf::actor_system> system;
  std::optional<link_identity> me;
  caf::io::middleman_actor middleman;
};

} // namespace

TEST_CASE("a node without valid certificates refuses to start, with the reason") {
  const auto why = [](links_config c) {
    recorder events;
    caf::actor_system_config plain;
    plain.load<caf::io::middleman>();
    caf::actor_system system{plain};
    links l{system, std::move(c), events};
    return l.start().value_or("started");
  };
  auto missing = test_links(1);
  missing.cert_file = "";
  CHECK(why(missing).find("nodes talk only with certificates") != std::string::npos);
  auto no_ca = test_links(1);
  no_ca.ca_file = "/nowhere/ca.pem";
  CHECK(why(no_ca).find("cannot read the node authority") != std::string::npos);
  auto other_key = test_links(1);
  other_key.key_file = test_links(2).key_file;
  CHECK(why(other_key).find("is not the key of") != std::string::npos);
  CHECK(why(test_links(2, "ours", 3)).find("is the certificate of node 3, this is node 2") !=
        std::string::npos);
  auto foreign = test_links(1);
  foreign.ca_file = test_links(1, "theirs").ca_file;
  CHECK(why(foreign).find("not a certificate of the node authority") != std::string::npos);
  auto client = test_links(1);
  client.cert_file = certificates() + "/node-1/client.pem"; // names the node, but for clients
  client.key_file = certificates() + "/node-1/client.key";
  CHECK(why(client).find("not a certificate of the node authority") != std::string::npos);
  CHECK(why(test_links(1)).find("configure_links") !=
        std::string::npos); // good files, but CAF would talk plaintext
}

TEST_CASE("a node of another authority gets no session, in either direction") {
  test_node a{1}, b{test_links(2, "theirs")}, c{3};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  REQUIRE_FALSE(c.transport->start());
  introduce(a, b);
  introduce(a, c);
  REQUIRE(both_up(a, c)); // bystanders are served
  std::string answer;
  std::mutex m;
  b.transport->query("127.0.0.1", a.transport->port(), "hello?",
                     [&](tl::expected<query_answer, std::string> r) {
                       std::lock_guard guard{m};
                       answer = r ? "answered" : "refused";
                     });
  CHECK(eventually([&] {
    std::lock_guard guard{m};
    return answer == "refused";
  }));
  CHECK_FALSE(a.transport->connected(two));
  CHECK_FALSE(b.transport->connected(one));
  CHECK(a.events.resets_of(two) == 0);
}

TEST_CASE("renewed certificates are for new sessions, and those that cannot be used change nothing") {
  scratch_directory scratch;
  const auto home = scratch.path().string();
  auto config = test_links(1);
  const auto put = [&](const links_config& from) {
    for (const auto& [file, name] : {std::pair{from.cert_file, "/node.pem"},
                                     {from.key_file, "/node.key"},
                                     {from.ca_file, "/node-ca.pem"}})
      std::filesystem::copy_file(file, home + name, std::filesystem::copy_options::overwrite_existing);
  };
  put(config);
  config.cert_file = home + "/node.pem", config.key_file = home + "/node.key";
  config.ca_file = home + "/node-ca.pem";
  test_node a{config}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));

  put(test_links(3)); // of another node
  const auto why = a.transport->renew();
  REQUIRE(why);
  CHECK_MESSAGE(why->find("is the certificate of node 3") != std::string::npos, *why);
  put(test_links(1, "theirs")); // can be used, but b does not know the authority
  REQUIRE_FALSE(a.transport->renew());
  CHECK(a.transport->send(two, lane::raft, "the session goes on"));
  REQUIRE(eventually([&] { return b.events.count(one, lane::raft) == 1; }));

  const auto port = b.transport->port();
  auto config_of_b = b.config;
  config_of_b.listen.port = port;
  b.transport->stop();
  REQUIRE(eventually([&] { return !a.transport->connected(two); }));
  test_node again{config_of_b};
  REQUIRE_FALSE(again.transport->start());
  again.knows(a);
  CHECK_FALSE(eventually([&] { return a.transport->connected(two); }, 1s)); // they trust each other no more
  put(test_links(1));
  REQUIRE_FALSE(a.transport->renew());
  CHECK(both_up(a, again));
}

TEST_CASE("plaintext, huge frames and half-open connections of strangers change nothing") {
  test_node a{1}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  const auto before = resident_kib();
  const std::string huge_frame(28, '\xff'); // a CAF header that announces 2^32-1 bytes, without TLS
  for (int i = 0; i < 50; ++i) {
    CHECK(is_hung_up_on(a.transport->port(), huge_frame + std::string(4096, '\xff')));
    CHECK(is_hung_up_on(a.transport->port(), "GET / HTTP/1.1\r\n\r\n"));
  }
  if (memory_is_telling)
    CHECK(resident_kib() < before + 16 * 1024);
  CHECK(a.transport->send(two, lane::raft, "still here"));
  CHECK(eventually([&] { return b.events.count(one, lane::raft) == 1; }));
  CHECK(a.events.resets_of(two) == 1);
}

TEST_CASE("a caller for whom there is no file descriptor is turned away, and nobody waits for one that never "
          "comes") {
  test_node a{1}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{std::min<rlim_t>(before.rlim_cur, 256), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  std::vector<int> hoard;
  const bool turned_away = is_hung_up_on(a.transport->port(), "", [&] {
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0))
      hoard.push_back(fd);
  });
  for (const int fd : hoard)
    ::close(fd);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(turned_away);
  CHECK(a.transport->send(two, lane::raft, "still here"));
  CHECK(eventually([&] { return b.events.count(one, lane::raft) == 1; }));
}

TEST_CASE("a node with a valid certificate cannot pass for another node") {
  test_node a{1}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  a.transport->set_peer(three, "127.0.0.1", 1); // known, not up
  REQUIRE(both_up(a, b));
  hostile_node liar{3};
  auto door = liar.connect(a.transport->port());
  caf::scoped_actor self{*liar.system};
  const auto refusal = [&](link_hello h) {
    self->send(door, std::move(h));
    std::string why;
    self->receive([&](link_refused& r) { why = r.why; }, [&](link_challenge&) { why = "challenged"; },
                  caf::after(test::patient(5s)) >> [&] { why = "silence"; });
    return why;
  };
  const auto nonce = random_nonce();
  const auto mine = liar.me->certificate();
  CHECK(refusal({link_versions, 0, 2, 1, 7, mine, nonce}) == "your certificate names another node");
  CHECK(refusal({link_versions, 0, 3, 2, 7, mine, nonce}) == "you mean another node");
  CHECK(refusal({{2, 4}, 0, 3, 1, 7, mine, nonce}) ==
        "no common version of the node protocol: you speak 2 to 4, this node speaks 1 to 1; upgrade the "
        "older node");
  CHECK(a.transport->versions_refused() == 1);
  CHECK(refusal({link_versions, 0, 3, 1, 7, mine, "short"}) == "not a greeting");
  CHECK(refusal({link_versions, 1, 3, 1, 7, mine, nonce}) == "no questions are answered here");
  CHECK(refusal({link_versions, 0, 3, 1, 7, "garbage", nonce}) == "not a certificate");

  // Another's certificate may be shown by anyone; a signature with its key not.
  const auto b_certificate =
      link_identity::load(two, b.config.cert_file, b.config.key_file, b.config.ca_file)->certificate();
  self->send(door, link_hello{link_versions, 0, 2, 1, 8, b_certificate, nonce});
  std::uint64_t session = 0;
  std::string door_nonce;
  self->receive([&](link_challenge& c) { session = c.session, door_nonce = c.nonce; },
                [&](link_refused& r) { FAIL(r.why); },
                caf::after(test::patient(5s)) >> [] { FAIL("silence"); });
  const handshake_facts facts{false, 2, 1, nonce, door_nonce, session, 1, 1, 1};
  self->send(door, link_proof{session, liar.me->sign(facts.for_caller()), {}});
  self->receive([&](link_refused& r) { CHECK(r.why == "your signature is wrong"); },
                [&](link_accepted&) { FAIL("accepted a liar"); },
                caf::after(test::patient(5s)) >> [] { FAIL("silence"); });

  // Batches to the door, or before any session: nothing arrives, nobody is disturbed.
  self->send(door, link_batch{session, 1, 0, {{lane::raft, "x"}}});
  CHECK(a.transport->send(two, lane::calls, "bystander"));
  CHECK(eventually([&] { return b.events.count(one, lane::calls) == 1; }));
  CHECK(a.events.count(two, lane::raft) == 0);
  CHECK(a.events.resets_of(two) == 1);
  CHECK(a.events.resets_of(three) == 0);
}

TEST_CASE("two nodes speak the highest version that both know") {
  CHECK(highest_common({1, 1}, {1, 1}) == 1);
  CHECK(highest_common({1, 3}, {2, 5}) == 3);
  CHECK(highest_common({2, 5}, {1, 3}) == 3);
  CHECK(highest_common({1, 9}, {4, 4}) == 4);
  CHECK_FALSE(highest_common({1, 2}, {3, 4}));
  CHECK_FALSE(highest_common({3, 4}, {1, 2}));
}

TEST_CASE("nodes with a common version are linked; those without one are not, which is counted") {
  auto older = test_links(1), newer = test_links(2), newest = test_links(3);
  older.versions = {1, 3};
  newer.versions = {2, 4};
  newest.versions = {4, 5};
  test_node a{older}, b{newer}, c{newest};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  REQUIRE_FALSE(c.transport->start());
  introduce(a, c);
  introduce(a, b);
  REQUIRE(both_up(a, b));
  CHECK(eventually([&] { return a.transport->versions_refused() + c.transport->versions_refused() > 0; }));
  CHECK_FALSE(a.transport->connected(three));
  CHECK(b.transport->versions_refused() == 0);
}

TEST_CASE("an unknown node is refused until its address is made known") {
  test_node a{1}, d{4};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(d.transport->start());
  d.knows(a); // but not the other way round
  CHECK_FALSE(eventually([&] { return d.transport->connected(one); }, 700ms));
  a.knows(d);
  CHECK(both_up(a, d));
}

TEST_CASE("a payload that cannot be accepted is refused and never truncated") {
  test_node a{1}, b{2};
  REQUIRE_FALSE(a.transport->start());
  CHECK_FALSE(a.transport->send(two, lane::calls, "nobody there"));
  CHECK_FALSE(a.transport->send(two, lane::raft, "nobody there"));
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  const auto bytes_max = a.config.outlet.payload_bytes_max;
  CHECK_FALSE(a.transport->send(two, lane::calls, std::string(bytes_max + 1, 'x')));
  const std::string large(bytes_max, 'y'); // fills the share of calls
  CHECK(a.transport->send(two, lane::calls, large));
  REQUIRE(eventually([&] { return b.events.count(one, lane::calls) == 1; }));
  CHECK(b.events.latest(one, lane::calls).front() == large);
}

TEST_CASE("both lanes arrive in order, each payload once, among three nodes") {
  constexpr std::size_t n = 10'000;
  test_node a{1}, b{2}, c{3};
  for (auto* node : {&a, &b, &c})
    REQUIRE_FALSE(node->transport->start());
  introduce(a, b);
  introduce(a, c);
  introduce(b, c);
  REQUIRE(both_up(a, b));
  REQUIRE(both_up(a, c));
  REQUIRE(both_up(b, c));
  const auto talk = [&](test_node& from, test_node& to) {
    for (const auto& text : numbered(n)) {
      send_patiently(*from.transport, to.id(), lane::raft, text);
      send_patiently(*from.transport, to.id(), lane::calls, text);
    }
  };
  std::thread ab{[&] { talk(a, b); }}, ba{[&] { talk(b, a); }}, ac{[&] { talk(a, c); }};
  ab.join();
  ba.join();
  ac.join();
  for (auto [from, to] : {std::pair{&a, &b}, {&b, &a}, {&a, &c}}) {
    for (auto on : {lane::raft, lane::calls}) {
      REQUIRE(eventually([&] { return to->events.count(from->id(), on) >= n; }));
      CHECK(to->events.latest(from->id(), on) == numbered(n));
      CHECK(to->events.resets_of(from->id()) == 1);
    }
  }
}

TEST_CASE("a peer that restarts gets a new session: both sides are told so before anything arrives in it") {
  test_node a{1};
  REQUIRE_FALSE(a.transport->start());
  std::uint16_t port = 0;
  for (int life = 0; life < 3; ++life) {
    auto config = test_links(2);
    config.listen.port = port;
    test_node b{config};
    REQUIRE_FALSE(b.transport->start());
    port = b.transport->port();
    introduce(a, b);
    REQUIRE(both_up(a, b));
    for (const auto& text : numbered(100)) {
      send_patiently(*a.transport, two, lane::raft, text);
      send_patiently(*b.transport, one, lane::raft, text);
    }
    CHECK(eventually([&] { return b.events.latest(one, lane::raft) == numbered(100); }));
    CHECK(eventually([&] { return a.events.latest(two, lane::raft) == numbered(100); }));
    CHECK(b.events.entries.front().is_reset);
    CHECK(a.events.begins_of(two) == static_cast<std::size_t>(life + 1)); // not when the one before ended
    CHECK(b.events.begins_of(one) == 1);
    const auto resets = a.events.resets_of(two);
    b.transport->stop();
    b.system.reset();
    CHECK(eventually([&] { return a.events.resets_of(two) > resets; }));
    CHECK_FALSE(a.transport->connected(two));
  }
}

TEST_CASE("what waits of the Raft lane is counted apart from calls, until all of its batch is acknowledged") {
  outlet_config config;
  config.batch_bytes_max = 100;
  outlet out{config};
  CHECK_FALSE(out.raft_waiting());
  out.begin();
  CHECK(out.raft_waiting() == 0);
  const std::string raft(45, 'r'), call(35, 'c');
  const auto raft_cost = outlet::cost_of(raft), call_cost = outlet::cost_of(call);
  out.put(lane::raft, raft);
  out.put(lane::calls, call);
  out.put(lane::raft, raft); // in a batch of its own
  CHECK(out.raft_waiting() == 2 * raft_cost);
  while (out.take()) {
  }
  CHECK(out.raft_waiting() == 2 * raft_cost);
  CHECK(out.acknowledge(raft_cost));
  CHECK(out.raft_waiting() == 2 * raft_cost);
  CHECK(out.acknowledge(raft_cost + call_cost));
  CHECK(out.raft_waiting() == raft_cost);
  CHECK(out.acknowledge(2 * raft_cost + call_cost));
  CHECK(out.raft_waiting() == 0);
  out.put(lane::raft, raft);
  out.end();
  CHECK_FALSE(out.raft_waiting());
  out.begin();
  CHECK(out.raft_waiting() == 0);
}

TEST_CASE("a peer that stops reading occupies one window, and then its session ends") {
  auto config = test_links(1);
  config.outlet.window_bytes_max = 1 << 20;
  config.outlet.calls_bytes_max = 512 << 10;
  test_node a{config}, b{2};
  b.events.keep_payloads = false;
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  std::unique_lock stuck{b.events.mutex}; // its link hangs in `received`: no acknowledgements
  const std::string payload(1000, 'z');
  std::size_t calls_taken = 0;
  while (a.transport->send(two, lane::calls, payload))
    ++calls_taken;
  CHECK(calls_taken <= config.outlet.calls_bytes_max / payload.size());
  CHECK(calls_taken >= config.outlet.calls_bytes_max / payload.size() / 2);
  const auto resets = a.events.resets_of(two);
  for (int i = 0; i < 2000; ++i)
    a.transport->send(two, lane::raft, payload);
  CHECK(eventually([&] { return a.events.resets_of(two) > resets; }));
  CHECK_FALSE(a.transport->connected(two));
  for (int i = 0; i < 200'000; ++i) // 200 MB, were it kept
    a.transport->send(two, lane::raft, payload);
  CHECK(a.transport->status().front().bytes_waiting == 0);
  stuck.unlock();
  REQUIRE(both_up(a, b));
  CHECK(eventually([&] { return b.events.resets_of(one) >= 2; }));
  CHECK(a.transport->send(two, lane::raft, "again"));
}

TEST_CASE("a peer that falls silent loses its session although its connection is open, and gets a new one") {
  auto config = test_links(1);
  config.silence_max = 600ms;
  test_node a{config}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  {
    std::unique_lock stuck{b.events.mutex};
    a.transport->send(two, lane::raft, "into the silence");
    CHECK(eventually([&] { return !a.transport->connected(two); }));
  }
  REQUIRE(eventually([&] { return b.events.resets_of(one) >= 2; }));
  REQUIRE(both_up(a, b));
  send_patiently(*a.transport, two, lane::raft, "after");
  CHECK(eventually([&] { return b.events.latest(one, lane::raft) == std::vector<std::string>{"after"}; }));
  // Each side was told before anything of the new session.
  std::lock_guard guard{b.events.mutex};
  CHECK(b.events.entries.front().is_reset);
  CHECK(b.events.entries[b.events.entries.size() - 2].is_reset);
}

TEST_CASE("connections that fail beside a session do not disturb it") {
  test_node a{1}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  a.transport->set_peer(three, "127.0.0.1", 1); // nobody
  std::atomic<bool> done{false};
  std::thread stranger{[&] {
    for (int i = 0; i < 300; ++i)
      for (auto port : {a.transport->port(), b.transport->port()}) {
        is_hung_up_on(port, "no TLS at all");
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
        ::close(fd); // only looked whether somebody listens
      }
    done = true;
  }};
  std::size_t n = 0;
  for (; !done; ++n) {
    send_patiently(*a.transport, two, lane::raft, std::to_string(n));
    send_patiently(*b.transport, one, lane::raft, std::to_string(n));
    std::this_thread::sleep_for(100us);
  }
  stranger.join();
  CHECK(eventually([&] { return b.events.latest(one, lane::raft) == numbered(n); }));
  CHECK(eventually([&] { return a.events.latest(two, lane::raft) == numbered(n); }));
  CHECK(a.events.resets_of(two) == 1);
  CHECK(b.events.resets_of(one) == 1);
}

TEST_CASE(
    "a question of any node that proves its certificate is answered, even if the node is not known yet") {
  test_node a{1}, d{4};
  a.transport->on_query([](node_id from, std::string_view question) {
    return std::to_string(number(from)) + " asks " + std::string{question};
  });
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(d.transport->start());
  std::mutex m;
  std::vector<std::string> answers;
  const auto ask = [&](test_node& from, std::uint16_t port) {
    from.transport->query("127.0.0.1", port, "who is there?", [&](tl::expected<query_answer, std::string> r) {
      std::lock_guard guard{m};
      answers.push_back(r ? std::to_string(number(r->from)) + ": " + r->bytes : r.error());
    });
  };
  ask(d, a.transport->port());
  ask(a, a.transport->port()); // itself: a seed list names its reader too
  ask(a, d.transport->port());
  ask(d, 1); // nobody
  REQUIRE(eventually([&] {
    std::lock_guard guard{m};
    return answers.size() == 4;
  }));
  std::sort(answers.begin(), answers.end());
  std::string said;
  for (const auto& line : answers)
    said += line + "\n";
  CAPTURE(said);
  CHECK(answers == std::vector<std::string>{"1: 1 asks who is there?", "1: 4 asks who is there?",
                                            "nobody answers at this address",
                                            "refused: no questions are answered here"});
}

TEST_CASE("throughput between two nodes (a figure, not a requirement)") {
  test_node a{1}, b{2};
  b.events.keep_payloads = false;
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  constexpr std::size_t n = 100'000;
  const std::string payload(200, 'p');
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < n; ++i)
    while (!a.transport->send(two, lane::calls, payload))
      std::this_thread::yield();
  REQUIRE(eventually([&] { return b.events.count(one, lane::calls) == n; }, 60s));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const auto status = a.transport->status().front();
  MESSAGE(static_cast<int>(n / took.count()), " payloads of 200 B/s, ", n / status.batches_sent, " a batch");
}
