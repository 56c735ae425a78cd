#pragma once
// What a chaos run can add to its usual faults and its messages of up to 300 bytes. Each trial has a name of
// its own for `--with`, because a trial begins by failing: the mend of what it shows switches it on in the
// gate.
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string_view>

namespace parley::chaos {

enum class trial : std::uint8_t {
  bodies,
  newcomers,
  restarts,
  outages,
  debts,
  calm,
  partitions,
  links,
  disks,
  truth,
  copies
};

struct trial_info {
  trial it;
  std::string_view name, sentence;
};

inline constexpr std::array all_trials{
    trial_info{trial::bodies, "bodies", "message bodies of 1 byte to 64 KiB with a heavy tail"},
    trial_info{trial::newcomers, "newcomers", "new users and first messages during faults"},
    trial_info{trial::restarts, "restarts", "all nodes restarted together, again and again"},
    trial_info{trial::outages, "outages", "one node dead for a quarter of the run while messages flow"},
    trial_info{trial::debts, "debts", "nothing is owed to any inbox 10 s after the last message"},
    trial_info{trial::calm, "calm", "at the end, an idle node soon takes at most 5 % of a core"},
    trial_info{trial::partitions, "partitions",
               "nodes that do not reach each other, in six ways (3 nodes or more)"},
    trial_info{trial::links, "links",
               "slow, stalled and torn connections of nodes and clients (3 nodes or more)"},
    trial_info{trial::truth, "truth",
               "at the end, each node that says that it is ready serves a new user alone"},
    trial_info{trial::disks, "disks", "slow, stalled and full disks"},
    trial_info{
        trial::copies, "copies",
        "older copies of nodes' directories are put back, or run beside their nodes (3 nodes or more)"},
};

inline std::optional<trial> trial_named(std::string_view name) {
  for (const auto& t : all_trials)
    if (t.name == name)
      return t.it;
  return std::nullopt;
}

using trials = std::set<trial>;

} // namespace parley::chaos
