#pragma once
// A disk that fails on command: this program's own fdatasync and pwrite stand before the C library's, and
// LMDB, a shared library, calls them. Only in programs that link faults.cpp.
#include <atomic>

namespace parley::test {

struct disk_faults {
  std::atomic<int> fdatasync_errno{0}; ///< not 0: what fdatasync answers
  std::atomic<int> pwrite_errno{0};    ///< not 0: what pwrite answers; LMDB writes its meta page so
  std::atomic<unsigned> fdatasyncs{0}; ///< calls so far
};
disk_faults& faults();

} // namespace parley::test
