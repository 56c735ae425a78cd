#pragma once
#include "protocol/client/values.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <variant>

namespace parley::client {

/// One row of the inbox as it arrives. `prev`: the seq before it in this user's stream of the
/// conversation; what lies between is the user's own.
struct message_row {
  seq_no prev{};
  message msg;
};
using inbox_row = std::variant<message_row, conversation_info, watermark>;

/// Decides what a delivery means: news, a repeat, or a sign that something is missing.
///
/// Owns:   per conversation, how far this device's stream was applied; per member, the watermarks.
/// Thread: its owner's. Pure: no clock, no I/O.
/// Holds:  a seq is applied once; positions and watermarks only rise. `decide` changes nothing: what it found
///         becomes true with `advance`, after the store has kept it.
class inbox_applier {
public:
  struct hole { ///< what lies between has not been seen: fetch (after, upto] first
    conversation_id conversation;
    seq_no after{};
    seq_no upto{};
  };
  struct plan {
    std::vector<std::size_t> fresh; ///< rows to apply, by index
    std::size_t repeats = 0;        ///< message rows that were applied before
    std::vector<std::pair<conversation_id, seq_no>> positions;
    std::optional<hole> missing; ///< the first; the rest of the plan is then void
  };
  enum class holes : std::uint8_t { must_heal, may_stay };

  plan decide(std::span<const inbox_row> rows, holes policy = holes::must_heal) const;
  /// All up to `seq` is applied. Never moves back.
  void advance(conversation_id c, seq_no seq) {
    auto& at = applied_[c];
    at = std::max(at, seq);
  }
  seq_no position(conversation_id c) const {
    const auto i = applied_.find(c);
    return i == applied_.end() ? seq_no::none : i->second;
  }

  struct rise {
    bool delivered = false;
    bool read = false;
    watermark now; ///< after the rise; read never exceeds delivered
  };
  rise raise(const watermark& mark);
  /// Known watermarks of a conversation, one per member heard of.
  std::vector<watermark> marks(conversation_id c) const;

private:
  struct progress {
    user_id user{};
    seq_no delivered{};
    seq_no read{};
  };
  std::unordered_map<conversation_id, seq_no> applied_;
  std::unordered_map<conversation_id, std::vector<progress>> marks_; ///< few members: a list beats a map
};

} // namespace parley::client
