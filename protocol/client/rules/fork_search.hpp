#pragma once
#include "protocol/values/types.hpp"

#include <algorithm>
#include <optional>

namespace parley::client {

/// Finds up to which message two histories of a conversation are the same: this device's, and the cluster's
/// after it was put back to an older copy.
///
/// Owns:   the bounds of the search.
/// Thread: its owner's. Pure.
/// Holds:  histories that differ at one message differ at all after it. The search looks at the newest
///         messages first, because most conversations did not change; it takes about 2·log2(n) looks.
class fork_search {
public:
  /// `newest`: of this device's messages.
  explicit fork_search(seq_no newest) : different_{number(newest) + 1} {}

  /// Compare the newest message that this device has at or below this number; nothing: the search is over.
  std::optional<seq_no> next() const {
    if (same_ + 1 >= different_)
      return std::nullopt;
    const auto half = same_ + (different_ - same_) / 2;
    return seq_no{found_same_ ? half : std::max(half, different_ - std::min(step_, different_))};
  }
  /// The message at `found`, the newest at or below `next()`, is the same in both histories, or it is not.
  void answer(seq_no found, bool same) {
    if (same) {
      same_ = number(*next());
      found_same_ = true;
    } else {
      different_ = number(found);
      step_ *= 2;
    }
  }
  /// This device has none at or below `next()` that was not compared before.
  void nothing() {
    same_ = number(*next());
    found_same_ = true;
  }
  /// When the search is over: the histories are the same up to here, and this device has another message than
  /// the cluster at the first number after it, or none.
  seq_no same_upto() const { return seq_no{same_}; }

private:
  std::uint64_t same_ = 0;
  std::uint64_t different_;
  std::uint64_t step_ = 1;
  bool found_same_ = false; ///< there is a lower bound: from here on the range is halved
};

} // namespace parley::client
