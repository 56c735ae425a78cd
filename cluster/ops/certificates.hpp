#pragma once
// When certificates begin and end. All that were created in one run end on one day, so an end that nobody notices
// stops every connection at once.
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

namespace parley::cluster {

using calendar_time = std::chrono::system_clock::time_point;

struct certificate_dates {
  calendar_time from, until;
};

/// Of the first certificate in a PEM file. The error is a sentence for the operator, without advice.
tl::expected<certificate_dates, std::string> dates_of(const std::string& pem_file);

/// `none` if the certificate is valid now, else a sentence without advice.
std::optional<std::string> date_objection(const std::string& pem_file, calendar_time now);

/// `none` if the key in `key_file` (PEM, not encrypted) is that of the certificate, else a sentence without advice.
std::optional<std::string> key_objection(const std::string& pem_file, const std::string& key_file);

/// A certificate that a node uses, and when it ends.
struct certificate_end {
  std::string name; ///< "node", "node-ca", "client", "admin", "admin-ca"
  std::string file;
  calendar_time until;
};

/// Remembers when the certificates in use end, and decides when to warn.
/// Thread: any.
class certificate_calendar {
public:
  static constexpr std::chrono::hours warn_before{30 * 24};
  static constexpr std::chrono::hours warn_every{24};

  /// From now on the file's present content is in use; a file that cannot be read is left out.
  void use(const std::string& name, const std::string& pem_file);
  std::vector<certificate_end> ends() const;
  /// The certificates of which the operator has to be warned now: those that end within `warn_before` or have
  /// ended, each once in `warn_every`.
  std::vector<certificate_end> due(calendar_time now);

private:
  struct entry {
    certificate_end what;
    std::optional<calendar_time> warned_at;
  };
  mutable std::mutex mutex_;
  std::map<std::string, entry> entries_;
};

/// "2029-03-02"
std::string day_of(calendar_time t);

} // namespace parley::cluster
