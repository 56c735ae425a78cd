#pragma once
// One shard's replica: its Raft group, its log, its state machine, and the requests that wait for answers.
#include "cluster/replication/disk_pace.hpp"
#include "cluster/replication/entry_log.hpp"
#include "cluster/replication/peer_bodies.hpp"
#include "cluster/replication/peer_frames.hpp"
#include "cluster/replication/raft_group.hpp"
#include "cluster/replication/read_rounds.hpp"
#include "cluster/replication/replica_record.hpp"
#include "cluster/replication/replication.hpp"
#include "cluster/replication/send_cursor.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace parley::cluster {

class replica;

/// Shared by the replicas of a node. Owned by `replication`.
struct replica_host {
  replica_host(const replication_config& c, state_machine& m)
      : config{c}, machine{m}, out{c.frame_bytes_max} {}
  replication_config config;
  state_machine& machine;
  storage::environment* env = nullptr;
  const peer_links* links = nullptr;
  frame_batcher out;
  events news;
  std::int64_t now = 0;
  std::int64_t votes_from =
      0; ///< before it a replica votes only if all its other members said what they know
  std::uint64_t next_sequence = 1;
  std::optional<shard_id> unreadable; ///< a command met a damaged row there: this turn cannot be committed
  std::size_t apply_bytes_left = 0;   ///< of entries that are applied in this turn
  std::size_t trim_share = 0;         ///< rows that each replica with left-overs may erase in this turn
  bool succession_changed = false;    ///< a node has to learn that a generation ended
  bool has_room = true;               ///< of the disk, for proposals
  bool takes_entries = true;          ///< at least half of the disk's reserve is left
  std::uint64_t bytes_free = 0;       ///< of the disk, with its reserve
  /// Members without room that shards led here need for a majority: the bytes of log that they lack, of all those
  /// shards. One that is not in it is sent nothing.
  std::map<node_id, std::size_t> full_backlogs;
  disk_pace pace;              ///< of the disk's syncs
  bool ending_turn = false;    ///< after the sync: everything is sent with the last frames of this turn
  std::vector<replica*> dirty; ///< has something to do in this turn
  std::vector<replica*> snapshot_wanted_by; ///< leaders whose followers fell too far behind
  std::deque<shard_id> senders;             ///< may have entries to send, in the order of their turns
  std::unique_ptr<storage::read_txn> view;  ///< of the log, while entries are sent

  /// Whether there is a session with the peer, and less than `limit` of our frames waits for it.
  bool has_credit(node_id peer, std::size_t limit) const;
  /// A row of the log that left memory, valid as long as `view`; empty if it is not there.
  std::string_view stored_row(std::uint64_t sequence);
};

/// Thread: the store's.
/// Holds:  term and vote are on disk before a message that depends on them is sent; an entry is acknowledged
///         after the sync of its row; applied commands and their index share a transaction; nothing is
///         applied after a seal.
class replica {
public:
  using life = replica_record::life;

  replica(replica_host& host, shard_id shard, replica_record record);

  /// Loading: rows in order of their sequence, then `start`.
  void load(const row_header& h, std::uint64_t sequence, std::string_view row);
  void start();
  /// Its record or its log cannot be read: it keeps what is stored as it is and takes no part.
  void refuse_to_start(std::string why);

