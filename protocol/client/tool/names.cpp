#include "protocol/client/tool/names.hpp"

#include "protocol/client/tool/terminal_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace parley::tool {
namespace {

/// An id has twenty digits. Its last six tell people apart who are known to one person.
std::string short_name(user_id user) {
  const auto digits = std::to_string(number(user));
  return "user-" + digits.substr(digits.size() - std::min<std::size_t>(6, digits.size()));
}

std::optional<user_id> user_number(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (failed != std::errc{} || end != text.data() + text.size() || n == 0)
    return std::nullopt;
  return user_id{n};
}

} // namespace

std::optional<std::string> phone_number(std::string_view text) {
  constexpr std::string_view no_break_space = "\u00a0";
  std::string digits;
  while (!text.empty()) {
    if (text.starts_with(no_break_space)) {
      text.remove_prefix(no_break_space.size());
      continue;
    }
    const char c = text.front();
    text.remove_prefix(1);
    if ((c >= '0' && c <= '9') || (c == '+' && digits.empty()))
      digits += c;
    else if (std::string_view{" -()/."}.find(c) == std::string_view::npos)
      return std::nullopt;
  }
  if (digits.starts_with("00"))
    digits.replace(0, 2, "+");
  const bool plausible = digits.starts_with('+') && digits.size() >= 8 && digits.size() <= 16;
  return plausible ? std::optional{digits} : std::nullopt;
}

names::names(client::client_store& store)
    : store_{store}, me_{store.who().value_or(client::identity{})}, all_{store.contacts()},
      conversations_{store.conversations()} {
  // Who wrote first is known by an id only, and can be given a name.
  for (const auto& c : conversations_)
    for (const auto user : c.members)
      if (user != me_.user && std::ranges::count(all_, user, &client::contact::user) == 0)
        all_.push_back({user, {}, {}});
}

std::string names::of(user_id user) const {
  if (user == me_.user)
    return "you";
  const auto c = std::ranges::find(all_, user, &client::contact::user);
  if (c == all_.end() || (c->name.empty() && c->phone.empty()))
    return short_name(user);
  return printable(c->name.empty() ? c->phone : c->name);
}

std::string names::of(const std::vector<user_id>& members) const {
  std::string out;
  for (const auto user : members)
    if (user != me_.user)
      out += (out.empty() ? "" : ", ") + of(user);
  return out.empty() ? "you" : out;
}

std::string names::of(conversation_id c) const {
  const auto known = std::ranges::find(conversations_, c, &conversation_info::conversation);
  return known == conversations_.end() ? client::text(c).substr(0, 8) : of(known->members);
}

const client::contact* names::find(std::string_view whom) const {
  const auto phone = phone_number(whom);
  const auto user = user_number(whom);
  const auto found = std::ranges::find_if(all_, [&](const client::contact& c) {
    return (!c.name.empty() && c.name == whom) || (phone && c.phone == *phone) || (user && c.user == *user) ||
           (number(c.user) != 0 && short_name(c.user) == whom);
  });
  return found == all_.end() ? nullptr : &*found;
}

void names::met(user_id user, const std::string& phone) {
  const auto before = all_;
  // Somebody may be known twice until now: by a number that was given a name, and by the id of who wrote first.
  client::contact met{user, phone, {}};
  std::vector<client::contact> rest;
  std::optional<std::size_t> place;
  for (auto& c : all_) {
    if (c.user == user || (number(c.user) == 0 && c.phone == phone)) {
      met.name = met.name.empty() ? c.name : met.name;
      place = place.value_or(rest.size());
      continue;
    }
    if (c.phone == phone) // a number that was somebody else's; the name stays with the person
      c.phone.clear();
    rest.push_back(std::move(c));
  }
  rest.insert(rest.begin() + static_cast<std::ptrdiff_t>(place.value_or(rest.size())), std::move(met));
  all_ = std::move(rest);
  if (all_ != before)
    keep();
}

client::contact* names::entry(std::string_view whom) {
  if (const auto* known = find(whom))
    return &all_[static_cast<std::size_t>(known - all_.data())];
  if (const auto phone = phone_number(whom))
    return &all_.emplace_back(client::contact{{}, *phone, {}});
  if (const auto user = user_number(whom))
    return &all_.emplace_back(client::contact{*user, {}, {}});
  return nullptr;
}

bool names::rename(std::string_view whom, const std::string& name) {
  auto* c = entry(whom);
  if (!c)
    return false;
  c->name = name;
  keep();
  return true;
}

void names::forget(std::string_view whom) {
  if (const auto* known = find(whom)) {
    all_.erase(all_.begin() + (known - all_.data()));
    keep();
  }
}

void names::keep() {
  store_.set_contacts(all_);
}

} // namespace parley::tool
