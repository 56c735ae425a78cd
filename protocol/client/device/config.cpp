#include "protocol/client/device/config.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::client {

result<std::vector<server_address>> parse_seeds(std::string_view text) {
  std::vector<server_address> all;
  while (!text.empty()) {
    const auto comma = text.find(',');
    auto one = text.substr(0, comma);
    one.remove_prefix(std::min(one.find_first_not_of(' '), one.size())); // "a:1, b:2"
    one = one.substr(0, one.find_last_not_of(' ') + 1);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    if (one.empty())
      continue;
    auto parsed = transport::parse_server_address(one);
    if (!parsed)
      return tl::unexpected{failure{
          ec::bad_config, fmt::format("\"{}\" is not the address of a node: write host:port.", one), {}}};
    all.push_back(std::move(*parsed));
  }
  if (all.empty())
    return tl::unexpected{
        failure{ec::bad_config, "No node to connect to: give --seeds host:port,host:port.", {}}};
  return all;
}

config_check validate(const config& c) {
  if (c.seeds.empty())
    return config_fault{"seeds"};
  if (c.reconnect.first.count() < 1 || c.reconnect.max < c.reconnect.first)
    return config_fault{"reconnect"};
  if (c.reconnect_wanted_max.count() < 1)
    return config_fault{"reconnect_wanted_max"};
  if (c.resend.first.count() < 1 || c.resend.max < c.resend.first)
    return config_fault{"resend"};
  if (c.dial_timeout.count() < 1)
    return config_fault{"dial_timeout"};
  if (c.call_timeout.count() < 1)
    return config_fault{"call_timeout"};
  if (c.ask_timeout.count() < 1)
    return config_fault{"ask_timeout"};
  if (c.ping_every.count() < 1)
    return config_fault{"ping_every"};
  if (c.window < 1 || c.window > 64)
    return config_fault{"window"};
  if (c.in_flight_max < 1)
    return config_fault{"in_flight_max"};
  if (c.in_flight_bytes_max < 1)
    return config_fault{"in_flight_bytes_max"};
  if (c.outbox_messages_max < 1)
    return config_fault{"outbox_messages_max"};
  if (c.move_after_refusals < 1)
    return config_fault{"move_after_refusals"};
  if (c.ack_items_max < 1)
    return config_fault{"ack_items_max"};
  if (c.page_items < 1)
    return config_fault{"page_items"};
  return std::nullopt;
}

} // namespace parley::client
