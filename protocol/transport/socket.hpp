#pragma once
// TCP sockets as both ends of a client connection need them.
#include "protocol/transport/message_stream.hpp"

#include <kj/async-unix.h>
#include <kj/io.h>
#include <sys/socket.h>
#include <tl/expected.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace parley::transport {

/// Where a server is reached.
struct server_address {
  std::string host; ///< a name or an address, without brackets
  std::uint16_t port = 0;
  bool operator==(const server_address&) const = default;
};
/// Takes "host:port", "127.0.0.1:7000" or "[::1]:7000". Errors: bad_config.
tl::expected<server_address, ec> parse_server_address(std::string_view text);
std::string to_string(const server_address& e);

struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
/// An address as people write it: "127.0.0.1:7000" or "[::1]:7000".
std::string to_string(const socket_address& a);
/// The first address of `e`. Blocks while a name is looked up; numeric addresses never block. On a loop, use
/// name_lookup. Errors: unavailable.
tl::expected<socket_address, ec> resolve(const server_address& e);

struct tcp_options {
  std::chrono::seconds keep_alive_idle{60}; ///< until the first probe
  std::chrono::seconds keep_alive_interval{15};
  int keep_alive_probes = 4;
  std::chrono::milliseconds user_timeout{30'000}; ///< for data that the peer does not acknowledge
};
/// Sets TCP_NODELAY, keep-alive and TCP_USER_TIMEOUT, and makes the socket non-blocking.
void tune(int fd, const tcp_options& options);

/// A listening socket with SO_REUSEPORT, so that each of several threads has its own. Errors: bad_config.
tl::expected<kj::AutoCloseFd, ec> listen_on(const socket_address& at, int backlog);
std::uint16_t local_port(int fd);

/// Connects to a server by TCP and TLS. Rejects with DISCONNECTED and the system's words. Dropping the promise
/// gives up. `limits` must outlive the stream.
kj::Promise<kj::Own<message_stream>> connect(kj::UnixEventPort& port, const socket_address& to,
                                             const std::string& peer_name, const tls_context& tls,
                                             const stream_limits& limits, const tcp_options& options = {});

} // namespace parley::transport
