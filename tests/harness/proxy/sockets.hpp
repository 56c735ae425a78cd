#pragma once
// TCP sockets on loopback, for the proxy. Failures that no test can go on after are thrown; what the other end
// may do is a value.
#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>
#include <utility>

namespace parley::test {

class owned_fd {
public:
  owned_fd() = default;
  explicit owned_fd(int fd) : fd_{fd} {}
  ~owned_fd() {
    if (fd_ >= 0)
      close(fd_);
  }
  owned_fd(owned_fd&& o) noexcept : fd_{std::exchange(o.fd_, -1)} {}
  owned_fd& operator=(owned_fd&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  int get() const { return fd_; }

private:
  int fd_ = -1;
};

/// Returns `result`, or throws std::runtime_error with `what` and errno.
int checked(int result, const char* what);

struct caller_address {
  std::uint32_t host = 0; ///< in the byte order of the network
  std::uint16_t port = 0;
};

/// 127.0.0.1:`port`; 0: any.
owned_fd listen_on(std::uint16_t port);
std::uint16_t port_of(int fd);
/// Without a descriptor if nobody waits.
std::pair<owned_fd, caller_address> accept_from(int listener);
/// Begins to connect from an address of loopback: nodes limit some things by address, so the caller's is kept.
/// Without a descriptor if it was refused at once; a later refusal is found by the first read or write.
owned_fd connect_from(std::uint32_t host, std::uint16_t port);
ssize_t send_some(int fd, std::string_view bytes);
void shut_down(int fd);
/// The other end gets a reset, not an orderly end.
void reset_on_close(int fd);

} // namespace parley::test
