#pragma once
// One run: a cluster of whole nodes, the devices of its users, and all that befalls them, from one seed.
//
//   found    generation 1 of each shard, and the users
//   storm    users talk, while faults of the kinds that the seed allows strike
//   trial    with `disks`, in some seeds, after half of the storm and a calm: something befalls a disk while all else is
//            well, and the cluster has to deal with it in bounded time (world_disks.cpp)
//   calm     nothing is broken any more: within `agree_within` everything is sent, brought, acknowledged and
//            paid, and the replicas are equal. Then an idle cluster falls silent, says the truth of itself, and is prompt
//   reading  every member reads its conversations from the first message on
#include "tests/sim/newcomer.hpp"
#include "tests/sim/shapes.hpp"
#include "tests/sim/sim_client.hpp"
#include "tests/sim/sim_node.hpp"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace parley::sim {

class census;

struct run_options {
  std::uint64_t seed = 1;
  double seconds = 20; ///< virtual seconds of the storm
  bool print_trace = false;
  /// Switches (switches.hpp) that are off, though the seed has them on. Everything else is planned as with them.
  std::set<std::string, std::less<>> without;
  std::size_t users_max = 0; ///< fewer than the seed draws; 0: as many
  /// Other than 0: what the seed draws stays as it is, but how long each frame and each sync takes is drawn anew.
  std::uint64_t variation = 0;
  bool plain = false;   ///< without shapes (shapes.hpp)
  bool disks = false;   ///< disks ail (world_disks.cpp)
  bool rescues = false; ///< shards lose their majorities, and are rescued (world_rescue.cpp)
};

struct outcome {
  std::string violation; ///< empty if there was none
  std::string story;     ///< the events before it
  tally count;
  shape_tally shapes;
  std::uint64_t trace_hash = 0;
  micros took = 0;         ///< virtual time
  micros storm_began = -1; ///< -1: the run has not come so far
};

outcome run(const run_options& options);
/// What of rescues can be left out (switches.hpp).
std::vector<std::string> rescue_switches();

/// What the seed has decided about this run.
struct profile {
  std::size_t nodes = 3;
  std::size_t replicas = 3;
  std::uint16_t shards = 4;
  std::size_t users = 6;
  std::size_t conversations = 6;
  micros send_every = 100 * one_ms; ///< of all users
  micros fault_every = one_second;
  micros down_max = 2 * one_second;
  std::size_t body_bytes_max = 200;
  fuzz::network_profile network;
  node_profile node;
  client_profile client;
  std::vector<int> faults, works; ///< the weight of each kind
  enum class trial { none, one_full, all_full, old_copy } trial = trial::none;
  micros disk_fault_every = 0;
  std::vector<int> disk_faults; ///< the weight of each kind
};
profile draw_profile(fuzz::chance& luck);

class world final : public fuzz::network_user, public node_user, public node_finder {
public:
  explicit world(const run_options& options);
  outcome run(const run_options& options);
  /// The kinds of faults, and of what users do.
  static std::vector<std::string> kinds();

private:
  struct fault {
    const char* name;
    int weight;
    void (world::*strike)();
  };
  static const std::vector<fault>& all_faults();
  static const std::vector<fault>& all_works();

  // --- faults (world_faults.cpp) ---------------------------------------------------------------------------
  void kill_node();
  void kill_in_run();
  void lose_power();
  void cut_off_node();
  void cut_one_way();
  void flap_link();
  void break_link();
  void pause_node();
  void slow_disk();
  void jump_clock();
  void hand_over();
  void kill_client();
  void cut_client();
  void send_client_away();
  void duel(); // world_votes.cpp
  void take_down(sim_node& node, micros down, test::unsynced what = test::unsynced::seeded);
  void heal();

  // --- ailing disks (world_disks.cpp) ----------------------------------------------------------------------
  static const std::vector<fault>& all_disk_faults();
  static const std::vector<fault>& all_read_faults(); // world_reads.cpp
  void draw_reads();
  void fail_read();
  void unread(sim_node& node);
  bool has_shape_beside_disks();
  void draw_disks();
  void fill_disk();
  void fail_commit();
  void flip_rows();
  void damage(sim_node& node);
  void lose_disk();
  void when_whole(int tries, const std::function<void(sim_node&)>& strike);
  bool is_whole() const;
  std::string ailing() const;
  bool rows_are_mended(sim_node& node) const;
  void nurse(node_id ill);
  void find_damage();
  void begin_with_empty_disk(sim_node& node);
  void ask_to_be_listed(sim_node& node);
  void ask_whether_whole(sim_node& node);
  void disconnect(sim_node& node, std::uint64_t life);
  bool reaches(node_id a, node_id b) { return !net_.is_blocked(a, b) && !net_.is_blocked(b, a); }
  void disk_trial();
  void try_one_full(sim_node& node, storage::space room);
  void try_all_full(storage::space room);
  std::string unacknowledged();
  void keep_a_copy(int tries);
  void try_old_copy();
  std::vector<sim_node*> leave_with_laggard(sim_node& node, std::uint64_t start);
  void go_down(sim_node& node);
  void start_again(sim_node& node);

