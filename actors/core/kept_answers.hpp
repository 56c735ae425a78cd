#pragma once
// Answers to other nodes' calls that a full link did not take, until it has room.
#include "actors/core/archive.hpp"
#include "actors/core/calls.hpp"

#include <deque>
#include <utility>

namespace parley::core {

struct kept_answer {
  node_id to{};
  std::uint64_t number = 0; ///< of the call, by that node
  answer what;
  std::size_t bytes = 0; ///< encoded
};

/// Without it an asker whose answer met a full link would wait for its own deadline. A large answer would fill the
/// link as soon as that has room, and the memory until then: its asker hears that the node is overloaded, and asks
/// again. A fan-out then sends again what was applied, which an inbox ignores.
class kept_answers {
public:
  struct bounds {
    std::size_t answers_max =
        16'384; ///< above, or above `bytes_max`: dropped, and the askers' deadlines remain
    std::size_t bytes_max = 4 << 20;
    std::size_t answer_bytes_max = 1024; ///< above: not kept as it is
  };
  static constexpr std::uint32_t retry_after_ms = 200;

  explicit kept_answers(const bounds& b) : bounds_{b} {}

  void keep(node_id to, std::uint64_t number, answer what) {
    auto bytes = encode(what).size();
    if (bytes > bounds_.answer_bytes_max) {
      what = refusal(kind_of(what), ec::overloaded, retry_after_ms);
      bytes = encode(what).size();
    }
    if (all_.size() >= bounds_.answers_max || bytes_ + bytes > bounds_.bytes_max)
      return;
    bytes_ += bytes;
    all_.push_back({to, number, std::move(what), bytes});
  }
  /// A node that is gone has forgotten what it asked.
  void forget(node_id gone) {
    std::erase_if(all_, [&](const kept_answer& k) {
      if (k.to == gone)
        bytes_ -= k.bytes;
      return k.to == gone;
    });
  }
  /// All, the oldest first; nothing is kept afterwards.
  std::deque<kept_answer> take() {
    bytes_ = 0;
    return std::exchange(all_, {});
  }

private:
  bounds bounds_;
  std::deque<kept_answer> all_;
  std::size_t bytes_ = 0;
};

} // namespace parley::core
