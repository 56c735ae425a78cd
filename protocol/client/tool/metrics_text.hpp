#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace parley::tool {

/// A page of /metrics, as Prometheus defines its text.
class metrics_text {
public:
  metrics_text() = default;
  /// Lines that cannot be understood are passed over.
  explicit metrics_text(std::string_view page);
  /// All series of a metric together, or one of them, named with its labels as the page has them; nothing if
  /// there is none.
  std::optional<double> sum(const std::string& metric) const;
  /// Of a histogram without labels, what has come since `before` (a page of the same process): below which
  /// value a share of `q` lies, as exactly as its buckets tell. Nothing if nothing has come.
  std::optional<double> quantile(const std::string& metric, double q, const metrics_text& before) const;

private:
  std::map<std::string, double> sums_;
};

} // namespace parley::tool
