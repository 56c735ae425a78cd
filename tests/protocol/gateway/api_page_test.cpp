// The tables of docs/api.md say what the code does: every error with what was stored and whether to try
// again, and every bound that a client meets.
#include "actors/core/limits.hpp"
#include "protocol/client/device/config.hpp"
#include "protocol/gateway/config.hpp"
#include "protocol/values/errors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

using namespace parley;

namespace {

using cells = std::vector<std::string>;

std::string trimmed(std::string s) {
  s.erase(0, s.find_first_not_of(' '));
  return s.erase(s.find_last_not_of(' ') + 1);
}

/// The rows of the table below `heading`, without its head.
std::vector<cells> table_below(const std::string& heading) {
  std::ifstream page{API_PAGE};
  std::vector<cells> rows;
  bool below = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("## "))
      below = line == heading;
    if (!below || !line.starts_with("| "))
      continue;
    cells row;
    for (std::size_t from = 1, to = 0; (to = line.find('|', from)) != std::string::npos; from = to + 1)
      row.push_back(trimmed(line.substr(from, to - from)));
    rows.push_back(std::move(row));
  }
  if (!rows.empty())
    rows.erase(rows.begin());
  return rows;
}

std::string word(was_stored s) {
  switch (s) {
  case was_stored::no:
    return "no";
  case was_stored::yes:
    return "yes";
  case was_stored::unknown:
    break;
  }
  return "unknown";
}

/// As the page writes it: 65,536.
std::string grouped(std::uint64_t n) {
  auto s = std::to_string(n);
  for (auto i = static_cast<std::ptrdiff_t>(s.size()) - 3; i > 0; i -= 3)
    s.insert(static_cast<std::size_t>(i), ",");
  return s;
}

template <class Rep, class Period>
std::string seconds(std::chrono::duration<Rep, Period> d) {
  const auto s = std::chrono::duration_cast<std::chrono::seconds>(d);
  REQUIRE(s == d);
  return grouped(static_cast<std::uint64_t>(s.count()));
}

} // namespace

TEST_CASE("the API's page lists every error, with what was stored and whether to try again") {
  std::vector<cells> expected;
  for (const auto& row : error_table())
    if (row.code != ec::none && is_known(row.code))
      expected.push_back({std::to_string(static_cast<unsigned>(row.code)), "`" + std::string{row.name} + "`",
                          word(row.stored), row.retryable ? "yes" : "no"});
  auto listed = table_below("## Errors");
  for (auto& row : listed) {
    CAPTURE(row.front());
    REQUIRE(row.size() == 5);
    CHECK_FALSE(row.back().empty()); // what to do
    row.pop_back();
  }
  for (const auto& row : expected) {
    CAPTURE(row[1]);
    CHECK(std::find(listed.begin(), listed.end(), row) != listed.end());
  }
  CHECK(listed.size() == expected.size());
}

