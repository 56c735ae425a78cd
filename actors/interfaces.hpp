#pragma once
// Every actor that a call or a message passes on its way through a node, with what it takes and answers.
// Elsewhere: the ALARM, which sends every sweep (alarm.hpp), the actors that connect nodes (cluster/links) and
// the DIRECTORY of nodes (cluster/membership).
//
// A call, for example a message that is sent. Its answer goes back from hop to hop.
//
//            calls                    calls (its shard leads here)         proposals, reads
//   gateway ───────► SESSION ──► ROUTER ──► SHARD ──► CONVERSATION / INBOX / ACCOUNT ──► STORE
//      ▲                ▲         │  ▲                         │      ▲                     │
//      └──── answers ───┴─────────┼──┴─────────────────────────┘      └────── results ──────┘
//                                 ▼
//                               ROUTER of the node that leads the shard, if that is another one
//
// Fan-out, which begins when the message was applied: a second send, to the shard of each recipient, and from
// there to the recipient's devices. Nobody waits for it.
//
//   STORE ─ debts ─► SHARD ─► FAN-OUT ─ proposals ─► ROUTER ─► SHARD of the recipient ─► STORE
//     ▲                          │ what is confirmed    └─► ROUTER of another node, if that leads it
//     └──────────────────────────┘
//   STORE ─ arrivals ─► SHARD ─► INBOX ─ deliveries ─► ROUTER ─► SESSION ─ rows ─► gateway
//                                                        └─► ROUTER of the device's node
//
// Why no CAF requests: a call crosses up to six actors and sometimes a node, and a timer per request costs
// more than the hop. Calls carry a number and where to answer; the answers of one turn are one message for
// each receiver. The SESSION and the FAN-OUT sweep for their overdue calls, so every wait ends.
//
// All messages below stay inside one process (what crosses nodes is bytes: core/peer_payload.hpp).
#include "actors/core/calls.hpp"
#include "actors/core/outgoing_row.hpp"
#include "actors/core/shards.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/typed_actor.hpp>
#include <caf/typed_event_based_actor.hpp>

namespace parley {

// --- messages ----------------------------------------------------------------------------------------------

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

/// The actor that asked. It takes each answer once, and ignores unknown numbers (answered or overdue before).
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
  std::string command;       ///< an encoded core::command
  bool can_wait = false;     ///< the store may keep it for a moment and write many together
  bool frees_room = false;   ///< taken although the disk is full
  bool from_clients = false; ///< the store keeps some room that these may not fill
};
/// `format`: of the shard.
inline proposal make_proposal(shard_id shard, core::format_number format, std::uint64_t ticket,
                              result_sink reply_to, const core::command& what) {
  return {shard,
          ticket,
          std::move(reply_to),
          core::encode_for(format, what),
          core::can_wait(what),
          core::frees_room(what),
          core::from_clients(what)};
}
struct proposal_batch {
  std::vector<proposal> proposals;
};
/// Whose rows a read needs, and no others. None: it may need any.
using read_subject = std::variant<std::monostate, user_id, conversation_id>;

/// A read that reaches everything acknowledged so far: answered when a new read transaction shows it.
struct fresh_read {
  shard_id shard{};
  std::uint64_t ticket = 0;
  result_sink reply_to;
  read_subject about;
};

/// From an inbox to one connection: rows that follow `after` in its stream. Without rows it says only how far
/// the connection should be: an earlier push could not be sent.
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

/// What this node newly knows of its shards' leaders.
struct leadership_news {
  std::vector<core::leadership> changes;
};
/// For a shard led here: what applying left to do.
struct shard_effects {
  std::vector<core::incurred> debts;
  std::vector<core::arrived> arrivals;
  core::moment applied_at{}; ///< when a turn had applied it: the start of "from commit to socket"
};

struct peer_payloads { ///< from the node transport, calls lane
  node_id from{};
  std::vector<std::string> payloads;
};
struct raft_payloads { ///< from the node transport, raft lane
  node_id from{};
  std::vector<std::string> frames;
};
/// The session with a peer ended, or a new one begins: what was under way to or from it is lost.
struct peer_lost {
  node_id peer{};
};
/// A session with a peer begins; `peer_lost` came before.
struct peer_begun {
  node_id peer{};
};

