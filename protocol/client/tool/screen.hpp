#pragma once
// The conversation as it is shown: own lines with their ticks, the others', and notes about the connection.
#include "protocol/client/tool/output.hpp"
#include "protocol/client/values.hpp"

#include <deque>
#include <functional>
#include <string>

namespace parley::tool {

enum class tick : std::uint8_t { waiting, sent, delivered, read };

/// Three manners: a terminal, where ticks change in place; a pipe, where each change is a line; JSON.
///
/// Holds:  at most `own_max` own lines are remembered for their ticks; older ones keep what they show.
class screen {
public:
  screen(bool in_place, bool json, std::function<std::string()> typed);

  void note(const std::string& text);
  void theirs(const client::message& m, const std::string& who);
  /// `counter` 0: from the history, with its seq.
  void own(std::uint64_t counter, seq_no seq, const std::string& body, tick t);
  void sent(const client::sent& s);
  void failed(std::uint64_t counter, const std::string& why);
  void raise(seq_no upto, tick t);
  /// The line that is being typed, at the bottom.
  void prompt();
  void end();
  tick lowest() const; ///< of the own lines remembered; `read` if there are none

private:
  static constexpr std::size_t own_max = 500;
  struct own_line {
    std::uint64_t counter = 0;
    seq_no seq{};
    tick state = tick::waiting;
    std::size_t row = 0; ///< counted from the start
  };
  void line(const std::string& text, std::size_t width);
  void redraw(const own_line& l);
  void change(own_line& l, tick t);
  std::string mark(tick t) const;

  bool in_place_;
  bool json_;
  std::function<std::string()> typed_;
  palette colours_;
  std::size_t rows_ = 0;
  std::deque<own_line> own_;
  seq_no delivered_{}, read_{};
};

} // namespace parley::tool
