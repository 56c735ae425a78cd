#include "cluster/links/network_scheduler.hpp"

#include <caf/actor_system.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/multiplexer.hpp>
#include <pthread.h>

#include <algorithm>
#include <utility>

namespace parley::cluster {
namespace {

// At most so many actors run between two polls of the sockets, each with at most so many messages.
constexpr std::size_t jobs_per_pump = 128;
constexpr std::size_t messages_per_job = 256;

} // namespace

/// The function that the multiplexer runs for this scheduler.
class network_scheduler::pump final : public caf::io::network::multiplexer::runnable {
public:
  explicit pump(network_scheduler& of) : of_{of} {}
  resume_result resume(caf::execution_unit* on, std::size_t) override {
    of_.run_some(on);
    return done;
  }

private:
  network_scheduler& of_;
};

network_scheduler::network_scheduler(caf::actor_system& system) : abstract_coordinator{system} {}

caf::actor_system::module* network_scheduler::make(caf::actor_system& system, caf::detail::type_list<>) {
  return new network_scheduler{system};
}

void network_scheduler::start() {
  timer_ = std::thread{[this] {
    pthread_setname_np(pthread_self(), "caf.clock");
    system().thread_started();
    clock_.run_dispatch_loop();
    system().thread_terminates();
  }};
  abstract_coordinator::start();
}

/// The middleman has stopped before this is called, so no pump runs any more.
void network_scheduler::stop() {
  stop_actors();
  std::deque<caf::resumable*> left;
  for (;;) {
    {
      std::lock_guard guard{mutex_};
      left.swap(queue_);
      pumping_ = true; // it stays so: jobs that cleaning up enqueues wait for the next round
    }
    if (left.empty())
      break;
    for (auto* job : left)
      cleanup_and_release(job);
    left.clear();
  }
  clock_.cancel_dispatch_loop();
  timer_.join();
}

void network_scheduler::enqueue(caf::resumable* job) {
  {
    std::lock_guard guard{mutex_};
    queue_.push_back(job);
    if (std::exchange(pumping_, true))
      return;
  }
  post_pump();
}

void network_scheduler::post_pump() {
  system().middleman().backend().exec_later(new pump{*this}); // takes the reference that it begins with
}

void network_scheduler::run_some(caf::execution_unit* on) {
  for (std::size_t n = 0; n < jobs_per_pump; ++n) {
    caf::resumable* job = nullptr;
    {
      std::lock_guard guard{mutex_};
      if (queue_.empty()) {
        pumping_ = false;
        return;
      }
      job = queue_.front();
      queue_.pop_front();
    }
    if (job->resume(on, std::min(max_throughput(), messages_per_job)) == caf::resumable::resume_later) {
      std::lock_guard guard{mutex_};
      queue_.push_back(job); // and its reference
    } else {
      caf::intrusive_ptr_release(job);
    }
  }
  post_pump();
}

} // namespace parley::cluster
