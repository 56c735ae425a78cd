#include "protocol/gateway/codes/console_code_sender.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace parley::gateway {
namespace {

/// Writes a line once the console has room for all of it. A pipe reports that it can be written when PIPE_BUF
/// bytes fit, so a line of fewer bytes does not block, and arrives whole.
class console final : public code_outlet {
public:
  explicit console(int descriptor) : fd_{descriptor} {}
  ec hand_over(const std::string& phone, const std::string& code, clock::time_point deadline) override {
    const auto line = "code for " + veiled(phone) + ": " + code + "\n";
    if (line.size() > PIPE_BUF || !has_room(deadline))
      return ec::code_send_failed;
    return ::write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size()) ? ec::none
                                                                                       : ec::code_send_failed;
  }

private:
  bool has_room(clock::time_point deadline) const {
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now()).count();
      pollfd p{fd_, POLLOUT, 0};
      const int ready = ::poll(&p, 1, static_cast<int>(std::max<long>(0, left)));
      if (ready > 0)
        return p.revents == POLLOUT; // with an error: nobody will read it
      if (ready == 0 || errno != EINTR)
        return false;
    }
  }
  int fd_;
};

} // namespace

std::string veiled(std::string_view phone) {
  if (phone.size() < 6)
    return "…";
  return std::string{phone.substr(0, 3)} + "…" + std::string{phone.substr(phone.size() - 2)};
}

console_code_sender::console_code_sender(kj::UnixEventPort& port, const console_config& config)
    : code_queue{port, std::make_unique<console>(config.descriptor), {config.deadline, true}} {}

} // namespace parley::gateway
