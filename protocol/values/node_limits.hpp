#pragma once
// The bounds of what nodes write to logs and send each other, each written once, with what has to be smaller
// than what. No user meets them. A peer refuses only what is above its window, so that one is part of
// `link_versions`; the other bounds are the sender's, and nodes of two versions may have different ones.
#include "protocol/values/limits.hpp"

#include <cstddef>

namespace parley {

// --- what a log takes --------------------------------------------------------------------------------------

/// Of the commands in one entry of a log. The commands of one turn share entries up to this size, and a
/// command that is larger is refused as `too_large`.
inline constexpr std::size_t entry_bytes_max = 256 << 10;
/// Of the parts that are packed into one command: appends to inboxes, and messages that fill a gap in one.
/// The rest of the entry is for what their encoding adds.
inline constexpr std::size_t command_parts_bytes_max = 192 << 10;
static_assert(command_parts_bytes_max + body_bytes_max <= entry_bytes_max,
              "a command that is packed to its bound has to fit into an entry, or it is refused for ever");
static_assert(body_bytes_max < command_parts_bytes_max, "a message of any size has to fit into one command");

/// Of the commands that a node's store has taken and not answered, of all shards. On its way a command is in memory about
/// eight times: as a proposal, as an entry, as a row of the log and of the state, each of these for the journal and for
/// LMDB, and in the hands of the fan-out.
inline constexpr std::size_t proposals_bytes_max = 16 << 20;
static_assert(entry_bytes_max <= proposals_bytes_max);
/// Of a bound of proposals, what messages of clients may fill. The rest is for what follows from messages that were taken
/// (appends to inboxes, confirmations) and for accounts: a crowd of senders must not keep these from being written.
constexpr std::size_t for_messages(std::size_t all) {
  return all - all / 4;
}
/// Of the messages of a node's clients that are in the cluster and not answered, all event loops together. The gateway's
/// bound is below the store's, because the gateway looks at who has how many, and the store refuses anybody.
inline constexpr std::size_t sends_bytes_max = 8 << 20;
static_assert(sends_bytes_max < for_messages(proposals_bytes_max));
static_assert(2 * sends_bytes_max <= proposals_bytes_max, "each is proposed once more, for its recipient");
/// With those that wait for their turn in the gateway, where each is in memory once.
inline constexpr std::size_t sends_held_bytes_max = 64 << 20;

// --- what leaves on a link ---------------------------------------------------------------------------------

/// Of what is queued for a peer or not acknowledged by it. A batch is never above it, and a peer closes the
/// connection on a larger frame: it is part of `link_versions`.
inline constexpr std::size_t link_window_bytes_max = 4 << 20;
/// Of the calls within the window; the rest of it is for Raft.
inline constexpr std::size_t link_calls_bytes_max = 2 << 20;
/// What a payload counts in the window beyond its own bytes: its lane and its length.
inline constexpr std::size_t link_payload_header_bytes = 5;
/// Of one payload on a link; the link refuses a larger one, whatever is in it. One of this size just fits
/// into the share of calls, if nothing else is in the window.
inline constexpr std::size_t link_payload_bytes_max = link_calls_bytes_max - link_payload_header_bytes;
/// Of the payloads that leave together; a larger payload leaves alone.
inline constexpr std::size_t link_batch_bytes_max = 256 << 10;
static_assert(link_calls_bytes_max < link_window_bytes_max, "calls must not keep Raft from sending");
static_assert(link_batch_bytes_max <= link_window_bytes_max);

/// Of one payload of calls, answers or deliveries. More is split; a single larger item leaves alone.
inline constexpr std::size_t calls_payload_bytes_max = 256 << 10;
static_assert(calls_payload_bytes_max <= link_payload_bytes_max);
static_assert(entry_bytes_max + body_bytes_max <= link_payload_bytes_max,
              "the largest command has to reach the log's leader, and the largest entry the other replicas");
static_assert(page_bytes_max + body_bytes_max <= link_payload_bytes_max,
              "a page that another node answers has to fit into a payload");

/// Of one frame of replicas' messages; a larger entry has a frame of its own. It bounds how long a heartbeat
/// waits behind bulk.
inline constexpr std::size_t raft_frame_bytes_max = 256 << 10;
/// Of the rows in one message that sends a replica the state of its shard.
inline constexpr std::size_t state_chunk_bytes_max = 128 << 10;
/// Of the replicas' frames that wait on a link: above it no entries follow, only heartbeats and the like. It
/// is well below the calls' share, so a follower that catches up does not keep calls from leaving.
inline constexpr std::size_t raft_link_bytes_max = 1 << 20;
/// Of the entries of one shard that a follower has not acknowledged.
inline constexpr std::size_t raft_flight_bytes_max = 1 << 20;
/// Of the replicas' frames that a node has received and its store has not taken, of all shards and peers. Above it
/// entries and rows of states are left out: their senders send them again. Without it, a disk that hangs would make a
/// node hold `raft_flight_bytes_max` of each shard in memory.
inline constexpr std::size_t raft_mailbox_bytes_max = 32 << 20;
/// What heartbeats, votes and answers may take beyond it; they come at 40 KB/s with 64 shards. Then all is left out.
inline constexpr std::size_t raft_mailbox_control_bytes_max = 8 << 20;
/// What heartbeats, votes and answers of all shards may take until a silent session ends.
inline constexpr std::size_t raft_control_bytes_max = 256 << 10;
static_assert(raft_frame_bytes_max <= link_payload_bytes_max);
static_assert(raft_link_bytes_max < link_calls_bytes_max);
static_assert(raft_flight_bytes_max < raft_mailbox_bytes_max, "one busy shard must not fill it alone");
static_assert(raft_link_bytes_max + raft_frame_bytes_max + 3 * state_chunk_bytes_max +
                      raft_control_bytes_max + link_calls_bytes_max <=
                  link_window_bytes_max,
              "what replicas and calls send within their bounds must never overflow a link");
static_assert(state_chunk_bytes_max <= raft_frame_bytes_max);

} // namespace parley
