#pragma once
// Sends a shard's state to a replica that cannot reach it by its log: one that is too far behind its leader,
// one with a damaged row, or a successor without any state. The rows are read in one read transaction, chunk by chunk, and staged in
// the receiver's other slot. The record that makes them the state is written together with the last of them.
//
//   sender                              receiver
//   begin{id, index, term}         ─►   empties its other slot first
//                                  ◄─   ack{id, next = 0}
//   chunk{id, 0..}, a few at once  ─►   stages them
//                                  ◄─   ack{id, next}          after their sync
//   chunk{last}                    ─►   installs: one transaction
//                                  ◄─   ack{id, finished}
#include "cluster/replication/peer_bodies.hpp"
#include "cluster/replication/peer_frames.hpp"
#include "cluster/replication/replica_record.hpp"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace parley::cluster {

class replica;
class replication_parts;

/// Thread: the store's. Bounds: `transfers_max` outgoing transfers at a time, each with at most
/// `transfer_chunks_max` unacknowledged chunks; one that does less than `transfer_chunks_min` in
/// `transfer_time_max` ends (more time for a receiver that was too slow before). One incoming transfer per shard.
///
/// A node takes state only while its disk has room, whatever others send: rows are staged beside those that they
/// replace, and would use up what it needs to vote. If the disk fills up meanwhile, all that is staged is erased
/// again. If it was that which filled the disk, the next try waits, longer each time.
class state_transfers {
public:
  explicit state_transfers(replication_parts& node) : node_{node} {}
  void receive(node_id from, const message_header& h, std::string_view body);
  void peer_reset(node_id peer);
  void tick();
  bool wants_write() const;
  void begin_turn();
  void write(storage::write_txn& txn);
  void end_turn(bool committed);
  /// No state is on its way from here or to here.
  bool idle() const { return out_.empty() && in_.empty(); }

private:
  using verdict = transfer_verdict;
  struct outgoing {
    std::uint64_t id = 0;
    node_id to{};
    message_header header; // of its messages
    std::unique_ptr<storage::read_txn> view;
    std::uint8_t slot = 0;
    std::uint64_t index = 0; // of the state
    std::string next_key;
    std::uint32_t chunks = 0;
    std::uint32_t acked = 0;
    bool open = false; // the receiver is ready
    bool done = false;
    bool to_follower = false;
    std::int64_t progress = 0;
    std::int64_t window_at = 0; // since then it has to do its least
    std::uint32_t acked_then = 0;
  };
  struct incoming {
    std::uint64_t id = 0;
    node_id from{};
    std::uint64_t from_id = 0;
    generation gen{};
    std::uint64_t index = 0;
    std::uint64_t term = 0;
    std::uint32_t next = 0;
    bool open = false; // the other slot was clean
    bool complete = false;
    bool ack = false;
    std::vector<std::string> staged; // chunks not written yet
    std::int64_t progress = 0;
    std::uint64_t bytes = 0;         // that arrived
    std::uint64_t free_at_begin = 0; // of the disk
  };
  struct asking {
    std::int64_t next_at = 0;
    std::size_t turn = 0;
  };

  void begin(const replica& r, generation gen, node_id to, std::uint64_t to_id);
  void send_state(replica& leader, std::uint64_t to_id);
  bool pump(outgoing& t);
  void drop(std::size_t i, bool arrived = false);
  void on_begin(replica& r, node_id from, const message_header& h, std::string_view body);
  void on_chunk(replica& r, node_id from, const message_header& h, std::string_view body);
  void on_ack(node_id from, const message_header& h, std::string_view body);
  void on_fetch(node_id from, const message_header& h);
  void on_stop(const replica& r, node_id from, std::string_view body);
  void refuse_message();
  void abandon(shard_id shard);
  void open_if_clean(shard_id shard, incoming& t);
  void answer(shard_id shard, const incoming& t, verdict v);
  void fetch(replica& r);
  bool takes_state_now() const;
  void abandon_if_full();
  bool is_too_slow(outgoing& t);

  replication_parts& node_;
  std::vector<outgoing> out_;
  std::map<shard_id, incoming> in_;
  std::map<shard_id, asking> asking_;
  std::map<std::pair<shard_id, std::uint64_t>, unsigned>
      slow_;                          // receivers that needed more time, until one finishes
  std::int64_t takes_state_from_ = 0; // the disk filled up before
  std::int64_t room_pause_ = 0;       // after the last time that it did
  std::uint64_t ids_ = 0;
};

} // namespace parley::cluster
