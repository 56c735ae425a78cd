#pragma once
// Room that all connections of a server share: a bound of each connection says nothing about a thousand of them.
#include <cstdint>

namespace parley::gateway {

/// Each may have an eighth of what is free, so a few who take all that they get share most of it, many have less each,
/// and whoever has less than they do always finds some (dynamic thresholds: Choudhury and Hahne, "Dynamic queue length
/// thresholds for shared-memory packet switches", 1998).
class shared_room {
public:
  explicit shared_room(std::uint64_t max) : max_{max} {}

  /// False: nothing was taken. `has`: what who asks has of it already. Who has nothing may have more than their part as
  /// long as a quarter stays free for others; and who asks for more than there ever is, when nobody has any.
  bool take(std::uint64_t amount, std::uint64_t has) {
    const auto free = max_ > taken_ ? max_ - taken_ : 0;
    const bool is_fair = has + amount <= free / 8;
    const bool is_first = has == 0 && taken_ + amount <= max_ - max_ / 4;
    if (!is_fair && !is_first && taken_ != 0)
      return false;
    taken_ += amount;
    return true;
  }
  void give_back(std::uint64_t amount) { taken_ -= amount; }
  std::uint64_t taken() const { return taken_; }

private:
  std::uint64_t max_;
  std::uint64_t taken_ = 0;
};

} // namespace parley::gateway
