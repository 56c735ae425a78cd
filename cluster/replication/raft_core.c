#include "cluster/replication/raft_core.h"

#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct raft_core {
  struct raft raft;
  struct raft_message* messages; /* of the last step; the library's, valid until the next */
  uint32_t messages_n;
  uint32_t members_n;
  int answers_older_term; /* the last step's event came from a leader of an older term */
  uint64_t members[];     /* sorted as given */
};

static void out_of_memory(void) {
  fputs("raft_core: out of memory\n", stderr);
  abort();
}

static void address_of(uint64_t id, char out[24]) {
  snprintf(out, 24, "%llu", (unsigned long long)id);
}

static struct raft_configuration configuration_of(const struct raft_core* core) {
  struct raft_configuration c;
  raft_configuration_init(&c);
  for (uint32_t i = 0; i < core->members_n; ++i) {
    char address[24];
    address_of(core->members[i], address);
    if (raft_configuration_add(&c, core->members[i], address, RAFT_VOTER) != 0)
      out_of_memory();
  }
  return c;
}

struct raft_core* raft_core_create(const struct raft_core_settings* s) {
  struct raft_core* core = calloc(1, sizeof *core + s->members_n * sizeof(uint64_t));
  char address[24];
  if (core == NULL)
    out_of_memory();
  core->members_n = s->members_n;
  memcpy(core->members, s->members, s->members_n * sizeof(uint64_t));
  address_of(s->self, address);
  if (raft_init(&core->raft, NULL, NULL, s->self, address) != 0)
    out_of_memory();
  raft_seed(&core->raft, s->seed);
  raft_set_election_timeout(&core->raft, s->election_ms);
  raft_set_heartbeat_timeout(&core->raft, s->heartbeat_ms);
  raft_set_install_snapshot_timeout(&core->raft, s->install_ms);
  raft_set_pre_vote(&core->raft, true);
  raft_set_max_inflight_entries(&core->raft, s->inflight_entries_max);
  return core;
}

void raft_core_destroy(struct raft_core* core) {
  raft_close(&core->raft, NULL);
  free(core);
}

static int is_of_older_term(const struct raft_core* core, const struct raft_event* event) {
  if (event->type != RAFT_RECEIVE)
    return 0;
  const struct raft_message* m = event->receive.message;
  return (m->type == RAFT_APPEND_ENTRIES && m->append_entries.term < core->raft.current_term) ||
         (m->type == RAFT_INSTALL_SNAPSHOT && m->install_snapshot.term < core->raft.current_term);
}

static void begin_step(struct raft_core* core, struct raft_core_update* out) {
  memset(out, 0, sizeof *out);
  core->messages = NULL;
  core->messages_n = 0;
  core->answers_older_term = 0;
}

static int step(struct raft_core* core, uint64_t now, struct raft_event* event,
                const struct raft_entry* handed_in, struct raft_core_update* out) {
  struct raft_update update;
  memset(&update, 0, sizeof update);
  begin_step(core, out);
  core->answers_older_term = is_of_older_term(core, event);
  event->time = now;
  event->capacity = 0xffff; /* never the reason to refuse: a full disk is refused by ourselves, earlier */
  const int rv = raft_step(&core->raft, event, &update);
  if (rv != 0)
    return rv;
  if (update.flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR)))
    out->persist_term = 1;
  if (update.flags & (RAFT_UPDATE_STATE))
    out->state_changed = 1;
  if (update.flags & (RAFT_UPDATE_ENTRIES)) {
    out->has_entries = 1;
    out->entries_index = update.entries.index;
    out->entries_n = update.entries.n;
    if (handed_in != NULL && update.entries.n > 0)
      out->entries_skipped = (uint32_t)(update.entries.batch - handed_in);
    /* All entries handed in share one batch, which is ours again now. A barrier of the library's has none. */
    if (update.entries.n > 0 && update.entries.batch[0].batch != NULL)
      raft_free(update.entries.batch[0].batch);
  }
  if (update.flags & (RAFT_UPDATE_SNAPSHOT)) {
    out->has_snapshot = 1;
    out->snapshot_index = update.snapshot.metadata.index;
    out->snapshot_term = update.snapshot.metadata.term;
    raft_configuration_close(&update.snapshot.metadata.configuration);
    raft_free(update.snapshot.chunk.base);
  }
  if (update.flags & (RAFT_UPDATE_MESSAGES)) {
    core->messages = update.messages.batch;
    core->messages_n = update.messages.n;
    out->messages_n = update.messages.n;
  }
  return 0;
}

