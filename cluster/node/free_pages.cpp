#include "cluster/node/free_pages.hpp"

#include "actors/interfaces.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <pthread.h>

#include <cstdint>
#include <cstdio>

/// jemalloc's, whose header would declare `malloc` anew. A build with a sanitizer has another allocator.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old, std::size_t* old_bytes, void* now,
                                             std::size_t now_bytes) noexcept;

namespace parley::cluster {
namespace {

constexpr std::size_t overlooked_max = 1'024; ///< pages; jemalloc 5.3's BACKGROUND_THREAD_NPAGES_THRESHOLD

template <class T>
T asked(const char* name) {
  T value{};
  std::size_t bytes = sizeof value;
  return mallctl(name, &value, &bytes, nullptr, 0) == 0 ? value : T{};
}

} // namespace

std::size_t give_free_pages_back() {
  if (mallctl == nullptr)
    return 0;
  std::uint64_t fresh = 1;
  mallctl("epoch", nullptr, nullptr, &fresh, sizeof fresh); // else the figures are those of the last time
  std::size_t given = 0;
  for (unsigned i = 0, n = asked<unsigned>("arenas.narenas"); i < n; ++i) {
    char name[48];
    std::snprintf(name, sizeof name, "stats.arenas.%u.pdirty", i);
    const auto pages = asked<std::size_t>(name);
    if (pages == 0 || pages > overlooked_max)
      continue;
    std::snprintf(name, sizeof name, "arena.%u.purge", i);
    if (mallctl(name, nullptr, nullptr, nullptr, 0) == 0)
      given += pages;
  }
  return given;
}

void give_thread_cache_back() {
  if (mallctl != nullptr)
    mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
}

void tidy_network_thread(caf::actor_system& system) {
  system.spawn<caf::hidden>([](caf::event_based_actor* self) -> caf::behavior {
    self->delayed_send(self, free_memory_every, atom::tick_v);
    return {[self](atom::tick) {
      give_thread_cache_back();
      self->delayed_send(self, free_memory_every, atom::tick_v);
    }};
  });
}

free_pages_returner::~free_pages_returner() {
  {
    std::lock_guard guard{mutex_};
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void free_pages_returner::run() {
  pthread_setname_np(pthread_self(), "free pages");
  std::unique_lock lock{mutex_};
  while (!wake_.wait_for(lock, free_memory_every, [this] { return stop_; }))
    give_free_pages_back();
}

} // namespace parley::cluster
