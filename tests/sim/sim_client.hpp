#pragma once
// One device of a user: its store, which survives crashes, its program, which does not, and what its user
// wants of it. The program runs the rules of the client library: what it has to send is kept until its
// outcome is known, and is sent again with the same id; what arrives is kept before it is acknowledged, and
// what was kept is not taken twice; what is missing is fetched first; every login has a higher number than
// the one before.
#include "protocol/client/rules/enrolment_rules.hpp"
#include "tests/sim/sim_client_program.hpp"

#include <memory>
#include <optional>
#include <set>
#include <string>

namespace parley::sim {

/// Of a device that is to be added.
core::device_record record_of(device_id device);

class sim_client {
public:
  sim_client(fuzz::simulation& sim, judge& judge, node_finder& nodes, client_profile profile, user_id user,
             device_id device);

  // --- its owner -------------------------------------------------------------------------------------------
  /// Adds itself to its user, who has this phone (empty: that of its number), and goes online when that is
  /// done.
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
  /// Nothing is to be sent or told, and it is connected.
  bool settled() const;
  /// Of a conversation; none while its program does not run.
  seq_no position(conversation_id c) const { return program_ ? program_->position(c) : seq_no::none; }
  std::size_t to_send() { return store_.waiting().size(); }
  inbox_pos cursor() { return sim_client_program::place(store_.where().applied); }
  std::string describe();

private:
  client::instant now() const { return std::chrono::microseconds{sim_.time.now()}; }
  sim_client_program& program();
  void begin_to_join();
  void try_join();
  void join_answered(std::uint64_t attempt, ec why);
  void try_open(user_id with);
  void next_page(conversation_id of, seq_no after);
  void check_kept(const core::conversation_page& page, seq_no position);

  fuzz::simulation& sim_;
  judge& judge_;
  node_finder& nodes_;
  client_profile profile_;
  user_id user_;
  device_id device_;
  std::string phone_;
  bool joined_ = false;
  bool away_ = false;
  std::vector<sim_node*> join_at_;
  std::optional<client::enrolment_rules> join_;
  client::dice join_chance_;
  std::uint64_t join_attempt_ = 0; ///< an answer to an earlier one comes too late
  std::uint64_t join_after_ = 0;   ///< so many rescues

  // What a crash does not lose.
  client::memory_store store_{{1'000'000}};
  std::uint64_t said_ = 0;
  std::set<user_id> to_open_;
  told_to_judge told_;

  // What a crash loses.
  std::unique_ptr<sim_client_program> program_;
  std::set<user_id> opening_;
  std::uint32_t syncs_ = 0;
};

} // namespace parley::sim
