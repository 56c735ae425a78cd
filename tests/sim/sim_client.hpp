#pragma once
// One device, by the rules of the client library (protocol/client/device): what it has to send is kept until
// its outcome is known, and is sent again with the same id; what arrives is kept before it is acknowledged, and
// what was kept is not taken twice; every login has a higher number than the one before.
//
//   the device ══ a connection: in order, late, cut at any moment ══ its gateway ── SESSION of a node
//
// A crash of the device loses all but its store.
#include "tests/sim/sim_node.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>

namespace parley::sim {

struct client_profile {
  micros latency_max = 2 * one_ms;
  micros latency_spike_max = 60 * one_ms;
  std::uint64_t spike_one_in = 100;
  micros notice_max = 300 * one_ms; ///< until one end of a connection learns that the other is gone
  micros backoff_max = one_second;  ///< of tries that failed, which begin with `backoff_min`
  micros backoff_min = 20 * one_ms;
  micros answer_within = 12 * one_second; ///< then the connection counts as lost
  micros ack_delay_max = 100 * one_ms;    ///< until what was kept is acknowledged
  std::size_t rows_at_once = 16;          ///< that the gateway takes out of the delivery queue
  std::size_t rows_window = 64;           ///< that the gateway writes ahead of what the device has read
  std::size_t sends_window = 1;           ///< messages of one conversation that wait for their answers
  std::uint32_t page_rows = 50;
};

/// Where a device finds nodes.
class node_finder {
public:
  virtual ~node_finder() = default;
  /// One that can be reached, or null.
  virtual sim_node* find_node(device_id device) = 0;
};

class sim_client {
public:
  sim_client(fuzz::simulation& sim, judge& judge, node_finder& nodes, client_profile profile, user_id user,
             device_id device);
  ~sim_client();

  // --- its owner -------------------------------------------------------------------------------------------
  /// Adds itself to its user, who has this phone (empty: that of its number), and goes online when that is done.
  void join(std::string phone = {});
  /// It is its user's already: goes online.
  void enter();
  void open(user_id with);
  void send(conversation_id to, std::size_t bytes);
  void mark_read(conversation_id of);
  /// Reads all of it, from the first message on.
  void sync(conversation_id of);
  void go_offline();
  void go_online();
  /// Offline until it comes back, whatever else brings devices online.
  void leave();
  void come_back();
  void crash();
  /// The node of that life has ended: the device notices, sooner or later.
  void node_ended(node_id node, std::uint64_t life);
  /// Breaks the connection.
  void cut();

  // --- its state -------------------------------------------------------------------------------------------
  user_id user() const { return user_; }
  device_id device() const { return device_; }
  bool is_member() const { return joined_; }
  /// Nothing is to be sent, and it is connected.
  bool settled() const;
  inbox_pos cursor() const { return cursor_; }
  std::string describe() const;

private:
  struct link;
  struct outgoing {
    client_msg_id id;
    conversation_id to;
    std::string body;
    bool under_way = false;
    bool tried = false;
    micros not_before = 0;
  };
  /// Null: the connection was lost, and nobody knows what became of it.
  using done_type = std::function<void(core::answer*)>;

  void later(micros delay, std::function<void()> what);
  micros pause(std::uint32_t tries);
  void try_join();
  void connect();
  void lost();
  void logged_in(const core::attached& state);
  void take(std::vector<core::outgoing_row>& rows);
  void take(core::inbox_row& row);
  void acknowledge();
  void ask(core::call what, done_type done);
  void send_next();
  void answered(const client_msg_id& id, core::answer* what);
  void try_open(user_id with, std::uint32_t tries);
  void try_mark(conversation_id of, seq_no upto, std::uint32_t tries);
  void next_page(conversation_id of, seq_no after, std::uint32_t tries);

  fuzz::simulation& sim_;
  judge& judge_;
  node_finder& nodes_;
  client_profile profile_;
  user_id user_;
  device_id device_;
  std::string phone_;
  std::uint64_t life_ = 0; ///< of the device's process
  bool away_ = false;

  // What is in its store.
  bool joined_ = false;
  bool begun_ = false; ///< it was logged in once
  std::uint64_t session_ = 0;
  std::uint64_t counter_ = 0;
  inbox_pos cursor_{};
  std::deque<outgoing> outbox_;
  std::map<conversation_id, seq_no> newest_; ///< that it knows of
  std::set<user_id> to_open_;

  // What a crash loses.
  std::shared_ptr<link> link_;
  bool online_ = false;
  bool connecting_ = false;
  bool ready_ = false; ///< logged in
  bool copies_ = false;
  bool ack_armed_ = false, acknowledging_ = false;
  std::set<user_id> opening_;
  inbox_pos acked_{};
  std::uint32_t tries_ = 0;
  std::uint32_t syncs_ = 0;
};

} // namespace parley::sim
