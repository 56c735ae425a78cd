#pragma once
// A disk that fails on command: this program's own fdatasync and pwrite stand before the C library's, and
// LMDB, a shared library, calls them. Only in programs that link faults.cpp.
#include <atomic>
#include <functional>
#include <string>

namespace parley::test {

struct disk_faults {
  std::atomic<int> fdatasync_errno{0}; ///< not 0: what fdatasync answers
  std::string only_failing; ///< not empty: the one file whose syncs do; set while nothing is synced
  std::atomic<int> fdatasyncs_until_failure{-1}; ///< so many succeed, then all fail; -1: none does
  std::atomic<int> pwrite_errno{0};              ///< not 0: what pwrite answers; LMDB writes its meta page so
  std::atomic<unsigned> fdatasyncs{0};           ///< calls so far
  std::function<void(int fd)> on_fdatasync;      ///< before each; set while nothing is synced
};
disk_faults& faults();

} // namespace parley::test
