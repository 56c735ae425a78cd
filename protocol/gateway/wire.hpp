#pragma once
// Between core's values and the schema's structs. Sizes are in words, as hints: a message built without one
// starts at 8 KiB.
#include "actors/core/calls.hpp"
#include "protocol/schema/parley.capnp.h"

#include <string_view>

namespace parley::gateway {

inline std::string_view view(capnp::Data::Reader d) {
  return {reinterpret_cast<const char*>(d.begin()), d.size()};
}
inline std::string_view view(capnp::Text::Reader t) {
  return {t.begin(), t.size()};
}
inline capnp::Data::Reader as_data(std::string_view s) {
  return {reinterpret_cast<const kj::byte*>(s.data()), s.size()};
}
inline conversation_id read(rpc::Id128::Reader r) {
  return {r.getHi(), r.getLo()};
}
template <class Id>
void write(rpc::Id128::Builder b, const Id& id) {
  b.setHi(id.hi);
  b.setLo(id.lo);
}

void write(rpc::Error::Builder b, ec why, std::uint32_t retry_after_ms);

std::uint64_t words_of(ec why);
std::uint64_t words_of(const core::message& m);
std::uint64_t words_of(const core::inbox_row& r);
/// What a row costs a session's delivery queue and pages.
std::size_t bytes_of(const core::inbox_row& r);
std::size_t bytes_of(const core::message& m);

void write(rpc::Message::Builder b, const core::message& m);
void write(rpc::Watermark::Builder b, const core::watermark& w);
void write(rpc::InboxItem::Builder b, const core::inbox_row& r);

} // namespace parley::gateway