static struct raft_entry* entries_of(const struct raft_core_entry* entries, uint32_t n) {
  struct raft_entry* es = NULL;
  void* batch = NULL;
  if (n == 0)
    return NULL;
  es = raft_calloc(n, sizeof *es);
  batch = raft_malloc(8); /* the library frees entries through it */
  if (es == NULL || batch == NULL)
    out_of_memory();
  for (uint32_t i = 0; i < n; ++i) {
    es[i].term = entries[i].term;
    es[i].type = entries[i].type == RAFT_CORE_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
    es[i].buf.base = batch;
    es[i].buf.len = 8;
    es[i].batch = batch;
  }
  return es;
}

static struct raft_snapshot_metadata metadata_of(const struct raft_core* core, uint64_t index,
                                                 uint64_t term) {
  struct raft_snapshot_metadata m;
  m.index = index;
  m.term = term;
  m.configuration = configuration_of(core);
  m.configuration_index = 1;
  return m;
}

int raft_core_start(struct raft_core* core, uint64_t now, uint64_t term, uint64_t vote,
                    uint64_t snapshot_index, uint64_t snapshot_term, uint64_t first_index,
                    const struct raft_core_entry* entries, uint32_t n, struct raft_core_update* update) {
  struct raft_event e;
  struct raft_snapshot_metadata m = metadata_of(core, snapshot_index, snapshot_term);
  struct raft_entry* es = entries_of(entries, n);
  int rv;
  memset(&e, 0, sizeof e);
  e.type = RAFT_START;
  e.start.term = term;
  e.start.voted_for = vote;
  e.start.metadata = &m;
  e.start.start_index = first_index;
  e.start.entries = es;
  e.start.n_entries = n;
  rv = step(core, now, &e, NULL, update);
  if (es != NULL) {
    raft_free(es[0].batch);
    raft_free(es);
  }
  return rv;
}

int raft_core_receive(struct raft_core* core, uint64_t now, const struct raft_core_message* m,
                      const struct raft_core_entry* entries, uint32_t n, struct raft_core_update* update) {
  struct raft_event e;
  struct raft_message r;
  struct raft_entry* es = NULL;
  char address[24];
  int rv;
  /* Only a candidate has use for a vote. From a result that comes late the library takes the term unless a pre-vote is
   * under way; but that it reads from the candidate's part of a union, which in every other state is a byte of a
   * pointer: one follower in sixteen would have ended its leader's term. */
  if (m->type == RAFT_CORE_VOTE_RESULT && raft_core_state(core) != RAFT_CORE_CANDIDATE) {
    begin_step(core, update);
    return 0;
  }
  memset(&e, 0, sizeof e);
  memset(&r, 0, sizeof r);
  address_of(m->peer, address);
  e.type = RAFT_RECEIVE;
  e.receive.message = &r;
  r.server_id = m->peer;
  r.server_address = address;
  switch (m->type) {
  case RAFT_CORE_APPEND:
    es = entries_of(entries, n);
    r.type = RAFT_APPEND_ENTRIES;
    r.append_entries.version = 0;
    r.append_entries.term = m->term;
    r.append_entries.prev_log_index = m->log_index;
    r.append_entries.prev_log_term = m->log_term;
    r.append_entries.leader_commit = m->commit;
    r.append_entries.entries = es;
    r.append_entries.n_entries = n;
    break;
  case RAFT_CORE_APPEND_RESULT:
    r.type = RAFT_APPEND_ENTRIES_RESULT;
    r.append_entries_result.version = 1;
    r.append_entries_result.term = m->term;
    r.append_entries_result.rejected = m->rejected;
    r.append_entries_result.last_log_index = m->log_index;
    r.append_entries_result.features = m->features;
    r.append_entries_result.capacity = m->capacity;
    break;
  case RAFT_CORE_VOTE:
    r.type = RAFT_REQUEST_VOTE;
    r.request_vote.version = 2;
    r.request_vote.term = m->term;
    r.request_vote.candidate_id = m->peer;
    r.request_vote.last_log_index = m->log_index;
    r.request_vote.last_log_term = m->log_term;
    r.request_vote.disrupt_leader = m->disrupt != 0;
    r.request_vote.pre_vote = m->pre_vote != 0;
    break;
  case RAFT_CORE_VOTE_RESULT:
    r.type = RAFT_REQUEST_VOTE_RESULT;
    r.request_vote_result.version = 2;
    r.request_vote_result.term = m->term;
    r.request_vote_result.vote_granted = m->granted != 0;
    r.request_vote_result.pre_vote = m->pre_vote != 0;
    r.request_vote_result.features = m->features;
    r.request_vote_result.capacity = m->capacity;
    break;
  case RAFT_CORE_SNAPSHOT:
    r.type = RAFT_INSTALL_SNAPSHOT;
    r.install_snapshot.version = 0;
    r.install_snapshot.term = m->term;
    r.install_snapshot.last_index = m->log_index;
    r.install_snapshot.last_term = m->log_term;
    r.install_snapshot.conf = configuration_of(core);
    r.install_snapshot.conf_index = 1;
    r.install_snapshot.data.base = raft_malloc(8);
    r.install_snapshot.data.len = 8;
    if (r.install_snapshot.data.base == NULL)
      out_of_memory();
    break;
  case RAFT_CORE_TIMEOUT_NOW:
    r.type = RAFT_TIMEOUT_NOW;
    r.timeout_now.version = 0;
    r.timeout_now.term = m->term;
    r.timeout_now.last_log_index = m->log_index;
    r.timeout_now.last_log_term = m->log_term;
    break;
  default:
    return RAFT_MALFORMED;
  }
  rv = step(core, now, &e, es, update);
  raft_free(es);
  return rv;
}

