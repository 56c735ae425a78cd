#pragma once
// MLSMessage (RFC 9420, section 6): the one structure that is sent over a network.
#include "protocol/mls/framing.hpp"
#include "protocol/mls/limits.hpp"
#include "protocol/mls/welcome.hpp"

#include <variant>

namespace parley::mls {

struct mls_message {
  std::variant<public_message, private_message, welcome, group_info, key_package> body;
  wire_format format() const { return static_cast<wire_format>(body.index() + 1); }
  template <class T>
  const T* as() const {
    return std::get_if<T>(&body);
  }
  friend bool operator==(const mls_message&, const mls_message&) = default;
};
void encode(encoder& e, const mls_message& v);
void decode(decoder& d, mls_message& v);

/// Decodes a received message, or returns the reason why it is not a valid one.
result<mls_message> read_message(bytes_view in, const mls_limits& limits = {});
/// Refuses a message that `read_message` would refuse because of its size.
result<bytes> write_message(const mls_message& message, const mls_limits& limits = {});

} // namespace parley::mls
