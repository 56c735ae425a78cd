#pragma once
// One node: its process, its disk and its clock.
//
// The process is a caf::actor_system without threads (CAF's test coordinator), with the actors of a node as
// cluster/node/node.cpp wires them: router, shards, residents, fan-outs, sessions, the alarm, and the store's
// loop. Nothing happens in it but by the agenda: it runs until nobody has a message, at a moment of its own
// clock.
//
//   frames, calls of clients, timers ──► actors, until all are idle
//   the store's turn: begin, write, commit ──► the disk syncs, while the store takes nothing ──► finish
//
// Left out are links, TLS, the gateway's loop and LMDB, which have their own tests.
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "actors/shard.hpp"
#include "cluster/membership/directory.hpp"
#include "cluster/node/health.hpp"
#include "cluster/node/store_loop.hpp"
#include "storage/data_directory.hpp"
#include "tests/cluster/fuzz/virtual_network.hpp"
#include "tests/sim/failing_environment.hpp"
#include "tests/sim/judge.hpp"
#include "tests/sim/late_environment.hpp"
#include "tests/sim/sim_membership.hpp"
#include "tests/support/virtual_environment.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>

namespace parley::sim {

inline constexpr storage::space roomy_disk{std::uint64_t{1} << 40, true};

struct disk_profile {
  micros sync_max = 4 * one_ms;
  micros slow_sync_max = 150 * one_ms;
  std::uint64_t slow_one_in = 60;
  std::uint64_t crash_in_sync_one_in = 0; ///< while faults are on; 0: never
};

struct node_profile {
  router_config router;
  shard_config shard;
  cluster::store_config store;
  session_config session;
  disk_profile disk;
  std::size_t calls_window_bytes = 256 << 10; ///< of what waits for a peer; then the calls lane takes nothing
  micros publish_every = 0;                   ///< 0: what is committed can be read at once
  std::optional<cluster::directory_config> directory; ///< none: nobody looks after the shards
  std::chrono::milliseconds row_check{0};             ///< a pass over all rows; 0: nobody checks them
  bool reads_fail = false;                            ///< sometimes (`fail_read`)
  bool shuffles = false; ///< which of several actors with messages runs next is drawn, else they take turns
};

/// What a node needs from its surroundings.
class node_user {
public:
  virtual ~node_user() = default;
  /// The process dies of itself, in the middle of a sync or between two messages.
  virtual void died(node_id node) = 0;
  /// A node that `die_after_vote` was said to has given its vote.
  virtual void voted(node_id /*node*/) {}
  virtual void turn_ended(node_id /*node*/) {}
  /// What leaves a node, `lane` 'r' or 'c', and what is handed to its store.
  virtual void sent(node_id /*node*/, char /*lane*/, std::string_view /*bytes*/) {}
  virtual void proposed(node_id /*node*/, std::string_view /*command*/) {}
  /// Its store is asked to end a generation; the DIRECTORY asks, too.
  virtual void seal_wished(const seal_request& /*wish*/) {}
  /// The process has ended with a sentence, because it cannot go on.
  virtual void stopped(node_id node, const std::string& sentence) = 0;
  /// Others know that its disk, or this process, is not the one that they knew. It says nothing any more.
  virtual void fenced(node_id node, storage::fence::then next) = 0;
  /// Whether some disk was ever put back to an older copy.
  virtual bool some_forgot() const = 0;
};

class sim_node final : public cluster::raft_port, public peer_port, public cluster::store_driver {
public:
  sim_node(fuzz::simulation& sim, judge& judge, fuzz::virtual_network& net, node_user& user,
           node_profile profile);
  ~sim_node() override;

  // --- the process -----------------------------------------------------------------------------------------
  /// Nothing if it runs, or is kept down.
  void start();
  void crash(test::unsynced what);
  bool is_up() const { return process_ != nullptr; }
  /// Rises with each start and end: what was meant for an earlier process does not reach this one.
  std::uint64_t life() const { return life_; }
  /// Is stopped, and goes on then as if nothing had been.
  void pause(micros until);
  /// Ends between two messages, soon.
  void die_after(std::uint64_t messages) { dies_after_ = messages; }
  /// Says so when it has given its next vote, also in a later process.
  void die_after_vote() { tells_vote_ = true; }

  // --- its disk (sim_node_disk.cpp) ------------------------------------------------------------------------
  /// While it is down: it is not started before it is let go.
  void keep_down(bool yes) { kept_down_ = yes; }
  bool is_kept_down() const { return kept_down_; }
  /// An empty disk in the place of this one. Only while it is down.
  void replace_disk(disk_id next);
  /// The disk as it is, if a crash now would lose nothing of it.
  struct disk_copy {
    disk_id disk{};
    std::uint64_t start = 0; ///< of the process that ran
    test::virtual_environment::copy_type tables;
  };
  std::optional<disk_copy> copy_disk() const;
  /// An older copy in the place of the disk. Only while it is down. From now on others may say that it forgot.
  void put_back(const disk_copy& older);
  void set_room(storage::space room);
  /// So many reads from now on one fails, and the process ends; 0: none does.
  void fail_read(std::uint64_t reads) { fails_after_ = reads; }
  /// From now on readers may meet rows that are damaged.
  void expect_damage() { may_be_damaged_ = true; }
  /// Shards of whose replicas here a row is damaged, as far as the node knows.
  const std::set<shard_id>& damaged() const;
  bool is_syncing() const { return syncing_; }

