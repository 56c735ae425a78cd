#pragma once
// What the gateway needs of the cluster. Tests implement it without actors, `actors/kj_mailbox` with them.
// Thread: that of one KJ loop; every promise resolves on it.
#include "actors/core/outgoing_row.hpp"

#include <kj/async.h>
#include <kj/memory.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace parley::gateway {

/// How long somebody waits whose call was refused because they, or everybody, have asked for too much. Meanwhile their
/// connection is not read: reading what is refused costs as much as reading what is not. `sends`: `core::sends_of`.
constexpr std::chrono::milliseconds rest_for(std::uint32_t sends) {
  return std::chrono::milliseconds{100 + 5 * (sends == 0 ? 0 : sends - 1)};
}
/// The same of one whose own rate says how long: less than the least costs more than it gives, and what others send to
/// them is acknowledged on the same connection.
inline constexpr std::chrono::milliseconds rest_min{100}, rest_max{1'000};

/// How the cluster reaches one connection. Its functions are called on the KJ thread and must not block.
class connection_sink {
public:
  virtual ~connection_sink() noexcept(false) = default;
  /// The session's delivery queue has rows: take them with `session::take`.
  virtual void rows_ready() = 0;
  /// Its user asks for more than they may: nothing more is read from the connection for so long.
  virtual void rest(std::chrono::milliseconds time) = 0;
  /// The session is over (fenced, draining, delivery trouble …): tell the client, then close.
  virtual void close(ec why, std::uint32_t reconnect_after_ms) = 0;
};

/// One logged-in device's connection. Destroying it detaches the connection everywhere.
class session {
public:
  virtual ~session() noexcept(false) = default;
  /// Asks anything that this user may ask. The promise resolves, with `timed_out` at the latest. It rejects only if
  /// the session is destroyed before.
  virtual kj::Promise<core::answer> ask(core::call what) = 0;
  /// Starts (or restarts) to stream the inbox after `after` into the delivery queue. From here on `take`
  /// gives no row of the stream before. It costs a page of the inbox, so it counts as a call of the user. False: the
  /// user has made too many, and nothing has changed.
  virtual bool start_receiving(inbox_pos after) = 0;
  /// Takes rows from the delivery queue, at most `rows_max` and `bytes_max` (one row at least, if there
  /// is any). The space is free again at once, and what did not fit before is fetched from the inbox.
  virtual std::vector<core::outgoing_row> take(std::size_t rows_max, std::size_t bytes_max) = 0;
  /// The user's other devices want copies of what this one sends.
  virtual bool copies_own() const = 0;
};

/// Whose session is to be opened. The device's signature, which covers `session`, has been verified.
struct login_request {
  user_id user{};
  device_id device{};
  session_number session{};
  /// The key that verified it, if a client named it. Null: the one of the device's record.
  std::optional<std::array<std::uint8_t, 32>> key{};
};

/// What `open_session` answers.
struct login_result {
  ec error{};
  std::uint32_t retry_after_ms = 0;
  kj::Own<session> it;      ///< null on error
  inbox_pos acknowledged{}; ///< the device's cursor
};

/// The cluster, as a gateway sees it.
class backend {
public:
  virtual ~backend() noexcept(false) = default;
  /// Asks what needs no session: request_code, report_code, confirm_code, add_device, find_device.
  virtual kj::Promise<core::answer> ask(core::call what) = 0;
  /// `sink` outlives the session. Errors, before anything has begun: `bad_signature` if the key is not the
  /// device's, `no_such_user` if there is no such device.
  virtual kj::Promise<login_result> open_session(const login_request& who, connection_sink& sink) = 0;
};

} // namespace parley::gateway
