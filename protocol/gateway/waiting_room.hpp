#pragma once
// Who waits at the door: the connections that have not logged in, by the address that they come from.
#include "protocol/gateway/address_limits.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace parley::gateway {

/// Keeps pointers to guests, which belong to the caller. A guest that leaves is forgotten.
///
/// When the room is full, somebody has to give way, or whoever fills it keeps everybody else out. That is the
/// oldest guest of the address that has most of them: a guest who means to log in needs a moment, and one who
/// occupies the room has been there for longer, or is one of many. If every address has one guest, it is the
/// oldest of all.
template <class Guest>
class waiting_room {
public:
  waiting_room(std::size_t guests_max, std::size_t per_address_max)
      : guests_max_{guests_max}, per_address_max_{per_address_max} {}

  std::size_t size() const { return size_; }
  bool full() const { return size_ >= guests_max_; }
  /// Whether this address has as many guests as it may.
  bool full_for(address_key from) const {
    const auto i = of_.find(from);
    return i != of_.end() && i->second.size() >= per_address_max_;
  }

  void enter(address_key from, Guest& who) {
    of_[from].push_back({&who, arrivals_++});
    ++size_;
  }
  /// Nothing happens if the guest has left before.
  void leave(address_key from, const Guest& who) {
    const auto i = of_.find(from);
    if (i == of_.end())
      return;
    const auto at =
        std::find_if(i->second.begin(), i->second.end(), [&](const entry& e) { return e.who == &who; });
    if (at == i->second.end())
      return;
    i->second.erase(at);
    --size_;
    if (i->second.empty())
      of_.erase(i);
  }
  /// Null if nobody is there.
  Guest* who_gives_way() const {
    const std::vector<entry>* most = nullptr;
    for (const auto& [from, guests] : of_)
      if (most == nullptr || guests.size() > most->size() ||
          (guests.size() == most->size() && guests.front().arrived < most->front().arrived))
        most = &guests;
    return most == nullptr ? nullptr : most->front().who;
  }

private:
  struct entry {
    Guest* who;
    std::uint64_t arrived;
  };
  std::size_t guests_max_;
  std::size_t per_address_max_;
  std::size_t size_ = 0;
  std::uint64_t arrivals_ = 0;
  std::unordered_map<address_key, std::vector<entry>> of_; ///< the oldest first; never an empty list
};

} // namespace parley::gateway
