#pragma once
#include "tests/support/fake_router.hpp"

#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <memory>

namespace parley::test {

/// An actor system without threads or wall clock: nothing happens until the test calls `run` or `advance`.
struct actor_fixture {
  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };

  config cfg;
  caf::actor_system sys{cfg};
  caf::scheduler::test_coordinator& sched = dynamic_cast<caf::scheduler::test_coordinator&>(sys.scheduler());

  void run() { sched.run(); }
  void advance(std::chrono::milliseconds by) {
    sched.advance_time(by);
    sched.run();
  }

  /// The messages that an actor under test has sent to a recording actor, in the order of their arrival.
  template <class Message>
  struct heard {
    std::shared_ptr<std::vector<Message>> all = std::make_shared<std::vector<Message>>();
    std::vector<Message> take() { return std::exchange(*all, {}); }
  };

  struct sink {
    answer_sink handle;
    heard<numbered_answer> answers;
  };
  sink make_sink() {
    sink s;
    s.handle = sys.spawn([all = s.answers.all](answer_sink::pointer) -> answer_sink::behavior_type {
      return {[all](answer_batch& b) {
        for (auto& a : b.answers)
          all->push_back(std::move(a));
      }};
    });
    return s;
  }

  struct fake_store {
    store_actor handle;
    heard<proposal> proposals;
    heard<fresh_read> reads;
    heard<seal_request> seals;

    void answer(const proposal& p, core::outcome what) const {
      result_batch b;
      b.results.push_back({p.ticket, ec::none, false, std::move(what)});
      caf::anon_send(p.reply_to, std::move(b));
    }
    void refuse(const proposal& p, ec why) const {
      result_batch b;
      b.results.push_back({p.ticket, why, false, {}});
      caf::anon_send(p.reply_to, std::move(b));
    }
    void answer(const fresh_read& r, ec why = ec::none) const {
      result_batch b;
      b.results.push_back({r.ticket, why, true, {}});
      caf::anon_send(r.reply_to, std::move(b));
    }
  };
  fake_store make_store() {
    fake_store s;
    s.handle = sys.spawn([p = s.proposals.all, r = s.reads.all,
                          seals = s.seals.all](store_actor::pointer) -> store_actor::behavior_type {
      return {
          [p](proposal_batch& b) {
            for (auto& each : b.proposals)
              p->push_back(std::move(each));
          },
          [r](const fresh_read& x) { r->push_back(x); },
          [](raft_payloads&) {},
          [](peer_lost&) {},
          [seals](seal_request& s) { seals->push_back(s); },
          [](transfer_request&) {},
          [](atom::drain) {},
          [](atom::publish) {},
          [](atom::report, const report_sink&) {},
          [](atom::tick) {},
          [](atom::turn) {},
      };
    });
    return s;
  }

  struct fake_router {
    router_actor handle;
    heard<routed_call> calls;
    heard<delivery> deliveries;
  };
  fake_router make_router() {
    fake_router r;
    r.handle = sys.spawn(
        [c = r.calls.all, d = r.deliveries.all](router_actor::pointer) -> router_actor::behavior_type {
          return router_behavior(
              [c](call_batch& b) {
                for (auto& each : b.calls)
                  c->push_back(std::move(each));
              },
              [d](delivery_batch& b) {
                for (auto& each : b.deliveries)
                  d->push_back(std::move(each));
              });
        });
    return r;
  }

  shard_actor make_silent_shard(std::shared_ptr<int> idles = std::make_shared<int>(0)) {
    return sys.spawn([idles](shard_actor::pointer) -> shard_actor::behavior_type {
      return {
          [](call_batch&) {},
          [](const core::leadership&) {},
          [](shard_effects&) {},
          [](result_batch&) {},
          [idles](const resident_idle&) { ++*idles; },
      };
    });
  }

  static void call(const resident_actor& to, const answer_sink& from, std::uint64_t number, core::call what) {
    call_batch b;
    b.calls.push_back({number, from, std::move(what)});
    caf::anon_send(to, std::move(b));
  }

  /// Pending timeouts keep their actors alive, and the destructor of `sys` waits for its actors.
  ~actor_fixture() {
    sched.trigger_timeouts();
    sched.run();
  }
};

} // namespace parley::test