  // --- what it and others know of each other ---------------------------------------------------------------
  core::node_record record() const;
  /// Null while it is down.
  sim_membership* membership() const;
  /// Another node asks to be listed.
  void admit(const core::node_record& who);
  /// Its half of the greeting. A process that it refuses fences itself.
  bool greets(sim_node& peer);
  bool is_fenced() const;

  // --- its network and clients -----------------------------------------------------------------------------
  void frame_arrived(node_id from, std::string bytes);
  void connection_reset(node_id peer);
  core::connection_ref next_ref();
  session_actor open_session(const session_identity& who, std::shared_ptr<session_port> port,
                             std::shared_ptr<delivery_queue> box);
  const session_config& sessions() const { return profile_.session; }
  /// Hands a message to an actor here, soon.
  template <class Actor, class Message>
  void give(const Actor& to, Message what) {
    caf::anon_send(to, std::move(what));
    wake();
  }
  /// A call of the gateway itself, before login. `done` is called inside the node, unless the process ends
  /// before.
  void ask(core::call what, std::function<void(core::answer&)> done);
  void drain_leaderships();
  /// If it leads the shard.
  void seal(shard_id shard, generation of, std::vector<cluster::member> next);
  /// Its calls lane to that node takes nothing, as one that is full.
  void stuff(node_id peer, bool on);

  // --- its surroundings ------------------------------------------------------------------------------------
  void clock_jump(micros forward);
  void set_clock_rate(std::int64_t per_mille) { rate_ = per_mille; }
  void set_slow(bool on);
  /// Of what is proposed to its store, one in so many is refused as `overloaded`; 0: nothing is.
  void refuse_one_in(std::uint64_t n) { refuses_one_in_ = n; }
  void set_faults(bool on) { faults_ = on; }

  // --- its state -------------------------------------------------------------------------------------------
  node_id id() const { return profile_.router.node; }
  cluster::member self() const { return {id(), profile_.store.replication.disk}; }
  test::virtual_environment& env() { return env_; }
  std::vector<cluster::replica_status> status() const;
  /// Has some state of the shard, which counts or did.
  bool holds(shard_id shard);
  std::uint64_t late_reads() const { return late_.late_reads(); }
  std::uint64_t unsent() const { return unsent_; }
  std::string describe() const;
  /// What it knows of itself and of the cluster, of `nodes` nodes.
  cluster::health_facts health(std::size_t nodes) const;

  std::optional<std::size_t> waiting(node_id peer) const override;

private:
  class watched_machine;
  class disk_watch;
  struct process;

  // raft_port, peer_port
  void send_raft(node_id to, std::string frame) override;
  void disk_forgot(const cluster::disk_forgot& what) override;
  void diverged(const cluster::replicas_diverged& what) override;
  bool send(node_id to, std::string payload) override;
  // store_driver
  void turn_soon() override;
  void propose_kept_in(std::chrono::milliseconds in) override;
  void show_reads_in(std::chrono::nanoseconds in) override;

  using time_point = cluster::store_loop::time_point;
  time_point now() const;
  /// Begins the next start of its disk. Says why not.
  std::string begin_start(sim_membership::parts& with);
  void read_one();
  void forget_process();
  void stop(const std::string& sentence);
  void fence(storage::fence::then next);
  void check_rows();
  micros local(micros at) const { return at * rate_ / 1000 + ahead_; }
  void in(micros delay, std::function<void()> what);
  void wake();
  void run();
  void print_step() const;
  void arm_timer();
  void refuse_some(proposal_batch& batch);
  /// Now, or when the sync is over.
  void input(std::function<void(cluster::store_loop&)> what);
  void tick();
  void turn();
  void synced(micros took);
  void end_turn();

  fuzz::simulation& sim_;
  judge& judge_;
  fuzz::virtual_network& net_;
  node_user& user_;
  node_profile profile_;
  test::virtual_environment env_;
  late_environment late_;
  std::unique_ptr<failing_environment> failing_, failing_readers_; ///< with `reads_fail`
  std::unique_ptr<process> process_;
  std::deque<std::function<void(cluster::store_loop&)>> held_; ///< what arrived during a sync
  std::uint64_t life_ = 0;
  micros paused_until_ = 0;
  micros ahead_ = 0;
  std::int64_t rate_ = 1000;
  micros timer_at_ = -1;
  std::set<node_id> stuffed_;
  std::uint64_t unsent_ = 0;     ///< payloads that a stuffed lane did not take
  std::uint64_t dies_after_ = 0; ///< messages; 0: not
  std::uint64_t refuses_one_in_ = 0;
  std::uint64_t fails_after_ = 0; ///< reads; 0: not
  bool tells_vote_ = false;
  bool syncing_ = false;
  bool woken_ = false;
  bool slow_ = false;
  bool faults_ = true;
  bool kept_down_ = false;
  bool may_be_damaged_ = false; ///< a row of this disk was damaged once
  bool was_put_back_ = false;   ///< and still has that disk
};

} // namespace parley::sim
