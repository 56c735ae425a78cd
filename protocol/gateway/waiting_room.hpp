#pragma once
// Who waits at the door: the connections that have not logged in, by the networks that they come from.
#include "protocol/gateway/address_limits.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <unordered_map>

namespace parley::gateway {

/// Keeps pointers to guests, which belong to the caller. A guest that leaves is forgotten.
///
/// Where there is no room for a newcomer, a guest has to give way, or whoever fills the room keeps everybody else
/// out. An address has its share, and so have the networks around it (`room_of_network`): who comes from one that has
/// it takes the place of a guest from there. Otherwise, in a full room, it is a guest of the network that has most,
/// measured by how many addresses such a network may have.
/// Of these guests it is the oldest of those who have said nothing, or else the oldest: who means to log in needs a
/// moment, and who occupies the room has been there for longer, or is one of many.
template <class Guest>
class waiting_room {
public:
  waiting_room(std::size_t guests_max, std::size_t per_address_max) : guests_max_{guests_max} {
    for (std::size_t kind = 0; kind < of_.size(); ++kind)
      share_[kind] = static_cast<std::size_t>(room_of_network(
          kind, static_cast<std::int64_t>(per_address_max), static_cast<std::int64_t>(guests_max)));
  }

  std::size_t size() const { return guests_.size(); }

  void enter(const network_keys& from, Guest& who) {
    entry e{&who, from, {}, arrivals_++, true};
    for (std::size_t kind = 0; kind < of_.size(); ++kind)
      if (from[kind])
        ++*(e.there[kind] = &of_[kind][*from[kind]]);
    guests_.emplace(&who, e);
  }
  /// Nothing happens in these two if the guest has left before.
  void spoke(const Guest& who) {
    if (const auto i = guests_.find(&who); i != guests_.end())
      i->second.silent = false;
  }
  void leave(const Guest& who) {
    const auto i = guests_.find(&who);
    if (i == guests_.end())
      return;
    for (std::size_t kind = 0; kind < of_.size(); ++kind)
      if (i->second.from[kind] && --*i->second.there[kind] == 0)
        of_[kind].erase(*i->second.from[kind]);
    guests_.erase(i);
  }

  /// Null if there is room for somebody from there.
  Guest* who_gives_way_to(const network_keys& newcomer) const {
    for (std::size_t kind = 0; kind < of_.size(); ++kind) {
      if (!newcomer[kind])
        continue;
      const auto there = of_[kind].find(*newcomer[kind]);
      if (there != of_[kind].end() && there->second >= share_[kind])
        return first_of([&](const entry& e) { return std::size_t{e.from[kind] == newcomer[kind]}; });
    }
    return size() < guests_max_ ? nullptr : first_of(crowd);
  }

private:
  struct entry {
    Guest* who;
    network_keys from;
    std::array<std::size_t*, networks_of_an_address>
        there; ///< how many guests each network has; null if none
    std::uint64_t arrived;
    bool silent;
  };
  /// How much its networks have of the room, in parts of what one address may have: the most of them.
  static std::size_t crowd(const entry& e) {
    constexpr auto widest = rooms_of_networks.back();
    std::size_t most = 0;
    for (std::size_t kind = 0; kind < e.there.size(); ++kind)
      if (e.there[kind] != nullptr)
        most = std::max(most, *e.there[kind] * static_cast<std::size_t>(widest / rooms_of_networks[kind]));
    return most;
  }
  /// The guest with the highest weight; of several, a silent one; of several, the oldest.
  template <class Weight>
  Guest* first_of(Weight weight) const {
    const entry* first = nullptr;
    std::tuple<std::size_t, bool, std::uint64_t> highest;
    for (const auto& [who, e] : guests_)
      if (const std::tuple mine{weight(e), e.silent, ~e.arrived}; first == nullptr || mine > highest) {
        first = &e;
        highest = mine;
      }
    return first == nullptr ? nullptr : first->who;
  }

  std::size_t guests_max_;
  std::array<std::size_t, networks_of_an_address> share_{};
  std::uint64_t arrivals_ = 0;
  std::unordered_map<const Guest*, entry> guests_;
  /// How many guests come from each network; never 0. The entries point here.
  std::array<std::unordered_map<address_key, std::size_t>, networks_of_an_address> of_;
};

} // namespace parley::gateway
