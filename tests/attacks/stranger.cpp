#include "tests/attacks/stranger.hpp"

#include "protocol/transport/tls.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

namespace parley::test {
namespace {

constexpr std::size_t kept_bytes_max = 64 * 1024;

/// Of all strangers of the process.
SSL_CTX* client_context() {
  static SSL_CTX* const it = [] {
    auto* c = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_protos(c, reinterpret_cast<const unsigned char*>("\x08parley/1"), 9);
    return c;
  }();
  return it;
}

} // namespace

stranger::stranger(const address& to, unsigned from, int receive_buffer)
    : fd_{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
  std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes without MSG_NOSIGNAL
  if (receive_buffer != 0)       // before it connects, because TCP agrees on windows then
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  if (from != 0) {
    a.sin_addr.s_addr = htonl(0x7f000000 + from);
    bind(fd_, reinterpret_cast<const sockaddr*>(&a), sizeof a);
  }
  a.sin_port = htons(to.port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ended_ = connect(fd_, reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0;
  fcntl(fd_, F_SETFL, O_NONBLOCK);
  const int one = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

stranger::stranger(stranger&& other) noexcept
    : received{std::move(other.received)}, bytes_received{other.bytes_received},
      fd_{std::exchange(other.fd_, -1)}, tls_{std::move(other.tls_)}, ended_{other.ended_} {}

stranger::~stranger() {
  tls_.reset();
  if (fd_ >= 0)
    close(fd_);
}

bool stranger::wait_for(short events, milliseconds at_most) const {
  pollfd p{fd_, events, 0};
  return ::poll(&p, 1, static_cast<int>(at_most.count())) == 1;
}

void stranger::begin_tls() {
  tls_.reset(SSL_new(client_context()));
  SSL_set_fd(tls_.get(), fd_);
  SSL_set_connect_state(tls_.get());
}

void stranger::begin_handshake() {
  begin_tls();
  ERR_clear_error();
  SSL_do_handshake(tls_.get());
}

bool stranger::handshake() {
  begin_tls();
  const auto end = std::chrono::steady_clock::now() + patient(milliseconds{5000});
  while (!ended_ && std::chrono::steady_clock::now() < end) {
    ERR_clear_error();
    const int r = SSL_do_handshake(tls_.get());
    if (r == 1)
      return true;
    const auto error = SSL_get_error(tls_.get(), r);
    ended_ = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
    if (!ended_)
      wait_for(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, milliseconds{100});
  }
  return false;
}

bool stranger::read_some() {
  char buffer[16384];
  while (!ended_) {
    int n = 0;
    if (tls_) {
      ERR_clear_error();
      n = SSL_read(tls_.get(), buffer, sizeof buffer);
      if (n <= 0 && SSL_get_error(tls_.get(), n) == SSL_ERROR_WANT_READ)
        return true;
    } else {
      n = static_cast<int>(recv(fd_, buffer, sizeof buffer, 0));
      if (n < 0 && errno == EAGAIN)
        return true;
    }
    ended_ = n <= 0;
    if (n <= 0)
      continue;
    bytes_received += static_cast<std::uint64_t>(n);
    if (received.size() < kept_bytes_max)
      received.append(buffer, static_cast<std::size_t>(n));
  }
  return false;
}

bool stranger::send(std::string_view bytes) {
  const auto end = std::chrono::steady_clock::now() + patient(milliseconds{15'000});
  while (!bytes.empty() && !ended_) {
    if (std::chrono::steady_clock::now() > end)
      return false;
    ERR_clear_error();
    // The same bytes again after WANT_WRITE, as OpenSSL wants it: a record's worth at a time.
    const int n =
        SSL_write(tls_.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 16384)));
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (SSL_get_error(tls_.get(), n) != SSL_ERROR_WANT_WRITE) {
      ended_ = true;
      break;
    }
    if (!read_some())
      break;
    wait_for(POLLIN | POLLOUT, milliseconds{100});
  }
  return !ended_;
}

std::size_t stranger::push(std::string_view bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size() && !ended_) {
    ERR_clear_error();
    const int n = SSL_write(tls_.get(), bytes.data() + sent,
                            static_cast<int>(std::min<std::size_t>(bytes.size() - sent, 16384)));
    if (n <= 0) {
      ended_ = SSL_get_error(tls_.get(), n) != SSL_ERROR_WANT_WRITE;
      break;
    }
    sent += static_cast<std::size_t>(n);
  }
  return sent;
}

bool stranger::hung_up() const {
  pollfd p{fd_, POLLRDHUP, 0};
  return ended_ || (::poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0);
}

bool stranger::listen(milliseconds wait) {
  if (!ended_ && !(tls_ && SSL_has_pending(tls_.get()) != 0))
    wait_for(POLLIN, wait);
  return read_some();
}

bool stranger::read_once() {
  char buffer[16384];
  ERR_clear_error();
  const int n = SSL_read(tls_.get(), buffer, sizeof buffer);
  ended_ = ended_ || (n <= 0 && SSL_get_error(tls_.get(), n) != SSL_ERROR_WANT_READ);
  return !ended_;
}

bool stranger::ends_within(milliseconds deadline) {
  return poll_until(
      deadline, [&] { return !listen(milliseconds{20}); }, milliseconds{1});
}

std::array<std::uint8_t, 32> stranger::exporter() const {
  std::array<std::uint8_t, 32> out{};
  SSL_export_keying_material(tls_.get(), out.data(), out.size(), transport::login_exporter_label,
                             sizeof transport::login_exporter_label - 1, nullptr, 0, 0);
  return out;
}

} // namespace parley::test
