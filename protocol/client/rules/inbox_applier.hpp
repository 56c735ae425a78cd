#pragma once
#include "protocol/client/values.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <variant>

namespace parley::client {

/// Decides what a delivery means: its messages are new, are repeats, or show that something is missing.
///
/// Owns:   per conversation, how far this device's stream was applied; per member, the watermarks.
/// Thread: its owner's. Pure: no clock, no I/O.
/// Holds:  a seq is applied once; positions and watermarks only rise, except in `fall`. `decide` changes nothing; the caller
///         advances the positions after the store has kept the rows.
class inbox_applier {
public:
  struct hole { ///< messages in (after, upto] are missing and have to be fetched first
    conversation_id conversation;
    seq_no after{};
    seq_no upto{};
  };
  struct plan {
    std::vector<std::size_t> fresh; ///< rows to apply, by index
    std::size_t repeats = 0;        ///< message rows that were applied before
    std::vector<std::pair<conversation_id, seq_no>> positions;
    std::optional<hole> missing; ///< the first hole; if there is one, ignore the rest of the plan
    /// The rows of conversations that are held: neither fresh nor repeats.
    std::vector<std::pair<conversation_id, seq_no>> held;
  };
  enum class holes : std::uint8_t { must_heal, may_stay };

  plan decide(std::span<const inbox_row> rows, holes policy = holes::must_heal) const;
  /// Everything up to `seq` is applied. A position moves back in `fall` only.
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

  /// The conversation has a hole that cannot be fetched now. Until `release`, its rows are left alone.
  void hold(conversation_id c) { held_.insert(c); }
  void release(conversation_id c) { held_.erase(c); }
  /// The cluster has lost what it had of the conversation after `upto`.
  void fall(conversation_id c, seq_no upto);
  /// The known watermarks of a conversation, one for each member that has any.
  std::vector<watermark> marks(conversation_id c) const;

private:
  struct progress {
    user_id user{};
    seq_no delivered{};
    seq_no read{};
  };
  std::unordered_map<conversation_id, seq_no> applied_;
  std::set<conversation_id> held_;                                   ///< nearly always empty
  std::unordered_map<conversation_id, std::vector<progress>> marks_; ///< few members: a list beats a map
};

/// How often a gap is fetched before it is reported and passed over. A fetch that got further counts as none,
/// because a long gap takes several.
class heal_tries {
public:
  explicit heal_tries(unsigned max) : max_{max} {}
  bool another() const { return tried_ < max_; }
  void tried(bool got_further) { tried_ = got_further ? 0 : tried_ + 1; }

private:
  unsigned max_;
  unsigned tried_ = 0;
};

} // namespace parley::client
