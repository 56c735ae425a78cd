#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace parley::storage {

/// LMDB follows offsets and lengths of its file without checking them, so a damaged page can lead it out of what is
/// mapped. While this object lives, a memory fault (SIGSEGV, SIGBUS) at such an address, or anywhere in LMDB's own code,
/// ends the process with a sentence and status 1; any other is a bug, and is left to whoever handled it before.
///
/// Owns:   a place in a small table that the handler reads; if there is none, faults are handled as before.
/// Thread: `covers` the writer's; the handler may run on any.
class map_guard {
public:
  explicit map_guard(const std::string& file);
  ~map_guard();
  map_guard(const map_guard&) = delete;
  map_guard& operator=(const map_guard&) = delete;
  /// To be called when the file was mapped, or mapped anew. LMDB does not say where that is, so the kernel is asked.
  void find_map();

private:
  void cover(std::uintptr_t begin, std::uintptr_t end);
  const std::string file_;
  std::size_t place_;
};

} // namespace parley::storage
