#pragma once
// What is acknowledged in one conversation. Pure.
#include "protocol/values/types.hpp"

#include <algorithm>
#include <map>
#include <vector>

namespace parley::chaos {

/// The highest acknowledged position of each sender in one conversation: in the end its other members
/// must have seen everything up to there.
struct room {
  std::vector<user_id> members;
  std::map<user_id, seq_no> highest_acked; ///< by sender

  seq_no owed_to(user_id who) const {
    seq_no out{};
    for (const auto& [sender, seq] : highest_acked)
      out = sender == who ? out : std::max(out, seq);
    return out;
  }
};

} // namespace parley::chaos
