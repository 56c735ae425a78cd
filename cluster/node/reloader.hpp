#pragma once
// What a running node reads again when its operator says so (SIGHUP), and when its certificates end.
#include "cluster/ops/certificates.hpp"
#include "cluster/ops/startup.hpp"

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley::cluster {

/// Certificates of one port: the names under which the operator knows them, and their files.
using certificate_files = std::vector<std::pair<std::string, std::string>>;

/// Thread: any; none of its functions blocks for longer than it takes to read files.
class reloader {
public:
  using renewal = std::function<std::optional<std::string>()>;

  /// `running`: what the node was started with. `read_again`: reads the same command line, environment and file.
  reloader(node_config running, std::function<startup()> read_again)
      : running_{std::move(running)}, read_again_{std::move(read_again)} {}

  /// `of` uses `files` from now on. `renew` makes it use their present content, or returns a sentence for the
  /// operator and leaves it as it is. `renew` must be callable for as long as this object lives.
  void add(std::string of, certificate_files files, renewal renew);
  /// Applies the log level and the certificates. What cannot be used is reported, and what was in use stays.
  void reload();
  /// Warns of certificates that end soon; to be called from time to time.
  void remind();
  std::vector<certificate_end> certificates() const { return calendar_.ends(); }

private:
  struct part {
    std::string of;
    certificate_files files;
    renewal renew;
  };
  void apply_settings();
  void renew(const part& p);

  std::mutex mutex_;
  node_config running_;
  std::function<startup()> read_again_;
  std::vector<part> parts_;
  certificate_calendar calendar_;
};

} // namespace parley::cluster
