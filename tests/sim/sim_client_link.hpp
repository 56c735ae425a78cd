#pragma once
// A connection of a device, with the gateway's end of it:
//
// the device ══ in order, late, cut at any moment ══ its gateway ── SESSION of a node
//
// The gateway does as protocol/gateway/connection does: it writes rows ahead of what the device has read, up
// to a window.
#include "tests/sim/sim_node.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace parley::sim {

struct client_profile {
  micros latency_max = 2 * one_ms;
  micros latency_spike_max = 60 * one_ms;
  std::uint64_t spike_one_in = 100;
  micros notice_max = 300 * one_ms; ///< until one end of a connection learns that the other is gone
  micros backoff_max = one_second;  ///< the highest ceiling of pauses, which begins with `backoff_min`
  micros backoff_min = 20 * one_ms;
  micros answer_within = 12 * one_second; ///< then the connection counts as lost
  micros ack_delay_max = 100 * one_ms;    ///< between two acknowledgements of what was kept
  std::size_t rows_at_once = 16;          ///< that the gateway takes out of the delivery queue
  std::size_t rows_window = 64;           ///< that the gateway writes ahead of what the device has read
  std::size_t sends_window = 1;           ///< messages of one conversation that wait for their answers
  std::uint32_t page_rows = 50;
};

/// The device's end.
class link_user {
public:
  virtual ~link_user() = default;
  virtual void logged_in(const core::attached& state) = 0;
  virtual void answered(std::uint64_t call, core::answer& what) = 0;
  /// `taken` is to be called when the store has the rows: then the gateway may write more.
  virtual void delivered(const std::vector<core::outgoing_row>& rows, std::function<void()> taken) = 0;
  virtual void closed(ec why) = 0;
};

/// The session's actor holds it as its port, and calls it inside the node. It lives until both ends are gone.
class sim_client_link final : public session_port, public std::enable_shared_from_this<sim_client_link> {
public:
  sim_client_link(fuzz::simulation& sim, const client_profile& profile, sim_node& node, link_user& user)
      : sim_{sim}, profile_{profile}, user_{&user}, server_{&node}, life_{node.life()} {}

  // --- what the device does --------------------------------------------------------------------------------
  void open(user_id user, device_id device, session_number session);
  /// Receives what the inbox has behind `after`.
  void receive(inbox_pos after);
  void call(std::uint64_t number, core::call what);
  /// The device's end is gone; the gateway notices it `in` some time.
  void end_later(micros in);
  node_id node() const { return server_->id(); }
  bool is_of(node_id node, std::uint64_t life) const { return server_->id() == node && life_ <= life; }

  // --- session_port
  void answered(std::vector<numbered_answer> answers) override;
  void attached(const core::attached& state) override;
  void rows_ready() override;
  void closed(ec why) override;

private:
  bool node_lives() const { return server_->is_up() && server_->life() == life_; }
  micros arrival(micros& last);
  void to_node(std::function<void()> what);
  void to_device(std::function<void()> what);
  void end_here();
  void end_soon();
  void look();
  void pump();

  fuzz::simulation& sim_;
  const client_profile profile_;
  link_user* user_; ///< null: the device's end is gone
  sim_node* server_;
  std::uint64_t life_; ///< of the node
  session_actor session_;
  std::shared_ptr<delivery_queue> box_;
  std::uint64_t streams_ = 0;
  micros up_at_ = 0, down_at_ = 0; ///< when what was sent last arrives at the node, at the device
  bool looking_ = false, closed_here_ = false, logged_in_ = false;
  std::size_t ahead_ = 0; ///< rows that the device has not read
};

} // namespace parley::sim
