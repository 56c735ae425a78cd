#pragma once
// Cap'n Proto messages over a non-blocking TLS socket, for both ends of a client connection.
//
// Cap'n Proto's own stream is not used because it reads header and body separately, writes once per message,
// and overruns a buffer when the first bytes are ffffffff (version 0.9.2). Here one read yields many
// messages, one write sends all messages of a turn of the loop, and the segment table is checked before
// Cap'n Proto's reader sees a byte.
#include "protocol/transport/socket_bio.hpp"
#include "protocol/transport/step_line.hpp"
#include "protocol/transport/tls.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/settings.hpp"

#include <capnp/serialize-async.h>
#include <kj/async-unix.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

typedef struct ssl_st SSL;
namespace capnp {
class IncomingRpcMessage;
}

namespace parley::transport {

/// Why a connection ended. The first reason is kept; later ones are consequences.
enum class close_reason : std::uint8_t {
  none = 0,
  local,             ///< this end closed it: there is nothing more to send
  peer,              ///< the other end or the network closed it
  handshake_failed,  ///< no TLS 1.3, wrong certificate or name, or not TLS at all
  wrong_protocol,    ///< TLS for another protocol than "parley/1"
  tls_failed,        ///< a record could not be decrypted, or the peer sent an alert
  io_failed,         ///< the socket reported an error
  bad_frame,         ///< a segment table that no message can have
  message_too_large, ///< announced above the limit; nothing was allocated for it
  truncated,         ///< the peer ended in the middle of a message
  outbound_full,     ///< the peer does not read, and too much waits for it
  write_deadline,    ///< the peer reads too slowly
  handshake_flood,   ///< KeyUpdates without end
  // The owner of the stream gives these:
  login_deadline,
  login_bytes,
  idle,
  session_over,     ///< the session ended: fenced, logged out, draining
  refused,          ///< above a bound on connections
  rpc_failed,       ///< the peer broke the RPC protocol
  receiver_stalled, ///< the client's receiver does not return
  buffers_full,     ///< the buffers of all connections took too much, and those of this one most
};
inline constexpr std::size_t close_reasons = static_cast<std::size_t>(close_reason::buffers_full) + 1;

/// In kebab-case, for logs and metrics.
std::string_view name(close_reason r);

enum class side : std::uint8_t { client, server };

/// What one end of a connection accepts from the other, and keeps for it.
struct stream_limits {
  std::uint32_t segments_max = 512;
  /// As the segment table declares it: 512 KiB. Also how much of a message its reader may traverse, so
  /// that overlaps cost no more.
  std::size_t message_words_max = 64 * 1024;
  /// Bytes that are written and not yet sent; above: closed with `outbound_full`.
  std::size_t outbound_bytes_max = 4 * 1024 * 1024;
  /// Unsent bytes above which no further message is read; 0: never. Only one of the two ends may pause,
  /// or both could wait for each other.
  std::size_t outbound_pause_bytes = 0;
  std::size_t window_bytes = 64 * 1024; ///< of `-> stream` calls under way
  /// In which `write_progress_bytes` must be sent, while anything waits.
  std::chrono::milliseconds write_deadline = settings::write_deadline.standard;
  std::size_t write_progress_bytes = 4096;
  std::uint32_t post_handshake_max = 32; ///< KeyUpdates and tickets, and one more per 16 MiB received

