#pragma once
// A CAF scheduler without threads of its own: actors run on the network's thread.
//
// Why: a message that comes from a peer is read by one thread, handled by an actor on another, and answered
// by the first again. Waking a sleeping processor costs up to 0.1 ms (virtual machines; 2 µs where both
// threads share a processor), and at low load such wake-ups are most of a message's delay. Here one thread
// reads, handles and answers; only where the gateway and the store hand over, a thread is woken.
//
//   gateway, store ──enqueue──► queue ──one post──► multiplexer's loop: pump ──► actors ──► brokers, sockets
//
// The price: actors have one thread, however many processors the machine has. Nodes with many processors use
// CAF's own scheduler (`caf.workers`).
//
// Owner: the actor system. Thread: `enqueue` from any. Invariant: at most one pump is posted or runs; a
// queued job has a pump that will run. Bound: the queue holds each scheduled actor at most once.
#include <caf/detail/thread_safe_actor_clock.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include <deque>
#include <mutex>
#include <thread>

namespace parley::cluster {

class network_scheduler final : public caf::scheduler::abstract_coordinator {
public:
  explicit network_scheduler(caf::actor_system& system);

  /// For `actor_system_config::load`. The middleman has to be loaded too.
  static caf::actor_system::module* make(caf::actor_system& system, caf::detail::type_list<>);

  void enqueue(caf::resumable* job) override;
  caf::actor_clock& clock() noexcept override { return clock_; }

protected:
  void start() override;
  void stop() override;

private:
  class pump;

  void post_pump();
  void run_some(caf::execution_unit* on);

  std::mutex mutex_;
  std::deque<caf::resumable*> queue_; ///< a reference each
  bool pumping_ = false;

  caf::detail::thread_safe_actor_clock clock_;
  std::thread timer_;
};

} // namespace parley::cluster
