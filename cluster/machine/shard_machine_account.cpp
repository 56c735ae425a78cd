#include "actors/core/calls.hpp"
#include "actors/core/rescue_numbers.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/machine/shard_rows.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <algorithm>

namespace parley::cluster {

using detail::load;

namespace {

template <class Rows>
core::phone_claim load_claim(Rows& rows, std::string_view phone) {
  return load<core::phone_claim>(rows, rows::phone_key(phone), "the row of a phone number")
      .value_or(core::phone_claim{});
}

} // namespace

core::outcome shard_machine::on(step& s, core::issue_code& c) {
  if (c.phone.empty() || c.phone.size() > limits_.phone_bytes_max)
    return core::code_issued{ec::bad_phone};
  auto claim = load_claim(s.rows, c.phone);
  if (core::bring_back(claim, c.at))
    s.rows.put(rows::phone_key(c.phone), claim);
  auto meter = load<core::code_meter>(s.rows, rows::code_meter_key(), "the shard's count of codes")
                   .value_or(core::code_meter{});
  const bool again = std::any_of(claim.tickets.begin(), claim.tickets.end(), [&](const core::code_ticket& t) {
    return t.ticket == c.ticket && t.code_hash == c.code_hash && c.at < t.expires;
  });
  const auto answer = core::issue(claim, c, limits_);
  if (answer.error != ec::none || answer.sent || again) // nothing was issued
    return answer;
  const auto since = meter.at;
  if (const auto wait = core::take_code(meter, c.at, limits_); wait > 0) {
    if (meter.at < since) // it was ahead, and would never come back
      s.rows.put(rows::code_meter_key(), meter);
    return core::code_issued{ec::rate_limited, wait};
  }
  const auto forgotten = forgotten_numbers(s, meter.looked_at, c.at);
  s.rows.put(rows::code_meter_key(), meter);
  for (const auto& number : forgotten)
    s.rows.erase(rows::phone_key(number));
  s.rows.put(rows::phone_key(c.phone), claim);
  return answer;
}

// Anybody can ask for codes of any number, so the rows of numbers that never register would stay for ever. Each command
// that may add one looks at a few others instead, in turn; the position is a row, so all replicas look at the same.
std::vector<std::string> shard_machine::forgotten_numbers(step& s, std::string& from, unix_ms now) const {
  std::vector<std::string> forgotten;
  std::size_t seen = 0;
  const auto begin =
      from.empty() ? rows::phone_rows() : rows::phone_key(from).put(std::uint8_t{0}); // behind it
  s.rows.ascend(begin, rows::phone_rows().past(), [&](std::string_view key, std::string_view value) {
    if (seen++ == limits_.numbers_looked_at_max)
      return storage::scan::stop;
    from = rows::parse_phone_key(key);
    if (core::is_forgotten(
            detail::must(rows::read_whole<core::phone_claim>(value), "the row of a phone number"), now,
            limits_))
      forgotten.push_back(from);
    return storage::scan::more;
  });
  if (seen <= limits_.numbers_looked_at_max)
    from.clear(); // that was the last one
  return forgotten;
}

core::outcome shard_machine::on(step& s, core::settle_code& c) {
  if (c.phone.empty() || c.phone.size() > limits_.phone_bytes_max)
    return core::done{ec::bad_phone};
  auto claim = load_claim(s.rows, c.phone);
  const auto before = claim;
  core::settle(claim, c);
  if (claim != before)
    s.rows.put(rows::phone_key(c.phone), claim);
  return core::done{};
}

core::outcome shard_machine::on(step& s, core::redeem_code& c) {
  if (c.phone.empty() || c.phone.size() > limits_.phone_bytes_max)
    return core::redeemed{ec::bad_phone};
  auto claim = load_claim(s.rows, c.phone);
  const auto before = claim;
  const auto answer = core::redeem(claim, c, limits_);
  if (claim != before)
    s.rows.put(rows::phone_key(c.phone), claim);
  return answer;
}

core::outcome shard_machine::on(step& s, core::put_device& c) {
  if (c.device.name.size() > limits_.device_name_bytes_max)
    return core::done{ec::too_large};
  auto account = load<rows::account>(s.rows, rows::account_key(c.user), "an account")
                     .value_or(rows::account{c.phone, {}});
  if (account.phone != c.phone)
    return core::done{ec::conflict};
  for (const auto& d : account.devices)
    if (d.id == c.device.id && !planted("device-added-again"))
      return core::done{d.key == c.device.key ? ec::none : ec::conflict};
  if (account.devices.size() >= limits_.devices_max)
    return core::done{ec::device_limit};

  auto head = load<rows::inbox_head>(s.rows, rows::inbox_head_key(c.user), "an inbox's head")
                  .value_or(rows::inbox_head{});
  // The first device gets everything that arrived before the account was created; later devices get what
  // arrives from now on. The others are told of a later one: it reads and writes as the user, so its owner
  // has to learn of a device that somebody else registered. Its own place is behind that row.
  if (!account.devices.empty()) {
    head.last = inbox_pos{core::number_after(number(head.last), rescues(s))};
    core::news row = core::device_added{c.device.id, c.device.name, c.device.since};
    s.rows.put(rows::inbox_key(c.user, head.last), row);
    if (s.memory.leading)
      results_.arrivals.push_back({s.at.shard, c.user, {{head.last, std::move(row)}}});
    head.begins.push_back({c.device.id, head.last});
  }
  head.devices.push_back({c.device.id, head.begin_of(c.device.id)});
  account.devices.push_back(std::move(c.device));
  std::vector<core::owed_copies> asks;
  if (account.devices.size() == 2) { // the conversations have known it when a later device is added
    head.copies_next = conversation_id{};
    asks = next_copies(s, c.user, head);
  }
  s.rows.put(rows::account_key(c.user), account);
  s.rows.put(rows::inbox_head_key(c.user), head);
  for (const auto& a : asks)
    owe(s, a);
  return core::done{};
}

// How many conversations a user has is up to others, so one command tells a bounded number of them. The inbox of the
// user has the rest told by further commands; what is left stands in the inbox's head, so any leader goes on with it.
// Until a conversation is told, its messages from the other device arrive as repairs of gaps, or with the next one.
std::vector<core::owed_copies> shard_machine::next_copies(step& s, user_id user,
                                                          rows::inbox_head& head) const {
  std::vector<core::owed_copies> asks;
  const auto from = std::exchange(head.copies_next, std::nullopt);
  s.rows.ascend(rows::stream_key(user, *from), rows::stream_rows(user).past(),
                [&](std::string_view key, std::string_view) {
                  const auto conversation = rows::parse_stream_key(key);
                  if (asks.size() == limits_.copies_asked_max) {
                    head.copies_next = conversation;
                    return storage::scan::stop;
                  }
                  asks.push_back({{conversation, user}});
                  return storage::scan::more;
                });
  return asks;
}

core::outcome shard_machine::on(step& s, core::ask_copies& c) {
  auto head = load<rows::inbox_head>(s.rows, rows::inbox_head_key(c.user), "an inbox's head");
  if (!head)
    return core::copies_asked{ec::no_such_user};
  if (!head->copies_next)
    return core::copies_asked{};
  const auto asks = next_copies(s, c.user, *head);
  s.rows.put(rows::inbox_head_key(c.user), *head);
  for (const auto& a : asks)
    owe(s, a);
  return core::copies_asked{ec::none, head->copies_next.has_value()};
}

core::outcome shard_machine::on(step& s, core::put_node& c) {
  if (s.at.shard != core::meta_shard || c.node.id == node_id::none)
    return core::done{ec::bad_request};
  s.rows.put(rows::node_key(c.node.id), c.node);
  return core::done{};
}

} // namespace parley::cluster
