#include "tests/harness/proxy/sockets.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace parley::test {

namespace {

// The kernel would buffer megabytes, and then neither a rate nor a full receiver is felt by the sender.
constexpr int kernel_buffer_bytes = 128 * 1024;

void set_option(int fd, int level, int name, int value) {
  checked(setsockopt(fd, level, name, &value, sizeof value), "setsockopt");
}

owned_fd new_socket() {
  owned_fd s{checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "no socket")};
  set_option(s.get(), SOL_SOCKET, SO_RCVBUF, kernel_buffer_bytes); // accepted sockets inherit it
  set_option(s.get(), SOL_SOCKET, SO_SNDBUF, kernel_buffer_bytes);
  set_option(s.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return s;
}

sockaddr_in address_of(std::uint32_t host, std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = host;
  return a;
}

} // namespace

int checked(int result, const char* what) {
  if (result < 0)
    throw std::runtime_error{std::string{"proxy: "} + what + ": " + std::strerror(errno)};
  return result;
}

owned_fd listen_on(std::uint16_t port) {
  auto s = new_socket();
  set_option(s.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  const auto a = address_of(htonl(INADDR_LOOPBACK), port);
  checked(bind(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), "bind");
  checked(listen(s.get(), SOMAXCONN), "listen");
  return s;
}

std::uint16_t port_of(int fd) {
  sockaddr_in a{};
  socklen_t size = sizeof a;
  checked(getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size), "getsockname");
  return ntohs(a.sin_port);
}

std::pair<owned_fd, caller_address> accept_from(int listener) {
  for (;;) {
    sockaddr_in a{};
    socklen_t size = sizeof a;
    owned_fd s{accept4(listener, reinterpret_cast<sockaddr*>(&a), &size, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (s.get() >= 0 || errno == EAGAIN)
      return {std::move(s), caller_address{a.sin_addr.s_addr, ntohs(a.sin_port)}};
    if (errno != EINTR && errno != ECONNABORTED)
      checked(-1, "accept");
  }
}

owned_fd connect_from(std::uint32_t host, std::uint16_t port) {
  auto s = new_socket();
  set_option(s.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  const auto own = address_of(host, 0);
  checked(bind(s.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), "bind");
  const auto a = address_of(htonl(INADDR_LOOPBACK), port);
  const bool begun =
      connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0 || errno == EINPROGRESS;
  return begun ? std::move(s) : owned_fd{};
}

ssize_t send_some(int fd, std::string_view bytes) {
  return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void shut_down(int fd) {
  if (fd >= 0)
    shutdown(fd, SHUT_WR);
}

void reset_on_close(int fd) {
  const linger now{1, 0};
  if (fd >= 0)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

} // namespace parley::test