int raft_core_submit(struct raft_core* core, uint64_t now, uint8_t type, uint32_t n,
                     struct raft_core_update* update) {
  struct raft_event e;
  struct raft_entry* es = NULL;
  void* batch = NULL;
  int rv;
  memset(&e, 0, sizeof e);
  es = raft_calloc(n, sizeof *es);
  batch = raft_malloc(8);
  if (es == NULL || batch == NULL)
    out_of_memory();
  for (uint32_t i = 0; i < n; ++i) {
    es[i].term = core->raft.current_term;
    es[i].type = type == RAFT_CORE_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
    es[i].batch = batch;
  }
  e.type = RAFT_SUBMIT;
  e.submit.entries = es;
  e.submit.n = n;
  rv = step(core, now, &e, es, update);
  if (rv != 0)
    raft_free(batch); /* refused entries stay the caller's */
  raft_free(es);
  return rv;
}

int raft_core_persisted_entries(struct raft_core* core, uint64_t now, uint64_t index,
                                struct raft_core_update* update) {
  struct raft_event e;
  memset(&e, 0, sizeof e);
  e.type = RAFT_PERSISTED_ENTRIES;
  e.persisted_entries.index = index;
  return step(core, now, &e, NULL, update);
}

int raft_core_persisted_snapshot(struct raft_core* core, uint64_t now, uint64_t index, uint64_t term,
                                 struct raft_core_update* update) {
  struct raft_event e;
  memset(&e, 0, sizeof e);
  e.type = RAFT_PERSISTED_SNAPSHOT;
  e.persisted_snapshot.metadata = metadata_of(core, index, term);
  e.persisted_snapshot.last = true;
  return step(core, now, &e, NULL, update);
}

int raft_core_snapshot(struct raft_core* core, uint64_t now, uint64_t index, uint64_t term, uint32_t trailing,
                       struct raft_core_update* update) {
  struct raft_event e;
  memset(&e, 0, sizeof e);
  e.type = RAFT_SNAPSHOT;
  e.snapshot.metadata = metadata_of(core, index, term);
  e.snapshot.trailing = trailing;
  return step(core, now, &e, NULL, update);
}

int raft_core_timeout(struct raft_core* core, uint64_t now, struct raft_core_update* update) {
  struct raft_event e;
  memset(&e, 0, sizeof e);
  e.type = RAFT_TIMEOUT;
  return step(core, now, &e, NULL, update);
}

