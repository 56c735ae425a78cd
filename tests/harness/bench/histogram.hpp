#pragma once
// Quantiles of many latencies in little memory: buckets of at most 1.6 % width, from 1 µs to hours.
#include <array>
#include <bit>
#include <cstdint>

namespace parley::bench {

class histogram {
public:
  void add(std::uint64_t us) {
    ++counts_[bucket(us)];
    ++total_;
  }
  std::uint64_t total() const { return total_; }
  /// Returns the upper end of the bucket that contains the quantile; 0 if the histogram is empty.
  std::uint64_t quantile(double q) const {
    if (total_ == 0)
      return 0;
    const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(total_ - 1)) + 1;
    std::uint64_t seen = 0;
    for (std::size_t b = 0; b < counts_.size(); ++b) {
      seen += counts_[b];
      if (seen >= rank)
        return upper(b);
    }
    return upper(counts_.size() - 1);
  }

private:
  static constexpr unsigned fine_bits = 6; ///< exact below 64 µs; above, 64 steps for each doubling
  static constexpr std::uint64_t fine = 1 << fine_bits;

  static std::size_t bucket(std::uint64_t us) {
    if (us < fine)
      return us;
    const auto shift = static_cast<unsigned>(std::bit_width(us)) - fine_bits - 1;
    return std::min<std::size_t>((shift + 1) * fine + ((us >> shift) - fine), buckets - 1);
  }
  static std::uint64_t upper(std::size_t b) {
    if (b < fine)
      return b;
    const auto shift = b / fine - 1;
    return ((fine + b % fine + 1) << shift) - 1;
  }
  static constexpr std::size_t buckets = 32 * fine;
  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t total_ = 0;
};

} // namespace parley::bench
