#include "protocol/transport/message_stream.hpp"

#include "protocol/transport/turn_end.hpp"
#include "protocol/values/limits.hpp"

#include <capnp/rpc.h>
#include <capnp/serialize.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace parley::transport {

namespace {

/// A record may hold one byte. After so many the others of the thread have their turn: a message of the largest size
/// takes fewer, if its peer fills them.
constexpr unsigned fills_in_a_row_max = 64;
/// So many messages of one peer are read in one step, in a millisecond or so.
constexpr unsigned read_in_a_row_max = 32;
/// So much is encrypted and given to the kernel in one step, in some tenths of a millisecond.
constexpr std::size_t written_in_a_row_max = 256 * 1024;
constexpr std::size_t keep_bytes = 2048;     ///< an output buffer this small is kept between writes
constexpr auto idle_after = 1 * kj::SECONDS; ///< and for so long; then the next sweep releases it

struct message_words {
  kj::Array<capnp::word> words;
};

bool is_address(const std::string& name) {
  auto* octets = a2i_IPADDRESS(name.c_str());
  ASN1_OCTET_STRING_free(octets);
  return octets != nullptr;
}

/// A peer that is slow for long keeps no more than a few times what it makes us keep.
void release_spare(std::vector<char>& buffer) {
  if (buffer.capacity() > keep_bytes && buffer.size() < buffer.capacity() / 4)
    buffer.shrink_to_fit();
}

std::uint32_t load32(const char* at) {
  std::uint32_t v = 0;
  std::memcpy(&v, at, sizeof v);
  return v;
}

} // namespace

/// A message and its bytes in one object. The words are the first base, because the reader reads what
/// that base holds.
class message_stream::whole_message final : private message_words,
                                            public capnp::FlatArrayMessageReader,
                                            public capnp::IncomingRpcMessage {
public:
  whole_message(kj::Array<capnp::word>&& words, const capnp::ReaderOptions& options)
      : message_words{kj::mv(words)}, capnp::FlatArrayMessageReader{message_words::words.asPtr(), options} {}

  capnp::AnyPointer::Reader getBody() override { return getRoot<capnp::AnyPointer>(); }
  std::size_t sizeInWords() override { return capnp::FlatArrayMessageReader::sizeInWords(); }
};

message_stream::message_stream(kj::UnixEventPort& port, kj::AutoCloseFd fd, const tls_context& tls,
                               side which, const stream_limits& limits, const std::string& peer_name)
    : fd_{kj::mv(fd)}, port_{port}, observer_{port, fd_.get(),
                                              kj::UnixEventPort::FdObserver::OBSERVE_READ_WRITE},
      limits_{limits}, tls_{tls}, side_{which}, progress_since_{port.getTimer().now()},
      last_message_at_{progress_since_}, tasks_{*this} {
  if (const int flags = fcntl(fd_.get(), F_GETFL); (flags & O_NONBLOCK) == 0)
    fcntl(fd_.get(), F_SETFL, flags | O_NONBLOCK);
  ssl_ = SSL_new(tls_.get());
  auto* bio = new_bio();
  KJ_REQUIRE(ssl_ != nullptr && bio != nullptr, "out of memory");
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_msg_callback(ssl_, on_tls_message);
  SSL_set_msg_callback_arg(ssl_, this);
  if (side_ == side::server) {
    SSL_set_accept_state(ssl_);
    return;
  }
  SSL_set_connect_state(ssl_);
  if (is_address(peer_name)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), peer_name.c_str());
  } else {
    SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    // With an empty name, OpenSSL would check no name.
    SSL_set1_host(ssl_, peer_name.empty() ? "invalid." : peer_name.c_str());
    SSL_set_tlsext_host_name(ssl_, peer_name.c_str());
  }
}

message_stream::~message_stream() noexcept(false) {
  SSL_free(ssl_);
  if (all_buffers_ != nullptr)
    all_buffers_->changed(counted_buffers_, 0);
}

void message_stream::count_buffers() {
  const auto now = in_.capacity() + out_.capacity();
  const auto before = std::exchange(counted_buffers_, now);
  if (all_buffers_ != nullptr && before != now)
    all_buffers_->changed(before, now);
}

