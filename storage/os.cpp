#include "storage/os.hpp"

#include <fcntl.h>
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

} // namespace parley::storage
