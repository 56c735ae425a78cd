#include "protocol/client/device/config.hpp"

#include <fmt/format.h>

namespace parley::client {

result<std::vector<endpoint>> parse_seeds(std::string_view text) {
  std::vector<endpoint> all;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto one = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    if (one.empty())
      continue;
    auto parsed = transport::parse_endpoint(one);
    if (!parsed)
      return tl::unexpected{
          failure{ec::bad_config, fmt::format("\"{}\" is no address of a node: write host:port.", one), {}}};
    all.push_back(std::move(*parsed));
  }
  if (all.empty())
    return tl::unexpected{
        failure{ec::bad_config, "No node to connect to: give --seeds host:port,host:port.", {}}};
  return all;
}

std::string_view config::objection() const {
  if (seeds.empty())
    return "seeds";
  if (reconnect.first.count() < 1 || reconnect.max < reconnect.first)
    return "reconnect";
  if (resend.first.count() < 1 || resend.max < resend.first)
    return "resend";
  if (dial_timeout.count() < 1)
    return "dial_timeout";
  if (call_timeout.count() < 1)
    return "call_timeout";
  if (ask_timeout.count() < 1)
    return "ask_timeout";
  if (ping_every.count() < 1)
    return "ping_every";
  if (window < 1 || window > 64)
    return "window";
  if (in_flight_max < 1)
    return "in_flight_max";
  if (outbox_messages_max < 1)
    return "outbox_messages_max";
  if (move_after_refusals < 1)
    return "move_after_refusals";
  if (ack_items_max < 1)
    return "ack_items_max";
  if (page_items < 1)
    return "page_items";
  return {};
}

} // namespace parley::client
