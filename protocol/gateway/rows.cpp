#include "protocol/gateway/rows.hpp"

#include "protocol/values/overloaded.hpp"

namespace parley::gateway {
namespace {

message_view view_of(const core::message& m) {
  return {m.conversation, m.seq, m.id, m.from, m.client_id, m.at, m.body};
}

} // namespace

void write(rpc::Message::Builder b, const core::message& m) {
  wire::write(b, view_of(m));
}

void write(rpc::InboxItem::Builder b, const core::inbox_row& r) {
  std::visit(overloaded{
                 [&](const core::message_news& n) { wire::write(b, n.prev, view_of(n.msg)); },
                 [&](const core::opened_news& n) {
                   wire::write(b.initOpened(), n.conversation, n.members,
                               seq_no::none); // nothing of it is known yet
                 },
                 [&](const watermark& w) { wire::write(b.initWatermark(), w); },
                 [&](const device_added& d) { wire::write(b.initDeviceAdded(), d); },
             },
             r.what);
}

std::uint64_t words_of(const core::message& m) {
  return wire::words_of_message(m.body.size());
}

std::uint64_t words_of(const core::inbox_row& r) {
  return wire::words_of_item() +
         std::visit(overloaded{
                        [](const core::message_news& n) { return words_of(n.msg); },
                        [](const core::opened_news& n) { return wire::words_of_info(n.members.size()); },
                        [](const watermark&) { return wire::words_of_watermark(); },
                        [](const device_added& d) { return wire::words_of_device(d.name.size()); },
                    },
                    r.what);
}

} // namespace parley::gateway
