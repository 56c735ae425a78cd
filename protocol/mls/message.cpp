#include "protocol/mls/message.hpp"

namespace parley::mls {

void encode(encoder& e, const mls_message& v) {
  e.put(mls10).put(v.format());
  std::visit([&](const auto& body) { encode(e, body); }, v.body);
}

void decode(decoder& d, mls_message& v) {
  if (d.get<std::uint16_t>() != mls10)
    d.fail();
  switch (d.get<wire_format>()) {
  case wire_format::public_message:
    decode(d, v.body.emplace<public_message>());
    break;
  case wire_format::private_message:
    decode(d, v.body.emplace<private_message>());
    break;
  case wire_format::welcome:
    decode(d, v.body.emplace<welcome>());
    break;
  case wire_format::group_info:
    decode(d, v.body.emplace<group_info>());
    break;
  case wire_format::key_package:
    decode(d, v.body.emplace<key_package>());
    break;
  default:
    d.fail();
  }
}

result<mls_message> read_message(bytes_view in, const mls_limits& limits) {
  if (in.size() > limits.message_bytes_max)
    return refuse(rule::too_large);
  decoder d{in};
  if (const auto version = d.get<std::uint16_t>(); d.ok() && version != mls10)
    return refuse(rule::wrong_version);
  return whole<mls_message>(in);
}

result<bytes> write_message(const mls_message& message, const mls_limits& limits) {
  auto out = encoded(message);
  if (out.size() > limits.message_bytes_max)
    return refuse(rule::too_large);
  return out;
}

} // namespace parley::mls
