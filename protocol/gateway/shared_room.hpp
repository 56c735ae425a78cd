#pragma once
// Room that all connections of a server share: a bound of each connection says nothing about a thousand of them.
#include <cstdint>

namespace parley::gateway {

/// The last quarter is for those who have nothing of it yet, and half of that for those who want little: some who take all
/// that they get leave some for everybody else.
class shared_room {
public:
  explicit shared_room(std::uint64_t max) : max_{max} {}

  /// False: nothing was taken. `has`: what who asks has of it already. Who asks for more than there ever is gets it when
  /// nobody else has any.
  bool take(std::uint64_t amount, std::uint64_t has) {
    const auto kept_free = has + amount <= max_ / 1'024 ? 0 : has == 0 ? max_ / 8 : max_ / 4;
    if (taken_ != 0 && taken_ + amount > max_ - kept_free)
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
