#include "protocol/client/device/history.hpp"

#include "protocol/values/sha256.hpp"

#include <time.h>

namespace parley::client {

history_event history_writer::event(history_event::kind kind, history_event::what what) const {
  history_event e;
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  e.at = std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
  e.type = kind;
  e.f = what;
  e.node = state_.node;
  e.connection = state_.number;
  e.user = who_.user;
  e.device = who_.device;
  return e;
}

void history_writer::send(history_event::kind kind, const send_attempt& a, const std::string& body, ec error,
                          const sent* placed) {
  if (!wanted())
    return;
  auto e = event(kind, history_event::what::send);
  e.conversation = a.conversation;
  e.id = {who_.device, a.sent_as};
  e.attempt = a.number;
  e.sender = who_.user;
  e.hash = sha256(body);
  e.error = error;
  if (placed) {
    e.seq = placed->seq;
    e.msg_id = placed->id;
    e.duplicate = placed->duplicate;
  }
  write(e);
}

void history_writer::row(history_event::what what, const message_row& row) {
  if (!wanted())
    return;
  auto e = event(history_event::kind::ok, what);
  e.conversation = row.msg.conversation;
  e.id = row.msg.client_id;
  e.sender = row.msg.sender;
  e.seq = row.msg.seq;
  e.prev = row.prev;
  e.msg_id = row.msg.id;
  e.hash = sha256(row.msg.body);
  write(e);
}

} // namespace parley::client
