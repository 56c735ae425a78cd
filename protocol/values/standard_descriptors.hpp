#pragma once
#include <cerrno>
#include <fcntl.h>

namespace parley {

/// Opens /dev/null on those of the descriptors 0 to 2 that the parent has closed. The next files that a program
/// opens would get these numbers, and what is printed would be written into them: into a database, for
/// example. Standard input can only be written then, and standard output only read, so that a program that
/// reads its lines or prints its results sees a failure.
/// Call it before anything else. False: there is no /dev/null, so the program must not go on.
inline bool occupy_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF &&
        ::open("/dev/null", fd == 0   ? O_WRONLY
                            : fd == 1 ? O_RDONLY
                                      : O_RDWR) != fd)
      return false;
  return true;
}

} // namespace parley
