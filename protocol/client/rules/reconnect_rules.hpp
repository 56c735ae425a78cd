#pragma once
#include "protocol/client/rules/backoff.hpp"
#include "protocol/values/errors.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace parley::client {

/// Decides which node a device tries next and how long it waits before it does.
///
/// Owns:   the index of the seed to try, the pause before the next round, and the backoff between rounds.
/// Thread: its owner's. Pure: time and chance are arguments.
/// Holds:  a round tries every seed once, then every other node, without a pause between them; a pause
///         follows each round that fails, and each connection that is lost. After a loss the next round
///         begins at the next seed, because the fault of the node may last. While somebody waits for a
///         connection, no pause is longer than `wanted_max`, unless a node advised it that cannot serve more
///         just now. A node that leaves advises pauses, too, so that not all come to the others at once; who
///         has something to send may come earlier.
class reconnect_rules {
public:
  reconnect_rules(std::size_t seeds, std::size_t first, backoff_config pace,
                  std::chrono::nanoseconds stable_after, std::chrono::milliseconds wanted_max)
      : seeds_{seeds}, at_{first}, pace_{pace}, stable_after_{stable_after}, wanted_max_{wanted_max} {}

  /// So many nodes besides the seeds are known. They are tried at the end of a round, because nobody promised
  /// that they can be reached from here.
  void set_others(std::size_t others) {
    others_ = others;
    tried_ = 0;
  }
  /// The index of the node to try now: of a seed, or of another node, counted behind the seeds.
  std::size_t seed() const { return tried_ < seeds_ ? at_ % seeds_ : tried_; }
  /// The pause before the next round.
  std::chrono::milliseconds pause() const { return pause_; }

  /// The seed did not accept the device. Returns whether the next one is to be tried at once; if not, the
  /// round is over and the next one begins after `pause`.
  bool failed(dice& chance, bool wanted = false) {
    if (tried_ < seeds_)
      ++at_;
    if (++tried_ < seeds_ + others_)
      return true;
    tried_ = 0;
    advised_ = false; // what a node advised about an earlier connection is over
    pause_ = next(chance, wanted);
    return false;
  }
  void connected(instant now) {
    connected_at_ = now;
    tried_ = 0;
    advised_ = false;
  }
  enum class advice : bool {
    firm, ///< before that, nobody would be served
    soft  ///< others serve meanwhile
  };
  /// The node said when to come back. That replaces the pause that would follow this connection.
  void advised(std::chrono::milliseconds pause, advice how = advice::firm) {
    pause_ = pause;
    advised_ = true;
    firm_ = how == advice::firm;
  }
  /// The node closes the connection and says when to come back; 0: it has no advice.
  void closed(ec why, std::chrono::milliseconds reconnect_after) {
    if (reconnect_after.count() > 0)
      advised(reconnect_after, why == ec::draining ? advice::soft : advice::firm);
  }
  /// A connection that lasted `stable_after` was a good one: the backoff begins at its lowest ceiling again.
  void lost(instant now, dice& chance, bool wanted = false) {
    ++at_;
    if (now - connected_at_ >= stable_after_)
      pace_.reset();
    if (!advised_)
      pause_ = next(chance, wanted);
    else if (wanted)
      pause_ = this->wanted(pause_, chance);
  }

  /// From now on somebody waits for a connection, and `left` of the pause is left. Returns what shall be
  /// left.
  std::chrono::milliseconds wanted(std::chrono::milliseconds left, dice& chance) const {
    if ((advised_ && firm_) || left <= wanted_max_)
      return left;
    return std::chrono::milliseconds{chance.upto(static_cast<std::uint64_t>(wanted_max_.count()))};
  }
  /// There is a reason to believe that the next try will succeed: the pauses begin at the lowest ceiling.
  void encouraged() { pace_.reset(); }

private:
  std::chrono::milliseconds next(dice& chance, bool wanted) {
    return pace_.next(chance, wanted ? wanted_max_ : std::chrono::milliseconds::max());
  }

  std::size_t seeds_;
  std::size_t others_ = 0;
  std::size_t at_; ///< counts up; the seed is the remainder
  std::size_t tried_ = 0;
  backoff pace_;
  std::chrono::nanoseconds stable_after_;
  std::chrono::milliseconds wanted_max_;
  std::chrono::milliseconds pause_{0};
  instant connected_at_{};
  bool advised_ = false; ///< `pause_` is the node's advice
  bool firm_ = false;    ///< of that advice
};

/// Whether the nodes that the cluster named at a login are other ones than the store has. An older gateway names none, and
/// neither does a node that is alone: what is known stays.
inline bool are_others_named(const std::vector<std::string>& named, const std::vector<std::string>& kept) {
  return !named.empty() && named != kept;
}

/// The nodes to try: the seeds, then those that the cluster named at the last login and that are no seeds.
/// `parse` makes an address of a text, or something false: a text that is none is left out.
template <class Address, class Parse>
std::vector<Address> nodes_to_try(std::vector<Address> seeds, const std::vector<std::string>& named,
                                  Parse parse) {
  for (const auto& text : named) {
    auto at = parse(text);
    if (at && std::find(seeds.begin(), seeds.end(), *at) == seeds.end())
      seeds.push_back(std::move(*at));
  }
  return seeds;
}

} // namespace parley::client
