#include "protocol/gateway/wire.hpp"

#include "protocol/values/overloaded.hpp"

namespace parley::gateway {
namespace {

constexpr std::uint64_t id_words = 2;

constexpr std::uint64_t words(std::size_t bytes) {
  return (bytes + 7) / 8;
}

capnp::Text::Reader text(std::string_view s) {
  return {s.data(), s.size()}; // the table's strings are literals, so they end in NUL
}

} // namespace

void write(rpc::Error::Builder b, ec why, std::uint32_t retry_after_ms) {
  const auto& info = describe(why);
  b.setCode(static_cast<std::uint16_t>(why));
  b.setName(text(info.name));
  b.setSentence(text(info.sentence));
  b.setRetryAfterMs(retry_after_ms);
  b.setStored(static_cast<rpc::Stored>(info.stored));
  b.setRetryable(info.retryable);
}

std::uint64_t words_of(ec why) {
  const auto& info = describe(why);
  return capnp::sizeInWords<rpc::Error>() + words(info.name.size() + 1) + words(info.sentence.size() + 1);
}

std::uint64_t words_of(const core::message& m) {
  return capnp::sizeInWords<rpc::Message>() + 2 * id_words + words(m.body.size());
}

std::uint64_t words_of(const core::inbox_row& r) {
  const auto item = capnp::sizeInWords<rpc::InboxItem>();
  return item +
         std::visit(
             overloaded{
                 [](const core::message_news& n) { return words_of(n.msg); },
                 [](const core::opened_news& n) {
                   return capnp::sizeInWords<rpc::ConversationInfo>() + id_words + n.members.size();
                 },
                 [](const core::watermark&) { return capnp::sizeInWords<rpc::Watermark>() + id_words; },
             },
             r.what);
}

std::size_t bytes_of(const core::inbox_row& r) {
  return words_of(r) * sizeof(capnp::word);
}
std::size_t bytes_of(const core::message& m) {
  return words_of(m) * sizeof(capnp::word);
}

void write(rpc::Message::Builder b, const core::message& m) {
  write(b.initConversation(), m.conversation);
  b.setSeq(number(m.seq));
  write(b.initMsgId(), m.id);
  b.setSender(number(m.from));
  b.setSenderDevice(number(m.client_id.device));
  b.setClientCounter(m.client_id.counter);
  b.setServerTimeMs(static_cast<std::int64_t>(m.at));
  b.setBody(as_data(m.body));
}

void write(rpc::Watermark::Builder b, const core::watermark& w) {
  write(b.initConversation(), w.conversation);
  b.setUser(number(w.user));
  b.setDelivered(number(w.delivered));
  b.setRead(number(w.read));
}

void write(rpc::InboxItem::Builder b, const core::inbox_row& r) {
  std::visit(overloaded{
                 [&](const core::message_news& n) {
                   auto m = b.initMessage();
                   write(m.initIt(), n.msg);
                   m.setPrevSeq(number(n.prev));
                 },
                 [&](const core::opened_news& n) {
                   auto o = b.initOpened();
                   write(o.initConversation(), n.conversation);
                   auto members = o.initMembers(static_cast<unsigned>(n.members.size()));
                   for (unsigned i = 0; i < members.size(); ++i)
                     members.set(i, number(n.members[i]));
                 },
                 [&](const core::watermark& w) { write(b.initWatermark(), w); },
             },
             r.what);
}

} // namespace parley::gateway
