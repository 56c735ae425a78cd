#pragma once
// Frames between peers: all messages of a turn for one peer share frames.
//
//   frame   := magic u32, message*
//   message := length u32 (of the rest), version u8, type u8, shard u16, generation u32,
//              from u64, to u64, body
//
// Bodies are in peer_bodies.hpp. The header of a message never changes within a version; a message of another
// version or of an unknown type is refused and counted.
//
// `from` and `to` are Raft ids (0 where the type has none): a message that does not fit the
// replica here is dropped.
#include "cluster/replication/replication.hpp"
#include "protocol/values/codec.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parley::cluster {

enum class message_type : std::uint8_t { // on the wire: never renumber
  append = 1,                            // 1 to 6 are raft_core's
  append_result = 2,
  vote = 3,
  vote_result = 4,
  install = 5,
  timeout_now = 6,
  read_ask = 10,
  read_answer = 11,
  transfer_begin = 20,
  transfer_chunk = 21,
  transfer_ack = 22,
  transfer_stop = 23,
  fetch = 24,
  sealed = 30,
  confirmed = 31,
  position = 40,
};

/// Whether this program knows the type.
bool is_known(message_type t);

struct message_header {
  message_type type{};
  shard_id shard{};
  generation gen{};
  std::uint64_t from = 0;
  std::uint64_t to = 0;
};
struct message_view {
  message_header header;
  std::string_view body;
};

/// Collects messages into frames. `early` ones may leave before this turn's sync, `late` ones only after it.
/// Owns: the buffers. Holds: FIFO per peer, among the early ones and among the late ones.
class frame_batcher {
public:
  enum class leaves : std::uint8_t { early, late };
  explicit frame_batcher(std::size_t frame_bytes_max) : frame_bytes_max_{frame_bytes_max} {}

  /// Returns the buffer to which the body is appended until `finish`. If the current frame has no room for
  /// `bytes_expected`, a new one begins.
  std::string& start(node_id to, leaves when, const message_header& h, std::size_t bytes_expected = 0);
  void finish();
  void take(leaves when, std::vector<frame>& into);
  void drop(node_id peer);
  /// What waits for the peer.
  std::size_t bytes_for(node_id peer) const;
  /// Whether any message waits.
  bool empty() const { return messages_ == 0; }

private:
  struct peer {
    node_id node{};
    std::vector<std::string> frames[2];
  };
  peer& of(node_id node);

  std::size_t frame_bytes_max_;
  std::vector<peer> peers_; // few, and kept: their order is the order they were first spoken to
  std::string* open_ = nullptr;
  std::size_t open_at_ = 0;
  std::size_t messages_ = 0;
};

/// The frame without what its sender sends again by itself when it is missed, and what alone can be large: entries, and the
/// rows of a state. Empty if nothing is left; a frame that cannot be read stays as it is.
std::string without_bulk(std::string_view frame);

/// Splits a frame; stops at the first thing that is not a message.
class frame_reader {
public:
  explicit frame_reader(std::string_view bytes);
  bool next(message_view& out);
  /// How many messages `next` left out because it does not know their version or type, and 1 for a rest
  /// that is no message.
  std::uint64_t refused() const { return refused_ + (ok_ ? 0 : 1); }
  /// Whether everything so far was well-formed.
  bool ok() const { return ok_; }

private:
  std::string_view left_;
  std::uint64_t refused_ = 0;
  bool ok_ = true;
};

} // namespace parley::cluster