  // --- rescues (world_rescue.cpp) --------------------------------------------------------------------------
  void draw_rescues();
  void plan_rescues(micros storm);
  void begin_rescue(int tries);
  bool choose_victims();
  void lag();
  bool cut_off_inbox();
  void strike_when_said(int tries);
  void lose_majorities();
  std::map<shard_id, sim_node*> choose_survivors(std::string& why);
  bool knows_all(sim_node& node, shard_id shard);
  void rescue();
  void rescue_shard(sim_node& node, shard_id shard);

  // --- what users do ---------------------------------------------------------------------------------------
  void say();
  void say_much();
  void read_mark();
  void read_all();
  void open_one();
  void add_device();

  // --- nodes and shards of a shape (world_shards.cpp) ------------------------------------------------------
  void move_shard();
  bool are_there(const std::vector<cluster::member>& members);
  std::set<shard_id> about_to_move(const std::set<node_id>& but_of);
  bool is_moving();
  void strike_mover(sim_node& leader, const std::vector<cluster::member>& next);
  std::vector<cluster::member> next_members(const std::vector<cluster::member>& now);
  void leave_behind();
  void note_left_behind(sim_node& node, const cluster::replica_status& r);
  void move_on(shard_id shard, generation of, const std::vector<cluster::member>& to, int tries);
  void stuff_lane();
  void flicker();
  sim_node* leader_of(shard_id shard);
  sim_client* member_of(user_id user); ///< the first device that has registered; null: none has
  bool all_have_settled() const;       ///< the devices
  static generation generation_of(const sim_node& leader, shard_id shard);
  /// As its newest leader has them.
  std::vector<cluster::member> members_of(shard_id shard);
  sim_node& some_node();
  sim_node* foreign_node(user_id user);
  bool has_started(const sim_node& n) const { return n.life() != 0; }
  /// Empty, or what is not as a shard's members shall be when all is calm.
  std::string unseated();

  // --- people of a shape (world_people.cpp) ----------------------------------------------------------------
  struct sleeper {
    user_id user{};
    device_id device{};
    bool registered = false, awake = false;
    std::uint32_t tries = 0;
  };
  struct look_up {
    std::string phone;
    bool until_found = false;
  };
  void register_sleepers();
  void try_sleeper(std::size_t which);
  void wake(sleeper& s);
  void wake_one();
  void add_newcomer();
  void begin_newcomer(const std::string& phone);
  void look_up_phone();
  void ask_phone(look_up what, sim_client& by);
  void ask_in_the_end();
  void ask_list(user_id user, conversation_id after, std::set<conversation_id> seen);
  void ask_device(user_id user, device_id device);
  void ask_until_answered(core::call what, std::function<void(const core::answer&)> done);
  void send_away(micros until);
  void write_to(user_id absent, std::size_t left, micros mean);
  void add_device_of(user_id user);
  std::size_t body_bytes();

  // --- the course of a shape (world_shapes.cpp) ------------------------------------------------------------
  void take_shape(const run_options& options);
  void begin_shapes(micros storm);
  void end_shapes();
  shape_tally shapes();
  std::string unshaped();
  void now_and_then(const char* name, micros mean, void (world::*strike)());
  void again_and_again(const char* name, micros mean, void (world::*strike)(), fuzz::chance plan);

  // --- the course of a run ---------------------------------------------------------------------------------
  void found();
  void begin_storm();
  void calm();
  /// Users do what they do, and nothing fails.
  void talk();
  /// When what of these happens is drawn of `plan` alone.
  void every(micros mean, const std::vector<fault>& kinds, const std::vector<int>& weights,
             fuzz::chance plan);
  bool until(micros deadline, const std::function<bool()>& reached);
  /// Empty, or the first thing that is not as it shall be when all is calm.
  std::string unsettled();
  std::string unequal();
  void read_to_the_end();
  std::size_t left_over();
  void settle();

