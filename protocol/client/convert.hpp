#pragma once
// Between the wire's words and ours.
#include "protocol/client/device/inbox_applier.hpp"
#include "protocol/client/values.hpp"
#include "protocol/schema/parley.capnp.h"

#include <string>
#include <vector>

namespace parley::client {

inline std::string bytes(capnp::Data::Reader d) {
  return {reinterpret_cast<const char*>(d.begin()), d.size()};
}
inline capnp::Data::Reader as_data(std::string_view s) {
  return {reinterpret_cast<const kj::byte*>(s.data()), s.size()};
}

conversation_id to_conversation(rpc::Id128::Reader id);
message_id to_message_id(rpc::Id128::Reader id);
void fill(rpc::Id128::Builder to, conversation_id from);
failure to_failure(rpc::Error::Reader e); ///< code `none` if all went well
message to_message(rpc::Message::Reader m);
watermark to_watermark(rpc::Watermark::Reader w);
conversation_info to_info(rpc::ConversationInfo::Reader c);
std::vector<inbox_row> to_rows(capnp::List<rpc::InboxItem>::Reader items);

/// Words of a request around `body_bytes` of data.
inline capnp::MessageSize request_size(std::size_t body_bytes = 0) {
  return {24 + (body_bytes + 7) / 8, 1};
}

} // namespace parley::client
