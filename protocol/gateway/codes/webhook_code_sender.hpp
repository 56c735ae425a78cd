#pragma once
// Hands codes to an SMS provider (or a bridge to one) by HTTP POST:
//   {"phone":"+4915112345678","code":"123456"}
// A status of 200 to 299 means that the code is on its way.
#include "protocol/gateway/codes/code_answers.hpp"
#include "protocol/gateway/codes/code_sender.hpp"
#include "protocol/values/config_fault.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace parley::gateway {

struct webhook_config {
  std::string url;           ///< https://…, or http:// for a bridge on the same machine
  std::string authorization; ///< value of the Authorization header; empty: none. A secret
  /// From `send` to its answer, waiting included: somebody keeps a connection open for it.
  std::chrono::milliseconds deadline{3'000};
  std::size_t waiting_max = 64; ///< codes without an answer; above: `overloaded`
  std::size_t at_once_max = 8;  ///< of these, requests under way
};

config_check validate(const webhook_config& c);

/// Why codes cannot be sent to this address, as the end of a sentence; empty if they can.
std::string objection_to(const std::string& url);

/// The secret that `file` holds: one line, of at most 4 KiB. Else a sentence without it.
tl::expected<std::string, std::string> read_authorization(const std::string& file);

/// Owns:   one worker thread, which has at most `at_once_max` requests under way and keeps their connections.
/// Thread: `send` that of the event port; answers come back to it through an eventfd.
/// Holds:  destroying it gives up what is under way.
class webhook_code_sender final : public code_sender {
public:
  webhook_code_sender(kj::UnixEventPort& port, webhook_config config);
  ~webhook_code_sender() noexcept(false) override;

  kj::Promise<ec> send(std::string phone, std::string code) override;

private:
  struct worker;
  code_answers answers_;
  std::unique_ptr<worker> worker_; ///< last: its thread reports to `answers_`
};

} // namespace parley::gateway
