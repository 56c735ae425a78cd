#pragma once
// Between the schema's structs and our values, in both directions and for both ends: gateways and
// clients, and the tests that play one of them. `to_…` reads, `write` writes, `words_of` says how much
// room a value needs.
//
// A peer may be newer or hostile. Reading never trusts a size: what has a fixed length is checked by
// `fixed`, an unknown kind of inbox item reads as nothing, and an unknown error tells by itself whether
// to try again. A pointer that points nowhere makes Cap'n Proto throw: callers read inside a call's
// promise, or catch (`read_params`).
#include "protocol/schema/parley.capnp.h"
#include "protocol/values/failure.hpp"
#include "protocol/values/messages.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace parley::wire {

// --- bytes -------------------------------------------------------------------------------------------------

/// Views into the message: they live as long as it does.
inline std::string_view view(capnp::Data::Reader d) {
  return {reinterpret_cast<const char*>(d.begin()), d.size()};
}
inline std::string_view view(capnp::Text::Reader t) {
  return {t.begin(), t.size()};
}
inline std::string bytes(capnp::Data::Reader d) {
  return std::string{view(d)};
}
inline capnp::Data::Reader as_data(std::string_view s) {
  return {reinterpret_cast<const kj::byte*>(s.data()), s.size()};
}
template <std::size_t N>
capnp::Data::Reader as_data(const std::array<std::uint8_t, N>& a) {
  return {a.data(), N};
}
/// Nothing if there are more or fewer than `N` bytes.
template <std::size_t N>
std::optional<std::array<std::uint8_t, N>> fixed(capnp::Data::Reader d) {
  std::array<std::uint8_t, N> out;
  if (d.size() != N)
    return std::nullopt;
  std::copy(d.begin(), d.end(), out.begin());
  return out;
}

// --- reading -----------------------------------------------------------------------------------------------

conversation_id to_conversation(rpc::Id128::Reader id);
message_id to_message_id(rpc::Id128::Reader id);
cluster_id to_cluster(rpc::Id128::Reader id);
/// The code alone.
inline ec to_code(rpc::Error::Reader e) {
  return ec{e.getCode()};
}
/// `none` if all went well.
failure to_failure(rpc::Error::Reader e);
message to_message(rpc::Message::Reader m);
watermark to_watermark(rpc::Watermark::Reader w);
conversation_info to_info(rpc::ConversationInfo::Reader c);
device_added to_device(rpc::DeviceAdded::Reader d);
/// Nothing for a kind that this program does not know.
std::optional<inbox_item> to_item(rpc::InboxItem::Reader item);
/// Without the items of unknown kinds: the cursor that comes with them covers these too.
std::vector<inbox_item> to_items(capnp::List<rpc::InboxItem>::Reader items);
conversation_page to_page(rpc::Session::SyncConversationResults::Reader results);
conversation_list to_list(rpc::Session::ConversationsResults::Reader results);

// --- writing -----------------------------------------------------------------------------------------------

template <class Id>
void write(rpc::Id128::Builder b, const Id& id) {
  b.setHi(id.hi);
  b.setLo(id.lo);
}
/// With the table's name and sentence.
void write(rpc::Error::Builder b, ec why, std::uint32_t retry_after_ms = 0);
void write(rpc::Error::Builder b, const failure& why);
void write(rpc::Message::Builder b, const message_view& m);
inline void write(rpc::Message::Builder b, const message& m) {
  write(b, view_of(m));
}
void write(rpc::Watermark::Builder b, const watermark& w);
void write(rpc::DeviceAdded::Builder b, const device_added& d);
void write(capnp::List<rpc::Watermark>::Builder b, std::span<const watermark> marks);
void write(rpc::ConversationInfo::Builder b, conversation_id conversation, std::span<const user_id> members,
           seq_no last);
inline void write(rpc::ConversationInfo::Builder b, const conversation_info& c) {
  write(b, c.conversation, c.members, c.last);
}
void write(rpc::InboxItem::Builder b, seq_no prev, const message_view& m);
void write(rpc::InboxItem::Builder b, const inbox_item& item);
void write(rpc::Session::SyncConversationResults::Builder b, const conversation_page& page);
void write(rpc::Session::ConversationsResults::Builder b, const conversation_list& list);

// --- sizes -------------------------------------------------------------------------------------------------

/// In words, for a struct in a list or behind a pointer. These are hints (a message that is built without one
/// starts at 8 KiB) and bounds of pages and queues.
std::uint64_t words_of(ec why);
std::uint64_t words_of_message(std::size_t body_bytes);
std::uint64_t words_of_info(std::size_t members);
std::uint64_t words_of_watermark();
std::uint64_t words_of_device(std::size_t name_bytes);
/// Of an inbox item, besides what it contains.
std::uint64_t words_of_item();

} // namespace parley::wire
