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

struct endpoint {
  std::string host; ///< a name or an address, without brackets
  std::uint16_t port = 0;
  bool operator==(const endpoint&) const = default;
};
/// "host:port", "127.0.0.1:7400", "[::1]:7400". Else: ec::bad_config.
tl::expected<endpoint, ec> parse_endpoint(std::string_view text);
std::string to_string(const endpoint& e);

struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};
/// The first address of `e`. Blocks while a name is looked up; numeric addresses never block. Else:
/// ec::unavailable.
tl::expected<socket_address, ec> resolve(const endpoint& e);

struct tcp_options {
  std::chrono::seconds keep_alive_idle{60}; ///< first probe
  std::chrono::seconds keep_alive_interval{15};
  int keep_alive_probes = 4;
  std::chrono::milliseconds user_timeout{30'000}; ///< unacknowledged data
};
/// No delay, keep-alive, TCP_USER_TIMEOUT, non-blocking.
void tune(int fd, const tcp_options& options);

/// A listening socket with SO_REUSEPORT, so that several threads each have their own. Else: ec::bad_config.
tl::expected<kj::AutoCloseFd, ec> listen_on(const socket_address& at, int backlog);
std::uint16_t local_port(int fd);

/// TCP and TLS handshake with a server. Rejects with DISCONNECTED; drop the promise to give up.
/// `limits` must outlive the stream.
kj::Promise<kj::Own<message_stream>> connect(kj::UnixEventPort& port, const socket_address& to,
                                             const std::string& peer_name, const tls_context& tls,
                                             const stream_limits& limits, const tcp_options& options = {});

} // namespace parley::transport
