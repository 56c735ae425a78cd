// The outbox: kept first, then sent until the outcome is known.
//
//   send ─▶ store.enqueue ─▶ lane ─▶ transmit ─▶ ok ─▶ store.sent ─▶ on_sent
//                             ▲                ├▶ final refusal ─▶ store.failed ─▶ on_failed
//                             ├── at once ─────┼▶ the counter is another message's ─▶ store.renumber
//                             └── with a pause ┴▶ unknown or "not now" (same client_msg_id)
#include "protocol/client/device/sender.hpp"

#include "protocol/client/rules/history_rules.hpp"
#include "protocol/wire/codec.hpp"

namespace parley::client {
namespace {

/// `fail` promises a checker that nothing was stored; `info` leaves it open.
history_event::kind kind_of(const failure& why) {
  return why.stored == was_stored::no ? history_event::kind::fail : history_event::kind::info;
}

} // namespace

sender::sender(kj::Timer& timer, link_host& host, const config& settings, client_store& store,
               observer& events, history_writer& history, const identity& who, dice& chance,
               const kj::Clock& calendar, old_copy& old)
    : timer_{timer}, host_{host}, config_{settings}, store_{store}, observer_{events}, history_{history},
      who_{who}, dice_{chance}, calendar_{calendar}, old_{old},
      rules_{{settings.window, settings.outbox_messages_max, settings.in_flight_max,
              settings.in_flight_bytes_max, settings.resend, settings.move_after_refusals,
              settings.seeds.size() > 1}} {
  for (auto& o : store_.waiting())
    rules_.add(std::move(o));
}

kj::Promise<result<sent>> sender::send(conversation_id c, std::string body) {
  const auto counter = post(c, std::move(body));
  if (!counter)
    return result<sent>{tl::unexpected{counter.error()}};
  // In time: an answer arrives in a later turn of the loop at the earliest.
  auto paf = kj::newPromiseAndFulfiller<result<sent>>();
  promised_.emplace(*counter, kj::mv(paf.fulfiller));
  return kj::mv(paf.promise);
}

result<std::uint64_t> sender::post(conversation_id c, std::string body) {
  if (host_.halted())
    return tl::unexpected{host_.why_halted()};
  if (body.size() > body_bytes_max)
    return tl::unexpected{refuse(ec::too_large)};
  if (rules_.full())
    return tl::unexpected{failure{ec::overloaded,
                                  "Too many messages are waiting to be sent, so this one was not kept: send "
                                  "it again when some have left.",
                                  {}}};
  const auto* link = host_.link();
  auto o = store_.enqueue(c, std::move(body), {rules_.clock(calendar()), link && !link->ended()});
  const auto counter = o.counter;
  rules_.add(std::move(o));
  if (link)
    pump();
  else
    host_.want_session();
  return counter;
}

void sender::tell_failures() {
  kept(host_, [&] {
    for (const auto& f : store_.failures())
      observer_.on_failed(f.it, refuse(f.why));
  });
}

void sender::online() {
  rules_.connected();
  // After a crash nobody knows which of them the new connection has carried.
  if (!rules_.empty() && !kept(host_, [&] { store_.trying(rules_.newest()); }))
    return;
  pump();
}

unix_ms sender::calendar() const {
  return unix_ms{(calendar_.now() - kj::UNIX_EPOCH) / kj::MILLISECONDS};
}

void sender::lost(const failure& why) {
  rules_.lost([&](const send_lanes::item& i) {
    history_.send(history_event::kind::info, {i.it.conversation, i.it.counter, i.attempts}, *i.it.body,
                  why.code);
  });
  pump_armed_ = nullptr;
}

void sender::halted(const failure& why) {
  check_settled();
  // The messages stay in the store. Only the callers that wait here get the reason.
  for (auto& [counter, fulfiller] : promised_)
    fulfiller->fulfill(tl::unexpected{why});
  promised_.clear();
}

void sender::pump() {
  auto* link = host_.link();
  if (!link || link->ended() || host_.halted())
    return;
  while (const auto* item = rules_.take(now(timer_)))
    transmit(*link, *item);
  arm_pump(*link);
}

void sender::arm_pump(client_link& link) {
  const auto due = rules_.next_due();
  if (!due)
    return;
  const auto at = point(*due);
  KJ_IF_MAYBE (armed, pump_armed_)
    if (*armed <= at)
      return;
  pump_armed_ = at;
  link.add(timer_.atTime(at).then([this, at] {
    // A timer that an earlier one has replaced finds nothing due, which is harmless.
    KJ_IF_MAYBE (armed, pump_armed_)
      if (*armed == at)
        pump_armed_ = nullptr;
    pump();
  }));
}

void sender::transmit(client_link& link, const send_lanes::item& item) {
  const send_attempt a{item.it.conversation, item.it.counter, item.it.sent_as(), item.attempts};
  const auto& body = *item.it.body;
  history_.send(history_event::kind::invoke, a, body, ec::none);
  auto call = link.session().sendRequest(request_size(body.size()));
  wire::write(call.initConversation(), a.conversation);
  call.initId().setCounter(a.sent_as);
  call.setBody(wire::as_data(body));
  link.add(call.send().then([this, a, ticket = link.begin_call()](auto&& answer) {
    if (const auto why = wire::to_failure(answer.getError()); why.code != ec::none) {
      refused(a, why);
    } else {
      sent placed;
      placed.counter = a.counter;
      placed.conversation = a.conversation;
      placed.seq = seq_no{answer.getSeq()};
      placed.id = wire::to_message_id(answer.getMsgId());
      placed.at = unix_ms{answer.getServerTimeMs()};
      placed.duplicate = answer.getDuplicate();
      stored(a, placed);
    }
    pump();
    check_settled();
  }));
}

void sender::stored(const send_attempt& a, const sent& placed) {
  last_refusal_ = {ec::none, {}, {}};
  const auto v = rules_.stored(a, placed, calendar());
  if (v.what == outbox_rules::fate::sent)
    keep_sent(a, placed);
  else if (v.what == outbox_rules::fate::renumber)
    renumber(a, v.why, v.clock);
  else if (v.what == outbox_rules::fate::give_up)
    give_up(a, refuse(v.why));
}

void sender::keep_sent(const send_attempt& a, const sent& placed) {
  const auto body = rules_.peek(a)->it.body;
  history_.send(history_event::kind::ok, a, *body, ec::none, &placed);
  message m;
  m.conversation = a.conversation;
  m.seq = placed.seq;
  m.id = placed.id;
  m.sender = who_.user;
  m.client_id = {who_.device, a.sent_as};
  m.at = placed.at;
  m.body = *body;
  if (!kept(host_, [&] {
        notice_other_history(m);
        store_.sent(m);
      }))
    return;
  rules_.settle(a);
  observer_.on_sent(placed);
  answer(a.counter, placed);
}

void sender::notice_other_history(const message& placed) {
  if (!is_number_taken(store_.newest(placed.conversation, placed.seq, 1), placed) || store_.where().compare)
    return;
  store_.start_over();
  if (auto* link = host_.link(); link && config_.how == intake::live) // the next stream compares first
    link->end({ec::bad_cursor, "The cluster has another history than this device.", {}});
}

void sender::renumber(const send_attempt& a, ec why, unix_ms clock) {
  std::uint64_t sent_as = 0;
  history_.send(history_event::kind::fail, a, *rules_.peek(a)->it.body, why);
  if (!kept(host_, [&] { sent_as = store_.renumber(a.counter, clock); }))
    return;
  rules_.renumbered(a, sent_as);
  old_.noticed();
}

void sender::refused(const send_attempt& a, const failure& why) {
  const auto v = rules_.refused(a, why, now(timer_), calendar(), dice_);
  if (v.what == outbox_rules::fate::renumber)
    return renumber(a, why.code, v.clock);
  if (v.what == outbox_rules::fate::again)
    again(a, why, v.leave_node);
  else if (v.what == outbox_rules::fate::give_up)
    give_up(a, why);
  host_.consider(why);
}

void sender::again(const send_attempt& a, const failure& why, bool leave_node) {
  last_refusal_ = why;
  if (history_.wanted()) {
    if (const auto* i = rules_.peek(a))
      history_.send(kind_of(why), a, *i->it.body, why.code);
  }
  if (auto* link = host_.link(); leave_node && link)
    link->end({why.code, "This node has refused too many messages in a row, so another one is tried.", {}});
}

void sender::give_up(const send_attempt& a, const failure& why) {
  history_.send(kind_of(why), a, *rules_.peek(a)->it.body, why.code);
  if (!kept(host_, [&] { store_.failed(a.counter, why.code); }))
    return;
  const auto o = rules_.settle(a);
  observer_.on_failed(o, why);
  answer(a.counter, tl::unexpected{why});
}

void sender::answer(std::uint64_t counter, result<sent> outcome) {
  if (auto i = promised_.find(counter); i != promised_.end()) {
    i->second->fulfill(std::move(outcome));
    promised_.erase(i);
  }
}

kj::Promise<void> sender::settled() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  settled_waiters_.push_back(kj::mv(paf.fulfiller));
  check_settled();
  return kj::mv(paf.promise);
}

void sender::check_settled() {
  if (!idle() && !host_.halted())
    return;
  for (auto& waiter : settled_waiters_)
    waiter->fulfill();
  settled_waiters_.clear();
}

} // namespace parley::client
