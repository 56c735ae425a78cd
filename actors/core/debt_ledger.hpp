#pragma once
#include "actors/core/calls.hpp"
#include "actors/core/number_ranges.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/node_limits.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>

namespace parley::core {

/// What an answer means for the part of a debt that it is about.
enum class part_verdict : std::uint8_t {
  settled, ///< the other shard has it, or will never take it
  lacks,   ///< an inbox misses something before it, and says up to where it has the stream
  owed     ///< it was not taken, and may be later
};
/// A refusal settles a part only if the table says both that nothing was stored and that the same part would
/// be refused again, for example `stale` and `bad_request`. After a refusal that may pass, or that this
/// program does not know, the part stays owed.
part_verdict judge_part(ec error);

/// How long what was refused, or could not be read, waits: `min` at first, doubled each time up to `max`.
struct retry_pauses {
  std::chrono::milliseconds min{50};
  std::chrono::milliseconds max{2000};
};

struct ledger_config {
  std::uint16_t shards = 64;
  std::size_t debts_max = 4096;    ///< in memory; the rest waits in storage
  std::size_t bytes_max = 8 << 20; ///< of them and their bodies
  /// New debts for which there is no room yet, or which storage has to come before: the newest ones wait in memory as
  /// well. Storage shows what was committed up to a second ago, so without them the ledger would stay behind for as
  /// long as new debts keep coming.
  std::size_t ahead_max = 1024;
  std::size_t ahead_bytes_max = 2 << 20;                 ///< of them and their bodies
  std::size_t parts_max = 256;                           ///< of one command
  std::size_t parts_bytes_max = command_parts_bytes_max; ///< of one command; a larger part travels alone
  /// Of what is on its way to one shard, in parts and bytes; at least one command may be. The rest follows the
  /// answers. A backlog that left at once would fill the links, and what others send would be dropped there.
  std::size_t under_way_parts_max = 1024;
  std::size_t under_way_bytes_max = 2 * command_parts_bytes_max;
  retry_pauses retry;
  /// A shard that leaves a part unconfirmed for this long is stalled, as soon as the ledger has no room: what
  /// is meant for it goes back to storage, but for the first part of each of `probes_max` streams.
  std::chrono::milliseconds stalled_after{2000};
  std::size_t probes_max = 64;
};
config_check validate(const ledger_config& config);

/// What a shard owes to others, who has it already, and what to send next.
///
/// A shard that does not confirm must not hold up what is meant for others. If the ledger has no room and its
/// oldest debts wait for such a shard, this one is *stalled*: its share of all debts is left to storage, where
/// the rows are, and only probes stay. When it confirms a probe, its share is read again, oldest first.
///
/// Owns:   the debts in memory, by their numbers; which of their targets are under way, done or left to storage.
/// Thread: its owner's. Time is an argument.
/// Holds:  `confirmed` passes a debt only when all its targets confirmed it; sending twice is harmless, since
///         an inbox ignores what it covers and watermarks only rise. What was refused waits before it is sent
///         again, each time longer: an attempt costs the other shard a log entry. What one shard is sent
///         keeps the order of the debts' numbers.
class debt_ledger {
public:
  using time_point = std::chrono::steady_clock::time_point;
  /// Messages (after, upto] of a conversation, from the shard's log.
  using history = std::function<std::vector<message>(conversation_id, seq_no after, seq_no upto)>;

  /// `format` is the one of the shard that owes.
  explicit debt_ledger(ledger_config config = {}, format_number format = format_number::oldest)
      : config_{config}, format_{format} {}

  enum class source { live, stored };
  /// Takes a debt if it is the next one and there is room. Otherwise a live one waits in memory (`ahead_max`), or is
  /// loaded from storage later. No live one is taken before the stored debts were read once: older debts may wait
  /// there. If a stored one finds no room, nothing behind it may be added before it is loaded again.
  bool add(incurred debt, source from);
  /// The number to load from, if storage may hold more than was added, or holds what was left to it. Add what
  /// is stored from there on, in order.
  std::optional<std::uint64_t> load_from() const;
  /// What is stored from `load_from` on was added before: it is loaded again for shards that were stalled.
  bool loads_again() const { return !behind_; }
  /// All that is stored was added. `newest` is the number of the newest debt that there was when it was read, whether
  /// it is still stored or not (0: none). What is newer comes live, or is loaded later.
  void loaded(std::uint64_t newest);

  struct call_out {
    std::uint64_t number = 0;
    propose what;
  };
  /// What is neither under way, waiting nor done, in order, as calls to the shards concerned, as far as the bounds of
  /// what is under way to each allow. Ask again after each answer.
  std::vector<call_out> send(time_point now);
  /// Parts that were refused, for now or for good. What is only a step of paying (`gap`, `stale`) is none,
  /// until a gap turns out to be one that nothing fills.
  struct refusals {
    std::size_t count = 0;
    ec last{};
  };
  /// An answer. `what` is void on error. If the call found no leader in time, all its parts are sent again by
  /// the next `send`, because newer parts would overtake them at the next one; otherwise they wait first, as a
  /// part does that is refused by itself.
  refusals answered(std::uint64_t call, ec error, const outcome& what, time_point now, const history& log);
  /// Gives up on calls sent before `deadline`.
  void expire(time_point deadline);

