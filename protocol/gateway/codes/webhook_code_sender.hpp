#pragma once
// Hands codes to an SMS provider (or a bridge to one) by HTTP POST:
//   {"phone":"+4915112345678","code":"123456"}
// A status of 200 to 299 means that the code is on its way.
#include "protocol/gateway/codes/code_queue.hpp"
#include "protocol/values/config_fault.hpp"

#include <chrono>
#include <cstddef>
#include <string>

namespace parley::gateway {

struct webhook_config {
  std::string url;                           ///< https://…, or http:// for a bridge on the same machine
  std::string authorization;                 ///< value of the Authorization header; empty: none
  std::chrono::milliseconds deadline{5'000}; ///< for the whole request
  std::size_t waiting_max = 64;              ///< above: `overloaded`
};

config_check validate(const webhook_config& c);

/// Owns:   one worker thread, which does the blocking requests one at a time.
/// Thread: that of the event port.
class webhook_code_sender final : public code_queue {
public:
  webhook_code_sender(kj::UnixEventPort& port, const webhook_config& config);
};

} // namespace parley::gateway
