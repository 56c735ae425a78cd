#pragma once
// What a gateway does for somebody who asks for a code, and for somebody who registers with one: which call to the
// cluster follows which answer, and what the client is told in the end. Without KJ, so that a simulation takes the very
// steps of the door.
//
//   request_code ─▶ the code, to the phone ─▶ report_code ─▶ the asker is told
//   confirm_code ─▶ add_device ─▶ the device is told
#include "actors/core/calls.hpp"
#include "protocol/gateway/address_limits.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace parley::gateway {

/// The end of a request for a code: what its asker is told.
struct code_outcome {
  ec error = ec::none; ///< none: a code for the ticket is on its way
  std::uint32_t retry_after_ms = 0;
  std::uint32_t good_for_ms = 0; ///< the code, unless there is an error
  /// This request sent the code. If it did not, the node gets back what it took of the codes that the node may send.
  bool sends_one = false;
};

/// One request for a code.
///
/// Owns:   the phone number, the ticket and the code.
/// Thread: its owner's. Pure: code and ticket are random, and drawn by the owner.
/// Holds:  a code is sent only if the phone's shard has taken it, and not if the ticket's code is on its way already. What
///         became of a code that was to be sent is reported before the asker is told: a repeat of the request is answered
///         by that report.
class code_steps {
public:
  /// `from`: where the request comes from.
  code_steps(std::string phone, std::string ticket, std::string code, const network_keys& from);

  /// What the shard is asked first.
  core::request_code request() const { return {phone_, code_hash_, ticket_hash_, by_}; }
  /// The shard's answer to it. Nothing: `phone` is to get `code`, and then `sent` is to be called.
  std::optional<code_outcome> issued(const core::code_issued& answer);
  const std::string& phone() const { return phone_; }
  const std::string& code() const { return code_; }
  const std::string& ticket() const { return ticket_; }

  /// What became of the message to the phone; `none`: it is on its way. The outcome is for the time when `report` was
  /// answered, or was not within `report_within`.
  code_outcome sent(ec why) const;
  /// What the shard is told of `sent`.
  core::report_code report(ec why) const {
    return {phone_, ticket_hash_, code_hash_, static_cast<std::uint8_t>(why == ec::none)};
  }
  /// The asker is not kept waiting longer for the shard, because the login deadline would close the connection without a
  /// word.
  static constexpr std::chrono::milliseconds report_within{500};

private:
  std::string phone_, ticket_, code_;
  body_hash code_hash_, ticket_hash_;
  core::asker by_;
  std::uint32_t good_for_ms_ = 0;
};

/// What a client is told whose registration is refused.
struct registration_refused {
  ec error{};
  std::uint32_t retry_after_ms = 0;
};

/// One registration of a device with a code.
///
/// Owns:   the phone number and the device's record.
/// Thread: its owner's. Pure: the candidate is random, and drawn by the owner.
/// Holds:  the device is added to the user whom the phone's shard names, and only after it has taken the code. Both steps may
///         be repeated: a code serves its key again, and a device that is there is not added once more.
class registration_steps {
public:
  /// `candidate`: the user, if the number has none yet.
  registration_steps(std::string phone, std::string_view ticket, std::string_view code,
                     core::device_record device, user_id candidate);

  /// What the phone's shard is asked first.
  core::confirm_code confirm() const { return {phone_, code_hash_, candidate_, key_hash_, ticket_hash_}; }
  /// The answer to it: what the user's shard is asked next.
  tl::expected<core::add_device, registration_refused> confirmed(const core::redeemed& answer);
  /// The answer to that: the device is this user's.
  tl::expected<user_id, registration_refused> added(const core::done& answer) const;
  device_id device() const { return device_.id; }

private:
  std::string phone_;
  core::device_record device_;
  body_hash code_hash_, ticket_hash_, key_hash_;
  user_id candidate_;
  user_id user_{};
};

} // namespace parley::gateway