/// From a shard to one of its inboxes: new rows.
struct inbox_arrival {
  std::vector<core::inbox_row> rows;
  core::moment applied_at{};
};
/// From a shard to its fan-out: new debts.
struct debt_batch {
  std::vector<core::incurred> debts;
};

/// From a resident to its shard: it has nothing to do. The shard answers with `stop`, in order with the calls
/// that it forwarded before.
struct resident_idle {
  std::uint64_t handle = 0; ///< names the incarnation of the resident
};

/// From the gateway to a session: stream the inbox from here on.
struct start_streaming {
  inbox_pos after{};
  std::uint64_t stream = 0; ///< as the delivery queue's: it tells the rows of this one from those before
};

/// From the directory: the replicas of a shard shall be other ones.
struct seal_request {
  shard_id shard{};
  generation of{}; ///< whose members were looked at: the wish says nothing about a later one
  std::vector<core::member> next;
};
/// Another replica shall lead a shard that is led here.
struct transfer_request {
  shard_id shard{};
  node_id to{};
};
struct replica_report { ///< answer to atom::report
  std::vector<core::replica_status> replicas;
};
/// Takes what a node shows its readers and operators of its shards.
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
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::peer_begun)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::inbox_arrival)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::debt_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::resident_idle)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::start_streaming)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::seal_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::transfer_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::replica_report)

CAF_BEGIN_TYPE_ID_BLOCK(parley, caf::first_custom_type_id)
CAF_ADD_ATOM(parley, parley::atom, tick, "tick")   // 10 characters at most
CAF_ADD_ATOM(parley, parley::atom, sweep, "sweep") // look for what is overdue
CAF_ADD_ATOM(parley, parley::atom, turn, "turn")   // everything queued before it belongs to one batch
CAF_ADD_ATOM(parley, parley::atom, stop, "stop")   // finish what is pending, then quit
CAF_ADD_ATOM(parley, parley::atom, report, "report")
CAF_ADD_ATOM(parley, parley::atom, publish, "publish") // show readers what is committed
CAF_ADD_ATOM(parley, parley::atom, drain, "drain")     // hand leaderships over
CAF_ADD_ATOM(parley, parley::atom, rehome, "rehome")   // the user's leader is a new one, or was out of reach
CAF_ADD_ATOM(parley, parley::atom, took, "took")       // the delivery queue has room again
CAF_END_TYPE_ID_BLOCK(parley)

