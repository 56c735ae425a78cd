#pragma once
// Every actor of a node, on one page, with what it takes and what it answers.
//
//            calls                      calls (its shard leads here)          proposals, reads
//   gateway ───────► SESSION ──► ROUTER ──► SHARD ──► CONVERSATION / INBOX / ACCOUNT ──► STORE
//      ▲                 ▲            │ ▲                        │      ▲                     │
//      │ rows, answers   │            ▼ │ (another node's)       │      └──── results ────────┤
//      └─────────────────┴─ deliveries ─┴────────────────────────┘                            │
//                                       SHARD ◄── leadership, debts, arrivals ────────────────┘
//                                         └──► FAN-OUT ──► ROUTER (appends to other shards)
//
// Why no CAF requests: a call crosses up to six actors and sometimes a node, and a timer per request costs
// more than the hop. Calls carry a number and where to answer; every answer is one message per turn and
// receiver; the SESSION alone sweeps for overdue calls, so every wait ends.
//
// All messages below stay inside one process (what crosses nodes is bytes: link.hpp, core/calls.hpp).
#include "actors/core/calls.hpp"
#include "actors/core/outgoing_row.hpp"
#include "actors/core/shards.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace parley {

// --- messages ---------------------------------------------------------------------------------------------

struct numbered_answer {
  std::uint64_t number = 0;
  core::answer what;
};
struct answer_batch {
  std::vector<numbered_answer> answers;
};

} // namespace parley
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::answer_batch)

namespace parley {

/// Whoever asked. Takes each answer once; unknown numbers (answered or overdue before) are ignored.
using answer_sink = caf::typed_actor<caf::reacts_to<answer_batch>>;

struct routed_call {
  std::uint64_t number = 0; ///< the asker's own
  answer_sink reply_to;
  core::call what;
};
struct call_batch {
  std::vector<routed_call> calls;
};

/// What became of a proposal (its outcome) or a read (`done`), or why nothing did.
struct result {
  std::uint64_t ticket = 0; ///< the proposer's own
  ec error{};               ///< then `what` is void
  bool fresh = false;       ///< answers a `fresh_read`; `what` is void
  core::outcome what;
};
struct result_batch {
  std::vector<result> results;
};

} // namespace parley
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::call_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::result_batch)

namespace parley {

using result_sink = caf::typed_actor<caf::reacts_to<result_batch>>;

struct proposal {
  shard_id shard{};
  std::uint64_t ticket = 0; ///< the proposer's own
  result_sink reply_to;
  std::string command;   ///< an encoded core::command
  bool can_wait = false; ///< the store may keep it for a moment and write many together
};
inline proposal make_proposal(shard_id shard, std::uint64_t ticket, result_sink reply_to,
                              const core::command& what) {
  return {shard, ticket, std::move(reply_to), core::encode(what), core::can_wait(what)};
}
struct proposal_batch {
  std::vector<proposal> proposals;
};
/// A read that reaches everything acknowledged so far: answered when a new read transaction shows it.
struct fresh_read {
  shard_id shard{};
  std::uint64_t ticket = 0;
  result_sink reply_to;
};

/// From an inbox to one connection: rows that follow `after` in its stream.
struct delivery {
  core::connection_ref to;
  inbox_pos after{};
  std::vector<core::inbox_row> rows;
  ec close = ec::none; ///< not none: end the session for this reason instead
  core::moment applied_at{};
};
struct delivery_batch {
  std::vector<delivery> deliveries;
};

struct leadership_news {
  std::vector<core::leadership> changes;
};
/// For a shard led here: what applying left to do.
struct shard_effects {
  std::vector<core::incurred> debts;
  std::vector<core::arrived> arrivals;
  /// The store makes it as soon as a turn has applied: the start of "from commit to socket".
  core::moment applied_at = std::chrono::steady_clock::now();
};

struct peer_payloads { ///< from the node transport, calls lane
  node_id from{};
  std::vector<std::string> payloads;
};
struct raft_payloads { ///< from the node transport, raft lane
  node_id from{};
  std::vector<std::string> frames;
};
struct peer_lost {
  node_id peer{};
};

/// One inbox has news (to the inbox actor itself).
struct inbox_arrival {
  std::vector<core::inbox_row> rows;
  core::moment applied_at{};
};
struct debt_batch {
  std::vector<core::incurred> debts;
};

struct seal_request {
  shard_id shard{};
  std::vector<core::member> next;
};
struct transfer_request {
  shard_id shard{};
  node_id to{};
};
struct replica_report { ///< answer to atom::report
  std::vector<core::replica_status> replicas;
};
/// What a node wants its readers and operators to see of its shards, sent to whoever asked.
using report_sink = caf::typed_actor<caf::reacts_to<replica_report>>;

} // namespace parley

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::core::leadership)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::proposal_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::fresh_read)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::delivery_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::leadership_news)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::shard_effects)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::peer_payloads)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::raft_payloads)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::peer_lost)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::inbox_arrival)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::debt_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::seal_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::transfer_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::replica_report)

