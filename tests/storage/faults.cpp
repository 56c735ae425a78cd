#include "tests/storage/faults.hpp"

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <system_error>

namespace parley::test {

disk_faults& faults() {
  static disk_faults f;
  return f;
}

} // namespace parley::test

extern "C" int fdatasync(int fd) {
  auto& f = parley::test::faults();
  ++f.fdatasyncs;
  if (f.on_fdatasync)
    f.on_fdatasync(fd);
  const auto fails = [&] {
    std::error_code error;
    return f.only_failing.empty() ||
           std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error) == f.only_failing;
  };
  if (const int e = f.fdatasync_errno; e != 0 && fails()) {
    errno = e;
    return -1;
  }
  if (f.fdatasyncs_until_failure >= 0 && f.fdatasyncs_until_failure-- == 0) {
    f.fdatasyncs_until_failure = 0;
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" ssize_t pwrite(int fd, const void* bytes, size_t n, off_t at) {
  if (const int e = parley::test::faults().pwrite_errno; e != 0) {
    errno = e;
    return -1;
  }
  return ::syscall(SYS_pwrite64, fd, bytes, n, at);
}
