#pragma once
// Hands codes to an SMS provider (or a bridge to one) by HTTP POST:
//   {"phone":"+4915112345678","code":"123456"}
// A status of 200 to 299 means that the code is on its way.
#include "protocol/gateway/codes/code_sender.hpp"
#include "protocol/values/config_fault.hpp"

#include <kj/async-unix.h>

#include <chrono>
#include <cstddef>
#include <memory>
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
/// Thread: `send` that of the event port; answers come back to it through an eventfd.
/// Holds:  destroying it waits for the request under way, `deadline` at most.
class webhook_code_sender final : public code_sender, private kj::TaskSet::ErrorHandler {
public:
  webhook_code_sender(kj::UnixEventPort& port, webhook_config config);
  ~webhook_code_sender() noexcept(false) override;

  kj::Promise<ec> send(std::string phone, std::string code) override;

private:
  struct worker;
  kj::Promise<void> collect();
  void taskFailed(kj::Exception&&) override {}

  std::unique_ptr<worker> worker_;
  kj::UnixEventPort::FdObserver done_;
  kj::TaskSet tasks_;
};

} // namespace parley::gateway
