#pragma once
// Log lines for the operator: one line per event, with a stable name and fields. A line never contains the
// body of a message, a key, a token or a phone number.
//
//   log::warn("peer-refused", {{"claims", 4}, {"why", "unknown node"}});
//   2026-11-24T07:00:00.123Z warn peer-refused claims=4 why="unknown node"        or, with format json,
//   {"t":"2026-11-24T07:00:00.123Z","level":"warn","event":"peer-refused","claims":4,"why":"unknown node"}
//
// Thread: any. A slow terminal never blocks the caller: the queue is bounded and drops its oldest lines.
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace parley::log {

enum class level : std::uint8_t { trace, debug, info, warn, error };
enum class format : std::uint8_t { text, json };

/// One fact about an event. `key` must outlive the call; use a literal.
struct field {
  template <class T>
  field(std::string_view key, const T& value) : key{key} {
    if constexpr (std::is_same_v<T, bool>)
      text = value ? "true" : "false";
    else if constexpr (std::is_enum_v<T>)
      text = std::to_string(static_cast<std::underlying_type_t<T>>(value));
    else if constexpr (std::is_arithmetic_v<T>)
      text = std::to_string(value);
    else
      text = std::string_view{value}, quoted = true;
  }
  std::string_view key;
  std::string text;
  bool quoted = false;
};
using fields = std::initializer_list<field>;

struct config {
  level least = level::info;
  format as = format::text;
  std::size_t lines_waiting_max = 8192;
};

/// From now on lines are written to standard error. Called once, in `main`; before it only warnings
/// and errors are written.
void start(const config& c);
/// Writes all lines that wait, for as long as somebody reads them, and `patience` at most. False: some are lost,
/// and a thread is still stuck in their writing, so the process has to end without destructors (`std::_Exit`). To
/// be called before the process exits.
bool stop(std::chrono::milliseconds patience = std::chrono::seconds{2});

/// Lines below it are not written from now on.
void set_level(level least);
bool enabled(level at);
void write(level at, std::string_view event, fields facts);
inline void debug(std::string_view event, fields facts = {}) {
  write(level::debug, event, facts);
}
inline void info(std::string_view event, fields facts = {}) {
  write(level::info, event, facts);
}
inline void warn(std::string_view event, fields facts = {}) {
  write(level::warn, event, facts);
}
inline void error(std::string_view event, fields facts = {}) {
  write(level::error, event, facts);
}

/// "info" and so on; anything else is `info`.
level level_named(std::string_view name);

/// One event as `write` shows it, without time and level. For tests.
std::string render(format as, std::string_view event, fields facts);

/// For events that strangers can cause: allows at most one line in `every`, and counts those left out.
class limiter {
public:
  explicit limiter(std::chrono::milliseconds every) : every_{every} {}
  /// -1: write no line. Otherwise: write one, with this number of lines that were left out.
  std::int64_t admit(std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now());

private:
  std::chrono::milliseconds every_;
  std::atomic<std::int64_t> next_ms_{0};
  std::atomic<std::int64_t> left_out_{0};
};

} // namespace parley::log
