#include "storage/os.hpp"

#include "protocol/values/last_words.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace parley::storage {

int sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return errno;
  const int rc = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return rc;
}

int read_at(int file, std::uint64_t at, std::string& to) {
  for (std::size_t got = 0; got < to.size();) {
    const auto n = ::pread(file, to.data() + got, to.size() - got, static_cast<off_t>(at + got));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? errno : EIO;
    got += static_cast<std::size_t>(n);
  }
  return 0;
}

int write_at(int file, std::uint64_t at, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? errno : EIO;
    at += static_cast<std::uint64_t>(n);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

disk_fault cannot(const char* doing, const std::string& path, int error) {
  const bool forbidden = error == EACCES || error == EPERM;
  return {error == ENOSPC ? ec::disk_full : ec::storage_failed,
          std::string{"cannot "} + doing + " " + path + ": " + std::strerror(error) +
              (forbidden ? ". Run the node as the user who owns its data directory" : ". Check the disk")};
}

std::uint64_t bytes_free_on_disk(const std::string& directory) {
  struct statvfs fs {};
  return ::statvfs(directory.c_str(), &fs) == 0 ? static_cast<std::uint64_t>(fs.f_bavail) * fs.f_frsize : 0;
}

bool stopped_by_full_disk(int error, std::uint64_t bytes_free) {
  constexpr std::uint64_t written_at_once = 1 << 20; // more than LMDB writes in one call
  return error == ENOSPC || (error == EIO && bytes_free < written_at_once);
}

std::string advice_after_failed_write(ec why) {
  const std::string ends = ". The process stops here. It is unknown whether the last batch is on disk; none "
                           "of it was acknowledged. ";
  if (why == ec::disk_full)
    return ends + std::string{full_disk_advice} + ". Nothing is damaged.";
  return ends + "Check the disk, then start the node again. If this repeats: " +
         std::string{replace_directory_advice} + ".";
}

} // namespace parley::storage
