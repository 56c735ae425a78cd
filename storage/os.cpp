#include "storage/os.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>

namespace parley::storage {

int sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return errno;
  const int rc = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return rc;
}

std::uint64_t random_number() {
  std::uint64_t n = 0;
  while (n == 0) {
    if (::getrandom(&n, sizeof n, 0) != sizeof n)
      n = 0; // interrupted before the generator was ready
  }
  return n;
}

} // namespace parley::storage
