#pragma once
// What nodes send and propose, counted by kind: an idle cluster does little, and all of it is known.
#include "actors/core/calls.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace parley::sim {

class census {
public:
  void raft_frame(std::string_view frame);
  void calls_payload(std::string_view payload);
  void proposal(std::string_view command);

  /// "raft: heartbeat", "call: attach", "proposal: append_inbox" …
  const std::map<std::string, std::uint64_t>& all() const { return count_; }

private:
  void add(std::string_view of, std::string_view kind) {
    ++count_[std::string{of} + ": " + std::string{kind}];
  }
  std::map<std::string, std::uint64_t> count_;
};

} // namespace parley::sim
