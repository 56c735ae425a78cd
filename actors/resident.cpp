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

// The kind of a key is the one that its call declares.
template <class Call>
std::optional<resident_key> at(const Call&, conversation_id c) {
  return resident_key{Call::served_by, c.hi, c.lo};
}
template <class Call>
std::optional<resident_key> at(const Call&, user_id u) {
  return resident_key{Call::served_by, 0, number(u)};
}
template <class Call>
std::optional<resident_key> at_phone(const Call& c) {
  return resident_key{Call::served_by, 0, core::phone_hash(c.phone)};
}

} // namespace

std::optional<resident_key> resident_of(const core::call& c) {
  using none = std::optional<resident_key>;
  return std::visit(
      overloaded{
          [](const core::submit& x) { return at(x, x.what.conversation); },
          [](const core::open_conversation& x) { return at(x, core::direct_conversation(x.by, x.with)); },
          [](const core::sync_conversation& x) { return at(x, x.conversation); },
          [](const core::mark_read& x) { return at(x, x.conversation); },
          [](const core::pull_inbox& x) { return at(x, x.user); },
          [](const core::acknowledge& x) { return at(x, x.user); },
          [](const core::list_conversations& x) { return at(x, x.user); },
          [](const core::attach& x) { return at(x, x.user); },
          [](const core::detach& x) { return at(x, x.user); },
          [](const core::log_in& x) { return at(x, x.user); },
          [](const core::request_code& x) { return at_phone(x); },
          [](const core::report_code& x) { return at_phone(x); },
          [](const core::confirm_code& x) { return at_phone(x); },
          [](const core::find_phone& x) { return at_phone(x); },
          [](const core::add_device& x) { return at(x, x.user); },
          [](const core::find_device& x) { return at(x, x.user); },
          [](const core::propose&) { return none{}; },
          [](const core::list_nodes&) { return none{}; },
      },
      c);
}

read_subject read_subject_of(const core::call& c) {
  const auto none = [](const auto&) { return read_subject{}; };
  const auto user = [](const auto& x) { return read_subject{x.user}; };
  const auto conversation = [](const auto& x) { return read_subject{x.conversation}; };
  return std::visit(overloaded{
                        [](const core::submit& x) { return read_subject{x.what.conversation}; },
                        [&](const core::open_conversation& x) { return none(x); },
                        [&](const core::sync_conversation& x) { return conversation(x); },
                        [&](const core::mark_read& x) { return conversation(x); },
                        [&](const core::pull_inbox& x) { return user(x); },
                        [&](const core::acknowledge& x) { return user(x); },
                        [&](const core::list_conversations& x) { return user(x); },
                        [&](const core::attach& x) { return user(x); },
                        [&](const core::detach& x) { return user(x); },
                        [&](const core::log_in& x) { return user(x); },
                        [&](const core::request_code& x) { return none(x); },
                        [&](const core::report_code& x) { return none(x); },
                        [&](const core::confirm_code& x) { return none(x); },
                        [&](const core::find_phone& x) { return none(x); },
                        [&](const core::add_device& x) { return none(x); },
                        [&](const core::find_device& x) { return user(x); },
                        [&](const core::propose& x) { return none(x); },
                        [&](const core::list_nodes& x) { return none(x); },
                    },
                    c);
}

} // namespace parley
