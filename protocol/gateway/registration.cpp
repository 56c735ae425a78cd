#include "protocol/gateway/registration.hpp"

#include "protocol/gateway/crypto.hpp"

namespace parley::gateway {

// --- codes -------------------------------------------------------------------------------------------------

code_steps::code_steps(std::string phone, std::string ticket, std::string code, const network_keys& from)
    : phone_{std::move(phone)}, ticket_{std::move(ticket)}, code_{std::move(code)},
      code_hash_{hash_of_code(ticket_, phone_, code_)},
      ticket_hash_{hash_of_ticket(ticket_)}, by_{asker_of(phone_, from)} {}

std::optional<code_outcome> code_steps::issued(const core::code_issued& answer) {
  if (answer.error != ec::none)
    return code_outcome{answer.error, answer.retry_after_ms};
  good_for_ms_ = answer.good_for_ms;
  if (answer.sent)
    return code_outcome{ec::none, 0, good_for_ms_};
  return std::nullopt;
}

code_outcome code_steps::sent(ec why) const {
  if (why != ec::none)
    return {why};
  return {ec::none, 0, good_for_ms_, true};
}

// --- registrations -----------------------------------------------------------------------------------------

registration_steps::registration_steps(std::string phone, std::string_view ticket, std::string_view code,
                                       core::device_record device, user_id candidate)
    : phone_{std::move(phone)}, device_{std::move(device)}, code_hash_{hash_of_code(ticket, phone_, code)},
      ticket_hash_{hash_of_ticket(ticket)}, key_hash_{hash_of_key(device_.key)}, candidate_{candidate} {}

tl::expected<core::add_device, registration_refused>
registration_steps::confirmed(const core::redeemed& answer) {
  if (answer.error != ec::none)
    return tl::unexpected{registration_refused{answer.error}};
  user_ = answer.user;
  return core::add_device{user_, phone_, device_};
}

tl::expected<user_id, registration_refused> registration_steps::added(const core::done& answer) const {
  if (answer.error != ec::none)
    return tl::unexpected{registration_refused{answer.error, answer.retry_after_ms}};
  return user_;
}

} // namespace parley::gateway