CAF_BEGIN_TYPE_ID_BLOCK(parley, caf::first_custom_type_id)
CAF_ADD_ATOM(parley, parley::atom, tick, "tick")   // 10 characters at most
CAF_ADD_ATOM(parley, parley::atom, sweep, "sweep") // look for what is overdue
CAF_ADD_ATOM(parley, parley::atom, turn, "turn")   // everything queued before it belongs to one batch
CAF_ADD_ATOM(parley, parley::atom, stop, "stop")   // finish what is pending, then quit
CAF_ADD_ATOM(parley, parley::atom, idle, "idle")   // the sender has nothing to do
CAF_ADD_ATOM(parley, parley::atom, report, "report")
CAF_ADD_ATOM(parley, parley::atom, publish, "publish") // a reader waits for what is committed
CAF_ADD_ATOM(parley, parley::atom, drain, "drain")     // hand leaderships over
CAF_ADD_ATOM(parley, parley::atom, rehome, "rehome")   // the user's shard has a new leader
CAF_ADD_ATOM(parley, parley::atom, receive, "receive") // start streaming the inbox
CAF_ADD_ATOM(parley, parley::atom, took, "took")       // the delivery queue has room again
CAF_END_TYPE_ID_BLOCK(parley)

namespace parley {

/// The STORE is the only writer of one LMDB environment and steps the Raft groups in it.
/// Detached: it blocks in the sync. Everything that arrived during one sync shares the next.
using store_actor = caf::typed_actor<
    caf::reacts_to<proposal_batch>, caf::reacts_to<fresh_read>, caf::reacts_to<raft_payloads>,
    caf::reacts_to<peer_lost>, caf::reacts_to<seal_request>, caf::reacts_to<transfer_request>,
    // Hands every leadership held here to another replica.
    caf::reacts_to<atom::drain>, caf::reacts_to<atom::publish>, caf::reacts_to<atom::report, report_sink>,
    caf::reacts_to<atom::tick>, caf::reacts_to<atom::turn>>;

/// A CONVERSATION, an INBOX or an ACCOUNT: the door of one thing that its shard's leader holds.
/// Answers every call; passivates when idle; restarts from storage.
using resident_actor =
    caf::typed_actor<caf::reacts_to<call_batch>, caf::reacts_to<result_batch>, caf::reacts_to<inbox_arrival>,
                     caf::reacts_to<atom::sweep>, caf::reacts_to<atom::stop>>;
using conversation_actor = resident_actor;
using inbox_actor = resident_actor;
using account_actor = resident_actor;

/// The FAN-OUT of one shard delivers what the shard owes to others, in order, until confirmed.
/// Lives while the shard leads here.
using fan_out_actor =
    caf::typed_actor<caf::reacts_to<debt_batch>, caf::reacts_to<answer_batch>, caf::reacts_to<result_batch>,
                     caf::reacts_to<atom::sweep>, caf::reacts_to<atom::stop>>;

/// A SHARD's replica, seen from its node: spawns, finds and supervises the residents while it leads.
using shard_actor = caf::typed_actor<
    // Calls are handed to their resident; without leadership each is answered `not_leader`.
    caf::reacts_to<call_batch>, caf::reacts_to<core::leadership>, caf::reacts_to<shard_effects>,
    caf::reacts_to<result_batch>, caf::reacts_to<atom::idle, std::uint64_t, std::uint64_t>>;

/// The SESSION of one device: its calls, deadlines and delivery queue.
using session_actor = caf::typed_actor<
    // From the gateway: one turn's calls of this connection (`reply_to` is left empty).
    caf::reacts_to<call_batch>, caf::reacts_to<answer_batch>, caf::reacts_to<delivery_batch>,
    caf::reacts_to<atom::receive, std::uint64_t>, caf::reacts_to<atom::took>, caf::reacts_to<atom::rehome>,
    caf::reacts_to<atom::sweep>, caf::reacts_to<atom::stop>>;

/// The ROUTER of a node knows each shard's leader and the connections that are here.
using router_actor =
    caf::typed_actor<caf::reacts_to<call_batch>, caf::reacts_to<answer_batch>, caf::reacts_to<delivery_batch>,
                     caf::reacts_to<peer_payloads>, caf::reacts_to<peer_lost>,
                     caf::reacts_to<leadership_news>,
                     // A connection is here until `stop` with its number. The second number: its user.
                     caf::reacts_to<atom::receive, std::uint64_t, std::uint64_t, session_actor>,
                     caf::reacts_to<atom::stop, std::uint64_t>, caf::reacts_to<atom::sweep>>;

} // namespace parley