  // --- inputs ----------------------------------------------------------------------------------------------
  void receive_raft(const message_header& h, std::string_view body);
  void receive_read(node_id from, const message_header& h, std::string_view body);
  void receive_position(const message_header& h, std::string_view body);
  /// `by` knows that it was in that term and had the entries up to `index`, which it was not and has not: it halts.
  void forgot(node_id by, std::uint64_t term, std::uint64_t index);
  /// What this replica knows of that of `peer`, if that is a member.
  enum class and_asks : std::uint8_t { no = 0, yes = 1 };
  void tell_position(node_id peer, and_asks ask = and_asks::no);
  void propose(std::uint64_t ticket, std::string_view command);
  void read(std::uint64_t ticket);
  bool transfer_leadership(node_id to); ///< whether it was begun
  /// The session with that node is lost, or a new one begins.
  void peer_reset(node_id peer);
  /// While leading: the other members that have answered within an election time-out.
  std::vector<node_id> answering() const;
  bool is_whole_without(node_id node) const;
  /// While leading: the others.
  std::vector<member> silent() const;
  /// While leading: of those that answer, the ones that lack entries.
  void add_lagging(std::vector<lagging_member>& to) const;
  /// Of those that answer, the ones whose disks have room for proposals, and that know of no damaged row: those that
  /// have all that is committed, or also others. Until its successor has the whole log, a leader takes no proposals.
  enum class reach : std::uint8_t { level, any };
  std::vector<node_id> fit_members(reach how_far = reach::level) const;
  /// A row of its state is damaged. False if that is known, or if it is a late word of what was mended.
  bool is_damaged() { return host_.now >= mended_until_ && !std::exchange(damaged_, true); }
  bool damaged() const { return damaged_; }
  /// While loading: a command that waits to be applied met a damaged row. Nothing is applied before the rows are replaced;
  /// if it has to lead, because nobody else has its log, it only brings that to a member that can.
  void begin_unreadable();
  /// While leading: a member with a damaged row that is to be sent this replica's state, or 0. The others that can
  /// acknowledge entries are a majority without it, and go on meanwhile.
  std::uint64_t to_mend() const;
  /// While leading: the member is being mended, and the others are no such majority any more.
  bool is_missed(std::uint64_t id) const;
  /// Its generation has ended, which it could not apply: the end that it is going to take part in, or null.
  const succession* awaited_end() const { return awaited_end_ ? &*awaited_end_ : nullptr; }
  /// So many other successors have the state. Once they suffice, a replica with an `awaited_end` gives its log up.
  void successors_have_state(std::size_t others);
  /// Whether the state as of `index` is news here. A damaged one is replaced also by one of the same entry.
  bool wants_state_of(std::uint64_t index) const {
    return index > record_.applied_index || (damaged_ && !leads() && index == record_.applied_index);
  }
  /// A leader's state is on its way here, or no longer. If it is to replace a damaged one, nothing is applied
  /// meanwhile: the state would be older than what is applied when it is complete.
  void awaits_state(bool yes);
  /// Of the fit members, the ones whose disks sync so much more quickly than ours that they should lead instead.
  std::vector<node_id> quicker_members() const;
  /// While leading: that member may lead instead although nothing is amiss. All members answer, have room and sound rows; the
  /// member has all that is committed, and its disk is known to be as good.
  bool may_offer(node_id to) const;
  /// Others should lead instead of it, if they can.
  bool is_unfit() const { return damaged_ || !host_.has_room; }
  /// While leading: members that answer have no room, and without them there is no majority.
  bool lacks_room() const;
  /// While leading: whether a member with room could commit something if it led instead: those with room, and this
  /// one while it takes entries, are a majority. A leader that commits nothing cannot even serve reads.
  bool others_could_commit() const { return with_room() - 1 + (host_.takes_entries ? 1 : 0) >= majority(); }
  /// While leading: the member is sent no entries. It is being mended; or its disk has no room, and the others are a
  /// majority without it, or it lacks too much. What it lacks waits in our log, as long as that is kept anyway, instead
  /// of using what the member needs to vote and to free room.
  bool held_back(std::uint64_t id) const;
  /// While leading: the member has said that its disk has no room. It is sent no state.
  bool is_full(std::uint64_t id) const;
  /// Adds to `host.full_backlogs` the members without room that this leader needs for a majority.
  void count_full_backlogs();
  void seal(std::vector<member> next, std::uint64_t ticket, std::optional<generation> of);
  /// Raft's timer. Those of leaders are called together, so that their heartbeats share frames.
  void timeout();
  /// Every `heartbeat_every`.
  void common_tick();

  // --- the turn --------------------------------------------------------------------------------------------
  void mark();
  /// The record is new and has to be written.
  void remember() {
    record_dirty_ = true;
    mark();
  }
  /// The record has changed and is not on disk yet.
  bool unsynced() const { return record_dirty_ || hold_ || restart_; }
  bool wants_write() const;
  /// Rows wait to be erased, a share of them in each turn.
  bool has_left_overs() const { return cleaning_ || !erase_later_.empty(); }
  /// Whether entries are committed but not applied yet.
  bool wants_apply() const {
    return record_.as == life::live && !halted_ && may_apply() && commit_index() > record_.applied_index;
  }
  void begin_turn();
  /// True if messages will follow that promise what it wrote.
  bool write(storage::write_txn& txn);
  /// `committed`: `write` was called and its transaction is durable.
  void end_turn(bool committed);
  /// Sends each follower at most one frame of entries, or the heartbeat that is due. True if entries were
  /// sent.
  bool send_entries();
  /// Whether only the credit of a link keeps entries here.
  bool wants_to_send() const;
  void left_senders() { sending_queued_ = false; }

