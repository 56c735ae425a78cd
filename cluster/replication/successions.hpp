#pragma once
// How the next generation of a shard follows a sealed one.
//
//   sealed replica ── sealed{successor} ─► each member of the next generation, until it has confirmed
//   next member    ── fetch ─► sealed replicas, or successors that have the state (state_transfer.hpp)
//   next member    ── confirmed ─► the replica that sent `sealed`, once its own state is on disk
//
// A sealed replica that is no member of the next generation becomes a tombstone when a majority of the successors has
// confirmed, or when it hears that their generation has ended, too: most of them may have lost their disks since, and then the
// shard was rescued. So it asks also those that have confirmed, once a minute, and who knows of a later end says that as well. A
// tombstone still answers messages of the old generation: it answers that this generation has ended. Every message may be
// lost, and is then repeated.
#include "cluster/replication/peer_frames.hpp"
#include "cluster/replication/replica_record.hpp"

#include <map>
#include <vector>

namespace parley::cluster {

class replica;
class replication_parts;

/// Thread: the store's.
class successions {
public:
  explicit successions(replication_parts& node) : node_{node} {}
  void receive(node_id from, const message_header& h, std::string_view body);
  /// `from` has sent a message of an older generation than that of `r`.
  void answer_old(node_id from, const replica& r, generation gen);
  /// A Raft message of this generation has arrived, so its sender has the state.
  void heard(node_id from, const replica& r, std::uint64_t id);
  void tick();
  /// The peer may have been a member of any ended generation, and know nothing of this one, which goes on without it. If
  /// it was the only member, it would go on as well.
  void session_begun(node_id peer);
  void end_turn(bool committed);

private:
  struct progress {
    generation gen{};
    std::vector<node_id> confirmed;
  };
  enum class to : std::uint8_t {
    all,
    successors, ///< that have not confirmed
    confirmed   ///< and those that have
  };
  static constexpr std::uint64_t confirmed_every = 60; ///< announcements
  static const succession* speaks_of(const replica& r);
  void announce(to whom);
  void tell(node_id whom, const replica& r, const succession& s);
  progress& of(const replica& r, generation gen);

  replication_parts& node_;
  std::map<shard_id, progress> progress_;
  std::int64_t next_at_ = 0;
  std::uint64_t announcements_ = 0;
};

} // namespace parley::cluster