socket_owner::permission message_stream::before_read() {
  const bool too_long = !handshake_done_ && inbound_limit_ != 0 && bytes_in_ >= inbound_limit_;
  return flooded_ || closed() || too_long ? permission::refused : permission::granted;
}

void message_stream::after_read(std::size_t bytes, std::size_t) {
  bytes_in_ += bytes;
}

void message_stream::after_write(std::size_t bytes) {
  bytes_out_ += bytes;
  held_ = more_follows();
}

/// A client's handshake ends with a write of its own, and its first calls follow in the same turn. Together they wake the
/// server once.
bool message_stream::more_follows() const {
  return side_ == side::client && !handshake_done_ && bytes_in_ > 0;
}

/// It was not the end after all: the server wants another first message.
void message_stream::send_held() {
  const int on = 1;
  if (std::exchange(held_, false))
    (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void message_stream::on_tls_message(int write, int, int type, const void*, std::size_t, SSL*, void* self) {
  auto& s = *static_cast<message_stream*>(self);
  if (write != 0 || type != SSL3_RT_HANDSHAKE || !s.handshake_done_)
    return;
  constexpr std::uint64_t bytes_per_rekey = 16 * 1024 * 1024;
  if (++s.post_handshake_ > s.limits_.post_handshake_max + s.bytes_in_ / bytes_per_rekey)
    s.flooded_ = true; // the caller of OpenSSL closes the stream; this function must not
}

kj::Exception message_stream::gone() const {
  return kj::Exception{
      kj::Exception::Type::DISCONNECTED, "", 0,
      // Why a node is not trusted is the client's own finding. Of a client, a node says nothing.
      kj::str("connection closed: ", name(reason_).data(),
              side_ == side::client && !detail_.empty() ? ": " + detail_ : std::string{})};
}

void message_stream::fail_handshake(const char* what) {
  const auto code = ERR_peek_last_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  detail_ = reason != nullptr ? reason : what;
  if (side_ == side::client) {
    if (const auto verdict = SSL_get_verify_result(ssl_); verdict != X509_V_OK)
      detail_ += std::string{": "} + X509_verify_cert_error_string(verdict);
  }
  ERR_clear_error();
  const bool too_long = inbound_limit_ != 0 && bytes_in_ >= inbound_limit_;
  close(too_long ? close_reason::login_bytes : close_reason::handshake_failed);
}

kj::Promise<void> message_stream::handshake(step_line* turns) {
  if (turns == nullptr)
    return handshake_step(nullptr);
  return handshake_step_after(observer_.whenBecomesReadable(), turns);
}

kj::Promise<void> message_stream::handshake_step_after(kj::Promise<void> ready, step_line* turns) {
  if (turns != nullptr)
    ready = ready.then([turns] { return turns->next(); });
  return ready.then([this, turns] { return handshake_step(turns); });
}

kj::Promise<void> message_stream::handshake_step(step_line* turns) {
  if (closed())
    return gone();
  ERR_clear_error();
  const int r = SSL_do_handshake(ssl_);
  if (r == 1) {
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &chosen, &size);
    if (std::string_view{reinterpret_cast<const char*>(chosen), size} != alpn_protocol) {
      close(close_reason::wrong_protocol);
      return gone();
    }
    handshake_done_ = true;
    last_message_at_ = port_.getTimer().now();
    return kj::READY_NOW;
  }
  switch (SSL_get_error(ssl_, r)) {
  case SSL_ERROR_WANT_READ:
    send_held();
    return handshake_step_after(observer_.whenBecomesReadable(), turns);
  case SSL_ERROR_WANT_WRITE:
    return handshake_step_after(observer_.whenBecomesWritable(), turns);
  default:
    fail_handshake("the peer went away");
    return gone();
  }
}

std::array<std::uint8_t, 32> message_stream::login_exporter() const {
  std::array<std::uint8_t, 32> value{};
  const auto ok = SSL_export_keying_material(ssl_, value.data(), value.size(), login_exporter_label,
                                             sizeof login_exporter_label - 1, nullptr, 0, 0);
  KJ_REQUIRE(ok == 1, "the handshake is not done");
  return value;
}

void message_stream::close(close_reason why) {
  if (closed())
    return;
  reason_ = why == close_reason::none ? close_reason::local : why;
  if (handshake_done_) {
    ERR_clear_error();
    SSL_shutdown(ssl_); // close_notify, if there is room for it
    ERR_clear_error();
  }
  // Wakes the promises that wait for the socket, so that they see that it is closed.
  ::shutdown(fd_.get(), SHUT_RDWR);
  std::vector<char>{}.swap(in_);
  std::vector<char>{}.swap(out_);
  in_taken_ = out_sent_ = 0;
  count_buffers();
  wake_flush_waiters();
  open_gate();
  if (watcher_ != nullptr)
    watcher_->stream_closed();
}

// --- reading -----------------------------------------------------------------------------------------------

bool message_stream::may_read() const {
  return holds_ == 0 && (limits_.outbound_pause_bytes == 0 || unsent_bytes() <= limits_.outbound_pause_bytes);
}

void message_stream::open_gate() {
  KJ_IF_MAYBE (gate, gate_) {
    if (closed() || (may_read() && !at_inbound_limit())) {
      auto fulfiller = kj::mv(*gate);
      gate_ = nullptr;
      fulfiller->fulfill();
    }
  }
}

void message_stream::hold_reads() {
  ++holds_;
}

void message_stream::release_reads() {
  KJ_REQUIRE(holds_ > 0);
  if (--holds_ == 0)
    open_gate();
}

void message_stream::limit_inbound(std::uint64_t bytes_total) {
  inbound_limit_ = bytes_total;
  open_gate();
}

capnp::ReaderOptions message_stream::bounded(capnp::ReaderOptions options) const {
  options.traversalLimitInWords =
      std::min<std::uint64_t>(options.traversalLimitInWords, limits_.message_words_max);
  return options;
}

kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>>
message_stream::tryReadMessage(kj::ArrayPtr<kj::AutoCloseFd>, capnp::ReaderOptions options,
                               kj::ArrayPtr<capnp::word>) {
  return read_loop<capnp::MessageReaderAndFds>(bounded(options));
}

kj::Promise<kj::Maybe<kj::Own<capnp::IncomingRpcMessage>>>
message_stream::receive(const capnp::ReaderOptions& options) {
  return read_loop<kj::Own<capnp::IncomingRpcMessage>>(bounded(options));
}

template <class Found>
kj::Promise<kj::Maybe<Found>> message_stream::read_next_step(capnp::ReaderOptions options) {
  auto turn = read_steps_ != nullptr ? read_steps_->next() : kj::evalLater([] {});
  return turn.then([this, options] {
    read_in_a_row_ = 0;
    return read_loop<Found>(options);
  });
}

template <class Found>
kj::Promise<kj::Maybe<Found>> message_stream::read_loop(capnp::ReaderOptions options) {
  for (unsigned fills = 0;; ++fills) {
    if (may_read()) {
      if (read_in_a_row_ == read_in_a_row_max && read_steps_ != nullptr)
        return read_next_step<Found>(options);
      auto found = next_message(options);
      KJ_IF_MAYBE (message, found) {
        ++read_in_a_row_;
        if constexpr (std::is_same_v<Found, capnp::MessageReaderAndFds>)
          return kj::Maybe<Found>{Found{kj::mv(*message), nullptr}};
        else
          return kj::Maybe<Found>{kj::mv(*message)};
      }
    }
    if (closed())
      return kj::Maybe<Found>{nullptr};
    if (!may_read() || at_inbound_limit()) {
      auto gate = kj::newPromiseAndFulfiller<void>();
      gate_ = kj::mv(gate.fulfiller);
      return gate.promise.then([this, options] { return read_loop<Found>(options); });
    }
    if (fills == fills_in_a_row_max)
      return read_next_step<Found>(options);
    switch (fill()) {
    case io::done:
      break;
    case io::again:
      read_in_a_row_ = 0;
      if (in_taken_ == in_.size())
        std::vector<char>{}.swap(in_), in_taken_ = 0;
      count_buffers();
      return observer_.whenBecomesReadable().then([this, options] { return read_loop<Found>(options); });
    case io::ended:
      close(in_taken_ == in_.size() ? close_reason::peer : close_reason::truncated);
      return kj::Maybe<Found>{nullptr};
    case io::failed:
      return kj::Maybe<Found>{nullptr};
    }
  }
}

message_stream::found_message message_stream::next_message(const capnp::ReaderOptions& options) {
  if (closed())
    return nullptr;
  const char* at = in_.data() + in_taken_;
  const auto have = in_.size() - in_taken_;
  if (have < sizeof(capnp::word))
    return nullptr;
  const auto last_segment = load32(at); // the number of segments, less one
  if (last_segment >= limits_.segments_max) {
    close(close_reason::bad_frame);
    return nullptr;
  }
  const std::size_t segments = last_segment + 1;
  const auto table_bytes = (segments / 2 + 1) * sizeof(capnp::word);
  if (have < table_bytes)
    return nullptr;
  std::uint64_t words = 0;
  for (std::size_t i = 0; i < segments; ++i)
    words += load32(at + 4 * (1 + i));
  if (words > options.traversalLimitInWords) {
    close(close_reason::message_too_large);
    return nullptr;
  }
  const auto total = table_bytes + words * sizeof(capnp::word);
  if (have < total)
    return nullptr;
  auto copy = kj::heapArray<capnp::word>(total / sizeof(capnp::word));
  std::memcpy(copy.begin(), at, total);
  in_taken_ += total;
  if (in_taken_ == in_.size()) {
    in_.clear();
    in_taken_ = 0;
  }
  last_message_at_ = port_.getTimer().now();
  auto message = kj::heap<whole_message>(kj::mv(copy), options);
  if (watcher_ != nullptr) {
    try {
      watcher_->message_read(*message);
    } catch (const kj::Exception&) {
      close(close_reason::bad_frame);
    }
    if (closed())
      return nullptr;
  }
  return kj::mv(message);
}

message_stream::io message_stream::fill() {
  static thread_local std::array<char, SSL3_RT_MAX_PLAIN_LENGTH> scratch;
  std::size_t n = 0;
  ERR_clear_error();
  const int r = SSL_read_ex(ssl_, scratch.data(), scratch.size(), &n);
  if (flooded_) {
    close(close_reason::handshake_flood);
    return io::failed;
  }
  if (r == 1) {
    if (in_taken_ != 0) {
      in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(in_taken_));
      in_taken_ = 0;
    }
    in_.insert(in_.end(), scratch.data(), scratch.data() + n);
    plain_in_ += n;
    count_buffers();
    return closed() ? io::failed : io::done;
  }
  switch (SSL_get_error(ssl_, r)) {
  case SSL_ERROR_WANT_READ:
    return io::again;
  case SSL_ERROR_ZERO_RETURN: // close_notify
  case SSL_ERROR_SYSCALL: // the connection ended without it: messages say themselves whether they are whole
    return io::ended;
  default:
    ERR_clear_error();
    close(close_reason::tls_failed);
    return io::failed;
  }
}

