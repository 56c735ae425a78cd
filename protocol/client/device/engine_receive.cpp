// The inbox: decided on, kept, told, acknowledged; in this order.
//
//   deliver ─▶ decide ─▶ (a gap: heal by syncConversation, decide again) ─▶ store.apply ─▶ observer ─▶ ack
#include "protocol/client/device/engine.hpp"

#include <algorithm>

namespace parley::client {
namespace {

/// What the cluster calls. It outlives neither the connection nor the engine: the RPC system that holds it is
/// destroyed with the link.
class receiver final : public rpc::Receiver::Server {
public:
  receiver(engine& e, client_link& w) : engine_{e}, link_{w} {}

  kj::Promise<void> deliver(DeliverContext context) override {
    auto params = context.getParams();
    auto rows = to_rows(params.getItems());
    auto upto = bytes(params.getCursor());
    context.releaseParams();
    if (engine_.current() != &link_)
      return kj::READY_NOW; // a connection on its way out; what it brings comes again
    return engine_.take(std::move(rows), std::move(upto));
  }

  kj::Promise<void> closed(ClosedContext context) override {
    auto params = context.getParams();
    if (engine_.current() == &link_)
      engine_.server_closes(to_failure(params.getError()),
                            std::chrono::milliseconds{params.getReconnectAfterMs()});
    return kj::READY_NOW;
  }

private:
  engine& engine_;
  client_link& link_;
};

} // namespace

kj::Promise<void> engine::begin_receiving(client_link& w, cursor from) {
  auto call = w.session().receiveRequest(request_size(from.size()));
  call.setReceiver(kj::heap<receiver>(*this, w));
  call.setCursor(as_data(from));
  return call.send()
      .attach(w.begin_call())
      .then([this, &w, again = !from.empty()](auto&& a) -> kj::Promise<void> {
        const auto f = to_failure(a.getError());
        if (f.code == ec::none)
          return kj::READY_NOW;
        // Not a place the cluster knows: begin from what it knows of us; repeats are hidden.
        if (f.code == ec::bad_cursor && again)
          return begin_receiving(w, {});
        consider(f);
        w.end(f);
        return kj::READY_NOW;
      });
}

kj::Promise<void> engine::take(std::vector<inbox_row> rows, cursor upto) {
  if (recorder_)
    for (const auto& row : rows)
      if (const auto* m = std::get_if<message_row>(&row))
        record_row(config_.how == intake::live ? history_event::what::push : history_event::what::pull, *m);
  const auto plan = applier_.decide(rows);
  if (!plan.missing) { // nearly always: no allocation, no extra turn of the loop
    try {
      commit(rows, plan, std::move(upto));
    } catch (const store_error& e) {
      halt(link_state::broken, {ec::storage_failed, e.what(), {}});
    }
    return kj::READY_NOW;
  }
  return take_checked(std::make_shared<std::vector<inbox_row>>(std::move(rows)), std::move(upto), 0);
}

kj::Promise<void> engine::take_checked(std::shared_ptr<std::vector<inbox_row>> rows, cursor upto,
                                       unsigned heals) {
  if (halted())
    return kj::READY_NOW;
  try {
    auto plan = applier_.decide(*rows);
    if (!plan.missing) {
      commit(*rows, plan, std::move(upto));
      return kj::READY_NOW;
    }
    if (heals >= config_.heal_tries_max) {
      // One conversation's hole must not hold up the others for ever. It is reported, not hidden.
      observer_.on_gap(plan.missing->conversation, plan.missing->after, plan.missing->upto);
      applier_.advance(plan.missing->conversation, plan.missing->upto);
      return take_checked(kj::mv(rows), kj::mv(upto), 0);
    }
    const auto hole = *plan.missing;
    return heal(hole, backoff{config_.resend}).then([this, rows, upto, heals, hole]() mutable {
      // A heal that got further counts as none: long gaps take several.
      const bool moved = applier_.position(hole.conversation) > hole.after;
      return take_checked(kj::mv(rows), kj::mv(upto), moved ? 0 : heals + 1);
    });
  } catch (const store_error& e) {
    halt(link_state::broken, {ec::storage_failed, e.what(), {}});
    return kj::READY_NOW;
  }
}

/// Fetches what lies between, page after page, until the hole is closed or the conversation ends.
kj::Promise<void> engine::heal(inbox_applier::hole hole, backoff pace) {
  const auto from = applier_.position(hole.conversation);
  if (halted() || from >= hole.upto)
    return kj::READY_NOW;
  return sync_conversation(hole.conversation, from, config_.page_items)
      .then([this, hole, from, pace](result<conversation_page>&& page) mutable -> kj::Promise<void> {
        if (!page)
          return kj::READY_NOW; // tried often enough; the caller counts
        try {
          commit_page(*page, hole.conversation);
        } catch (const store_error& e) {
          halt(link_state::broken, {ec::storage_failed, e.what(), {}});
          return kj::READY_NOW;
        }
        if (!page->more || applier_.position(hole.conversation) == from)
          return kj::READY_NOW;
        return heal(hole, pace);
      });
}

std::size_t engine::commit_page(const conversation_page& page, conversation_id c) {
  applied_batch batch;
  std::vector<const message*> fresh;
  auto at = applier_.position(c);
  for (const auto& m : page.messages) {
    if (m.seq <= at)
      continue;
    at = m.seq;
    fresh.push_back(&m);
  }
  batch.messages = fresh;
  batch.positions.emplace_back(c, at);
  batch.marks = page.marks;
  store_.apply(batch);
  applier_.advance(c, at);
  for (const auto* m : fresh)
    tell(*m);
  for (const auto& mark : page.marks)
    rose(applier_.raise(mark));
  return fresh.size();
}

void engine::commit(const std::vector<inbox_row>& rows, const inbox_applier::plan& plan, cursor upto) {
  applied_batch batch;
  batch.messages.reserve(plan.fresh.size());
  for (auto n : plan.fresh)
    batch.messages.push_back(&std::get<message_row>(rows[n]).msg);
  batch.positions = plan.positions;
  std::size_t others = 0;
  for (const auto& row : rows) {
    if (const auto* mark = std::get_if<watermark>(&row))
      batch.marks.push_back(*mark);
    else if (const auto* opened = std::get_if<conversation_info>(&row))
      batch.opened.push_back(*opened);
    else
      ++others;
  }
  batch.upto = upto;
  store_.apply(batch);

  for (const auto& [c, at] : plan.positions)
    applier_.advance(c, at);
  place_.applied = std::move(upto);
  // Told in the order of arrival: an opening before its first message.
  auto next_fresh = plan.fresh.begin();
  for (std::size_t n = 0; n < rows.size(); ++n) {
    if (const auto* mark = std::get_if<watermark>(&rows[n]))
      rose(applier_.raise(*mark));
    else if (const auto* opened = std::get_if<conversation_info>(&rows[n]))
      observer_.on_opened(*opened);
    else if (next_fresh != plan.fresh.end() && *next_fresh == n) {
      record_row(history_event::what::applied, std::get<message_row>(rows[n]));
      tell(std::get<message_row>(rows[n]).msg);
      ++next_fresh;
    }
  }
  ack_soon(others);
}

void engine::tell(const message& m) {
  if (m.client_id.device != who_.device)
    observer_.on_message(m);
}

void engine::rose(const inbox_applier::rise& r) {
  if (r.delivered)
    observer_.on_delivered(r.now.conversation, r.now.user, r.now.delivered);
  if (r.read)
    observer_.on_read(r.now.conversation, r.now.user, r.now.read);
}

// --- acknowledging -----------------------------------------------------------------------------------------

/// The first message at once, so that its sender sees it delivered; then coalesced. Rows that are no message
/// are in no hurry.
void engine::ack_soon(std::size_t messages) {
  unacked_ += messages;
  if (!link_ || ack_under_way_)
    return;
  const auto due = last_ack_ + duration(config_.ack_every);
  if ((messages > 0 && due <= timer_.now()) || unacked_ >= config_.ack_items_max) {
    send_ack();
    return;
  }
  if (ack_armed_)
    return;
  ack_armed_ = true;
  link_->add(timer_.atTime(std::max(due, timer_.now() + duration(config_.ack_every))).then([this] {
    ack_armed_ = false;
    send_ack();
  }));
}

void engine::send_ack() {
  if (!link_ || ack_under_way_ || place_.applied == place_.acknowledged)
    return;
  ack_under_way_ = true;
  unacked_ = 0;
  last_ack_ = timer_.now();
  auto upto = place_.applied;
  auto call = link_->session().ackDeliveredRequest(request_size(upto.size()));
  call.setCursor(as_data(upto));
  link_->add(call.send().then([this, upto, ticket = link_->begin_call()](auto&& a) {
    ack_under_way_ = false;
    const auto f = to_failure(a.getError());
    if (f.code == ec::none || f.code == ec::bad_cursor) {
      // A cursor the cluster does not want is not offered again: the next delivery brings a better one.
      store_.acknowledged(upto);
      place_.acknowledged = upto;
      check_settled();
    } else {
      consider(f);
    }
    if (place_.applied != place_.acknowledged)
      ack_soon(0);
  }));
}

void engine::ack_read(conversation_id c, seq_no upto) {
  auto& r = reads_[c];
  if (upto <= r.wanted)
    return;
  store_.read(c, upto);
  r.wanted = upto;
  send_reads();
}

void engine::send_reads() {
  if (!link_)
    return;
  for (auto& [c, r] : reads_) {
    if (r.under_way || r.wanted <= r.known)
      continue;
    r.under_way = true;
    auto call = link_->session().ackReadRequest(request_size());
    fill(call.initConversation(), c);
    call.setSeq(number(r.wanted));
    link_->add(call.send().then(
        [this, c = c, upto = r.wanted, ticket = link_->begin_call()](auto&& a) -> kj::Promise<void> {
          auto& r = reads_[c];
          const auto f = to_failure(a.getError());
          if (f.code == ec::none || !f.retryable) {
            r.under_way = false;
            r.known = upto; // refused for good counts too: asking again would change nothing
            store_.read_known(c, upto);
            check_settled();
            send_reads();
            return kj::READY_NOW;
          }
          consider(f);
          const auto wait = std::max(config_.ack_every, f.retry_after);
          return timer_.afterDelay(duration(wait)).then([this, c] {
            reads_[c].under_way = false;
            send_reads();
          });
        }));
  }
}

// --- pulling -----------------------------------------------------------------------------------------------

kj::Promise<result<std::size_t>> engine::sync_inbox() {
  using answer = result<std::size_t>;
  if (config_.how != intake::pull)
    return answer{tl::unexpected{
        failure{ec::bad_request, "This device is streamed to: there is nothing to fetch.", {}}}};
  struct page {
    std::vector<inbox_row> rows;
    cursor next;
    bool more = false;
  };
  return ask<page>([this](client_link& w) -> kj::Promise<result<page>> {
           auto call = w.session().syncRequest(request_size(place_.applied.size()));
           call.setCursor(as_data(place_.applied));
           call.setLimit(config_.page_items);
           return call.send().then([](auto&& a) -> result<page> {
             if (auto f = to_failure(a.getError()); f.code != ec::none)
               return tl::unexpected{std::move(f)};
             return page{to_rows(a.getItems()), bytes(a.getNext()), a.getMore()};
           });
         })
      .then([this](result<page>&& p) -> kj::Promise<answer> {
        if (!p)
          return answer{tl::unexpected{p.error()}};
        const auto fresh = applier_.decide(p->rows, inbox_applier::holes::may_stay).fresh.size();
        const bool more = p->more;
        return take(std::move(p->rows), std::move(p->next))
            .then([this, fresh, more]() -> kj::Promise<answer> {
              if (!more)
                return answer{fresh};
              return sync_inbox().then([fresh](answer&& rest) -> answer {
                if (rest)
                  *rest += fresh;
                return kj::mv(rest);
              });
            });
      });
}

} // namespace parley::client
