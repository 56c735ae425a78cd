#pragma once
// A history of a group as a value: how it begins, and its steps. The numbers of a step are read against what
// the group is when it is their turn (the member who acts is `number modulo members`), so that any list of
// steps is a history, and a shorter one too: that is how RapidCheck finds the shortest that fails.
#include <array>
#include <cstdint>
#include <ostream>
#include <string_view>
#include <vector>

namespace parley::mls::test {

enum class step : std::uint8_t {
  speak,   ///< application messages
  offer,   ///< messages come: late, again, in any order, to anybody
  propose, ///< a member, in the clear or sealed; some do not get it
  ask,     ///< somebody from outside proposes
  late,    ///< proposals that were lost come
  commit,
  race,    ///< several commit in one epoch
  join,    ///< by an external commit
  resync,  ///< a member comes again by an external commit
  wake,    ///< a member hears what it slept through
  restart, ///< a member is saved and loaded
  steal,   ///< somebody copies a member's keys
  forge,   ///< a handshake that breaks a rule
  end,     ///< a ReInit
};
inline constexpr std::array<std::string_view, 14> step_names{"speak",   "offer", "propose", "ask",    "late",
                                                             "commit",  "race",  "join",    "resync", "wake",
                                                             "restart", "steal", "forge",   "end"};
inline std::string_view name_of(step s) {
  return step_names.at(static_cast<std::size_t>(s));
}

struct command {
  step what{};
  std::array<std::uint8_t, 12> picks{}; ///< zeros: the simplest of its kind
};

struct history {
  std::uint8_t members = 0;     ///< besides the first
  std::uint8_t past_epochs = 0; ///< that stay readable
  std::vector<command> steps;
};

inline std::ostream& operator<<(std::ostream& out, const command& c) {
  out << name_of(c.what) << "(";
  auto size = c.picks.size();
  while (size > 0 && c.picks[size - 1] == 0)
    --size;
  for (std::size_t i = 0; i < size; ++i)
    out << (i ? " " : "") << static_cast<int>(c.picks[i]);
  return out << ")";
}
inline std::ostream& operator<<(std::ostream& out, const history& h) {
  out << "members " << 1 + h.members << ", past epochs " << static_cast<int>(h.past_epochs) << ":";
  for (const auto& c : h.steps)
    out << " " << c;
  return out;
}

/// Reads the numbers of a step, one after the other; when there are no more of them, zeros.
class picks {
public:
  explicit picks(const command& c) : from_{c} {}
  std::size_t next() { return at_ < from_.picks.size() ? from_.picks[at_++] : 0; }
  std::size_t any(std::size_t n) { return next() % n; } ///< below n
  bool one_in(std::size_t n) { return any(n) == n - 1; }
  /// About every fourth bit: for those who sleep, or to whom something is lost.
  std::size_t some() {
    const auto a = next();
    return a & (a >> 3 | a << 5);
  }

private:
  const command& from_;
  std::size_t at_ = 0;
};
inline bool is_among(std::size_t some, std::size_t i) {
  return (some >> (i % 8) & 1) != 0;
}

} // namespace parley::mls::test
