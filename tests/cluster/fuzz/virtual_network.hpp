#pragma once
// The network between nodes: one connection per pair, FIFO while it lasts. Frames are delayed, are held
// up by a partition, or are all lost from some point on. Then the connection breaks, all frames in
// transit are dropped, and both ends get a reset before any frame of the next connection.
//
// Rules of its own: no direction holds more than its window, and hardly anything is built for a peer that is
// not there.
#include "tests/cluster/fuzz/simulation.hpp"

#include <deque>
#include <map>
#include <optional>
#include <string>

namespace parley::fuzz {

/// The receiver of frames and resets.
class network_user {
public:
  virtual ~network_user() = default;
  virtual bool is_up(node_id node) const = 0;
  /// Whether a connection may begin. One that may not is tried again.
  virtual bool may_connect(node_id /*a*/, node_id /*b*/) { return true; }
  virtual void frame_arrived(node_id at, node_id from, std::string bytes) = 0;
  virtual void connection_reset(node_id at, node_id peer) = 0;
};

struct network_profile {
  micros latency_max = 3 * one_ms;
  micros latency_spike_max = 100 * one_ms;
  std::uint64_t spike_one_in = 50;
  micros notice_max = 50 * one_ms; ///< the time until an end learns that its connection is lost
  micros reconnect_max = 200 * one_ms;
  micros keepalive = 2 * one_second; ///< a stalled connection breaks after this
  /// What one direction of a connection holds: sent, and not known to be received. A frame that does not fit
  /// breaks the connection, as it does on a link between nodes.
  std::size_t window_bytes_max = 4 << 20;
  /// What a node may build within `idle_within` for a peer that it has had no connection to for as long.
  std::size_t idle_bytes_max = 4 << 20;
  micros idle_within = 200 * one_ms;
  /// If true, the frames of a sender that has not received the reset yet travel on the next connection.
  /// If false, they are lost.
  bool late_frames_cross_over = true;
};

enum class blocked { no, stalls, drops };

class virtual_network {
public:
  virtual_network(simulation& sim, network_user& user, network_profile profile)
      : sim_{sim}, user_{user}, profile_{profile} {}

  void send(node_id from, node_id to, std::string bytes);
  /// The bytes that are sent and not acknowledged; none if there is no connection.
  std::optional<std::size_t> waiting(node_id from, node_id to);
  void block(node_id from, node_id to, blocked how);
  void unblock_all();
  void break_connection(node_id a, node_id b);
  /// Called when the process of the node has ended or started.
  void break_all_of(node_id node, std::size_t nodes);
  /// Ends latency spikes.
  void calm(bool on) { calm_ = on; }
  bool is_blocked(node_id from, node_id to) { return one_way(from, to).how != blocked::no; }

private:
  struct pipe {
    blocked how = blocked::no;
    std::deque<std::pair<micros, std::string>> under_way;
    micros last_arrival = 0;
    micros blocked_since = 0;
    bool lost_some = false;
    bool pumping = false;
    bool ready = true; ///< the sender has processed the reset that opened this connection
    std::size_t sent = 0, received = 0, acknowledged = 0; ///< bytes, since the connection exists
    std::size_t idle_bytes = 0;                           ///< sent without a connection, since `idle_since`
    micros idle_since = 0;
  };
  struct connection {
    bool open = true;
    micros lost_at = 0;
    std::uint64_t epoch = 0;
    bool reconnecting = false;
  };
  static std::pair<node_id, node_id> pair_of(node_id a, node_id b) {
    return a < b ? std::pair{a, b} : std::pair{b, a};
  }
  connection& between(node_id a, node_id b) { return connections_[pair_of(a, b)]; }
  pipe& one_way(node_id from, node_id to) { return pipes_[{from, to}]; }
  void pump(node_id from, node_id to);
  void acknowledge_soon(node_id from, node_id to);
  void count_idle(node_id from, node_id to, std::size_t bytes);
  void reconnect(node_id a, node_id b);
  void watch(node_id from, node_id to);

public:
  /// The node's engine has processed the reset: frames sent from now on belong to the open connection.
  void reset_processed(node_id at, node_id peer) { one_way(at, peer).ready = between(at, peer).open; }

private:
  simulation& sim_;
  network_user& user_;
  network_profile profile_;
  std::map<std::pair<node_id, node_id>, connection> connections_;
  std::map<std::pair<node_id, node_id>, pipe> pipes_;
  bool calm_ = false;
};

} // namespace parley::fuzz
