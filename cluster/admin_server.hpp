#pragma once
// The admin port: /metrics for Prometheus, /healthz (the process runs), /readyz (it serves), / for a person.
// Plain HTTP without a login: it binds to loopback unless the operator says otherwise.
#include "cluster/node.hpp"
#include "cluster/node_config.hpp"

#include <tl/expected.hpp>

#include <memory>
#include <string>

namespace parley::cluster {

/// Owns: one thread with its own event loop. Questions are answered one at a time; a slow reader delays only
/// others
///       like it.
class admin_server {
public:
  virtual ~admin_server() = default;
  virtual std::uint16_t port() const = 0;
};

/// `it` outlives the server. The error is a sentence for the operator.
tl::expected<std::unique_ptr<admin_server>, std::string> start_admin_server(const endpoint& listen, node& it);

} // namespace parley::cluster
