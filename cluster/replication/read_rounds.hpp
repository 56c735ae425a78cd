#pragma once
// ReadIndex, which libraft does not have: which reads wait for which round, and which may be served.
#include "protocol/values/types.hpp"

#include <cstdint>
#include <deque>
#include <vector>

namespace parley::cluster {

/// A read is served when a majority has answered a round that began after the read arrived, and
/// everything that was committed then is applied and synced. Rounds are numbered: an answer to a round
/// answers all earlier ones.
/// Thread: the store's. Sends no messages and reads no clock.
class read_rounds {
public:
  void add(std::uint64_t ticket, std::int64_t now) { fresh_.push_back({ticket, now}); }
  std::size_t size() const { return fresh_.size() + asked_tickets_.size(); }
  bool has_fresh() const { return !fresh_.empty(); }
  bool asking() const { return !asked_.empty(); }
  std::uint64_t round() const { return round_; }

  /// Begins a round for all fresh reads; `index` is the commit index now.
  std::uint64_t begin(std::uint64_t index, std::size_t peers) {
    if (answered_.size() != peers)
      answered_.assign(peers, 0);
    asked_.push_back({++round_, index, fresh_.size()});
    asked_tickets_.insert(asked_tickets_.end(), fresh_.begin(), fresh_.end());
    fresh_.clear();
    return round_;
  }
  void answered(std::size_t peer, std::uint64_t round) {
    if (peer < answered_.size() && round <= round_ && round > answered_[peer])
      answered_[peer] = round;
  }
  /// Takes the reads that may be served. `others_needed`: answers needed besides the leader's own.
  template <class F>
  void take_ready(std::uint64_t visible, std::size_t others_needed, F ready) {
    while (!asked_.empty()) {
      const auto& first = asked_.front();
      std::size_t answers = 0;
      for (auto round : answered_)
        answers += round >= first.number;
      if (answers < others_needed || visible < first.index)
        return;
      for (std::size_t i = 0; i < first.reads; ++i) {
        ready(asked_tickets_.front().ticket);
        asked_tickets_.pop_front();
      }
      asked_.pop_front();
    }
  }
  /// Takes the reads that have waited since before `since`.
  template <class F>
  void take_late(std::int64_t since, F late) {
    while (!asked_.empty() && (asked_.front().reads == 0 || asked_tickets_.front().came < since)) {
      for (std::size_t i = 0; i < asked_.front().reads; ++i) {
        late(asked_tickets_.front().ticket);
        asked_tickets_.pop_front();
      }
      asked_.pop_front();
    }
    while (!fresh_.empty() && fresh_.front().came < since) {
      late(fresh_.front().ticket);
      fresh_.erase(fresh_.begin());
    }
  }
  template <class F>
  void take_all(F each) {
    for (const auto& r : asked_tickets_)
      each(r.ticket);
    for (const auto& r : fresh_)
      each(r.ticket);
    asked_.clear();
    asked_tickets_.clear();
    fresh_.clear();
    // The numbers continue: an answer to a round of an earlier leadership answers no round of the next.
    answered_.assign(answered_.size(), 0);
  }

private:
  struct waiting {
    std::uint64_t ticket = 0;
    std::int64_t came = 0;
  };
  struct asked {
    std::uint64_t number = 0;
    std::uint64_t index = 0;
    std::size_t reads = 0;
  };
  std::vector<waiting> fresh_;
  std::deque<waiting> asked_tickets_;
  std::deque<asked> asked_;
  std::vector<std::uint64_t> answered_;
  std::uint64_t round_ = 0;
};

} // namespace parley::cluster
