// The words for why a stream ended, and what its limits may be.
#include "protocol/transport/message_stream.hpp"
#include "protocol/values/limits.hpp"

#include <array>

namespace parley::transport {

std::string_view name(close_reason r) {
  static constexpr std::array<std::string_view, close_reasons> names{"none",
                                                                     "local",
                                                                     "peer",
                                                                     "handshake-failed",
                                                                     "wrong-protocol",
                                                                     "tls-failed",
                                                                     "io-failed",
                                                                     "bad-frame",
                                                                     "message-too-large",
                                                                     "truncated",
                                                                     "outbound-full",
                                                                     "write-deadline",
                                                                     "handshake-flood",
                                                                     "login-deadline",
                                                                     "login-bytes",
                                                                     "idle",
                                                                     "session-over",
                                                                     "refused",
                                                                     "rpc-failed",
                                                                     "receiver-stalled",
                                                                     "buffers-full"};
  return names[static_cast<std::size_t>(r)];
}

config_check validate(const stream_limits& l) {
  if (l.segments_max < 1 || l.segments_max > 512)
    return config_fault{"segments_max"};
  if (l.message_words_max < 64 || l.message_words_max > (1u << 23))
    return config_fault{"message_words_max"};
  if (l.outbound_bytes_max < 64 * 1024)
    return config_fault{"outbound_bytes_max"};
  if (l.outbound_pause_bytes >= l.outbound_bytes_max)
    return config_fault{"outbound_pause_bytes"};
  if (l.window_bytes < 1024 || l.window_bytes > (1u << 30))
    return config_fault{"window_bytes"};
  if (l.write_deadline.count() < 1)
    return config_fault{"write_deadline"};
  if (l.write_progress_bytes < 1)
    return config_fault{"write_progress_bytes"};
  return std::nullopt;
}

stream_limits stream_limits::for_client() {
  stream_limits l;
  l.message_words_max = 2 * page_bytes_max / sizeof(capnp::word); // a page, whose framing is shorter than it
  return l;
}

capnp::ReaderOptions rpc_options(int nesting_max) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 4 * page_bytes_max / sizeof(capnp::word);
  options.nestingLimit = nesting_max;
  return options;
}

} // namespace parley::transport
