#pragma once
// The disk of one node, which a test can make slow, or seemingly full, while the node runs.
#include "tests/harness/disk/control.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace parley::test {

/// Owns:   a mapping of the control file at `path`, which it creates. The file outlives it.
/// Thread: one. The node reads at any time, and sees a change at its next sync or look at the file system.
/// Holds:  what was set stays when the node restarts.
class ailing_disk {
public:
  explicit ailing_disk(std::string path);
  ~ailing_disk();
  ailing_disk(const ailing_disk&) = delete;
  ailing_disk& operator=(const ailing_disk&) = delete;

  const std::string& path() const { return path_; }
  void set_delay(std::chrono::milliseconds before_each_sync);
  void set_full(bool full);
  std::uint64_t delayed() const; ///< syncs so far
  std::uint64_t lied() const;    ///< answers so far that nothing is free

private:
  std::string path_;
  parley_disk_control* control_;
};

/// The library to load into a node, beside the running program.
std::string disk_shim();

} // namespace parley::test