  // --- snapshots and successions (state_transfer.cpp, successions.cpp) -------------------------------------
  /// A leader's state was staged in the other slot. False if Raft does not accept it.
  bool install(std::uint64_t from, std::uint64_t term, std::uint64_t index, std::uint64_t index_term);
  /// The first state of a waiting replica was staged in the other slot.
  void begin_with(std::uint64_t index, std::uint64_t index_term);
  /// Another node reports that the generation has ended: finish it here, as far as this log reaches.
  void learn_succession(const succession& s);
  /// A majority of the successors has the state: only a tombstone is kept.
  void bury();
  /// The staged rows of an abandoned transfer have to be erased before the next one.
  void soil_other_slot();
  void clean_other_slot();
  bool other_slot_clean() const { return !record_.other_slot_dirty && !cleaning_; }
  /// While state is sent to that member, its reports about missing entries are ignored.
  /// A follower is sent the state as of `index`.
  void transfer_begun(std::uint64_t to, std::uint64_t index);
  void transfer_ended(std::uint64_t to, bool arrived);

  std::int64_t deadline() const {
    if (!raft_)
      return waits_alone_ ? host_.votes_from : INT64_MAX;
    return may_vote() ? raft_->deadline(host_.now) : std::max(raft_->deadline(host_.now), host_.votes_from);
  }
  bool may_vote() const;
  bool leads() const { return raft_ && raft_->leads(); }
  bool halted() const { return halted_.has_value(); }
  bool installing() const { return installing_.has_value(); }
  shard_id shard() const { return shard_; }
  const replica_record& record() const { return record_; }
  std::uint64_t self() const { return self_; }
  const raft_group* raft() const { return raft_.get(); }
  node_id node_of(std::uint64_t id) const;
  std::uint64_t id_of(node_id node) const;
  node_id leader_node() const;
  replica_status status() const;
  /// Followers to which libraft wants to send a snapshot, since the last call.
  std::vector<std::uint64_t> take_snapshot_wanted() { return std::exchange(snapshot_wanted_, {}); }

  std::int64_t queued_deadline = INT64_MAX; ///< the timer heap's

private:
  struct pending_entry {
    std::uint64_t index = 0;
    std::uint32_t tickets = 0;
  };
  struct marker {
    std::uint64_t index = 0;
    std::uint64_t term = 0;
    std::uint32_t trailing = 0;
  };
  struct arrival {
    std::uint64_t index = 0;
    std::uint64_t term = 0;
    bool rows_only = false; // the log has the entry, and stays
  };
  enum class state_at_seal : std::uint8_t { here, missing };

  void become_member();
  void begin_group();
  void absorb(const raft_group::update& u);
  void send_messages(std::uint32_t n);
  void send_append(std::size_t place, std::uint64_t last);
  void queue_sending();
  std::uint64_t lowest_previous() const; ///< entries behind it can be sent
  void lead();
  void step_down();
  void submit_built();
  void submit_one(entry_kind kind, std::string row, std::uint64_t ticket);
  void truncate(std::uint64_t from);
  void apply_committed(storage::write_txn& txn);
  void apply_entry(storage::write_txn& txn, std::uint64_t index, std::string_view payload);
  void apply_seal(storage::write_txn& txn, std::vector<member> next, std::uint64_t index);
  void end_generation(succession s, state_at_seal state);
  void halt(log_position at, std::string why);
  [[noreturn]] void stop_unreadable(std::uint64_t index) const;
  void install_staged();
  void ask_round();
  void maybe_mark_snapshot();
  std::uint64_t needed_from() const;
  void erase_left_overs(storage::write_txn& txn);
  void report_leadership();
  void refuse(std::uint64_t ticket, ec why);
  void refuse_all(ec built, ec logged);
  void refuse_message();
  void note_position(const message_header& h, const raft_group::message& m, std::uint64_t leader_stored);
  void note_last();
  void contradicted(const message_header& h, const raft_group::message& m, std::uint64_t index);
  message_header header(message_type type, std::uint64_t to) const;
  frame_batcher::leaves leaving() const;
  std::uint64_t commit_index() const;
  std::uint64_t term_at(std::uint64_t index) const;
  bool wants_timeout() const;
  std::size_t place_of(std::uint64_t id) const; ///< in `ids_`; its size if it is none of them
  bool sane(const raft_group::message& m, std::size_t entries) const;

