#pragma once
// Prints codes on the operator's console, for development and demonstrations.
#include "protocol/gateway/codes/code_queue.hpp"

#include <chrono>

namespace parley::gateway {

struct console_config {
  int descriptor = 1;                        ///< standard output
  std::chrono::milliseconds deadline{2'000}; ///< until a code that the console does not take has failed
};

/// One line for each code: "code for +49…12: 123456". If nobody reads the console, requests for codes fail.
/// Owns:   its thread; not the descriptor, which it neither closes nor makes non-blocking, because other
///         programs may share it.
/// Thread: that of the event port.
class console_code_sender final : public code_queue {
public:
  console_code_sender(kj::UnixEventPort& port, const console_config& config);
};

} // namespace parley::gateway
