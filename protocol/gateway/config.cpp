#include "protocol/gateway/config.hpp"

namespace parley::gateway {

transport::stream_limits server_limits() {
  transport::stream_limits l;
  // Up to this many bytes of answers wait for a slow reader; above, no further call is read. Clients never
  // pause.
  l.outbound_pause_bytes = 256 * 1024;
  return l;
}

config_check validate(const gateway_config& c) {
  if (c.listen.host.empty())
    return config_fault{"listen"};
  if (c.cluster == cluster_id{})
    return config_fault{"cluster"};
  if (c.node == node_id::none)
    return config_fault{"node"};
  if (c.login_deadline.count() < 1)
    return config_fault{"login_deadline"};
  if (c.login_bytes_max < 4096)
    return config_fault{"login_bytes_max"};
  if (c.login_attempts_max < 1)
    return config_fault{"login_attempts_max"};
  if (c.connections_max < 1)
    return config_fault{"connections_max"};
  if (c.pre_login_max < 2)
    return config_fault{"pre_login_max"};
  if (c.pre_login_per_address_max < 1 || c.pre_login_per_address_max >= c.pre_login_max)
    return config_fault{"pre_login_per_address_max"};
  if (c.handshakes_burst < 1)
    return config_fault{"handshakes_burst"};
  if (c.handshake_every.count() < 1)
    return config_fault{"handshake_every"};
  if (c.address_handshakes_burst < 1 || c.address_handshakes_burst > c.handshakes_burst)
    return config_fault{"address_handshakes_burst"};
  if (c.address_handshake_every < c.handshake_every)
    return config_fault{"address_handshake_every"};
  if (c.backlog < 1)
    return config_fault{"backlog"};
  if (c.codes_burst < 1)
    return config_fault{"codes_burst"};
  if (c.code_every.count() < 1)
    return config_fault{"code_every"};
  if (c.registrations_burst < 1)
    return config_fault{"registrations_burst"};
  if (c.registration_every.count() < 1)
    return config_fault{"registration_every"};
  if (c.lookups_burst < c.lookup_miss_costs)
    return config_fault{"lookups_burst"};
  if (c.lookup_every.count() < 1)
    return config_fault{"lookup_every"};
  if (c.lookup_miss_costs < 1)
    return config_fault{"lookup_miss_costs"};
  if (c.codes_per_hour < 1)
    return config_fault{"codes_per_hour"};
  if (c.addresses_max < 2)
    return config_fault{"addresses_max"};
  if (const auto fault = validate(c.stream))
    return fault;
  if (c.handshakes_waiting_max < 1)
    return config_fault{"handshakes_waiting_max"};
  if (c.nesting_max < 8)
    return config_fault{"nesting_max"};
  if (c.flow_words_max < c.stream.message_words_max)
    return config_fault{"flow_words_max"};
  if (c.calls_before_login_max < 4) // the gateway, a greeting, a login, and a call to its session
    return config_fault{"calls_before_login_max"};
  if (c.calls_max < 1)
    return config_fault{"calls_max"};
  if (c.calls_of_all_max < 1)
    return config_fault{"calls_of_all_max"};
  if (c.questions_max < c.calls_max)
    return config_fault{"questions_max"};
  if (c.bootstraps_max < 1)
    return config_fault{"bootstraps_max"};
  if (c.capabilities_max < 1)
    return config_fault{"capabilities_max"};
  if (c.path_steps_max < 1)
    return config_fault{"path_steps_max"};
  if (c.pages_max < 1)
    return config_fault{"pages_max"};
  if (c.pages_of_all_max < 1)
    return config_fault{"pages_of_all_max"};
  if (c.page_turn_max.count() < 1)
    return config_fault{"page_turn_max"};
  if (c.pages_under_way_of_all_max < c.pages_of_all_max)
    return config_fault{"pages_under_way_of_all_max"};
  if (c.page_wait_max.count() < 1)
    return config_fault{"page_wait_max"};
  if (c.pages_held_back_max.count() < 1)
    return config_fault{"pages_held_back_max"};
  if (c.sends_bytes_of_all_max < 1)
    return config_fault{"sends_bytes_of_all_max"};
  if (c.sends_held_bytes_of_all_max < c.sends_bytes_of_all_max)
    return config_fault{"sends_held_bytes_of_all_max"};
  if (c.sends_each_bytes_max < 1)
    return config_fault{"sends_each_bytes_max"};
  if (c.sends_under_way_of_all_max < 1)
    return config_fault{"sends_under_way_of_all_max"};
  if (c.sends_seldom_max < 1)
    return config_fault{"sends_seldom_max"};
  if (c.send_turn_max.count() < 1)
    return config_fault{"send_turn_max"};
  if (c.buffers_bytes_of_all_max < 2 * c.stream.outbound_bytes_max)
    return config_fault{"buffers_bytes_of_all_max"};
  if (c.page_items_max < 1)
    return config_fault{"page_items_max"};
  if (c.page_bytes_max < 1)
    return config_fault{"page_bytes_max"};
  if (c.body_bytes_max < 1 || c.body_bytes_max / 8 > c.stream.message_words_max / 2)
    return config_fault{"body_bytes_max"};
  if (c.deliver_rows_max < 1)
    return config_fault{"deliver_rows_max"};
  if (c.deliver_bytes_max < 1)
    return config_fault{"deliver_bytes_max"};
  if (c.deliveries_max < 1)
    return config_fault{"deliveries_max"};
  if (c.receiver_deadline.count() < 1)
    return config_fault{"receiver_deadline"};
  if (c.idle_deadline.count() < 1)
    return config_fault{"idle_deadline"};
  if (c.close_grace.count() < 1)
    return config_fault{"close_grace"};
  if (c.resume_valid_for.count() < 1)
    return config_fault{"resume_valid_for"};
  if (c.drain_spread.count() < 0)
    return config_fault{"drain_spread"};
  if (c.sweep_every.count() < 1)
    return config_fault{"sweep_every"};
  return std::nullopt;
}

} // namespace parley::gateway
