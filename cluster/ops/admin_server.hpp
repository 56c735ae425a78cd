#pragma once
// The admin port: /metrics for Prometheus, /healthz (the process runs), /readyz (it serves), / for a person.
//
// On loopback it is plain HTTP: whoever can reach it can reach the process. Anywhere else it is TLS, and only
// for those who show a certificate of the admin authority; without such certificates it does not listen
// there.
#include "cluster/ops/node_config.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace parley::cluster {

/// What the pages say. Called on the admin server's thread, one question at a time.
class admin_source {
public:
  struct readiness {
    bool ready = false;
    std::string why; ///< one line: "ready", "starting: …", "draining"
  };
  virtual ~admin_source() = default;
  virtual readiness state() = 0;
  virtual std::string metrics() = 0; ///< Prometheus text format 0.0.4
  virtual std::string page() = 0;    ///< HTML, for a person
};

struct admin_config {
  endpoint listen = default_of(settings::admin_listen); ///< port 0: any free one
  // Read only if `listen` is not loopback:
  std::string certificate_file, key_file; ///< of this node's admin port
  std::string ca_file;                    ///< whose certificates are let in

  // One request a connection: a scrape comes every few seconds, and a connection that is over cannot be slow.
  std::chrono::milliseconds request_within{3'000};     ///< handshake and headers
  std::chrono::milliseconds connection_within{10'000}; ///< all of it: a slow reader is cut off
  std::size_t connections_max = 64;                    ///< more are hung up on
};

/// Owns: one thread with its own event loop. A slow reader delays nobody.
class admin_server {
public:
  virtual ~admin_server() = default;
  virtual std::uint16_t port() const = 0;
};

/// 127.0.0.0/8, ::1 or localhost.
bool is_loopback(const std::string& host);

/// `source` outlives the server. The error is a sentence for the operator.
tl::expected<std::unique_ptr<admin_server>, std::string> start_admin_server(const admin_config& config,
                                                                            admin_source& source);

} // namespace parley::cluster
