// CAF's frames from somebody who has a node's certificate and speaks CAF's protocol by hand, on both sides of
// a connection. What the frames are: cluster/links/caf_frames.hpp.
#include "cluster/links/caf_frames.hpp"
#include "tests/cluster/links/link_fixture.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/io/basp/header.hpp>
#include <caf/io/basp/version.hpp>
#include <csignal>
#include <doctest/doctest.h>
#include <fstream>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <random>
#include <sys/socket.h>

#include <atomic>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;

using caf::io::basp::message_type;

namespace {

constexpr node_id one{1}, two{2}, three{3};
constexpr std::uint32_t all_ones = 0xffffffff;

/// The most that the process ever had, since it began or `begin_peak`, where the kernel
/// lets that be forgotten.
std::size_t peak_kib() {
  std::ifstream in{"/proc/self/status"};
  for (std::string word; in >> word;)
    if (word == "VmHWM:") {
      std::size_t kib = 0;
      in >> kib;
      return kib;
    }
  return 0;
}
std::size_t begin_peak() {
  std::ofstream{"/proc/self/clear_refs"} << "5";
  return peak_kib();
}

/// Announces `length` bytes in a header that CAF has nothing else against.
std::string header(message_type what, std::uint32_t length, std::uint64_t to_actor = 1) {
  std::string out;
  out.push_back(static_cast<char>(what));
  out.append(3, '\0');
  const auto put = [&](std::uint64_t n, int bytes) {
    for (int i = bytes - 1; i >= 0; --i)
      out.push_back(static_cast<char>(n >> (8 * i)));
  };
  const bool to_one = what == message_type::direct_message || what == message_type::routed_message ||
                      what == message_type::monitor_message;
  put(length, 4);
  put(what == message_type::server_handshake ? caf::io::basp::version : 0, 8);
  put(what == message_type::down_message ? 1 : 0, 8);
  put(to_one ? to_actor : 0, 8);
  return out;
}
std::string frame(message_type what, const std::string& payload, std::uint64_t to_actor = 1) {
  return header(what, static_cast<std::uint32_t>(payload.size()), to_actor) + payload;
}

/// One end of a TLS connection between nodes. OpenSSL gets a BIO, not the socket: this end is not CAF's.
class handmade_peer {
public:
  enum class side { caller, door };
  handmade_peer(int fd, side at, std::uint64_t certificate_of) {
    std::signal(SIGPIPE, SIG_IGN); // it is hung up on while it speaks
    const timeval limit{test::patient(10), 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const auto mine = test_links(certificate_of);
    context_.reset(SSL_CTX_new(TLS_method()));
    REQUIRE(SSL_CTX_use_certificate_chain_file(context_.get(), mine.cert_file.c_str()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey_file(context_.get(), mine.key_file.c_str(), SSL_FILETYPE_PEM) == 1);
    ssl_.reset(SSL_new(context_.get()));
    auto* bio = BIO_new_socket(fd, BIO_CLOSE);
    SSL_set_bio(ssl_.get(), bio, bio);
    good_ = (at == side::caller ? SSL_connect(ssl_.get()) : SSL_accept(ssl_.get())) == 1;
  }
  static handmade_peer calling(std::uint16_t port, std::uint64_t certificate_of = 3) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    return {fd, side::caller, certificate_of};
  }

  bool good() const { return good_; } ///< has a session
  void say(std::string_view bytes) { SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); }
  /// So many bytes, or fewer if there are no more.
  std::string hear(std::size_t n) {
    std::string out(n, '\0');
    std::size_t got = 0;
    while (got < n) {
      const int r = SSL_read(ssl_.get(), out.data() + got, static_cast<int>(n - got));
      if (r <= 0)
        break;
      got += static_cast<std::size_t>(r);
    }
    out.resize(got);
    return out;
  }
  /// Waits for the other side to close; false when it is patient for too long.
  bool is_hung_up_on() {
    char buffer[4096];
    int r = 0;
    while ((r = SSL_read(ssl_.get(), buffer, sizeof buffer)) > 0) {
    }
    return SSL_get_error(ssl_.get(), r) != SSL_ERROR_WANT_READ;
  }

private:
  template <auto Free>
  struct freed_by {
    void operator()(auto* p) const { Free(p); }
  };
  std::unique_ptr<SSL_CTX, freed_by<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, freed_by<SSL_free>> ssl_;
  bool good_ = false;
};

/// A port where whoever calls is told `what`, and then has to hang up.
class handmade_door {
public:
  explicit handmade_door(std::string what) : says_{std::move(what)} {
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(listening_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(listening_, 16) == 0);
    REQUIRE(::getsockname(listening_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port = ntohs(at.sin_port);
    thread_ = std::thread{[this] { answer_calls(); }};
  }
  ~handmade_door() {
    over_ = true;
    thread_.join();
    ::close(listening_);
  }

  std::uint16_t port = 0;
  std::atomic<int> hung_up{0}, stayed{0};

private:
  void answer_calls() {
    while (!over_) {
      pollfd waiting{listening_, POLLIN, 0};
      if (::poll(&waiting, 1, 20) != 1)
        continue;
      handmade_peer caller{::accept(listening_, nullptr, nullptr), handmade_peer::side::door, 3};
      if (!caller.good())
        continue; // it only looked whether somebody listens
      caller.say(says_);
      ++(caller.is_hung_up_on() ? hung_up : stayed);
    }
  }
  std::string says_;
  int listening_ = -1;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

/// Two honest nodes with a link, and what none of this may cost them.
struct honest_pair {
  honest_pair() {
    REQUIRE_FALSE(a.transport->start());
    REQUIRE_FALSE(b.transport->start());
    introduce(a, b);
    REQUIRE(both_up(a, b));
    peak_before = begin_peak();
  }
  /// The link works, in both directions.
  void say_something() {
    ++said;
    CHECK(a.transport->send(two, lane::raft, "still here"));
    CHECK(b.transport->send(one, lane::calls, "and here"));
    CHECK(eventually([&] { return b.events.count(one, lane::raft) == said; }));
    CHECK(eventually([&] { return a.events.count(two, lane::calls) == said; }));
  }
  void check_unhurt() {
    say_something();
    CHECK(a.events.resets_of(two) == 1); // the one at the beginning
    CHECK(b.events.resets_of(one) == 1);
    CHECK(a.events.resets_of(three) == 0);
    if (memory_is_telling)
      CHECK(peak_kib() < peak_before + 24 * 1024);
  }
  test_node a{1}, b{2};
  std::size_t said = 0;
  std::size_t peak_before = 0;
};

} // namespace

TEST_CASE("a frame that announces 2^32-1 bytes ends its connection, whatever the frame's kind and however "
          "good the certificate") {
  honest_pair honest;
  for (int kind = 0; kind <= 7; ++kind) { // 7 is none of CAF's
    CAPTURE(kind);
    auto hostile = handmade_peer::calling(honest.a.transport->port());
    REQUIRE(hostile.good());
    hostile.say(header(static_cast<message_type>(kind), all_ones) + std::string(4096, '\xff'));
    CHECK(hostile.is_hung_up_on());
    honest.say_something();
  }
  honest.check_unhurt();
}

TEST_CASE("a hundred frames that announce too many bytes, each behind others and in other pieces, leave "
          "nothing behind") {
  honest_pair honest;
  std::mt19937 random{47};
  for (int i = 0; i < 100; ++i) {
    CAPTURE(i);
    auto hostile = handmade_peer::calling(honest.a.transport->port());
    REQUIRE(hostile.good());
    std::string stream;
    for (auto n = random() % 4; n > 0; --n) // CAF believes these, or ignores them
      stream += random() % 2
                    ? frame(message_type::heartbeat, "")
                    : frame(message_type::direct_message, std::string(1 + random() % 40'000, '\xff'), ~0u);
    const auto too_much = i % 10 == 0
                              ? caf_payload_bytes_max + 1
                              : caf_payload_bytes_max + 1 + random() % (all_ones - caf_payload_bytes_max);
    stream += header(static_cast<message_type>(random() % 7), static_cast<std::uint32_t>(too_much));
    if (i % 4 == 0) { // the last header a byte at a time
      hostile.say(stream.substr(0, stream.size() - frame_follower::header_bytes));
      for (auto at = stream.size() - frame_follower::header_bytes; at < stream.size(); ++at)
        hostile.say(stream.substr(at, 1));
    } else {
      const auto at = random() % stream.size();
      hostile.say(stream.substr(0, at + 1));
      hostile.say(stream.substr(at + 1) + std::string(random() % 5000, '\0'));
    }
    CHECK(hostile.is_hung_up_on());
    if (i % 10 == 0)
      honest.say_something();
  }
  honest.check_unhurt();
}

TEST_CASE("a node that answers a connection with a huge frame is disconnected, and then connected to again") {
  honest_pair honest;
  handmade_door hostile{header(message_type::server_handshake, all_ones) + std::string(4096, '\xff')};
  honest.a.transport->set_peer(three, "127.0.0.1", hostile.port);
  CHECK(eventually([&] { return hostile.hung_up >= 3; }));
  CHECK(hostile.stayed == 0);
  CHECK_FALSE(honest.a.transport->connected(three));
  honest.check_unhurt();
  // The honest node of that name is not held responsible.
  test_node c{3};
  REQUIRE_FALSE(c.transport->start());
  introduce(honest.a, c);
  CHECK(both_up(honest.a, c));
}

TEST_CASE("a CAF handshake with absurd contents ends its connection, and nothing is allocated for what it "
          "announces") {
  honest_pair honest;
  const std::string endless = "\xff\xff\xff\xff\x0f"; // a length of 2^32-1, as CAF writes lengths
  const std::string nobody(1, '\0');                  // a node id that is none
  const std::string contents[] = {
      std::string(1, '\xff'),
      std::string(64 << 10, '\xff'),
      nobody + endless,
      nobody + "\1" + endless + "x",
      nobody + nobody + std::string(8, '\1') + endless,
      endless + std::string(1000, '\0'),
  };
  for (const auto kind : {message_type::server_handshake, message_type::client_handshake})
    for (const auto& payload : contents) {
      CAPTURE(static_cast<int>(kind));
      CAPTURE(payload.substr(0, 16));
      auto hostile = handmade_peer::calling(honest.a.transport->port());
      REQUIRE(hostile.good());
      hostile.say(frame(kind, payload) + header(message_type::heartbeat, all_ones));
      CHECK(hostile.is_hung_up_on());
    }
  honest.check_unhurt();
}

TEST_CASE("a message that announces more bytes than it has is dropped, and nothing is allocated for them") {
  honest_pair honest;
  auto hostile = handmade_peer::calling(honest.a.transport->port());
  REQUIRE(hostile.good());
  // Who the door is, CAF says to everybody.
  const auto greeting = hostile.hear(frame_follower::header_bytes);
  REQUIRE(greeting.size() == frame_follower::header_bytes);
  std::size_t length = 0;
  for (int i = 4; i < 8; ++i)
    length = length << 8 | static_cast<unsigned char>(greeting[static_cast<std::size_t>(i)]);
  const auto rest = hostile.hear(length);
  caf::binary_deserializer source{*honest.b.system, rest.data(), rest.size()};
  caf::node_id node;
  std::vector<std::string> applications;
  caf::actor_id door = 0;
  REQUIRE_FALSE(source(node, applications, door));
  REQUIRE(door != 0);

  const std::string endless = "\xff\xff\xff\xff\x0f";
  for (const std::string types : {"@charbuf", "@str", "@u16str", "@strvec", "@strmap", "link_batch"}) {
    const auto name = "@<>+" + types;
    hostile.say(frame(message_type::direct_message,
                      std::string(3, '\0') + static_cast<char>(name.size()) + name + endless + "xyz", door));
  }
  hostile.say(header(message_type::heartbeat, all_ones)); // CAF reads in order
  CHECK(hostile.is_hung_up_on());
  honest.check_unhurt();
}

TEST_CASE("the largest batch that a window allows still arrives") {
  auto config = test_links(1);
  config.outlet.payload_bytes_max = config.outlet.window_bytes_max - link_payload_header_bytes;
  test_node a{config}, b{2};
  REQUIRE_FALSE(a.transport->start());
  REQUIRE_FALSE(b.transport->start());
  introduce(a, b);
  REQUIRE(both_up(a, b));
  const std::string largest(config.outlet.payload_bytes_max, 'y');
  REQUIRE(a.transport->send(two, lane::raft, largest));
  REQUIRE(eventually([&] { return b.events.count(one, lane::raft) == 1; }));
  CHECK(b.events.latest(one, lane::raft).front() == largest);
  CHECK(a.events.resets_of(two) == 1);
  auto too_wide = test_links(3);
  too_wide.outlet.window_bytes_max = caf_payload_bytes_max;
  test_node c{too_wide};
  CHECK(c.transport->start().value_or("started").find("a peer would refuse frames") != std::string::npos);
}
