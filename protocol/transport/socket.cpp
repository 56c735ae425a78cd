#include "protocol/transport/socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

namespace parley::transport {

tl::expected<server_address, ec> parse_server_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos)
    return tl::unexpected(ec::bad_config);
  auto host = text.substr(0, colon);
  const auto digits = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string_view::npos)
    return tl::unexpected(ec::bad_config);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (host.empty() || error != std::errc{} || end != digits.data() + digits.size())
    return tl::unexpected(ec::bad_config);
  return server_address{std::string{host}, port};
}

std::string to_string(const server_address& e) {
  const bool v6 = e.host.find(':') != std::string::npos;
  return (v6 ? '[' + e.host + ']' : e.host) + ':' + std::to_string(e.port);
}

std::string to_string(const socket_address& a) {
  char host[NI_MAXHOST] = {}, port[NI_MAXSERV] = {};
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&a.storage), a.size, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "an unknown address";
  return a.storage.ss_family == AF_INET6 ? '[' + std::string{host} + "]:" + port
                                         : std::string{host} + ':' + port;
}

tl::expected<socket_address, ec> resolve(const server_address& e) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(e.host.c_str(), std::to_string(e.port).c_str(), &hints, &found) != 0 || found == nullptr)
    return tl::unexpected(ec::unavailable);
  socket_address address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

void tune(int fd, const tcp_options& options) {
  const auto set = [fd](int level, int option, int value) {
    // A socket that cannot be tuned still works. If it is closed, its first read shows it.
    (void)setsockopt(fd, level, option, &value, sizeof value);
  };
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(options.keep_alive_idle.count()));
  set(IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(options.keep_alive_interval.count()));
  set(IPPROTO_TCP, TCP_KEEPCNT, options.keep_alive_probes);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(options.user_timeout.count()));
}

tl::expected<kj::AutoCloseFd, ec> listen_on(const socket_address& at, int backlog) {
  kj::AutoCloseFd fd{::socket(at.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (fd.get() < 0)
    return tl::unexpected(ec::bad_config);
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at.storage), at.size) != 0 ||
      ::listen(fd.get(), backlog) != 0)
    return tl::unexpected(ec::bad_config);
  return fd;
}

std::uint16_t local_port(int fd) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    return 0;
  if (at.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&at)->sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in*>(&at)->sin_port);
}

namespace {

kj::Exception unreachable(const char* what, int error) {
  return kj::Exception{kj::Exception::Type::DISCONNECTED, "", 0,
                       kj::str(what, ": ", std::generic_category().message(error).c_str())};
}

struct connecting {
  kj::AutoCloseFd fd;
  kj::UnixEventPort::FdObserver observer;
  connecting(kj::UnixEventPort& port, kj::AutoCloseFd&& socket)
      : fd{kj::mv(socket)}, observer{port, fd.get(), kj::UnixEventPort::FdObserver::OBSERVE_WRITE} {}
};

} // namespace

kj::Promise<kj::Own<message_stream>> connect(kj::UnixEventPort& port, const socket_address& to,
                                             const std::string& peer_name, const tls_context& tls,
                                             const stream_limits& limits, const tcp_options& options) {
  kj::AutoCloseFd fd{::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (fd.get() < 0)
    return unreachable("no socket left", errno);
  tune(fd.get(), options);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0 &&
      errno != EINPROGRESS)
    return unreachable("connecting failed", errno);
  auto attempt = kj::heap<connecting>(port, kj::mv(fd));
  auto writable = attempt->observer.whenBecomesWritable();
  return writable.then([&port, &limits, tls, peer_name, attempt = kj::mv(attempt)]() mutable {
    auto socket = kj::mv(attempt->fd);
    {
      // The observer is destroyed before the stream observes the same descriptor.
      auto gone = kj::mv(attempt);
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0)
      kj::throwFatalException(unreachable("connecting failed", error));
    auto stream = kj::heap<message_stream>(port, kj::mv(socket), tls, side::client, limits, peer_name);
    auto ready = stream->handshake();
    return ready.then([stream = kj::mv(stream)]() mutable { return kj::mv(stream); });
  });
}

} // namespace parley::transport
