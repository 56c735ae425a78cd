#pragma once
// Judges a run from outside: by what clients observed, by the rules of the chaos checker
// (tests/harness/chaos/checker.hpp, whose numbers the complaints carry), and by what each node applied.
//
//   1  a position (conversation, seq) holds one message in all observations
//   2  a client_msg_id has one position, and every retry receives it as the answer
//   3  an acknowledged message is in every member's last sync
//   4  no message is read that was not sent
//   5  positions are 1, 2, 3 … without gaps
//   6  a message gets a position above all those acknowledged before it was first submitted
//   7  a sync is contiguous and reaches what was acknowledged before it was asked; an inbox brings each
//      message that its user did not send, once and in order, and catches up after healing
//   8  a device is brought its rows in ascending order
//  11  replicas that applied the same entry hold the same state, and the n-th entry of a shard is the same
//      everywhere
//  12  what was acknowledged as read stays so, and the other members' devices learn of it (rules_marks.cpp)
//
// A rescue may forget what its survivor did not have, and nothing else (rules_rescue.cpp). Rule 1 has no exception.
#include "actors/core/calls.hpp"
#include "actors/core/watermarks.hpp"
#include "cluster/replication/replication.hpp"
#include "storage/environment.hpp"
#include "tests/cluster/fuzz/simulation.hpp"

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace parley::sim {

using fuzz::micros;
using fuzz::one_ms;
using fuzz::one_second;

std::string name(conversation_id c);

/// How often things happened, so that a run without them cannot pass for a success.
struct tally {
  std::uint64_t acked = 0, retried = 0, received = 0, synced = 0, marked = 0, opened = 0, logins = 0,
                devices = 0;
  std::uint64_t crashes = 0, power_losses = 0, lost_batches = 0, cuts = 0, resets = 0, pauses = 0,
                slow_disks = 0;
  std::uint64_t client_crashes = 0, absences = 0, hand_overs = 0, duels = 0, refusals = 0, held_up = 0,
                last_strikes = 0, gone_for_good = 0, applied = 0, frames = 0, turns = 0, messages = 0;
  std::uint64_t full_disks = 0, disk_errors = 0, stops = 0, flips = 0, mended = 0, lost_disks = 0,
                put_back = 0, fenced = 0, trials = 0, rescues = 0, not_rescued = 0, numbers_lost = 0,
                read_errors = 0, laggards = 0;
  void add(const tally& other);
};

class judge {
public:
  explicit judge(fuzz::simulation& sim) : sim_{sim} {}

  // --- what clients do and see -----------------------------------------------------------------------------
  /// Before the first attempt. The body stands for itself: its hash is what is compared.
  void submitted(const client_msg_id& id, conversation_id to, user_id from, std::uint64_t body);
  void acked(const client_msg_id& id, seq_no seq, bool duplicate);
  /// What a sync that is asked now has to reach.
  seq_no reached(conversation_id c) const;
  void page(conversation_id c, seq_no after, const core::conversation_page& got, seq_no reached);
  /// A device's first row of each conversation may be any, if it was added later.
  void received(user_id user, device_id device, const core::message_news& news);
  /// A device was refused what lies between the two so often that it goes on without.
  void passed_over(user_id user, device_id device, conversation_id c, seq_no after, seq_no upto);
  /// The last pages of a conversation were read by one of its members.
  void read_whole(conversation_id c, user_id by, seq_no last);
  void opened(conversation_id c, user_id a, user_id b);
  /// Whose conversations are open.
  const std::vector<std::pair<user_id, user_id>>& pairs() const { return pairs_; }
  void added(user_id user, device_id device);
  /// At its first login: of its user's devices it was added first, or not. Their registrations may have been under way
  /// together, so the answers to these do not tell.
  void came(user_id user, device_id device, bool first);
  /// A device was brought the news that its user has another one.
  void told_of(user_id user, device_id device, device_id other);
  // (rules_marks.cpp) A mark was acknowledged; a device was brought one.
  void marked(conversation_id c, user_id by, seq_no upto);
  void told(device_id device, const core::watermark& mark);

  // --- what nodes do ---------------------------------------------------------------------------------------
  /// `which`: of the commands of one entry.
  void applied(node_id node, const cluster::log_position& at, std::uint64_t which, std::uint64_t command);

  // --- rescues (rules_rescue.cpp) --------------------------------------------------------------------------
  /// What a survivor has when its shard is rescued.
  struct survival {
    std::uint16_t shards = 0;     ///< of the cluster
    generation next{};            ///< the one that begins
    std::uint64_t counted_at = 0; ///< the entry that counts the rescue
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t>
        entries;                       ///< the others, as `applied` gets them
    std::vector<std::string> messages; ///< their keys in the state
  };
  void rescued(shard_id shard, survival what);
  /// Whether that entry counts a rescue, and nobody has applied it yet.
  bool is_counted_at(const cluster::log_position& at) const;
  /// It is applied for the first time: the state is all that is left.
  void counted(const cluster::log_position& at, storage::shard_view& state);
  bool has_rescues() const { return !rescues_.empty(); }
  /// What was answered before a rescue may be forgotten, and is asked again.
  std::uint64_t rescues() const { return count.rescues; }

  // --- the end ---------------------------------------------------------------------------------------------
  /// Empty, or what some device lacks of the conversations of its user.
  std::string missing() const;
  /// The last message that the device has to count as applied: of others, and written since it was there.
  seq_no due(conversation_id c, user_id user, device_id device) const;
  /// Empty, or what is wrong with the marks of one member, of which `stored` is in the conversation's rows.
  std::string unmarked(conversation_id c, user_id of, const core::progress& stored) const;
  void finish();

  tally count;

private:
  struct submission {
    conversation_id to;
    user_id from{};
    std::uint64_t body = 0;
    seq_no above{}; ///< acknowledged before it was first submitted
    seq_no seq{};   ///< as it was acknowledged or seen
    bool acked = false;
    micros at = 0; ///< when it was first submitted
  };
  struct conversation {
    std::vector<user_id> members;
    std::map<seq_no, client_msg_id> at;
    seq_no acked{}; ///< the highest
    std::map<user_id, seq_no> read;
  };
  struct stream {
    std::vector<seq_no> seqs; ///< as they came
  };
  void observe(conversation_id c, seq_no seq, const client_msg_id& id, user_id from, std::uint64_t body,
               std::string_view where);
  bool is_first(user_id user, device_id device) const;
  bool was_there(user_id user, device_id device, const submission& when) const;

  // (rules_rescue.cpp)
  struct rescue {
    survival what;
    bool is_counted = false;
    std::map<conversation_id, seq_no> kept; ///< the last message of each conversation
  };
  /// Of the messages up to that number: the last one that no rescue has forgotten.
  seq_no what_is_left(conversation_id c, seq_no seq) const;
  /// A rescue has forgotten the message with that number.
  bool is_lost(conversation_id c, seq_no seq) const { return what_is_left(c, seq) < seq; }
  /// Nothing lies between the two but what was lost.
  bool follows(conversation_id c, seq_no before, seq_no seq) const;
  /// The last that every later reader of the conversation has to find.
  seq_no kept(conversation_id c) const;
  /// As of the newest rescue of the conversation's shard: a number of before. False without a rescue.
  bool is_from_before(conversation_id c, seq_no seq) const;
  const std::vector<rescue>* rescues_of(shard_id shard) const;
  const std::vector<rescue>* rescues_of(conversation_id c) const;
  /// Of the user's inbox.
  bool is_rescued(user_id user) const;

  fuzz::simulation& sim_;
  std::map<shard_id, std::vector<rescue>> rescues_;
  std::uint16_t shards_ = 0; ///< known with the first rescue
  std::map<client_msg_id, submission> messages_;
  std::map<conversation_id, conversation> conversations_;
  std::vector<std::pair<user_id, user_id>> pairs_;
  std::map<user_id, std::vector<device_id>> devices_;
  std::map<device_id, micros> added_at_;
  std::map<device_id, std::set<device_id>> told_of_; ///< of which others each was told
  std::set<device_id> later_;                        ///< those that are known to be no first ones
  std::map<std::pair<device_id, conversation_id>, stream> streams_;
  std::map<std::pair<conversation_id, user_id>, seq_no> marked_; ///< as acknowledged
  std::map<std::tuple<device_id, conversation_id, user_id>, core::progress> told_;
  std::map<std::tuple<shard_id, generation, std::uint64_t, std::uint64_t>, std::uint64_t> log_;
};

} // namespace parley::sim
