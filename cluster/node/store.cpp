#include "cluster/node/store.hpp"

#include "cluster/node/free_pages.hpp"

#include <caf/send.hpp>
#include <caf/stateful_actor.hpp>

#include <thread>

namespace parley::cluster {
namespace {

struct store_state {
  static inline const char* name = "store";
  std::unique_ptr<store_driver> driver;
  std::unique_ptr<store_loop> loop; ///< uses the driver
  store_loop::time_point cache_back_at{};
};

using self_ptr = wired_store_actor::stateful_pointer<store_state>;

/// Sends what the loop asks for to its own actor.
class own_messages final : public store_driver {
public:
  explicit own_messages(self_ptr self) : self_{self} {}
  void turn_soon() override {
    self_->send(self_, atom::turn_v); // behind everything that is in the mailbox by now: that is the batch
  }
  void propose_kept_in(std::chrono::milliseconds in) override {
    self_->delayed_send(self_, in, atom::sweep_v);
  }
  void show_reads_in(std::chrono::nanoseconds in) override {
    self_->delayed_send(self_, in, atom::publish_v);
  }

private:
  self_ptr self_;
};

store_loop::time_point now() {
  return store_loop::time_point::clock::now();
}

void run_turn(store_loop& loop) {
  if (loop.begin(now())) // the followers' syncs are the longer way: where both threads share a processor,
    std::this_thread::yield(); // the network's goes first
  if (loop.wants_write()) {
    loop.write();
    loop.answer(now());
    const auto begun = now();
    loop.commit();
    const auto ended = now();
    loop.committed(ended - begun, ended);
  }
  if (loop.finish(now()))
    loop.shown(now());
}

wired_store_actor::behavior_type store(self_ptr self, store_config config, storage::environment* env) {
  self->state.driver = std::make_unique<own_messages>(self);
  self->state.loop = std::make_unique<store_loop>(config, *env, *self->state.driver);
  auto& loop = *self->state.loop;
  return {
      [self, &loop](store_wiring& wiring) {
        loop.open(std::move(wiring), now());
        self->send(self, atom::tick_v);
      },
      [&loop](const damaged_row& d) { loop.damaged(d.shard); },
      [&loop](proposal_batch& batch) { loop.propose(batch); },
      [&loop](const fresh_read& r) { loop.read(r); },
      [&loop](const raft_payloads& p) { loop.receive(p, now()); },
      [&loop](const peer_lost& p) { loop.lose(p.peer); },
      [&loop](const peer_begun& p) { loop.meet(p.peer); },
      [&loop](const whole_request& r) {
        if (loop.is_open())
          r.done(loop.whole_without(r.without));
      },
      [&loop](node_row& r) { loop.keep(std::move(r)); },
      [&loop](const seal_request& r) { loop.seal(r); },
      [&loop](const transfer_request& r) { loop.transfer(r); },
      [&loop](atom::drain) { loop.drain(); },
      [&loop](atom::report, const report_sink& to) { loop.report(to); },
      [self, &loop](atom::tick) {
        self->delayed_send(self, loop.tick(now()), atom::tick_v);
        if (const auto at = now(); at >= self->state.cache_back_at) {
          give_thread_cache_back();
          self->state.cache_back_at = at + free_memory_every;
        }
      },
      [&loop](atom::turn) { run_turn(loop); },
      [&loop](atom::sweep) { loop.propose_kept(); },
      [self, &loop](atom::stop) {
        loop.close();
        self->quit();
      },
      [&loop](atom::publish) {
        if (loop.show_reads(now()))
          loop.shown(now());
      },
  };
}

} // namespace

wired_store_actor spawn_store(caf::actor_system& sys, store_config config, storage::environment& env) {
  return sys.spawn<caf::detached>(store, config, &env);
}

} // namespace parley::cluster
