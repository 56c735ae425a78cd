// The outbox: kept first, then sent until the outcome is known.
//
//   send ─▶ store.enqueue ─▶ lane ─▶ transmit ─▶ ok ─▶ store.sent ─▶ on_sent
//                             ▲                ├▶ final refusal ─▶ store.failed ─▶ on_failed
//                             └── with a pause ┴▶ unknown or "not now" (same client_msg_id)
#include "protocol/client/device/engine.hpp"

#include <time.h>

namespace parley::client {
namespace {

/// Refusals of which a node that reaches no majority has many, and another may have none.
bool speaks_of_the_node(ec code) {
  return code == ec::unavailable || code == ec::timed_out || code == ec::not_leader ||
         code == ec::overloaded || code == ec::storage_failed || code == ec::disk_full;
}

/// `fail` promises a checker that nothing was stored; `info` leaves it open.
history_event::kind kind_of(const failure& why) {
  return why.stored == was_stored::no ? history_event::kind::fail : history_event::kind::info;
}

} // namespace

kj::Promise<result<sent>> engine::send(conversation_id c, std::string body) {
  const auto counter = post(c, std::move(body));
  if (!counter)
    return result<sent>{tl::unexpected{counter.error()}};
  // In time: an answer arrives in a later turn of the loop at the earliest.
  auto paf = kj::newPromiseAndFulfiller<result<sent>>();
  promised_.emplace(*counter, kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

result<std::uint64_t> engine::post(conversation_id c, std::string body) {
  if (halted())
    return tl::unexpected{failure{state_.why, state_.sentence, {}}};
  if (body.size() > body_bytes_max)
    return tl::unexpected{refuse(ec::too_large)};
  if (lanes_.size() >= config_.outbox_messages_max)
    return tl::unexpected{
        failure{ec::overloaded, "Too many messages are waiting to be sent: wait until some are.", {}}};
  auto o = store_.enqueue(c, std::move(body));
  const auto counter = o.counter;
  lanes_.add(std::move(o));
  pump();
  return counter;
}

void engine::pump() {
  if (!link_ || halted())
    return;
  while (lanes_.in_flight() < config_.in_flight_max) {
    const auto* item = lanes_.take(now());
    if (!item)
      break;
    transmit(*item);
  }
  arm_pump();
}

void engine::arm_pump() {
  const auto due = lanes_.next_due();
  if (!due || !link_)
    return;
  const auto at = point(*due);
  KJ_IF_MAYBE (armed, pump_armed_)
    if (*armed <= at)
      return;
  pump_armed_ = at;
  link_->add(timer_.atTime(at).then([this, at] {
    // A timer that an earlier one has replaced finds nothing due, which is harmless.
    KJ_IF_MAYBE (armed, pump_armed_)
      if (*armed == at)
        pump_armed_ = nullptr;
    pump();
  }));
}

void engine::transmit(const send_lanes::item& item) {
  const transmission t{item.it.conversation, item.it.counter, item.attempts};
  const auto& body = *item.it.body;
  record_send(history_event::kind::invoke, t, body, ec::none, nullptr);
  auto call = link_->session().sendRequest(request_size(body.size()));
  fill(call.initConversation(), t.conversation);
  call.initId().setCounter(t.counter);
  call.setBody(as_data(body));
  link_->add(call.send().then([this, t, ticket = link_->begin_call()](auto&& a) {
    const auto error = to_failure(a.getError());
    sent placed;
    placed.counter = t.counter;
    placed.conversation = t.conversation;
    placed.seq = seq_no{a.getSeq()};
    placed.id = to_message_id(a.getMsgId());
    placed.at = unix_ms{a.getServerTimeMs()};
    placed.duplicate = a.getDuplicate();
    answered(t, error, placed);
  }));
}

void engine::answered(const transmission& t, const failure& error, const sent& placed) {
  if (error.code != ec::none) {
    if (error.retryable)
      retry(t, error);
    else if (error.code == ec::fenced || error.code == ec::not_authenticated)
      retry(t, error); // about the session, not the message
    else
      give_up(t, error);
    consider(error);
    pump();
    return;
  }
  refusals_ = 0;
  const auto o = lanes_.settle(t.conversation, t.counter);
  if (!o.body)
    return;
  record_send(history_event::kind::ok, t, *o.body, ec::none, &placed);
  message m;
  m.conversation = t.conversation;
  m.seq = placed.seq;
  m.id = placed.id;
  m.sender = who_.user;
  m.client_id = {who_.device, t.counter};
  m.at = placed.at;
  m.body = *o.body;
  store_.sent(m);
  observer_.on_sent(placed);
  if (auto i = promised_.find(t.counter); i != promised_.end()) {
    i->second->fulfill(placed);
    promised_.erase(i);
  }
  pump();
  check_settled();
}

void engine::retry(const transmission& t, const failure& why) {
  if (recorder_) {
    if (const auto* i = lanes_.peek(t.conversation, t.counter))
      record_send(kind_of(why), t, *i->it.body, why.code, nullptr);
  }
  backoff pace{config_.resend};
  for (unsigned i = 1; i < std::min(t.attempt, 20U); ++i)
    pace.next(dice_);
  const auto wait = std::max(pace.next(dice_), why.retry_after);
  lanes_.again(t.conversation, t.counter, now() + wait);
  if (speaks_of_the_node(why.code) && ++refusals_ >= config_.move_after_refusals &&
      config_.seeds.size() > 1 && link_)
    link_->end({why.code, "This node refuses too often: trying another.", {}});
}

void engine::give_up(const transmission& t, const failure& why) {
  const auto o = lanes_.settle(t.conversation, t.counter);
  if (!o.body)
    return;
  record_send(kind_of(why), t, *o.body, why.code, nullptr);
  store_.failed(t.counter, why.code);
  observer_.on_failed(o, why);
  if (auto i = promised_.find(t.counter); i != promised_.end()) {
    i->second->fulfill(tl::unexpected{why});
    promised_.erase(i);
  }
  check_settled();
}

kj::Promise<void> engine::settled() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  settled_waiters_.push_back(kj::mv(paf.fulfiller));
  check_settled();
  return kj::mv(paf.promise);
}

void engine::check_settled() {
  if (settled_waiters_.empty())
    return;
  if (!halted()) {
    if (!lanes_.empty() || place_.applied != place_.acknowledged)
      return;
    for (const auto& [c, r] : reads_)
      if (r.wanted > r.known)
        return;
  }
  for (auto& waiter : settled_waiters_)
    waiter->fulfill();
  settled_waiters_.clear();
}

// --- history -----------------------------------------------------------------------------------------------

history_event engine::event(history_event::kind kind, history_event::what what) const {
  history_event e;
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  e.at = std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
  e.type = kind;
  e.f = what;
  e.node = state_.node;
  e.connection = connections_;
  e.user = who_.user;
  e.device = who_.device;
  return e;
}

void engine::record_send(history_event::kind kind, const transmission& t, const std::string& body, ec error,
                         const sent* placed) {
  if (!recorder_)
    return;
  auto e = event(kind, history_event::what::send);
  e.conversation = t.conversation;
  e.id = {who_.device, t.counter};
  e.attempt = t.attempt;
  e.sender = who_.user;
  e.hash = hash(body);
  e.error = error;
  if (placed) {
    e.seq = placed->seq;
    e.msg_id = placed->id;
    e.duplicate = placed->duplicate;
  }
  recorder_->record(e);
}

void engine::record_row(history_event::what what, const message_row& row) {
  if (!recorder_)
    return;
  auto e = event(history_event::kind::ok, what);
  e.conversation = row.msg.conversation;
  e.id = row.msg.client_id;
  e.sender = row.msg.sender;
  e.seq = row.msg.seq;
  e.prev = row.prev;
  e.msg_id = row.msg.id;
  e.hash = hash(row.msg.body);
  recorder_->record(e);
}

} // namespace parley::client