// --- writing -----------------------------------------------------------------------------------------------

void message_stream::append(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  if (closed())
    return;
  const auto table_bytes = (segments.size() / 2 + 1) * sizeof(capnp::word);
  auto total = table_bytes;
  for (auto& segment : segments)
    total += segment.size() * sizeof(capnp::word);
  if (unsent_bytes() + total > limits_.outbound_bytes_max) {
    close(close_reason::outbound_full);
    return;
  }
  if (unsent_bytes() == 0) {
    progress_since_ = port_.getTimer().now();
    progress_mark_ = bytes_out_;
  }
  const auto base = out_.size();
  out_.resize(base + total); // zeroes: the table's padding
  auto* table = out_.data() + base;
  const auto put = [table](std::size_t index, std::size_t value) {
    const auto v = static_cast<std::uint32_t>(value);
    std::memcpy(table + 4 * index, &v, sizeof v);
  };
  put(0, segments.size() - 1);
  auto* to = table + table_bytes;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    put(1 + i, segments[i].size());
    const auto bytes = segments[i].asBytes();
    std::memcpy(to, bytes.begin(), bytes.size());
    to += bytes.size();
  }
  count_buffers();
}

void message_stream::write(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  append(segments);
  if (!closed())
    schedule_flush();
}

kj::Promise<void> message_stream::writeMessage(kj::ArrayPtr<const int>,
                                               kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  append(segments);
  if (closed())
    return gone();
  schedule_flush();
  return kj::READY_NOW;
}

