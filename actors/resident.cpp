#include "actors/resident.hpp"

#include "protocol/values/overloaded.hpp"

namespace parley {

config_check validate(const resident_config& config) {
  if (config.sweep_every.count() < 1)
    return config_fault{"sweep_every"};
  if (config.passivate_after < config.sweep_every)
    return config_fault{"passivate_after"};
  if (config.silent_after < config.sweep_every)
    return config_fault{"silent_after"};
  if (config.waiting_calls_max < 1)
    return config_fault{"waiting_calls_max"};
  if (config.conversation_burst_max < 1)
    return config_fault{"conversation_burst_max"};
  if (config.conversation_refill_every.count() < 1)
    return config_fault{"conversation_refill_every"};
  return std::nullopt;
}

namespace {

struct phone_hash {
  std::uint64_t value;
};
/// Whom a call is about. None: the shard answers it by itself.
using subject = std::variant<std::monostate, conversation_id, user_id, phone_hash>;

subject subject_of(const core::call& c) {
  const auto conversation = [](const auto& x) -> subject { return x.conversation; };
  const auto user = [](const auto& x) -> subject { return x.user; };
  const auto phone = [](const auto& x) -> subject { return phone_hash{core::phone_hash(x.phone)}; };
  return std::visit(
      overloaded{
          [](const core::submit& x) -> subject { return x.what.conversation; },
          [](const core::open_conversation& x) -> subject { return core::direct_conversation(x.by, x.with); },
          [&](const core::sync_conversation& x) { return conversation(x); },
          [&](const core::mark_read& x) { return conversation(x); },
          [&](const core::pull_inbox& x) { return user(x); },
          [&](const core::acknowledge& x) { return user(x); },
          [&](const core::list_conversations& x) { return user(x); },
          [&](const core::attach& x) { return user(x); },
          [&](const core::detach& x) { return user(x); },
          [&](const core::log_in& x) { return user(x); },
          [&](const core::request_code& x) { return phone(x); },
          [&](const core::report_code& x) { return phone(x); },
          [&](const core::confirm_code& x) { return phone(x); },
          [&](const core::find_phone& x) { return phone(x); },
          [&](const core::add_device& x) { return user(x); },
          [&](const core::find_device& x) { return user(x); },
          [](const core::propose&) { return subject{}; },
          [](const core::list_nodes&) { return subject{}; },
      },
      c);
}

} // namespace

std::optional<resident_key> resident_of(const core::call& c) {
  using key = std::optional<resident_key>;
  const auto kind = std::visit([](const auto& x) { return std::decay_t<decltype(x)>::served_by; }, c);
  return std::visit(overloaded{
                        [](std::monostate) { return key{}; },
                        [&](conversation_id of) {
                          return key{{kind, of.hi, of.lo}};
                        },
                        [&](user_id of) {
                          return key{{kind, 0, number(of)}};
                        },
                        [&](phone_hash of) {
                          return key{{kind, 0, of.value}};
                        },
                    },
                    subject_of(c));
}

read_subject read_subject_of(const core::call& c) {
  return std::visit(overloaded{
                        [](auto of) { return read_subject{of}; },
                        [](phone_hash) { return read_subject{}; },
                    },
                    subject_of(c));
}

} // namespace parley
