#pragma once
// Reads choices from the beginning of an input.
#include "protocol/mls/bytes.hpp"

namespace parley::mls::fuzz {

/// Returns zeros when no input is left.
class reader {
public:
  explicit reader(bytes_view in) : in_{in} {}
  std::uint8_t u8() {
    if (in_.empty())
      return 0;
    const auto v = in_.front();
    in_ = in_.subspan(1);
    return v;
  }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : u8() % n; }
  bool empty() const { return in_.empty(); }
  bytes_view rest() const { return in_; }

private:
  bytes_view in_;
};

} // namespace parley::mls::fuzz
