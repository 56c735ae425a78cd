#pragma once
// A peer that speaks TLS and whatever bytes a test wishes, to a real node. It blocks, and has no loop: what
// it sends is what no library would.
#include "tests/harness/cluster/process_cluster.hpp"

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace parley::test {

/// Owns:   a connection.
/// Thread: one.
class stranger {
public:
  /// Connects by TCP. `from`: the last three numbers of its own loopback address, 127.0.0.0 + N; 0 is the usual one.
  /// `receive_buffer`: the bytes that its kernel keeps unread, about; 0 leaves that to the kernel.
  explicit stranger(const address& to, unsigned from = 0, int receive_buffer = 0);
  ~stranger();
  stranger(stranger&&) noexcept;
  stranger(const stranger&) = delete;

  /// TLS 1.3, without a look at the certificate. False if the node refuses.
  bool handshake();
  /// Sends the first message of a handshake, and no more.
  void begin_handshake();
  /// Reads, too, what the other end sends meanwhile. False if the connection ended before everything was sent.
  bool send(std::string_view bytes);
  /// Sends what the kernel takes now, and reads nothing. Returns how much that was: the rest is to be sent next.
  std::size_t push(std::string_view bytes);
  /// Whether the node has ended the connection, as far as one can know without reading.
  bool hung_up() const;
  /// Reads what there is, for at most `wait`. False once the connection has ended.
  bool listen(milliseconds wait);
  /// Reads 16 KiB at most, without waiting. False once the connection has ended.
  bool read_once();
  /// Whether the node ends the connection before the deadline.
  bool ends_within(milliseconds deadline);
  /// 32 bytes that both ends of this connection know, for the login's proof.
  std::array<std::uint8_t, 32> exporter() const;

  std::string received;             ///< the first of it, since somebody cleared it
  std::uint64_t bytes_received = 0; ///< all

private:
  void begin_tls();
  bool read_some();
  bool wait_for(short events, milliseconds at_most) const;

  struct free_tls {
    void operator()(SSL* s) const { SSL_free(s); }
  };
  int fd_ = -1;
  std::unique_ptr<SSL, free_tls> tls_;
  bool ended_ = false;
};

} // namespace parley::test
