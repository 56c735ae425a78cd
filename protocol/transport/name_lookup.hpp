#pragma once
// From the name of a server to a connection, when the name has several addresses and the look-up takes time.
#include "protocol/transport/socket.hpp"

#include <kj/async.h>

#include <map>
#include <vector>

namespace parley::transport {

inline constexpr std::size_t addresses_max = 8; ///< of one name; more are not tried

/// The order in which the addresses of a name are tried: that of the system, but the families take turns, so
/// that a broken one costs one attempt.
std::vector<socket_address> in_turn(std::vector<socket_address> found);

/// Looks names up on threads of its own, because the system's function blocks.
///
/// Owns:   the look-ups under way. A name that is asked for again meanwhile is not looked up twice.
/// Thread: that of the loop. A thread that the system holds up ends by itself; it uses nothing of this class.
/// Holds:  at most `threads_max` look-ups are under way in the process.
/// Errors: rejects with DISCONNECTED and a sentence. There is no deadline here: drop the promise to give up.
class name_lookup final : private kj::TaskSet::ErrorHandler {
public:
  static constexpr unsigned threads_max = 16;
  using addresses = std::vector<socket_address>;

  name_lookup() : tasks_{*this} {}
  KJ_DISALLOW_COPY(name_lookup);
  /// The addresses of a server, in the order to try them; at least one. Numbers are answered at once.
  kj::Promise<addresses> find(const server_address& of);

private:
  void taskFailed(kj::Exception&&) override {}
  std::map<std::string, kj::ForkedPromise<addresses>> under_way_;
  kj::TaskSet tasks_;
};

/// Connects to the first address that accepts by TCP and TLS (RFC 8305, simplified): an attempt that fails is
/// followed by the next at once, and one that takes long by the next beside it; the first that succeeds wins.
/// Rejects with DISCONNECTED and what became of each address. Dropping the promise gives up.
/// `timer` and `limits` must outlive the stream.
kj::Promise<kj::Own<message_stream>> connect_to_any(kj::UnixEventPort& port, kj::Timer& timer,
                                                    std::vector<socket_address> addresses,
                                                    const std::string& peer_name, const tls_context& tls,
                                                    const stream_limits& limits,
                                                    const tcp_options& options = {});

} // namespace parley::transport
