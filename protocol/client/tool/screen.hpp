#pragma once
// Shows a conversation: the user's own messages with their marks, those of others, and notes about the
// connection.
#include "protocol/client/tool/line_editor.hpp"
#include "protocol/client/tool/output.hpp"
#include "protocol/client/values.hpp"

#include <deque>
#include <functional>
#include <string>

namespace parley::tool {

enum class tick : std::uint8_t { waiting, sent, delivered, read };

/// Writes in one of three ways: to a terminal, where marks change in place; to a pipe, where each change is a
/// line; as JSON.
///
/// Holds:  the newest `own_max` own messages are remembered for their marks; the marks of older ones stay as
///         they are. A line stays where it was written. So a message of others that comes before an own one is stored
///         is shown behind it, although its number is lower: a note says so, once for all that wait.
class screen {
public:
  screen(standard_output& out, bool in_place, bool json, std::function<typed_line()> typed);

  // What is given may come from a node: it is made printable here.
  void note(const std::string& text);
  void device_added(const client::device_added& d);
  void theirs(const client::message& m, const std::string& who);
  /// `counter` is 0 for a message that is stored, which has a seq; 0 as `at` says that its time is not known.
  void own(std::uint64_t counter, seq_no seq, unix_ms at, const std::string& body, tick t);
  void sent(const client::sent& s);
  /// `counter` is 0 for a line that was refused before it was kept.
  void failed(std::uint64_t counter, const std::string& why);
  void raise(seq_no upto, tick t);
  /// Draws the line that is being typed, at the bottom.
  void prompt();
  void end();
  tick lowest() const; ///< the lowest mark of the own messages of this run; `read` if there are none

private:
  static constexpr std::size_t own_max = 500;
  struct own_line {
    std::uint64_t counter = 0;
    seq_no seq{};
    tick state = tick::waiting;
    std::size_t row = 0;  ///< counted from the start
    seq_no followed_by{}; ///< the first stored message below it, if one came while it waited
  };
  /// `plain`: what is drawn, without escape sequences.
  void line(const std::string& drawn, const std::string& plain);
  void begin_day(unix_ms at);
  void follow_waiting(seq_no seq);
  std::string prompt_row() const;
  void notice_size();
  void redraw(const own_line& l);
  void change(own_line& l, tick t);
  std::string mark(tick t) const;

  standard_output& out_;
  bool in_place_;
  bool json_;
  std::function<typed_line()> typed_;
  palette colours_;
  std::size_t rows_ = 0;       ///< written since the start
  std::size_t known_from_ = 0; ///< the rows from this one on are where they were written
  std::size_t width_ = 0;      ///< of the terminal, when it was looked at last
  std::deque<own_line> own_;
  seq_no delivered_{}, read_{};
  std::string day_;         ///< of the newest message that has a time
  bool order_told_ = false; ///< since the last own message was typed
};

} // namespace parley::tool