  /// All up to this number is with those it concerns.
  std::uint64_t confirmed() const { return confirmed_; }
  /// The debts that are with all whom they concern since the last look, also behind one that is not.
  number_ranges take_delivered() { return std::exchange(delivered_, {}); }
  bool idle() const { return debts_.empty() && !behind_ && stalled_.empty(); }
  std::size_t size() const { return debts_.size(); }

private:
  enum class progress : std::uint8_t {
    unsent,
    sent,
    waiting,
    stored, ///< its shard is stalled: it is loaded again later
    done
  };
  struct target {
    progress at = progress::unsent;
    seq_no prev{};          ///< of an inbox append; lowered when the inbox turned out to hold less
    bool repair = false;    ///< fill (prev, seq] from the log
    bool partly = false;    ///< what is under way does not reach the seq: more has to follow
    std::uint8_t waits = 0; ///< in a row
  };
  struct debt {
    incurred it;
    std::vector<target> targets;
    std::size_t open = 0; ///< targets that are neither done nor stored
    std::size_t bytes = 0;
    std::optional<time_point> sent_at; ///< first
  };
  /// Of a shard's share, storage has what concerns it in the debts numbered [from, upto].
  struct stalled {
    std::uint64_t from = UINT64_MAX, upto = 0;
    bool recovers = false; ///< it confirms again
  };
  struct ref {
    std::uint64_t debt = 0;
    std::uint32_t target = 0;
  };
  struct under_way {
    std::vector<ref> refs;
    time_point at{};
    std::uint16_t to = 0; ///< shard
    std::size_t bytes = 0;
  };
  struct load {
    std::size_t parts = 0, bytes = 0;
  };

  /// What one target of a debt is sent: each kind is collected in a command of its own, or is one.
  using share = std::variant<inbox_append, watermark, member_ref, renew_streams>;

  debt* find(std::uint64_t number);
  /// What a debt's target is sent.
  share share_of(const debt& d, std::uint32_t index) const;
  /// What the inbox of a message's recipient is sent.
  inbox_append part(const debt& d, const owed_message& m, std::uint32_t index) const;
  /// The inbox has the stream up to `covered` only: sends what follows from the log, as far as that reaches.
  /// False if the log has nothing that follows, or only what was sent before in vain.
  bool repair(debt& d, std::uint32_t index, seq_no covered, const history& log);
  std::uint16_t shard_of(const owed& what, std::uint32_t index) const;
  bool full() const { return debts_.size() >= config_.debts_max || bytes_ >= config_.bytes_max; }
  static std::vector<target> targets_of(const owed& what); ///< nothing of them is sent
  bool add_live(incurred debt);
  void take(incurred debt); ///< the next one; there is room
  void admit();             ///< takes of `ahead_` what is next
  void leave_ahead();       ///< the oldest of `ahead_`
  void insert(debt d);
  std::map<std::uint64_t, debt>::iterator drop(std::map<std::uint64_t, debt>::iterator i);
  bool add_again(incurred debt);
  void relieve(time_point now);
  void stall(std::uint16_t shard);
  void settle(const ref& r);
  void reopen(const ref& r);
  std::chrono::milliseconds pause_of(const target& t) const; ///< its next one
  /// Whom this node takes for the leader may be wrong for as long as there is none, and says so within a fraction of a
  /// millisecond. As soon as another one is known, a debt is late by the shortest pause at most.
  enum class pauses : bool { grow, stay };
  /// Returns how long it waits.
  std::chrono::milliseconds postpone(const ref& r, time_point now, pauses how = pauses::grow);
  void wake(time_point now);
  void note_confirmed();
  bool takes_more(std::uint16_t shard) const;
  void has_left(const under_way& call); ///< it is under way no more

  ledger_config config_;
  format_number format_;
  std::map<std::uint64_t, debt> debts_; ///< those with open targets
  std::size_t bytes_ = 0;               ///< of `debts_`
  std::map<std::uint16_t, stalled> stalled_;
  std::deque<incurred> ahead_; ///< the newest debts, without a gap between them
  std::size_t ahead_bytes_ = 0;
  std::uint64_t last_ = 0;  ///< all up to this number were added, or are not stored any more
  std::uint64_t heard_ = 0; ///< highest number of a live debt
  std::uint64_t confirmed_ = 0;
  number_ranges delivered_;
  std::uint64_t last_call_ = 0;
  std::size_t unsent_ = 0; ///< targets
  bool behind_ = true;     ///< storage holds what comes next, or may: this is so at the start
  std::unordered_map<std::uint64_t, under_way> calls_;
  std::unordered_map<std::uint16_t, load> to_; ///< of all `calls_`, by their shards
  std::multimap<time_point, ref> later_;       ///< who waits, and until when
  std::unordered_map<std::uint64_t, std::vector<std::pair<std::uint32_t, inbox_append>>>
      repaired_; ///< by debt
};

} // namespace parley::core