  replica_host& host_;
  shard_id shard_{};
  replica_record record_;
  std::uint64_t self_ = 0;
  std::vector<std::uint64_t> ids_; // of record_.members, in their order
  static constexpr auto never = std::numeric_limits<std::int64_t>::min();
  struct follower {
    std::int64_t heard_at = 0; // a result
    bool has_room = true;      // as its last result says, and so the next
    bool damaged = false;
    std::uint32_t sync_ms = 0;    // as its last result says
    std::int64_t sent_at = never; // an append
    std::uint64_t state_at = 0;   // the index of the state that it is sent, until it has it; 0: none
    send_cursor cursor;
    bool forgot = false;   // it has less than it had confirmed, and was told, and has not got it back
    bool answered = false; // to this leader
  };
  std::vector<follower> followers_; // of `ids_`, while leading
  bool answers(std::size_t place) const;
  bool is_sent_state(std::uint64_t id) const;
  bool goes_on_without(std::uint64_t id) const;
  void forget_damage(); // its rows are those of another replica now, or gone
  std::size_t majority() const { return ids_.size() / 2 + 1; }
  std::size_t with_room() const;
  std::int64_t timed_out_at_ = 0;
  bool damaged_ = false;                  // a row of its state cannot be read
  bool awaits_state_ = false;             // instead of its damaged one
  bool unreadable_ = false;               // applying met a damaged row; it is said on disk, too
  std::optional<succession> awaited_end_; // while unreadable
  bool may_apply() const { return !awaits_state_ && !unreadable_; }
  std::int64_t mended_until_ = 0; // readers may still tell of the rows that are gone
  std::int64_t stands_from_ = 0;  // while unfit: it asks for votes only then; 0: it knows a leader
  std::unique_ptr<raft_group> raft_;
  entry_log log_;

  // The terms that this replica was in since the process or the generation began, and the last entry that it had in
  // each: all that this process may have said. The first one is what it began with.
  std::map<std::uint64_t, std::uint64_t> lasts_;
  std::set<std::uint64_t> said_; // members whose position has arrived since

  bool dirty_ = false;
  bool record_dirty_ = false;
  bool hold_ = false; // term or vote changed: nothing leaves before the sync
  bool wrote_ = false;
  bool frozen_ = false;   // its record or log could not be read: nothing of it is written
  bool cleaning_ = false; // the other slot is being emptied
  bool was_leading_ = false;
  bool sending_queued_ = false;
  // Without a group yet: it would lead at once, and others may know of a later generation.
  bool waits_alone_ = false;
  bool restart_ = false;          // a new generation or state: begin a fresh group after the sync
  std::uint64_t led_from_ = 0;    // first entry of this leadership; 0: none
  std::uint64_t visible_ = 0;     // applied and synced
  std::int64_t aged_at_ = 0;      // when the log's old rows last left memory
  std::uint64_t seal_in_log_ = 0; // lowest seal in the log that is not applied; 0: none
  std::uint64_t seal_ticket_ = 0;
  std::optional<std::string> halted_; // why
  std::uint64_t contradicted_by_ = 0; // the last leader that did; 0: none
  std::uint64_t previous_term_ = 0;   // of the entry before those of the last append
  std::optional<arrival> installing_;
  std::optional<marker> marker_;
  std::uint64_t commit_by_seal_ = 0; // committed, as a succession says

  std::vector<std::string> built_;           // rows of commands not submitted yet
  std::vector<std::uint32_t> built_tickets_; // of each
  std::deque<pending_entry> pending_;
  std::deque<std::uint64_t> tickets_; // of pending_'s entries, then of built_'s, in order
  std::size_t tickets_built_ = 0;
  std::vector<std::uint64_t> erase_now_;  // rows that were overwritten: with the next write
  std::deque<std::uint64_t> erase_later_; // rows below the snapshot
  std::vector<std::uint64_t> snapshot_wanted_;
  std::vector<std::uint64_t> transfers_to_;
  read_rounds reads_;
  leadership told_;
};

} // namespace parley::cluster