  // --- rules of the calm (rules_*.cpp) ---------------------------------------------------------------------
  void expect_truth(const std::set<node_id>& alone);
  std::string untrue(const std::set<node_id>& alone);
  void examine_cut_off();
  enum class moment : std::uint8_t { storm_ends, all_settled };
  void lose_one_for_good(moment when);
  bool is_dispensable(node_id node);
  void expect_silence();
  std::string noise(const census& heard);
  void hold_up_sessions();
  micros fetches_a_history_in() const;
  void expect_promptness();
  void refuse_some();
  void strike_last();
  std::string unmarked();
  std::string unplaced();

  // network_user, node_user, node_finder
  bool is_up(node_id n) const override { return at(n).is_up(); }
  void frame_arrived(node_id n, node_id from, std::string bytes) override {
    at(n).frame_arrived(from, std::move(bytes));
  }
  void connection_reset(node_id n, node_id peer) override { at(n).connection_reset(peer); }
  bool may_connect(node_id a, node_id b) override;
  void died(node_id n) override;
  void voted(node_id n) override;
  void turn_ended(node_id n) override;
  void sent(node_id n, char lane, std::string_view bytes) override;
  void proposed(node_id n, std::string_view command) override;
  void seal_wished(const seal_request& wish) override;
  void stopped(node_id n, const std::string& sentence) override;
  void fenced(node_id n, storage::fence::then next) override;
  bool some_forgot() const override { return judge_.count.put_back != 0; }
  sim_node* find_node(device_id device) override;
  std::vector<sim_node*> known_nodes() override;

  sim_node& at(node_id n) const { return *nodes_.at(number(n) - 1); }
  sim_node& any_node() { return *nodes_[sim_.luck.below(nodes_.size())]; }
  sim_client& any_client() { return *clients_[sim_.luck.below(clients_.size())]; }
  /// A device of one of its members.
  std::pair<conversation_id, sim_client*> any_conversation();

  const run_options options_;
  fuzz::simulation sim_;
  profile profile_;
  fuzz::chance shape_luck_; ///< of its own, so that a shape changes nothing in what the seed draws else
  shape_profile shape_;
  shape_tally shaped_;
  judge judge_{sim_};
  fuzz::virtual_network net_;
  std::vector<std::unique_ptr<sim_node>> nodes_;
  std::vector<std::unique_ptr<sim_client>> clients_;
  phone_book phones_{sim_};
  std::vector<std::unique_ptr<newcomer>> newcomers_;
  std::vector<sleeper> sleepers_;
  std::size_t looking_up_ = 0; ///< phones that must be found before the run ends
  std::size_t asking_ = 0;     ///< what is asked in the end and has no answer yet
  micros agree_within_ = 60 * one_second;
  std::map<std::tuple<shard_id, generation, std::uint64_t>, node_id> led_; ///< by term
  std::set<std::tuple<shard_id, generation, std::vector<cluster::member>>>
      wished_;                   ///< seals, with the next members
  node_id gone_ = node_id::none; ///< does not come back (rules_majority.cpp)
  census* census_ = nullptr;     ///< while somebody counts
  std::uint64_t next_device_ = 1;
  std::uint64_t storm_ = 0; ///< what an earlier one has planned does not happen
  bool storming_ = false;

  struct disk_states {
    fuzz::chance luck{0}; ///< of its own: what a seed draws for the rest does not depend on it
    bool has_shape = false;
    bool laggard = false;           ///< an older copy meets one node first, which was away
    bool moves = false;             ///< operators move shards, and nodes join
    micros sealed_at = -one_second; ///< when an operator asked for it last
    std::uint64_t next_disk = 1000;
    node_id ill{}; ///< whose disk lost something that is not made good yet: never more than one
    std::vector<std::pair<storage::table, std::string>> flipped; ///< its rows that were damaged
    std::map<node_id, int> errors;                               ///< commits that will fail
    std::map<node_id, sim_node::disk_copy> copies;
  };
  disk_states disks_;

  struct read_states {
    fuzz::chance luck{0}; ///< of its own
    micros every = 0;
    node_id replaced{}; ///< whose disk is not used any more when a read has failed
  };
  read_states reads_;

  struct left_behind {
    node_id node{};
    shard_id shard{};
    generation of{}; ///< that has its state
    micros down = 0;
    std::vector<cluster::member> after; ///< of the second generation without it
  };
  left_behind left_behind_;

  struct rescue_states {
    fuzz::chance luck{0}; ///< of its own
    bool lags = false, power = false, late = false, again = false, quiet = false, inbox = false;
    bool under_way = false;
    std::set<node_id> victims;
  };
  rescue_states rescues_;
};

} // namespace parley::sim
