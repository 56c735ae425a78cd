#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace parley::tool {

/// A page of /metrics in the text format of Prometheus.
class metrics_text {
public:
  metrics_text() = default;
  /// Ignores lines that it cannot parse.
  explicit metrics_text(std::string_view page);
  /// The sum of all series of a metric, or one of them if it is named with its labels as the page has them;
  /// nothing if there is none.
  std::optional<double> sum(const std::string& metric) const;
  /// The `q`-quantile of what a histogram without labels has counted since `before`, a page of the same
  /// process, as precisely as its buckets allow. Nothing if it has counted nothing.
  std::optional<double> quantile(const std::string& metric, double q, const metrics_text& before) const;

private:
  std::map<std::string, double> sums_;
};

} // namespace parley::tool
