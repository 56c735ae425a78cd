#pragma once
// Decides when a node's data directory is copied, and when the copy is put back or runs beside its node. It is pure:
// time and the cluster's state are arguments, and randomness comes from the seed. One copy at a time.
//
// Only copies are used that other nodes can recognise (docs/decisions/0032): a copy is used while every node is whole,
// so each of them has seen the newest start of the node, and what it confirmed. A copy of a disk that was lost since
// is forgotten.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

namespace parley::chaos {

using milliseconds = std::chrono::milliseconds;

enum class copy_fault : std::uint8_t {
  older,   ///< a copy of the directory of a node that was down is put back after a later life of the node
  laggard, ///< the same, and it first meets only one node that was away at last: with the copy, these may be a
           ///< majority without the newest messages
  running, ///< a copy of the directory of a running node is put back
  beside,  ///< a copy of the directory of a running node is started beside it
};
inline constexpr std::size_t copy_fault_kinds = 4;
std::string_view name_of(copy_fault f);

struct copy_config {
  milliseconds length{120'000};                   ///< of the run; no copy is used after its end
  milliseconds calm_min{500}, calm_max{3'000};    ///< before a copy is taken
  milliseconds life_min{2'000}, life_max{10'000}; ///< of the node after it, until the copy is used
  milliseconds quiet{1'000};                      ///< for how long all have to be whole before
  milliseconds lag{3'000};                        ///< how long the laggard is away
  milliseconds meet{6'000};            ///< how long the two have no others, if nobody is recognised
  milliseconds recognise_wait{20'000}; ///< then it was not recognised
  milliseconds whole_wait{60'000};     ///< after it was recognised
  milliseconds beside_min{1'000},
      beside_max{8'000};              ///< a recognised process goes on beside its node for so long
  milliseconds room_for_each{30'000}; ///< of what is promised
};

/// How many kinds a run of this length promises.
std::size_t copies_in(const copy_config& c);

struct copy_view {
  bool up = false;    ///< no node is down: else nobody waits for all to be whole, because an outage is long
  bool whole = false; ///< every node is whole, and no fault of any kind is in progress
  bool recognised = false; ///< since the copy was put back or started: it was fenced
};

struct copy_step {
  enum class what : std::uint8_t {
    take,
    kill,
    put_back,
    start,
    start_beside,
    end_beside,
    recognised,
    missed
  } is{};
  std::size_t node = 0; ///< counts from 1
  bool operator==(const copy_step&) const = default;
};

class copy_scheduler {
public:
  /// At least three nodes.
  copy_scheduler(copy_config config, std::uint64_t seed, std::size_t nodes);

  /// What to do now, in this order. `recognised` and `missed` end a copy: it had its effect, or not.
  std::vector<copy_step> tick(milliseconds now, const copy_view& view);
  /// Another fault has killed a node. True: its directory has to be copied before it starts again.
  bool killed(std::size_t node, milliseconds now);
  /// The disk of a node was lost: nobody could recognise a copy of it any more.
  void lost(std::size_t node);
  /// Starts what is down, and ends what runs beside. What was put back may still have to be recognised.
  std::vector<copy_step> heal();

  /// While it is true no other fault may begin: the copy waits for all to be whole, or is not recognised yet.
  bool alone() const { return now_ == state::gathering || struck(); }
  /// A copy was put back, or runs beside its node, and it is not decided whether it was recognised.
  bool struck() const { return now_ == state::lagging || now_ == state::meeting || now_ == state::waiting; }
  copy_fault fault() const { return fault_; }
  std::size_t node() const { return node_; }
  /// What a run of this length does at least once each; if it did not, the run does not count.
  const std::vector<copy_fault>& promised() const { return promised_; }

private:
  enum class state : std::uint8_t {
    calm,      ///< until `until_`
    taking,    ///< waits for a node whose directory may be copied
    living,    ///< the node goes on, until `until_`
    gathering, ///< waits for all to be whole
    lagging,   ///< the laggard is away, until `until_`
    meeting,   ///< the copy and the laggard have no others, until `until_` or until it is recognised
    waiting,   ///< for the copy to be recognised, and then for all to be whole
    resting,   ///< a recognised process is beside its node, until `until_`
  };
  milliseconds between(milliseconds low, milliseconds high);
  std::size_t any_node() { return static_cast<std::size_t>(random_() % nodes_) + 1; }
  void refill();
  void calm_down(milliseconds now);
  void live(std::size_t node, milliseconds now);
  std::vector<copy_step> strike(milliseconds now);
  std::vector<copy_step> meet(milliseconds now);
  std::vector<copy_step> start_others();
  std::vector<copy_step> judge(milliseconds now, const copy_view& view);

  copy_config config_;
  std::mt19937_64 random_;
  std::size_t nodes_;
  std::vector<copy_fault> promised_, bag_; ///< the next one is at the end
  state now_ = state::calm;
  copy_fault fault_{};
  std::size_t node_ = 0, laggard_ = 0;
  bool recognised_ = false;
  milliseconds until_{}, struck_at_{}, whole_since_{-1};
};

} // namespace parley::chaos
