#include "protocol/gateway/config.hpp"

namespace parley::gateway {

transport::stream_limits server_limits() {
  transport::stream_limits l;
  // Answers wait for a slow reader up to here, then it gets to ask nothing more. Clients never pause.
  l.outbound_pause_bytes = 256 * 1024;
  return l;
}

std::string_view gateway_config::validate() const {
  if (listen.host.empty())
    return "listen";
  if (cluster == cluster_id{})
    return "cluster";
  if (node == node_id::none)
    return "node";
  if (login_deadline.count() < 1)
    return "login_deadline";
  if (login_bytes_max < 4096)
    return "login_bytes_max";
  if (login_attempts_max < 1)
    return "login_attempts_max";
  if (connections_max < 1)
    return "connections_max";
  if (pre_login_max < 1)
    return "pre_login_max";
  if (pre_login_per_address_max < 1)
    return "pre_login_per_address_max";
  if (handshakes_burst < 1)
    return "handshakes_burst";
  if (handshake_every.count() < 1)
    return "handshake_every";
  if (backlog < 1)
    return "backlog";
  if (codes_burst < 1)
    return "codes_burst";
  if (code_every.count() < 1)
    return "code_every";
  if (registrations_burst < 1)
    return "registrations_burst";
  if (registration_every.count() < 1)
    return "registration_every";
  if (addresses_max < 2)
    return "addresses_max";
  if (code_valid_for.count() < 1)
    return "code_valid_for";
  if (!stream.objection().empty())
    return stream.objection();
  if (nesting_max < 8)
    return "nesting_max";
  if (flow_words_max < stream.message_words_max)
    return "flow_words_max";
  if (calls_max < 1)
    return "calls_max";
  if (questions_max < calls_max)
    return "questions_max";
  if (capabilities_max < 1)
    return "capabilities_max";
  if (path_steps_max < 1)
    return "path_steps_max";
  if (pages_max < 1)
    return "pages_max";
  if (page_items_max < 1)
    return "page_items_max";
  if (page_bytes_max < 1)
    return "page_bytes_max";
  if (body_bytes_max < 1 || body_bytes_max / 8 > stream.message_words_max / 2)
    return "body_bytes_max";
  if (deliver_rows_max < 1)
    return "deliver_rows_max";
  if (deliver_bytes_max < 1)
    return "deliver_bytes_max";
  if (receiver_deadline.count() < 1)
    return "receiver_deadline";
  if (idle_deadline.count() < 1)
    return "idle_deadline";
  if (close_grace.count() < 1)
    return "close_grace";
  if (resume_valid_for.count() < 1)
    return "resume_valid_for";
  if (drain_spread.count() < 0)
    return "drain_spread";
  if (sweep_every.count() < 1)
    return "sweep_every";
  return {};
}

} // namespace parley::gateway
