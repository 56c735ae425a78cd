#pragma once
// The admin port: /metrics for Prometheus, /healthz (the process runs), /readyz (it serves), /wholez
// (its replicas are there and sound), / for a person.
//
// On loopback it is plain HTTP, because a user of this machine can reach the process anyway; it answers only to
// names of this machine, so that no page of a stranger reads it through a browser. On any other
// address it is TLS and asks clients for a certificate of the admin authority; a node without certificates of
// its own does not listen there.
#include "cluster/ops/node_config.hpp"

#include <tl/expected.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace parley::cluster {

/// The content of the pages. Called on a thread of its own, one request at a time; it may wait.
class admin_source {
public:
  struct readiness {
    bool ready = false;
    std::string why; ///< "ready", "starting: …", "draining: …"; a line for each cause
  };
  virtual ~admin_source() = default;
  virtual readiness state() = 0;     ///< whether clients can be served
  virtual readiness whole() = 0;     ///< whether the replicas would survive a loss
  virtual std::string metrics() = 0; ///< Prometheus text format 0.0.4
  virtual std::string page() = 0;    ///< HTML, for a person
};

struct admin_config {
  endpoint listen = default_of(settings::admin_listen); ///< port 0: any free one
  // Read only if `listen` is not loopback:
  std::string certificate_file, key_file; ///< of this node's admin port
  std::string ca_file;                    ///< clients need a certificate of this authority

  // Each connection serves one request: scrapes are seconds apart, and a closed connection cannot be slow.
  std::chrono::milliseconds request_within{3'000}; ///< handshake and headers
  /// The whole connection; a slow reader is disconnected.
  std::chrono::milliseconds connection_within{10'000};
  /// For one more, one gives way that has not sent its request, or one that has not read its answer: the oldest of whichever
  /// there are more. It is closed at once if all wait for the source.
  std::size_t connections_max = 64;
};

/// Owns: a thread with its own event loop, and one that asks the source. Clients that do not ask or do not read
/// delay nobody, however many there are, and /healthz does not wait for the source.
class admin_server {
public:
  virtual ~admin_server() = default;
  virtual std::uint16_t port() const = 0;
  /// Reads the certificates again. New connections use them, existing ones go on. Returns `none`, or a sentence
  /// for the operator; then those in use stay. Any thread.
  virtual std::optional<std::string> renew_certificate() = 0;
};

/// 127.0.0.0/8, ::1 or localhost.
bool is_loopback(const std::string& host);

/// `source` outlives the server. The error is a sentence for the operator.
tl::expected<std::unique_ptr<admin_server>, std::string> start_admin_server(const admin_config& config,
                                                                            admin_source& source);

} // namespace parley::cluster
