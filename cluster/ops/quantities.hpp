#pragma once
// Numbers, times and sizes as an operator writes them. A time or a size has its unit: a bare number could
// mean anything, except zero.
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::cluster {

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text); ///< 500ms, 30s, 5min, 1h
std::optional<std::uint64_t> parse_size(std::string_view text);                 ///< 100B, 512KiB, …, 1TiB

/// In the largest unit that leaves a whole number.
std::string duration_text(std::chrono::milliseconds t);
std::string size_text(std::uint64_t bytes);

} // namespace parley::cluster
