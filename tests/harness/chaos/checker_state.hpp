#pragma once
// The state of the checker while it reads. Only checker.cpp (the history) and checker_verdict.cpp
// (replicas, and what can be judged only at the end) include it.
#include "tests/harness/chaos/checker.hpp"
#include "tests/harness/chaos/interner.hpp"

#include <algorithm>
#include <cstdio>

namespace parley::chaos {

inline constexpr auto none = interner<std::uint64_t>::none;

struct number_hash {
  std::size_t operator()(std::uint64_t x) const { return mix64(x); }
};
using number_interner = interner<std::uint64_t, number_hash>;

inline std::uint64_t pair_key(std::uint32_t a, std::uint32_t b) {
  return std::uint64_t{a} << 32 | b;
}

struct message_key {
  std::uint32_t conversation = 0;
  client_msg_id id;
  bool operator==(const message_key&) const = default;
};
struct message_key_hash {
  std::size_t operator()(const message_key& k) const {
    return std::hash<client_msg_id>{}(k.id) ^ mix64(k.conversation);
  }
};

enum class harm : std::uint8_t { none, lost, duplicated, reordered, gap };

/// One client_msg_id in one conversation.
struct sent_message {
  std::uint64_t seq = 0;          ///< 0: its position is not known
  std::uint64_t acked_before = 0; ///< the conversation's highest acknowledged seq when the
                                  ///< message was first submitted
  std::int64_t attempt_ns = 0;
  body_hash hash{};
  std::uint32_t attempts = 0, failed = 0, open = 0;
  bool invoked = false, acked = false, seen = false;
  bool reported = false; ///< rules 1, 2, 4 and 6 report at most once per message
};

struct place {
  std::uint32_t holder = none;
  message_id msg;
};

struct conversation_record {
  std::vector<place> places; ///< index: seq - 1
  std::vector<user_id> members;
  std::uint64_t highest_acked = 0;
  std::uint32_t shard = none;
};

/// The items of one conversation that one connection, or one sync of an inbox, delivers in sequence.
struct run_record {
  std::uint64_t last = 0;
  std::uint32_t epoch = 0; ///< of the process; a new epoch resets `last`
};
struct reading {
  std::uint64_t after = 0, next = 0, must_reach = 0;
  bool open = false;
};
/// Positions that a stream left out, which is allowed if they hold messages of the reader's own user.
struct skipped {
  std::uint32_t conversation = 0;
  user_id reader{};
  std::uint64_t first = 0, last = 0;
  int rule = 0;
};
struct process_record {
  user_id user{};
  device_id device{};
  std::uint32_t push_epoch = 1, inbox_epoch = 1;
};
struct replica_conversation {
  std::vector<bool> has; ///< index: seq - 1
  std::uint32_t replica = 0, conversation = 0;
};

inline constexpr std::uint64_t seq_max =
    100'000'000; // the bound on a position: anything above it is a corrupt record, for which
                 // no memory is allocated

class checker::impl {
public:
  explicit impl(checker_config config) : config_{config} {}

  void take(const event& e);
  void take(std::size_t replica, const replica_head& head);
  void take(std::size_t replica, const replica_message& m);
  verdict finish();

private:
  struct head_record {
    std::size_t replica = 0;
    replica_head head;
  };

  template <class... Args>
  void report(int rule, harm h, const char* format, Args... args) {
    ++v_.by_rule[static_cast<std::size_t>(rule)];
    v_.lost += h == harm::lost;
    v_.duplicated += h == harm::duplicated;
    v_.reordered += h == harm::reordered;
    v_.gaps += h == harm::gap;
    if (v_.violations.size() >= config_.explained_max)
      return;
    char text[400];
    std::snprintf(text, sizeof text, format, args...);
    v_.violations.push_back({rule, text});
  }

  std::uint32_t conversation_of(conversation_id id) {
    const auto c = conversation_ids_.of(id);
    if (c == conversations_.size())
      conversations_.emplace_back();
    return c;
  }
  std::uint32_t message_of(std::uint32_t c, device_id device, std::uint64_t counter) {
    const auto m = message_ids_.of({c, {device, counter}});
    if (m == messages_.size())
      messages_.emplace_back();
    return m;
  }
  process_record& process_of(std::uint32_t p) {
    if (p >= processes_.size())
      processes_.resize(p + 1);
    return processes_[p];
  }
  user_id sender_of(std::uint32_t m) const {
    const auto d = devices_.find(parley::number(message_ids_.key(m).id.device));
    return d == none ? user_id{} : device_users_[d];
  }
  const char* name(std::uint32_t c) { // for explanations: the first half of the id is enough to search for
    static thread_local char text[4][40];
    static thread_local unsigned at = 0;
    auto& out = text[at++ % 4];
    const auto id = conversation_ids_.key(c);
    std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(id.hi),
                  static_cast<unsigned long long>(id.lo));
    return out;
  }

  bool observe(std::uint32_t c, std::uint32_t m, std::uint64_t seq, message_id msg, const body_hash* hash,
               const char* where);
  void take_send(const event& e);
  void take_item(const event& e, int rule, interner<std::uint64_t, number_hash>& keys,
                 std::vector<run_record>& runs, std::uint32_t epoch, const char* where);
  void take_applied(const event& e);
  void take_read(const event& e);
  void check_inboxes();
  void check_places();
  void check_skips();
  void check_syncs();
  void check_replicas();
  void check_run();

  checker_config config_;
  verdict v_;
  interner<conversation_id> conversation_ids_;
  std::vector<conversation_record> conversations_;
  interner<message_key, message_key_hash> message_ids_;
  std::vector<sent_message> messages_;
  std::vector<process_record> processes_;
  number_interner devices_; ///< device → its user
  std::vector<user_id> device_users_;
  number_interner covered_keys_; ///< (device, conversation) → seq up to which the device has everything
  std::vector<std::uint64_t> covered_;
  number_interner push_keys_, inbox_keys_; ///< (process, conversation)
  std::vector<run_record> pushes_, inboxes_;
  number_interner applied_keys_; ///< (device, conversation) → the last seq that was shown to its person
  std::vector<std::uint64_t> applied_;
  number_interner reader_keys_;  ///< (process, conversation)
  number_interner reading_keys_; ///< (reader, the seq after which the sync began)
  std::vector<reading> readings_;
  number_interner synced_keys_; ///< (user, conversation) → seq up to which syncs returned everything
  std::vector<std::uint64_t> synced_;
  number_interner users_;
  std::vector<skipped> skips_;

  std::vector<std::int64_t> kills_ns_;
  std::vector<double> failovers_ms_;
  std::int64_t healed_ns_ = 0; ///< 0: no healing is waiting for its first acknowledgement
  std::uint64_t open_attempts_ = 0;
  bool caught_up_seen_ = false;

  std::vector<head_record> heads_;
  number_interner replica_keys_; ///< (replica, conversation)
  std::vector<replica_conversation> replica_conversations_;
};

} // namespace parley::chaos
