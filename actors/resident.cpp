#include "actors/resident.hpp"

namespace parley {

caf::error validate(const resident_config& config) {
  const auto bad = [](const char* field) {
    return caf::make_error(caf::sec::invalid_argument, std::string{"resident: "} + field);
  };
  if (config.sweep_every.count() < 1)
    return bad("sweep_every");
  if (config.passivate_after < config.sweep_every)
    return bad("passivate_after");
  if (config.waiting_calls_max < 1)
    return bad("waiting_calls_max");
  if (config.conversation_burst_max < 1)
    return bad("conversation_burst_max");
  if (config.conversation_refill_every.count() < 1)
    return bad("conversation_refill_every");
  return caf::none;
}

std::optional<resident_key> resident_of(const core::call& c) {
  struct finder {
    using key = std::optional<resident_key>;
    static key conversation(conversation_id id) {
      return resident_key{resident_kind::conversation, id.hi, id.lo};
    }
    static key inbox(user_id u) { return resident_key{resident_kind::inbox, 0, number(u)}; }
    static key account(std::uint64_t hash) { return resident_key{resident_kind::account, 0, hash}; }
    key operator()(const core::submit& x) const { return conversation(x.conversation); }
    key operator()(const core::open_conversation& x) const {
      return conversation(core::direct_conversation(x.by, x.with));
    }
    key operator()(const core::sync_conversation& x) const { return conversation(x.conversation); }
    key operator()(const core::mark_read& x) const { return conversation(x.conversation); }
    key operator()(const core::pull_inbox& x) const { return inbox(x.user); }
    key operator()(const core::acknowledge& x) const { return inbox(x.user); }
    key operator()(const core::list_conversations& x) const { return inbox(x.user); }
    key operator()(const core::attach& x) const { return inbox(x.user); }
    key operator()(const core::detach& x) const { return inbox(x.user); }
    key operator()(const core::request_code& x) const { return account(core::phone_hash(x.phone)); }
    key operator()(const core::confirm_code& x) const { return account(core::phone_hash(x.phone)); }
    key operator()(const core::find_phone& x) const { return account(core::phone_hash(x.phone)); }
    key operator()(const core::add_device& x) const { return account(number(x.user)); }
    key operator()(const core::find_device& x) const { return account(number(x.user)); }
    key operator()(const core::propose&) const { return std::nullopt; }
    key operator()(const core::list_nodes&) const { return std::nullopt; }
  };
  return std::visit(finder{}, c);
}

} // namespace parley