namespace parley {

/// The STORE is the only writer of one LMDB environment and steps the Raft groups in it.
/// Detached: it blocks in the sync. Everything that arrived during one sync shares the next.
using store_actor = caf::typed_actor<
    // Commands for the logs of shards. Each is answered once with a `result`, as far as it has a `reply_to`.
    caf::reacts_to<proposal_batch>,
    // Answered with a `result` when new read transactions show all that was acknowledged before.
    caf::reacts_to<fresh_read>,
    // From other nodes: messages of their replicas; or that a node is gone.
    caf::reacts_to<raft_payloads>, caf::reacts_to<peer_lost>,
    // From the directory and the operator: a shard gets other replicas, or another leader. Not answered:
    // reports show what became of it.
    caf::reacts_to<seal_request>, caf::reacts_to<transfer_request>,
    // Hands every leadership held here to another replica.
    caf::reacts_to<atom::drain>,
    // To itself: reads wait for what is committed.
    caf::reacts_to<atom::publish>,
    // Answers a `replica_report` to the sink.
    caf::reacts_to<atom::report, report_sink>,
    // To itself: time passes for the Raft groups; what arrived before belongs to one batch.
    caf::reacts_to<atom::tick>, caf::reacts_to<atom::turn>>;

/// A CONVERSATION, an INBOX or an ACCOUNT: the door of one thing that its shard's leader holds.
/// Answers every call; passivates when idle; restarts from storage.
using resident_actor = caf::typed_actor<
    // From the shard. Each call is answered once.
    caf::reacts_to<call_batch>,
    // From the store: what became of proposals and reads.
    caf::reacts_to<result_batch>,
    // From the shard, to an INBOX only: rows to push to live sessions.
    caf::reacts_to<inbox_arrival>,
    // Write what is coalesced; passivate if idle.
    caf::reacts_to<atom::sweep>,
    // From the shard: write what is coalesced, then quit when no call waits any more.
    caf::reacts_to<atom::stop>>;
using conversation_actor = resident_actor;
using inbox_actor = resident_actor;
using account_actor = resident_actor;

/// The FAN-OUT of one shard delivers what the shard owes to others, in order, until confirmed.
/// Lives while the shard leads here.
using fan_out_actor = caf::typed_actor<
    // From the shard: new debts.
    caf::reacts_to<debt_batch>,
    // From other shards, by the router: what became of the commands sent to them.
    caf::reacts_to<answer_batch>,
    // From the store: what became of the proposals to forget confirmed debts.
    caf::reacts_to<result_batch>,
    // Load more debts, send again what got no answer, confirm.
    caf::reacts_to<atom::sweep>,
    // This node no longer leads the shard. Quits at once: the next leader continues with the stored debts.
    caf::reacts_to<atom::stop>>;

/// A SHARD's replica, seen from its node: spawns, finds and supervises the residents while it leads.
using shard_actor = caf::typed_actor<
    // Calls are handed to their resident; without leadership each is answered `not_leader`.
    caf::reacts_to<call_batch>,
    // From the store: this replica leads from now on, or leads no more.
    caf::reacts_to<core::leadership>,
    // From the store: debts for the fan-out and rows for inboxes. Ignored without leadership.
    caf::reacts_to<shard_effects>,
    // From the store: answers to what the shard proposed and read for calls without a resident.
    caf::reacts_to<result_batch>,
    // From a resident.
    caf::reacts_to<resident_idle>>;

/// The SESSION of one device: its calls, their deadlines and its delivery queue.
using session_actor = caf::typed_actor<
    // From the gateway: one turn's calls of this session (`reply_to` is left empty). Each is answered once,
    // at the latest with `timed_out` when its deadline passes.
    caf::reacts_to<call_batch>,
    // From residents, by the router.
    caf::reacts_to<answer_batch>,
    // From the inbox, by the router: rows, or the reason to close.
    caf::reacts_to<delivery_batch>,
    // From the gateway, any number of times.
    caf::reacts_to<start_streaming>,
    // From the gateway: the delivery queue was emptied.
    caf::reacts_to<atom::took>,
    // From the router: the user's shard has a new leader, or the link to its leader was lost and is there
    // again, so the session announces itself again and asks for what it missed.
    caf::reacts_to<atom::rehome>,
    // Time out overdue calls, repeat a lost pull, send the heartbeat.
    caf::reacts_to<atom::sweep>,
    // From the gateway: the connection is closed. Detaches and quits.
    caf::reacts_to<atom::stop>>;

/// From a session to its node's router: it is here until `session_gone`.
struct session_here {
  std::uint64_t number = 0; ///< of its connection_ref
  user_id user{};
  session_actor it;
};
struct session_gone {
  std::uint64_t number = 0;
};

} // namespace parley

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::session_here)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::session_gone)

namespace parley {

/// The ROUTER of a node knows each shard's leader and the sessions that are here.
using router_actor = caf::typed_actor<
    // Each call goes to the shard here, or to the node that leads it, or waits for a leader to be known.
    // Errors: bad_request (no such shard), unavailable, overloaded, timed_out.
    caf::reacts_to<call_batch>,
    // From shards and residents here: answers to calls of other nodes.
    caf::reacts_to<answer_batch>,
    // From inboxes here: to sessions here, or to the routers of their nodes.
    caf::reacts_to<delivery_batch>,
    // From other nodes' routers. What cannot be read, and kinds that this node does not know, is counted.
    caf::reacts_to<peer_payloads>,
    // A peer is gone: calls that were forwarded to it are answered `timed_out`.
    caf::reacts_to<peer_lost>,
    // A peer can be reached: the router announces to it which shards are led here, and has the sessions whose
    // users' shards that peer leads announce themselves again.
    caf::reacts_to<peer_begun>,
    // From the store.
    caf::reacts_to<leadership_news>,
    // From sessions.
    caf::reacts_to<session_here>, caf::reacts_to<session_gone>,
    // Refuse what waits or is under way for too long.
    caf::reacts_to<atom::sweep>>;

} // namespace parley