TEST_CASE("the API's page names the bounds with which a gateway and a cluster run") {
  const gateway::gateway_config g;
  const core::limits c;
  const auto stream = gateway::server_limits();
  const std::map<std::string, std::string> expected{
      {"bytes of a body", grouped(body_bytes_max)},
      {"bytes of a device's name", grouped(device_name_bytes_max)},
      {"digits of a phone number", grouped(phone_digits_min) + " to " + grouped(phone_digits_max)},
      {"digits of a code", grouped(code_digits)},
      {"devices of a user", grouped(c.devices_max)},
      {"items of a page", grouped(g.page_items_max)},
      {"bytes of a page", grouped(g.page_bytes_max)},
      {"pages under way on a connection", grouped(g.pages_max)},
      {"pages that are read for all connections of an event loop at a time", grouped(g.pages_of_all_max)},
      {"pages under way for all connections of an event loop, with those whose shard does not answer",
       grouped(g.pages_under_way_of_all_max)},
      {"seconds that a page waits for its turn (`timing.call`)", seconds(g.page_wait_max)},
      {"bytes of messages that all clients of a node wait for", grouped(sends_held_bytes_max)},
      {"bytes of messages that a connection waits for, each with " + grouped(send_overhead_bytes) +
           " more than its body",
       grouped(g.sends_each_bytes_max)},
      {"seconds that a message waits for its turn (`timing.call`)", seconds(g.page_wait_max)},
      {"bytes in the buffers of all connections of an event loop", grouped(g.buffers_bytes_of_all_max)},
      {"bytes of an RPC message from a client", grouped(stream.message_words_max * 8)},
      {"segments of such a message", grouped(stream.segments_max)},
      {"nesting of such a message", grouped(static_cast<std::uint64_t>(g.nesting_max))},
      {"capabilities in such a message", grouped(g.capabilities_max)},
      {"calls under way on a connection", grouped(g.calls_max)},
      {"of these, before login", grouped(g.calls_before_login_max)},
      {"calls under way of all connections of an event loop, but for messages", grouped(g.calls_of_all_max)},
      {"questions without `finish`", grouped(g.questions_max)},
      {"bytes of answers that the client has not read", grouped(stream.outbound_pause_bytes)},
      {"bytes that the client has not read, at most", grouped(stream.outbound_bytes_max)},
      {"seconds for " + grouped(stream.write_progress_bytes) + " bytes of them (`timing.write`)",
       seconds(stream.write_deadline)},
      {"bytes that `deliver` sends ahead of its returns", grouped(stream.window_bytes)},
      {"seconds for `deliver` to return", seconds(g.receiver_deadline)},
      {"seconds of silence", seconds(g.idle_deadline)},
      {"seconds before login (`timing.login`)", seconds(g.login_deadline)},
      {"bytes before login", grouped(g.login_bytes_max)},
      {"logins on a connection", grouped(g.login_attempts_max)},
      {"seconds until a call is answered, once it has its turn (`timing.call`)",
       seconds(settings::call_timeout.standard)},
      {"milliseconds that a session number may be ahead of a node's clock",
       grouped(static_cast<std::uint64_t>(session_ahead_max.count()))},
      {"seconds that a resume token is taken (`timing.resume`)", seconds(g.resume_valid_for)},
      {"seconds that a code is valid (`code.life`)", seconds(settings::code_life.standard)},
      {"wrong attempts at a code", grouped(c.code_tries_max)},
      {"codes of a phone number in an hour", grouped(c.codes_per_hour_max)},
      {"codes of a phone number that one network (IPv4 /24, IPv6 /48) asks for, in an hour; in a day",
       grouped(c.codes_per_hour_of_asker_max) + "; " + grouped(c.codes_per_day_of_asker_max)},
      {"milliseconds until a code counts as lost of which no node says that it was sent",
       grouped(static_cast<std::uint64_t>(c.code_sending_max.count()))},
      {"milliseconds between two codes of a number",
       grouped(static_cast<std::uint64_t>(c.code_spacing.count()))},
      {"codes of an address at once (`limits.codes_per_address`)",
       grouped(static_cast<std::uint64_t>(g.codes_burst))},
      {"registrations of an address at once (`limits.codes_per_address`)",
       grouped(static_cast<std::uint64_t>(g.registrations_burst))},
      {"codes of a phone number in a day", grouped(c.codes_per_day_max)},
      {"codes of a node in an hour (`limits.codes_per_hour`)",
       grouped(static_cast<std::uint64_t>(g.codes_per_hour))},
      {"bootstraps of a connection, all before its login", grouped(g.bootstraps_max)},
      {"sends of a user in a second (`limits.user_sends_per_second`)",
       grouped(settings::user_sends_per_second.standard)},
      {"sends of a user at once (`limits.user_sends_burst`)", grouped(settings::user_sends_burst.standard)},
      {"conversations that a user opens at once", grouped(static_cast<std::uint64_t>(g.lookups_burst))},
      {"sends in a conversation in a second (`limits.conversation_sends_per_second`)",
       grouped(settings::conversation_sends_per_second.standard)},
      {"sends in a conversation at once (`limits.conversation_sends_burst`)",
       grouped(settings::conversation_sends_burst.standard)},
      {"ids remembered of a device in a conversation", grouped(core::dedup_ids_max)},
      {"connections of an event loop (`limits.connections`)", grouped(g.connections_max)},
      {"of these, before login (`limits.connections_before_login`)", grouped(g.pre_login_max)},
      {"of these, from one address", grouped(g.pre_login_per_address_max)},
  };
  std::map<std::string, std::string> listed;
  for (const auto& row : table_below("## Bounds")) {
    CAPTURE(row.front());
    REQUIRE(row.size() == 3);
    CHECK(listed.emplace(row[0], row[1]).second); // once
  }
  for (const auto& [what, bound] : expected) {
    CAPTURE(what);
    const auto found = listed.find(what);
    REQUIRE(found != listed.end());
    CHECK(found->second == bound);
  }
  CHECK(listed.size() == expected.size());
}

TEST_CASE("the client library has no more messages under way than a node reads") {
  CHECK(client::config{}.in_flight_bytes_max <= gateway::gateway_config{}.sends_each_bytes_max);
}
