#pragma once
// A history of a group as a value: its beginning, and its steps. The numbers of a step are interpreted
// when the step runs, relative to the group's state at that time (the acting member is `number modulo
// members`). So any list of steps is a valid history, and so is any shorter list, which lets RapidCheck
// find the shortest history that fails.
#include <array>
#include <cstdint>
#include <ostream>
#include <string_view>
#include <vector>

namespace parley::mls::test {

enum class step : std::uint8_t {
  speak,   ///< application messages
  offer,   ///< messages arrive: late, repeated, in any order, at any member
  propose, ///< by a member, in clear or encrypted; some members do not receive it
  ask,     ///< a party outside the group proposes
  late,    ///< lost proposals arrive
  commit,
  race,    ///< several members commit in one epoch
  join,    ///< by an external commit
  resync,  ///< a member joins again by an external commit
  wake,    ///< a member receives what it missed while it was offline
  restart, ///< a member is saved and loaded again
  steal,   ///< an attacker copies a member's keys
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
  std::array<std::uint8_t, 12> picks{}; ///< zeros are the simplest step of its kind
};

struct history {
  std::uint8_t members = 0;     ///< in addition to the first one
  std::uint8_t past_epochs = 0; ///< the number that stays readable
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

/// Reads the numbers of a step one after the other; returns zeros when there are no more.
class picks {
public:
  explicit picks(const command& c) : from_{c} {}
  std::size_t next() { return at_ < from_.picks.size() ? from_.picks[at_++] : 0; }
  std::size_t any(std::size_t n) { return next() % n; } ///< below n
  bool one_in(std::size_t n) { return any(n) == n - 1; }
  /// Sets about one bit in four: the members that are offline, or that lose a message.
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
