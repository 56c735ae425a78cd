#pragma once
// What jemalloc's own threads leave (docs/decisions/0050).
//
// They give the free pages of an arena back as these grow old, but do not look at an arena that has 1,024 of them or fewer:
// 4 MiB for each of its arenas, of which there are four for each processor, would be kept for ever after a burst that
// touched them all. And each thread keeps some hundreds of free objects of each size for itself. After a burst these lie
// scattered over its pages, and each of them keeps a page or more from being free.
#include <caf/fwd.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>

namespace parley::cluster {

/// Gives back the free pages of those arenas; an arena with more is left to jemalloc, which knows how old they are. At most
/// about a millisecond for each arena. Thread: any. Returns how many there were; 0 if jemalloc is not the allocator.
std::size_t give_free_pages_back();

/// Gives the arena back what the calling thread keeps. It costs as much as to free some thousand objects, so threads that
/// allocate much do it every `free_memory_every`.
void give_thread_cache_back();

/// Has it done on the network's thread, on which actors run; with `caf.workers` it is some worker's turn.
void tidy_network_thread(caf::actor_system& system);

/// Half of the time for which jemalloc keeps a page that might be used again.
inline constexpr std::chrono::seconds free_memory_every{5};

/// Calls `give_free_pages_back` so often. Owns: its thread, which ends with it.
class free_pages_returner {
public:
  free_pages_returner() = default;
  ~free_pages_returner();
  free_pages_returner(const free_pages_returner&) = delete;
  free_pages_returner& operator=(const free_pages_returner&) = delete;

private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_{[this] { run(); }}; // last: it uses all of the above
};

} // namespace parley::cluster