kj::Promise<void>
message_stream::writeMessages(kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) {
  for (auto& segments : messages)
    append(segments);
  if (closed())
    return gone();
  schedule_flush();
  return kj::READY_NOW;
}

void message_stream::schedule_flush() {
  if (flushing_)
    return;
  flushing_ = true;
  tasks_.add(turn_end(port_.getTimer()).then([this] { return flush(); }));
}

kj::Promise<void> message_stream::flush() {
  for (std::size_t written = 0; !closed() && unsent_bytes() > 0;) {
    if (written >= written_in_a_row_max && write_steps_ != nullptr)
      return write_steps_->next().then([this] { return flush(); });
    std::size_t n = 0;
    ERR_clear_error();
    if (SSL_write_ex(ssl_, out_.data() + out_sent_, unsent_bytes(), &n) == 1) {
      out_sent_ += n;
      written += n;
      continue;
    }
    const auto error = SSL_get_error(ssl_, 0);
    if (error == SSL_ERROR_WANT_WRITE) {
      if (out_sent_ >= limits_.window_bytes) { // a slow peer's sent bytes do not pile up in front
        out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_sent_));
        out_sent_ = 0;
        release_spare(out_);
        count_buffers();
      }
      open_gate();
      return observer_.whenBecomesWritable().then([this] { return flush(); });
    }
    ERR_clear_error();
    close(error == SSL_ERROR_SYSCALL && (errno == EPIPE || errno == ECONNRESET) ? close_reason::peer
                                                                                : close_reason::io_failed);
  }
  out_sent_ = 0;
  if (out_.capacity() > keep_bytes)
    std::vector<char>{}.swap(out_);
  else
    out_.clear();
  count_buffers();
  flushing_ = false;
  wake_flush_waiters();
  open_gate();
  if (watcher_ != nullptr && !closed())
    watcher_->stream_flushed();
  return kj::READY_NOW;
}

