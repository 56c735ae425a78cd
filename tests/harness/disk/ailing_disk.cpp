#include "tests/harness/disk/ailing_disk.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace parley::test {

ailing_disk::ailing_disk(std::string path) : path_{std::move(path)} {
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof *control_) != 0)
    throw std::system_error{errno, std::system_category(), "cannot write " + path_};
  void* at = ::mmap(nullptr, sizeof *control_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED)
    throw std::system_error{errno, std::system_category(), "cannot map " + path_};
  control_ = static_cast<parley_disk_control*>(at);
}

ailing_disk::~ailing_disk() {
  ::munmap(control_, sizeof *control_);
}

void ailing_disk::set_delay(std::chrono::milliseconds before_each_sync) {
  __atomic_store_n(&control_->delay_ms, static_cast<std::uint64_t>(before_each_sync.count()),
                   __ATOMIC_RELAXED);
}

void ailing_disk::set_full(bool full) {
  __atomic_store_n(&control_->full, full ? 1 : 0, __ATOMIC_RELAXED);
}

std::uint64_t ailing_disk::delayed() const {
  return __atomic_load_n(&control_->delayed, __ATOMIC_RELAXED);
}

std::uint64_t ailing_disk::lied() const {
  return __atomic_load_n(&control_->lied, __ATOMIC_RELAXED);
}

std::string disk_shim() {
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  auto shim = program.parent_path() / "libparley_disk_shim.so";
  if (!std::filesystem::exists(shim)) // the loader only warns, and the disk would never ail
    throw std::runtime_error{"there is no " + shim.string() + ", without which no disk can be made to ail"};
  return shim.string();
}

} // namespace parley::test
