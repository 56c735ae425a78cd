#include "protocol/client/store/stored_values.hpp"

#include "protocol/client/store/store.hpp"
#include "protocol/values/codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace parley::client {
namespace {

constexpr std::uint8_t identity_version = 1;
constexpr std::uint8_t members_version = 1;

[[noreturn]] void refuse_newer(std::string_view what) {
  throw store_error{
      fmt::format("{} was written by a newer parley and has parts that this program does not know. "
                  "Nothing was changed: install the newer parley to use this profile.",
                  what)};
}

[[noreturn]] void refuse_damaged(std::string_view what, std::string_view next) {
  throw store_error{fmt::format("{} is damaged: {}.", what, next)};
}

/// Reads one value: its envelope, then its fields in order.
class stored_value {
public:
  /// `what` and `next` are for sentences: the subject, and what to do if the value is damaged.
  stored_value(std::string_view stored, std::uint8_t version, std::string_view what, std::string_view next)
      : what_{what}, next_{next}, fields_{std::string_view{}} {
    reader all{stored};
    const auto e = all.get_envelope();
    if (!all.done() || e.version == 0)
      refuse_damaged(what_, next_);
    if (e.version > version)
      refuse_newer(what_);
    fields_ = reader{e.body};
  }

  /// Reads a field, unless an older program wrote the value without it.
  template <class Read>
  void field(Read&& read) {
    if (!fields_.rest().empty())
      read(fields_);
    if (!fields_.ok())
      damaged();
  }
  /// To be called after the last field that this program knows.
  void end() const {
    if (!fields_.rest().empty())
      refuse_newer(what_);
  }
  [[noreturn]] void damaged() const { refuse_damaged(what_, next_); }

private:
  std::string_view what_, next_;
  reader fields_;
};

template <class Key>
std::string_view view(const Key& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

template <class Key>
void take_key(reader& from, Key& into) {
  std::ranges::copy(from.raw(into.size()), into.begin());
}

} // namespace

std::string pack_identity(const identity& who) {
  writer w;
  const auto start = w.open(identity_version);
  w.put(who.user).put(who.device).raw(view(who.key.secret)).raw(view(who.key.open));
  w.put(std::string_view{who.phone});
  w.put(static_cast<std::uint32_t>(who.tickets.size()));
  std::uint32_t unanswered = 0; // a bit for each ticket
  for (std::size_t i = 0; i < who.tickets.size(); ++i) {
    const auto& t = who.tickets[i];
    w.put(std::string_view{t.phone}).put(std::string_view{t.ticket});
    unanswered |= t.unanswered ? 1U << i : 0U;
  }
  w.put(unanswered);
  w.close(start);
  return std::move(w).bytes();
}

identity unpack_identity(std::string_view stored) {
  stored_value v{stored, identity_version, "The profile's identity",
                 "restore the profile from a copy, or register again with a new --profile"};
  identity who;
  v.field([&](reader& r) { who.user = r.get<user_id>(); });
  v.field([&](reader& r) { who.device = r.get<device_id>(); });
  v.field([&](reader& r) { take_key(r, who.key.secret); });
  v.field([&](reader& r) { take_key(r, who.key.open); });
  v.field([&](reader& r) { who.phone = r.get_bytes(); });
  v.field([&](reader& r) {
    const auto count = r.get<std::uint32_t>();
    if (count > code_tickets_max)
      v.damaged();
    for (std::uint32_t i = 0; i < count; ++i) {
      auto& t = who.tickets.emplace_back();
      t.phone = r.get_bytes();
      t.ticket = r.get_bytes();
    }
  });
  v.field([&](reader& r) {
    const auto unanswered = r.get<std::uint32_t>();
    if (unanswered >> who.tickets.size() != 0)
      v.damaged();
    for (std::size_t i = 0; i < who.tickets.size(); ++i)
      who.tickets[i].unanswered = (unanswered >> i & 1U) != 0;
  });
  v.end();
  return who;
}

std::string pack_members(const std::vector<user_id>& members) {
  writer w;
  const auto start = w.open(members_version);
  w.put(static_cast<std::uint32_t>(members.size()));
  for (const auto user : members)
    w.put(user);
  w.close(start);
  return std::move(w).bytes();
}

std::vector<user_id> unpack_members(std::string_view stored) {
  stored_value v{stored, members_version, "The list of a conversation's members in the profile",
                 "restore the profile from a copy"};
  std::vector<user_id> members;
  v.field([&](reader& r) {
    const auto count = r.get<std::uint32_t>();
    if (count > r.rest().size() / sizeof(user_id))
      v.damaged();
    members.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i)
      members.push_back(r.get<user_id>());
  });
  v.end();
  return members;
}

std::string pack_number(std::uint64_t number) {
  return writer{}.put(number).bytes();
}

std::uint64_t unpack_number(std::string_view stored, std::string_view what) {
  reader in{stored};
  const auto number = in.get<std::uint64_t>();
  if (!in.done() || number == std::numeric_limits<std::uint64_t>::max())
    refuse_damaged(what, "nothing was changed. Restore the profile from a copy, or register again with a new "
                         "--profile");
  return number;
}

} // namespace parley::client