  /// For clients: a page of `sync` holds up to `page_bytes_max`, which is more than a server takes in one
  /// message.
  static stream_limits for_client();
};

config_check validate(const stream_limits& l);

/// For `capnp::TwoPartyVatNetwork`, which refuses to *send* more than it would receive. These options allow a
/// page to be sent; what is received is bounded by the stream's `message_words_max`.
capnp::ReaderOptions rpc_options(int nesting_max);

/// Its functions are called when something happens to a stream, so that the stream needs no promises for
/// that. They are called from inside the stream: they may note what happened, but must not destroy the
/// stream.
class stream_watcher {
public:
  virtual ~stream_watcher() noexcept(false) = default;
  virtual void stream_closed() = 0;  ///< once
  virtual void stream_flushed() = 0; ///< everything that was written has been handed to the kernel
  /// A message is about to be handed out; the watcher may close the stream instead. If it throws, the
  /// message counts as impossible.
  virtual void message_read(capnp::MessageReader&) {}
};

/// What the buffers of an owner's streams take together, in bytes. Each stream tells of its changes.
class stream_buffers {
public:
  explicit stream_buffers(std::size_t bytes_max) : bytes_max_{bytes_max} {}
  virtual ~stream_buffers() noexcept(false) = default;
  std::size_t bytes() const { return bytes_; }
  std::size_t bytes_max() const { return bytes_max_; }
  /// More than half of it is taken.
  bool crowded() const { return bytes_ > bytes_max_ / 2; }
  void changed(std::size_t before, std::size_t now) {
    const bool was_crowded = crowded();
    bytes_ += now - before; // unsigned arithmetic wraps, so this is right in both directions
    if (now > before && bytes_ > bytes_max_)
      relieve();
    else if (was_crowded && !crowded())
      eased();
  }

protected:
  /// More than `bytes_max` are taken: closes streams until it is less, perhaps the one that has told. It is called from
  /// inside that stream, so it destroys none.
  virtual void relieve() = 0;
  /// They are no longer crowded. It is called from inside the stream that has told, too.
  virtual void eased() {}

private:
  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
};

/// Owns:   the socket, its TLS state, what was read but not yet taken, and what was written but not yet sent.
/// Thread: that of the event port.
/// Holds:  after the first `close`, reads end, writes are dropped, and `reason()` does not change.
///         An idle stream owns no buffer, neither one of its own nor one of OpenSSL's.
class message_stream final : public capnp::MessageStream,
                             private kj::TaskSet::ErrorHandler,
                             private socket_owner {
public:
  /// `fd` is a connected TCP socket; it becomes non-blocking. `peer_name` is the host name or IP address
  /// that a client expects in the server's certificate; servers ignore it.
  message_stream(kj::UnixEventPort& port, kj::AutoCloseFd fd, const tls_context& tls, side which,
                 const stream_limits& limits, const std::string& peer_name = {});
  ~message_stream() noexcept(false);
  KJ_DISALLOW_COPY(message_stream);

  /// Call it once, before anything else. Rejects with DISCONNECTED; `reason()` says why. `turns`: once its peer has said
  /// something, each step waits for a turn of its own. They outlive the stream, and are for servers, whose peer begins. Null:
  /// no step waits.
  kj::Promise<void> handshake(step_line* turns = nullptr);

  /// 32 bytes that only the two ends of this connection know (RFC 8446, 7.5), for the login proof.
  std::array<std::uint8_t, 32> login_exporter() const;

  /// May be called again, without effect. Unsent bytes are dropped: await `flushed` first if they matter.
  void close(close_reason why);
  bool closed() const { return reason_ != close_reason::none; }
  close_reason reason() const { return reason_; }
  /// OpenSSL's words, mostly about a failed handshake. They are for the operator's log, never for the peer.
  const std::string& detail() const { return detail_; }

  /// Null ends the watching. The watcher outlives the stream, or ends the watching before.
  void watch(stream_watcher* watcher) { watcher_ = watcher; }

  /// Much of what is written leaves in steps, which wait in this line. It outlives the stream. Null: at once.
  void write_in_steps(step_line* line) { write_steps_ = line; }
  /// Whoever says much without a pause is read in steps, which wait in this line. It outlives the stream. Null: at once.
  void read_in_steps(step_line* line) { read_steps_ = line; }

  /// Its buffers count among these, which outlive it. Null: among nobody's.
  void share(stream_buffers* all) { all_buffers_ = all; }
  /// What its buffers take.
  std::size_t buffered_bytes() const { return counted_buffers_; }

  /// Everything written so far has been handed to the kernel (or the stream was closed).
  kj::Promise<void> flushed();
  std::size_t unsent_bytes() const { return out_.size() - out_sent_; }

  /// Closes the stream if its write deadline has passed. The owner calls it about once a second with the
  /// time of `port.getTimer()`, so that a stream needs no timer.
  void sweep(kj::TimePoint now);

  /// While reads are held, no message is read, so TCP slows the peer down. Each hold needs its own release.
  void hold_reads();
  void release_reads();
  /// Reads at most this many bytes of messages; complete messages among them are still handed out. A
  /// handshake that takes more is closed with `login_bytes`. 0 means no limit.
  void limit_inbound(std::uint64_t bytes_total);
  bool at_inbound_limit() const { return inbound_limit_ != 0 && plain_in_ >= inbound_limit_; }

  /// When the last complete message came in, or the handshake ended.
  kj::TimePoint last_message_at() const { return last_message_at_; }
  std::uint64_t bytes_in() const { return bytes_in_; }   ///< on the wire
  std::uint64_t bytes_out() const { return bytes_out_; } ///< on the wire
  int fd() const { return fd_.get(); }

  // For rpc_line: what capnp::MessageStream offers below, without its promises where nothing waits.
  /// Null means that the stream is closed.
  kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>> receive(const capnp::ReaderOptions& options);
  /// Copies the message at once; it is sent with all others of this turn. Dropped if the stream is closed.
  void write(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments);
  std::size_t window_bytes() const { return limits_.window_bytes; }

  // capnp::MessageStream. Writes never wait: `outbound_bytes_max` bounds them. `end` closes both
  // directions once everything is sent, because an RPC connection cannot work with one direction.
  using capnp::MessageStream::tryReadMessage;
  using capnp::MessageStream::writeMessage;
  using capnp::MessageStream::writeMessages;
  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>>
  tryReadMessage(kj::ArrayPtr<kj::AutoCloseFd> fd_space,
                 capnp::ReaderOptions options = capnp::ReaderOptions(),
                 kj::ArrayPtr<capnp::word> scratch = nullptr) override;
  kj::Promise<void> writeMessage(kj::ArrayPtr<const int> fds,
                                 kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
  kj::Promise<void>
  writeMessages(kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override;
  kj::Maybe<int> getSendBufferSize() override { return static_cast<int>(limits_.window_bytes); }
  kj::Promise<void> end() override;

private:
  class whole_message;
  using found_message = kj::Maybe<kj::Own<whole_message>>;
  enum class io : std::uint8_t { done, again, ended, failed };

  /// `Found`: what a message is handed out as.
  template <class Found>
  kj::Promise<kj::Maybe<Found>> read_next_step(capnp::ReaderOptions options);
  template <class Found>
  kj::Promise<kj::Maybe<Found>> read_loop(capnp::ReaderOptions options);
  capnp::ReaderOptions bounded(capnp::ReaderOptions options) const;
  found_message next_message(const capnp::ReaderOptions& options);
  io fill();
  bool may_read() const;
  kj::Promise<void> handshake_step(step_line* turns);
  kj::Promise<void> handshake_step_after(kj::Promise<void> ready, step_line* turns);
  void open_gate();
  void count_buffers();
  void append(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments);
  void schedule_flush();
  kj::Promise<void> flush();
  void wake_flush_waiters();
  void fail_handshake(const char* what);
  kj::Exception gone() const;
  void taskFailed(kj::Exception&& exception) override;
  int socket_fd() const override { return fd_.get(); }
  permission before_read() override;
  void after_read(std::size_t bytes, std::size_t bytes_max) override;
  void after_write(std::size_t bytes) override;
  bool more_follows() const override;
  void send_held();
  static void on_tls_message(int write, int version, int type, const void* data, std::size_t size, SSL* ssl,
                             void* self);

  kj::AutoCloseFd fd_;
  kj::UnixEventPort& port_;
  kj::UnixEventPort::FdObserver observer_;
  const stream_limits& limits_; ///< the owner's: shared by its streams, outlives them
  tls_context tls_;
  SSL* ssl_ = nullptr;
  side side_;
  stream_watcher* watcher_ = nullptr;
  step_line* write_steps_ = nullptr;
  step_line* read_steps_ = nullptr;
  unsigned read_in_a_row_ = 0; ///< messages, since nothing was there to read or a step was taken
  close_reason reason_ = close_reason::none;
  bool handshake_done_ = false;
  bool flushing_ = false;
  bool flooded_ = false;
  bool held_ = false; ///< the last write may wait for the next one
  std::uint16_t holds_ = 0;
  std::uint32_t post_handshake_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t plain_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  std::uint64_t inbound_limit_ = 0;
  std::uint64_t progress_mark_ = 0; ///< `bytes_out_` when the write deadline was last set
  kj::TimePoint progress_since_;
  kj::TimePoint last_message_at_;
  std::vector<char> in_;
  std::size_t in_taken_ = 0;
  std::vector<char> out_;
  std::size_t out_sent_ = 0;
  stream_buffers* all_buffers_ = nullptr;
  std::size_t counted_buffers_ = 0; ///< of it
  std::string detail_;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> gate_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> flush_waiters_;
  kj::TaskSet tasks_;
};

} // namespace parley::transport
