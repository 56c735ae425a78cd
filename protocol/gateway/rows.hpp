#pragma once
// What the cluster stores, in the schema's words: inbox rows and messages on their way to a client.
// Everything that a client has a value of its own for is protocol/wire's.
#include "actors/core/calls.hpp"
#include "protocol/wire/codec.hpp"

namespace parley::gateway {

using wire::as_data;
using wire::view;
using wire::words_of;
using wire::write;

void write(rpc::Message::Builder b, const core::message& m);
void write(rpc::InboxItem::Builder b, const core::inbox_row& r);

std::uint64_t words_of(const core::message& m);
std::uint64_t words_of(const core::inbox_row& r);
/// The bytes that a row takes of a `deliver` call or of a page.
inline std::size_t bytes_of(const core::inbox_row& r) {
  return words_of(r) * sizeof(capnp::word);
}
inline std::size_t bytes_of(const core::message& m) {
  return words_of(m) * sizeof(capnp::word);
}

} // namespace parley::gateway