void message_stream::wake_flush_waiters() {
  auto waiters = std::move(flush_waiters_);
  flush_waiters_.clear();
  for (auto& w : waiters)
    w->fulfill();
}

kj::Promise<void> message_stream::flushed() {
  if (closed() || !flushing_)
    return kj::READY_NOW;
  auto waiter = kj::newPromiseAndFulfiller<void>();
  flush_waiters_.push_back(kj::mv(waiter.fulfiller));
  return kj::mv(waiter.promise);
}

kj::Promise<void> message_stream::end() {
  // The RPC system ends a connection after it has read its end (then the reason is known), or after the
  // peer broke the protocol and got an error for it.
  return flushed().then(
      [this] { close(side_ == side::server ? close_reason::rpc_failed : close_reason::local); });
}

void message_stream::sweep(kj::TimePoint now) {
  if (closed())
    return;
  release_spare(in_);
  if (unsent_bytes() == 0 && !flushing_ && now - progress_since_ >= idle_after)
    std::vector<char>{}.swap(out_);
  count_buffers();
  if (unsent_bytes() == 0)
    return;
  if (now - progress_since_ < static_cast<std::int64_t>(limits_.write_deadline.count()) * kj::MILLISECONDS)
    return;
  if (bytes_out_ - progress_mark_ < limits_.write_progress_bytes) {
    close(close_reason::write_deadline);
    return;
  }
  progress_since_ = now;
  progress_mark_ = bytes_out_;
}

void message_stream::taskFailed(kj::Exception&&) {
  close(close_reason::io_failed);
}

} // namespace parley::transport
