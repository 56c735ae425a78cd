#ifndef PARLEY_CLUSTER_RAFT_CORE_H
#define PARLEY_CLUSTER_RAFT_CORE_H
/* libraft's state machine behind plain C: its own header does not compile as C++.
 *
 * Payloads never cross: the library keeps index and term only, the log is ours. Members are static, so no
 * configuration entry exists; the configuration is handed over with the snapshot that every group starts
 * from. Nothing here throws, and nothing may be thrown through it. One thread per core at a time. */
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct raft_core;

enum { RAFT_CORE_COMMAND = 1, RAFT_CORE_BARRIER = 2 }; /* entry types */

enum raft_core_message_type { /* on the wire: never renumber */
                              RAFT_CORE_APPEND = 1,
                              RAFT_CORE_APPEND_RESULT = 2,
                              RAFT_CORE_VOTE = 3,
                              RAFT_CORE_VOTE_RESULT = 4,
                              RAFT_CORE_SNAPSHOT = 5,
                              RAFT_CORE_TIMEOUT_NOW = 6
};

enum { RAFT_CORE_UNAVAILABLE = 0, RAFT_CORE_FOLLOWER = 1, RAFT_CORE_CANDIDATE = 2, RAFT_CORE_LEADER = 3 };

struct raft_core_message {
  uint64_t peer; /* receiver of what leaves, sender of what arrives */
  uint64_t term;
  uint64_t log_index; /* APPEND: previous; APPEND_RESULT, VOTE, TIMEOUT_NOW: last; SNAPSHOT: its own */
  uint64_t log_term;  /* of log_index; 0 in results */
  uint64_t commit;    /* APPEND: the leader's */
  uint64_t rejected;  /* APPEND_RESULT: index that was refused, or 0 */
  uint32_t n_entries; /* APPEND */
  uint16_t features;  /* results */
  uint16_t capacity;  /* results */
  uint8_t type;       /* enum raft_core_message_type */
  uint8_t pre_vote;   /* VOTE, VOTE_RESULT */
  uint8_t disrupt;    /* VOTE: asked by the leader itself, to hand over */
  uint8_t granted;    /* VOTE_RESULT */
};

struct raft_core_entry {
  uint64_t term;
  uint8_t type;
};

/* What a step asks for. Persist it before its messages leave (APPEND may leave earlier). */
struct raft_core_update {
  uint8_t persist_term;  /* term or vote changed */
  uint8_t state_changed; /* follower, candidate, leader */
  uint8_t has_entries;   /* truncate from entries_index, append entries_n */
  uint8_t has_snapshot;  /* install it: flip state, clear log, then persisted_snapshot */
  uint32_t entries_n;
  uint32_t entries_skipped; /* of the entries handed in, how many were known already */
  uint64_t entries_index;
  uint64_t snapshot_index;
  uint64_t snapshot_term;
  uint32_t messages_n; /* read them with raft_core_message_at before the next step */
};

struct raft_core_settings {
  uint64_t self;
  const uint64_t* members;
  uint32_t members_n;
  uint32_t seed;
  uint32_t election_ms;
  uint32_t heartbeat_ms;
  uint32_t install_ms;
  uint32_t inflight_entries_max;
};

struct raft_core* raft_core_create(const struct raft_core_settings* settings);
void raft_core_destroy(struct raft_core* core);

/* All steps: 0, or libraft's code (raft_core_error has words). `now` is in milliseconds and must not run
 * backwards. */
int raft_core_start(struct raft_core* core, uint64_t now, uint64_t term, uint64_t vote,
                    uint64_t snapshot_index, uint64_t snapshot_term, uint64_t first_index,
                    const struct raft_core_entry* entries, uint32_t n, struct raft_core_update* update);
int raft_core_receive(struct raft_core* core, uint64_t now, const struct raft_core_message* message,
                      const struct raft_core_entry* entries, uint32_t n, struct raft_core_update* update);
int raft_core_submit(struct raft_core* core, uint64_t now, uint8_t type, uint32_t n,
                     struct raft_core_update* update);
int raft_core_persisted_entries(struct raft_core* core, uint64_t now, uint64_t index,
                                struct raft_core_update* update);
int raft_core_persisted_snapshot(struct raft_core* core, uint64_t now, uint64_t index, uint64_t term,
                                 struct raft_core_update* update);
int raft_core_snapshot(struct raft_core* core, uint64_t now, uint64_t index, uint64_t term, uint32_t trailing,
                       struct raft_core_update* update);
int raft_core_timeout(struct raft_core* core, uint64_t now, struct raft_core_update* update);
int raft_core_transfer(struct raft_core* core, uint64_t now, uint64_t to, struct raft_core_update* update);

void raft_core_message_at(const struct raft_core* core, uint32_t i, struct raft_core_message* out);

uint64_t raft_core_term(const struct raft_core* core);
uint64_t raft_core_vote(const struct raft_core* core);
uint64_t raft_core_commit(const struct raft_core* core);
uint64_t raft_core_last(const struct raft_core* core);
uint64_t raft_core_stored(const struct raft_core* core);
uint64_t raft_core_first(const struct raft_core* core);              /* first index of the library's log */
uint64_t raft_core_match(const struct raft_core* core, uint64_t id); /* of a leader's follower */
uint64_t raft_core_deadline(const struct raft_core* core);
uint64_t raft_core_leader(const struct raft_core* core); /* 0: unknown */
int raft_core_state(const struct raft_core* core);
const char* raft_core_error(const struct raft_core* core);

#ifdef __cplusplus
}
#endif
#endif