int raft_core_transfer(struct raft_core* core, uint64_t now, uint64_t to, struct raft_core_update* update) {
  struct raft_event e;
  memset(&e, 0, sizeof e);
  e.type = RAFT_TRANSFER;
  e.transfer.server_id = to;
  return step(core, now, &e, NULL, update);
}

void raft_core_message_at(const struct raft_core* core, uint32_t i, struct raft_core_message* out) {
  const struct raft_message* m = &core->messages[i];
  memset(out, 0, sizeof *out);
  out->peer = m->server_id;
  switch (m->type) {
  case RAFT_APPEND_ENTRIES:
    out->type = RAFT_CORE_APPEND;
    out->term = m->append_entries.term;
    out->log_index = m->append_entries.prev_log_index;
    out->log_term = m->append_entries.prev_log_term;
    out->commit = m->append_entries.leader_commit;
    out->n_entries = m->append_entries.n_entries;
    break;
  case RAFT_APPEND_ENTRIES_RESULT:
    out->type = RAFT_CORE_APPEND_RESULT;
    out->term = m->append_entries_result.term;
    out->rejected = m->append_entries_result.rejected;
    /* To an older term the library answers with whatever was on its stack. */
    out->log_index = core->answers_older_term ? raft_last_index((struct raft*)&core->raft)
                                              : m->append_entries_result.last_log_index;
    out->features = m->append_entries_result.features;
    out->capacity = m->append_entries_result.capacity;
    break;
  case RAFT_REQUEST_VOTE:
    out->type = RAFT_CORE_VOTE;
    out->term = m->request_vote.term;
    out->log_index = m->request_vote.last_log_index;
    out->log_term = m->request_vote.last_log_term;
    out->disrupt = m->request_vote.disrupt_leader;
    out->pre_vote = m->request_vote.pre_vote;
    break;
  case RAFT_REQUEST_VOTE_RESULT:
    out->type = RAFT_CORE_VOTE_RESULT;
    out->term = m->request_vote_result.term;
    out->granted = m->request_vote_result.vote_granted;
    out->pre_vote = m->request_vote_result.pre_vote;
    out->features = m->request_vote_result.features;
    out->capacity = m->request_vote_result.capacity;
    break;
  case RAFT_INSTALL_SNAPSHOT:
    out->type = RAFT_CORE_SNAPSHOT;
    out->term = m->install_snapshot.term;
    out->log_index = m->install_snapshot.last_index;
    out->log_term = m->install_snapshot.last_term;
    break;
  case RAFT_TIMEOUT_NOW:
    out->type = RAFT_CORE_TIMEOUT_NOW;
    out->term = m->timeout_now.term;
    out->log_index = m->timeout_now.last_log_index;
    out->log_term = m->timeout_now.last_log_term;
    break;
  }
}

uint64_t raft_core_term(const struct raft_core* core) {
  return raft_current_term(&core->raft);
}
uint64_t raft_core_vote(const struct raft_core* core) {
  return raft_voted_for(&core->raft);
}
uint64_t raft_core_commit(const struct raft_core* core) {
  return raft_commit_index(&core->raft);
}
uint64_t raft_core_last(const struct raft_core* core) {
  return raft_last_index((struct raft*)&core->raft);
}
uint64_t raft_core_stored(const struct raft_core* core) {
  return core->raft.last_stored;
}
uint64_t raft_core_first(const struct raft_core* core) {
  return core->raft.trail.offset + 1;
}
uint64_t raft_core_match(const struct raft_core* core, uint64_t id) {
  raft_index match = 0;
  return raft_match_index(&core->raft, id, &match) == 0 ? match : 0;
}
uint64_t raft_core_deadline(const struct raft_core* core) {
  return raft_timeout(&core->raft);
}
int raft_core_state(const struct raft_core* core) {
  return raft_state((struct raft*)&core->raft);
}
uint64_t raft_core_leader(const struct raft_core* core) {
  raft_id id = 0;
  const char* address = NULL;
  raft_leader((struct raft*)&core->raft, &id, &address);
  return id;
}
const char* raft_core_error(const struct raft_core* core) {
  return raft_errmsg((struct raft*)&core->raft);
}
