#include "protocol/wire/codec.hpp"

#include "protocol/values/limits.hpp"
#include "protocol/values/overloaded.hpp"

namespace parley::wire {
namespace {

static_assert(rpc::BODY_BYTES_MAX == body_bytes_max);
static_assert(rpc::DEVICES_MAX == devices_max);
static_assert(rpc::DEVICE_NAME_BYTES_MAX == device_name_bytes_max);
static_assert(rpc::PAGE_ITEMS_MAX == page_items_max);
static_assert(rpc::PAGE_BYTES_MAX == page_bytes_max);

constexpr std::uint64_t id_words = 2;

constexpr std::uint64_t words(std::size_t bytes) {
  return (bytes + 7) / 8;
}

/// The table's texts are literals: they end in NUL, as Cap'n Proto wants them.
capnp::Text::Reader literal_text(std::string_view s) {
  return {s.data(), s.size()};
}

was_stored to_stored(rpc::Stored s) {
  return s <= rpc::Stored::YES ? static_cast<was_stored>(s)
                               : was_stored::unknown; // a newer peer's fourth answer
}

} // namespace

static_assert(static_cast<int>(was_stored::unknown) == static_cast<int>(rpc::Stored::UNKNOWN));
static_assert(static_cast<int>(was_stored::no) == static_cast<int>(rpc::Stored::NO));
static_assert(static_cast<int>(was_stored::yes) == static_cast<int>(rpc::Stored::YES));

// --- reading -----------------------------------------------------------------------------------------------

conversation_id to_conversation(rpc::Id128::Reader id) {
  return {id.getHi(), id.getLo()};
}

message_id to_message_id(rpc::Id128::Reader id) {
  return {id.getHi(), id.getLo()};
}

cluster_id to_cluster(rpc::Id128::Reader id) {
  return {id.getHi(), id.getLo()};
}

failure to_failure(rpc::Error::Reader e) {
  if (e.getCode() == 0)
    return {ec::none, {}, {}};
  failure f{ec{e.getCode()}, std::string{view(e.getSentence())},
            std::chrono::milliseconds{e.getRetryAfterMs()}};
  if (f.sentence.empty())
    f.sentence = describe(f.code).sentence;
  if (!is_known(f.code)) { // a newer cluster's error says itself what to do
    f.retryable = e.getRetryable();
    f.stored = to_stored(e.getStored());
  }
  return f;
}

message to_message(rpc::Message::Reader m) {
  message out;
  out.conversation = to_conversation(m.getConversation());
  out.seq = seq_no{m.getSeq()};
  out.id = to_message_id(m.getMsgId());
  out.sender = user_id{m.getSender()};
  out.client_id = {device_id{m.getSenderDevice()}, m.getClientCounter()};
  out.at = unix_ms{m.getServerTimeMs()};
  out.body = view(m.getBody());
  return out;
}

watermark to_watermark(rpc::Watermark::Reader w) {
  return {to_conversation(w.getConversation()), user_id{w.getUser()}, seq_no{w.getDelivered()},
          seq_no{w.getRead()}};
}

conversation_info to_info(rpc::ConversationInfo::Reader c) {
  conversation_info out;
  out.conversation = to_conversation(c.getConversation());
  const auto members = c.getMembers();
  out.members.reserve(members.size());
  for (auto user : members)
    out.members.push_back(user_id{user});
  out.last = seq_no{c.getLast()};
  return out;
}

device_added to_device(rpc::DeviceAdded::Reader d) {
  return {device_id{d.getDevice()}, std::string{view(d.getName())}, unix_ms{d.getServerTimeMs()}};
}

std::optional<inbox_item> to_item(rpc::InboxItem::Reader item) {
  switch (item.which()) {
  case rpc::InboxItem::MESSAGE:
    return message_row{seq_no{item.getMessage().getPrevSeq()}, to_message(item.getMessage().getIt())};
  case rpc::InboxItem::OPENED:
    return to_info(item.getOpened());
  case rpc::InboxItem::WATERMARK:
    return to_watermark(item.getWatermark());
  case rpc::InboxItem::DEVICE_ADDED:
    return to_device(item.getDeviceAdded());
  }
  return std::nullopt;
}

std::vector<inbox_item> to_items(capnp::List<rpc::InboxItem>::Reader items) {
  std::vector<inbox_item> out;
  out.reserve(items.size());
  for (auto item : items)
    if (auto known = to_item(item))
      out.push_back(std::move(*known));
  return out;
}

conversation_page to_page(rpc::Session::SyncConversationResults::Reader results) {
  conversation_page out;
  const auto messages = results.getMessages();
  out.messages.reserve(messages.size());
  for (auto m : messages)
    out.messages.push_back(to_message(m));
  out.last = seq_no{results.getLast()};
  for (auto mark : results.getWatermarks())
    out.marks.push_back(to_watermark(mark));
  out.more = results.getMore();
  return out;
}

conversation_list to_list(rpc::Session::ConversationsResults::Reader results) {
  conversation_list out;
  const auto items = results.getItems();
  out.items.reserve(items.size());
  for (auto item : items)
    out.items.push_back(to_info(item));
  out.more = results.getMore();
  return out;
}

// --- writing -----------------------------------------------------------------------------------------------

void write(rpc::Error::Builder b, ec why, std::uint32_t retry_after_ms) {
  const auto& info = describe(why);
  b.setCode(static_cast<std::uint16_t>(why));
  b.setName(literal_text(info.name));
  b.setSentence(literal_text(info.sentence));
  b.setRetryAfterMs(retry_after_ms);
  b.setStored(static_cast<rpc::Stored>(info.stored));
  b.setRetryable(info.retryable);
}

void write(rpc::Error::Builder b, const failure& why) {
  b.setCode(static_cast<std::uint16_t>(why.code));
  b.setName(literal_text(describe(why.code).name));
  b.setSentence(why.sentence.c_str());
  b.setRetryAfterMs(static_cast<std::uint32_t>(why.retry_after.count()));
  b.setStored(static_cast<rpc::Stored>(why.stored));
  b.setRetryable(why.retryable);
}

void write(rpc::Message::Builder b, const message_view& m) {
  write(b.initConversation(), m.conversation);
  b.setSeq(number(m.seq));
  write(b.initMsgId(), m.id);
  b.setSender(number(m.sender));
  b.setSenderDevice(number(m.client_id.device));
  b.setClientCounter(m.client_id.counter);
  b.setServerTimeMs(static_cast<std::int64_t>(m.at));
  b.setBody(as_data(m.body));
}

void write(rpc::Watermark::Builder b, const watermark& w) {
  write(b.initConversation(), w.conversation);
  b.setUser(number(w.user));
  b.setDelivered(number(w.delivered));
  b.setRead(number(w.read));
}

void write(rpc::DeviceAdded::Builder b, const device_added& d) {
  b.setDevice(number(d.device));
  b.setName(d.name.c_str());
  b.setServerTimeMs(static_cast<std::int64_t>(d.at));
}

void write(capnp::List<rpc::Watermark>::Builder b, std::span<const watermark> marks) {
  for (unsigned i = 0; i < b.size(); ++i)
    write(b[i], marks[i]);
}

void write(rpc::ConversationInfo::Builder b, conversation_id conversation, std::span<const user_id> members,
           seq_no last) {
  write(b.initConversation(), conversation);
  auto list = b.initMembers(static_cast<unsigned>(members.size()));
  for (unsigned i = 0; i < list.size(); ++i)
    list.set(i, number(members[i]));
  b.setLast(number(last));
}

void write(rpc::InboxItem::Builder b, seq_no prev, const message_view& m) {
  auto row = b.initMessage();
  write(row.initIt(), m);
  row.setPrevSeq(number(prev));
}

void write(rpc::InboxItem::Builder b, const inbox_item& item) {
  std::visit(overloaded{
                 [&](const message_row& row) { write(b, row.prev, view_of(row.msg)); },
                 [&](const conversation_info& opened) { write(b.initOpened(), opened); },
                 [&](const watermark& mark) { write(b.initWatermark(), mark); },
                 [&](const device_added& added) { write(b.initDeviceAdded(), added); },
             },
             item);
}

void write(rpc::Session::SyncConversationResults::Builder b, const conversation_page& page) {
  auto messages = b.initMessages(static_cast<unsigned>(page.messages.size()));
  for (unsigned i = 0; i < messages.size(); ++i)
    write(messages[i], page.messages[i]);
  b.setLast(number(page.last));
  write(b.initWatermarks(static_cast<unsigned>(page.marks.size())), page.marks);
  b.setMore(page.more);
}

void write(rpc::Session::ConversationsResults::Builder b, const conversation_list& list) {
  auto items = b.initItems(static_cast<unsigned>(list.items.size()));
  for (unsigned i = 0; i < items.size(); ++i)
    write(items[i], list.items[i]);
  b.setMore(list.more);
}

// --- sizes -------------------------------------------------------------------------------------------------

std::uint64_t words_of(ec why) {
  const auto& info = describe(why);
  return capnp::sizeInWords<rpc::Error>() + words(info.name.size() + 1) + words(info.sentence.size() + 1);
}

std::uint64_t words_of_message(std::size_t body_bytes) {
  return capnp::sizeInWords<rpc::Message>() + 2 * id_words + words(body_bytes);
}

std::uint64_t words_of_info(std::size_t members) {
  return capnp::sizeInWords<rpc::ConversationInfo>() + id_words + members;
}

std::uint64_t words_of_watermark() {
  return capnp::sizeInWords<rpc::Watermark>() + id_words;
}

std::uint64_t words_of_device(std::size_t name_bytes) {
  return capnp::sizeInWords<rpc::DeviceAdded>() + words(name_bytes + 1);
}

std::uint64_t words_of_item() {
  return capnp::sizeInWords<rpc::InboxItem>();
}

} // namespace parley::wire
