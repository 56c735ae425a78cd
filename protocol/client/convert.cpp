#include "protocol/client/convert.hpp"

namespace parley::client {

conversation_id to_conversation(rpc::Id128::Reader id) {
  return {id.getHi(), id.getLo()};
}

message_id to_message_id(rpc::Id128::Reader id) {
  return {id.getHi(), id.getLo()};
}

void fill(rpc::Id128::Builder to, conversation_id from) {
  to.setHi(from.hi);
  to.setLo(from.lo);
}

failure to_failure(rpc::Error::Reader e) {
  if (e.getCode() == 0)
    return {ec::none, {}, {}};
  failure f{ec{e.getCode()}, e.getSentence().cStr(), std::chrono::milliseconds{e.getRetryAfterMs()}};
  if (f.sentence.empty())
    f.sentence = describe(f.code).sentence;
  if (!is_known(f.code)) { // a newer cluster's: it says itself what to do
    f.retryable = e.getRetryable();
    f.stored =
        e.getStored() <= rpc::Stored::YES ? static_cast<was_stored>(e.getStored()) : was_stored::unknown;
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
  out.body = bytes(m.getBody());
  return out;
}

watermark to_watermark(rpc::Watermark::Reader w) {
  return {to_conversation(w.getConversation()), user_id{w.getUser()}, seq_no{w.getDelivered()},
          seq_no{w.getRead()}};
}

conversation_info to_info(rpc::ConversationInfo::Reader c) {
  conversation_info out;
  out.conversation = to_conversation(c.getConversation());
  for (auto user : c.getMembers())
    out.members.push_back(user_id{user});
  out.last = seq_no{c.getLast()};
  return out;
}

std::vector<inbox_row> to_rows(capnp::List<rpc::InboxItem>::Reader items) {
  std::vector<inbox_row> rows;
  rows.reserve(items.size());
  for (auto item : items) {
    switch (item.which()) {
    case rpc::InboxItem::MESSAGE:
      rows.emplace_back(
          message_row{seq_no{item.getMessage().getPrevSeq()}, to_message(item.getMessage().getIt())});
      break;
    case rpc::InboxItem::OPENED:
      rows.emplace_back(to_info(item.getOpened()));
      break;
    case rpc::InboxItem::WATERMARK:
      rows.emplace_back(to_watermark(item.getWatermark()));
      break;
    }
    // A kind this client does not know yet is passed over; the cursor covers it.
  }
  return rows;
}

} // namespace parley::client
