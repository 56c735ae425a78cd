#include "protocol/client/values.hpp"

#include <fmt/format.h>

#include <charconv>

namespace parley::client {
namespace {

bool parse_hex(std::string_view digits, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
  return error == std::errc{} && end == digits.data() + digits.size();
}

failure unusable(std::string sentence) {
  return {ec::bad_request, std::move(sentence), {}};
}

} // namespace

std::string text(conversation_id id) {
  return fmt::format("{:016x}{:016x}", id.hi, id.lo);
}

std::string text(message_id id) {
  return fmt::format("{:016x}{:016x}", id.hi, id.lo);
}

result<conversation_id> parse_conversation(std::string_view hex) {
  conversation_id id;
  if (hex.size() != 32 || !parse_hex(hex.substr(0, 16), id.hi) || !parse_hex(hex.substr(16), id.lo))
    return tl::unexpected{unusable("A conversation is named by 32 hex digits; see `parley conversations`.")};
  return id;
}

} // namespace parley::client
