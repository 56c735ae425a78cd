#pragma once
// Prints codes on the operator's console, for development and demonstrations.
#include "protocol/gateway/codes/code_answers.hpp"
#include "protocol/gateway/codes/code_sender.hpp"

#include <chrono>
#include <cstddef>
#include <memory>

namespace parley::gateway {

struct console_config {
  int descriptor = 1; ///< standard output
  /// Until a code that the console does not take has failed. The time behind others counts, so that its person is
  /// told while it is still expected.
  std::chrono::milliseconds deadline{2'000};
  std::size_t waiting_max = 64; ///< codes without an answer; above: `overloaded`
};

/// One line for each code: "code for +49…12: 123456". If nobody reads the console, requests for codes fail.
/// Owns:   one thread, which may block until `deadline`, because the loop of the gateway must not; not the
///         descriptor, which it neither closes nor makes non-blocking, because other programs may share it.
/// Thread: that of the event port.
/// Holds:  destroying it waits for the code that is being written, `deadline` at most.
class console_code_sender final : public code_sender {
public:
  console_code_sender(kj::UnixEventPort& port, const console_config& config);
  ~console_code_sender() noexcept(false) override;

  kj::Promise<ec> send(std::string phone, std::string code) override;

private:
  struct worker;
  code_answers answers_;
  std::unique_ptr<worker> worker_; ///< last: its thread reports to `answers_`
};

} // namespace parley::gateway
