// A delivery is decided on, stored, shown to the observer and acknowledged; in this order.
//
//   deliver ─▶ decide ─▶ (a gap: heal by syncConversation, decide again) ─▶ store.apply ─▶ observer ─▶ ack
//
// A gap whose conversation cannot be asked for now is held: its rows wait, and so does the acknowledgement.
#include "protocol/client/device/receiver.hpp"

#include "protocol/client/device/delivery_port.hpp"

#include <algorithm>

namespace parley::client {
namespace {

failure other_history() {
  return {ec::bad_cursor, "The cluster has another history than this device.", {}};
}

} // namespace

receiver::receiver(kj::Timer& timer, link_host& host, session_calls& calls, const config& settings,
                   client_store& store, observer& events, history_writer& history, const identity& who,
                   old_copy& old)
    : timer_{timer}, host_{host}, calls_{calls}, config_{settings}, store_{store}, observer_{events},
      history_{history}, who_{who}, old_{old}, rules_{settings.ack_every, settings.ack_items_max,
                                                      settings.heal_tries_max},
      check_{host,
             calls,
             settings,
             store,
             events,
             rules_.applier(),
             reads_,
             [this](inbox_applier::hole missing) { return heal(missing); },
             [this](inbox_applier::hole missing) { hold(missing); }} {
  rules_.restore(store_.applied(), store_.where());
  for (const auto& r : store_.reads_owed())
    reads_.want(r.conversation, r.upto);
}

void receiver::online(client_link& link) {
  judged_ = false;
  check_.tell_lost(); // of an earlier life that was interrupted
  if (config_.how == intake::live)
    link.add(begin(link));
  send_ack(); // what an earlier connection applied and could not acknowledge any more
  send_reads();
}

void receiver::lost() {
  gate_ = nullptr;
  if (config_.how == intake::live) // with `pull` the next page begins behind what is held
    rules_.release_all();
  rules_.acks().lost();
  reads_.lost();
}

void receiver::close_gate() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  gate_ = gate{kj::mv(paf.fulfiller), paf.promise.fork()};
}

void receiver::open_gate() {
  KJ_IF_MAYBE (waiting, gate_)
    waiting->open->fulfill();
  gate_ = nullptr;
}

kj::Promise<void> receiver::begin(client_link& link) {
  if (!store_.where().compare)
    return begin_receiving(link, rules_.acks().applied());
  rules_.acks().restore({}, {});
  return check_.repair().then([this, &link](result<nothing>&& done) -> kj::Promise<void> {
    if (done)
      return begin_receiving(link, {});
    link.end(done.error());
    return kj::READY_NOW;
  });
}

void receiver::closed(failure why, std::chrono::milliseconds reconnect_after) {
  if (is_place_unknown(why.code, rules_.acks().applied()))
    start_over();
  host_.closed_by_node(std::move(why), reconnect_after);
}

void receiver::start_over() {
  if (kept(host_, [&] { store_.start_over(); }))
    rules_.acks().restore({}, {});
}

void receiver::begin_again() {
  start_over();
  if (!host_.halted())
    kept(host_, [&] { store_.compared(); }); // there is nothing to compare
}

kj::Promise<result<late_place>> receiver::judge(cursor_standing asked) {
  using answer = result<late_place>;
  if (asked.place == rpc::CursorPlace::BEFORE) {
    old_.noticed();
    return fetch_missing(std::move(asked.acknowledged)).then([](result<nothing>&& done) -> answer {
      if (!done)
        return tl::unexpected{std::move(done.error())};
      return late_place::go_on;
    });
  }
  if (asked.place != rpc::CursorPlace::AFTER)
    return answer{late_place::go_on};
  const bool idle = rules_.acks().idle(); // else the acknowledgement is on its way
  return check_.judge().then(
      [this, idle, known = std::move(asked.acknowledged)](judgement&& judged) mutable -> answer {
        if (host_.halted())
          return tl::unexpected{host_.why_halted()};
        const auto then = after_judging(judged.history, idle && rules_.acks().idle(), store_.where().compare);
        switch (then) {
        case late_place::go_on:
          break;
        case late_place::offer_again:
          rules_.acks().forgotten(std::move(known));
          send_ack();
          break;
        case late_place::ask_later:
          if (rules_.doubt(judged.doubts, std::move(known)) && config_.how == intake::live)
            fetch_held_later();
          break;
        case late_place::begin_again:
          begin_again();
          break;
        case late_place::start_over:
          start_over();
          break;
        }
        return then;
      });
}

/// What lies between the profile's place and the acknowledged one may have been removed from the inbox.
kj::Promise<result<nothing>> receiver::fetch_missing(cursor acknowledged) {
  return check_.fetch_missing(history_check::if_away::hold)
      .then([this, from = rules_.acks().applied(),
             acknowledged = std::move(acknowledged)](result<nothing>&& done) -> result<nothing> {
        if (!done)
          return tl::unexpected{std::move(done.error())};
        if (rules_.acks().applied() != from) // rows came meanwhile, and their cursor is a newer one
          return nothing{};
        if (rules_.holds_any()) { // the place stays behind what is still to be fetched
          rules_.take_up_to(acknowledged);
          return nothing{};
        }
        applied_batch batch;
        batch.upto = acknowledged;
        if (!kept(host_, [&] {
              store_.apply(batch);
              store_.acknowledged(acknowledged);
            }))
          return tl::unexpected{host_.why_halted()};
        rules_.acks().restore(acknowledged, acknowledged);
        return nothing{};
      });
}

kj::Promise<void> receiver::begin_receiving(client_link& link, cursor from) {
  if (!from.empty())
    close_gate();
  auto call = link.session().receiveRequest(request_size(from.size()));
  call.setReceiver(kj::heap<delivery_port>(*this, host_, link));
  call.setCursor(wire::as_data(from));
  return call.send()
      .attach(link.begin_call())
      .then([this, &link, again = !from.empty()](auto&& a) -> kj::Promise<void> {
        const auto f = wire::to_failure(a.getError());
        if (f.code == ec::none)
          return judge(standing_in(a)).then([this, &link](result<late_place>&& place) {
            if (!place) {
              link.end(place.error());
            } else if (*place == late_place::start_over) {
              link.end(other_history());
            } else if (*place == late_place::begin_again) {
              link.end({ec::bad_cursor, "The cluster has forgotten what this device had received last.", {}});
            } else {
              open_gate();
            }
          });
        // Not a place the cluster knows: begin from what it knows of this device; repeats are hidden.
        if (f.code == ec::bad_cursor && again) {
          gate_ = nullptr;
          start_over();
          return begin(link);
        }
        host_.consider(f);
        link.end(f);
        return kj::READY_NOW;
      });
}

// --- applying ----------------------------------------------------------------------------------------------

kj::Promise<void> receiver::take(std::vector<inbox_row> rows, cursor upto) {
  KJ_IF_MAYBE (waiting, gate_)
    return promises_.wrap(
        waiting->opened.addBranch().then([this, rows = std::move(rows), upto = std::move(upto)]() mutable {
          return take(std::move(rows), std::move(upto));
        }));
  if (history_.wanted())
    for (const auto& row : rows)
      if (const auto* m = message_in(row))
        history_.row(config_.how == intake::live ? history_event::what::push : history_event::what::pull, *m);
  const auto plan = rules_.applier().decide(rows);
  if (!plan.missing) { // nearly always: no allocation, no extra turn of the loop
    kept(host_, [&] { commit(rows, plan, std::move(upto)); });
    return kj::READY_NOW;
  }
  close_gate(); // the place of a later delivery would cover this one
  // Wrapped, because fetching takes events in which the receiver may be destroyed.
  return promises_.wrap(take_checked(std::make_shared<std::vector<inbox_row>>(std::move(rows)),
                                     std::move(upto), rules_.new_tries())
                            .then([this] { open_gate(); }));
}

kj::Promise<void> receiver::take_checked(std::shared_ptr<std::vector<inbox_row>> rows, cursor upto,
                                         heal_tries tries) {
  using kind = delivery_rules::step::kind;
  for (;;) {
    if (host_.halted())
      return kj::READY_NOW;
    auto step = rules_.next(*rows, tries);
    switch (step.what) {
    case kind::keep:
      kept(host_, [&] { commit(*rows, step.plan, std::move(upto)); });
      return kj::READY_NOW;
    case kind::pass_over:
      observer_.on_gap(step.hole.conversation, step.hole.after, step.hole.upto);
      rules_.passed_over(step.hole, tries);
      break;
    case kind::fetch:
      return heal(step.hole).then(
          [this, rows, upto = std::move(upto), tries, hole = step.hole](result<nothing>&& asked) mutable {
            fetched(hole, asked, tries);
            return take_checked(rows, std::move(upto), tries);
          });
    }
  }
}

void receiver::fetched(inbox_applier::hole hole, const result<nothing>& asked, heal_tries& tries) {
  const auto got = asked ? delivery_rules::reply::given : delivery_rules::reply::not_now;
  if (rules_.fetched(hole, got, tries) && config_.how == intake::live)
    fetch_held_later();
}

/// Fetches what lies between, page after page, until the hole is closed or the conversation ends.
kj::Promise<result<nothing>> receiver::heal(inbox_applier::hole hole) {
  using answer = result<nothing>;
  const auto from = rules_.applier().position(hole.conversation);
  if (host_.halted() || from >= hole.upto)
    return answer{};
  return calls_.sync_conversation(hole.conversation, from, config_.page_items)
      .then([this, hole, from](result<conversation_page>&& page) mutable -> kj::Promise<answer> {
        if (!page && !host_.halted() &&
            delivery_rules::reply_of(page.error()) == delivery_rules::reply::not_now)
          return answer{tl::unexpected{std::move(page.error())}};
        if (!page)
          return answer{}; // refused, or asked by nobody any more: the caller counts
        if (!kept(host_, [&] { commit_page(*page, hole.conversation); }))
          return answer{};
        if (!delivery_rules::goes_on(*page, from, rules_.applier().position(hole.conversation)))
          return answer{};
        return heal(hole);
      });
}

// --- what cannot be fetched now ----------------------------------------------------------------------------

void receiver::hold(inbox_applier::hole hole) {
  if (rules_.hold(hole) && config_.how == intake::live)
    fetch_held_later();
}

void receiver::fetch_held_later() {
  if (auto* link = host_.link())
    link->add(timer_.afterDelay(duration(config_.resend.max)).then([this] {
      return fetch_held(std::nullopt).then([this](result<nothing>&&) {
        if (rules_.holds_any())
          fetch_held_later();
      });
    }));
}

kj::Promise<result<nothing>> receiver::fetch_held(std::optional<conversation_id> after) {
  using answer = result<nothing>;
  using kind = delivery_rules::held_step::kind;
  const auto next = rules_.next_held(after);
  if (!next || host_.halted())
    return answer{};
  if (const auto seq = rules_.doubted(next->conversation); seq != seq_no::none)
    return compare_held({next->conversation, seq});
  return heal(*next).then([this, hole = *next](answer&& asked) -> kj::Promise<answer> {
    if (host_.halted())
      return answer{};
    auto step =
        rules_.held_fetched(hole, asked ? delivery_rules::reply::given : delivery_rules::reply::not_now);
    switch (step.what) {
    case kind::stop:
      return answer{};
    case kind::another:
      if (config_.how == intake::pull) // somebody waits for the answer
        return kj::mv(asked);
      return fetch_held(hole.conversation); // of another shard, perhaps
    case kind::give_up:
      return give_up(step.hole);
    case kind::complete:
      held_no_more(std::move(step.place));
      break;
    case kind::restart:
      break;
    }
    return fetch_held(std::nullopt);
  });
}

/// The place is later than the cluster knows, and stays so until this is known.
kj::Promise<result<nothing>> receiver::compare_held(doubt at) {
  using answer = result<nothing>;
  return check_.look_again(at).then([this, at](result<finding>&& there) -> kj::Promise<answer> {
    if (host_.halted() || rules_.doubted(at.conversation) != at.seq)
      return answer{};
    if (!there && config_.how == intake::pull)
      return answer{tl::unexpected{std::move(there.error())}};
    if (!there)
      return fetch_held(at.conversation);
    if (there->same) {
      rules_.confirmed(at.conversation);
      return fetch_held(std::nullopt);
    }
    start_over();
    if (config_.how == intake::pull) {
      rules_.release_all();
      return pull();
    }
    if (auto* link = host_.link())
      link->end(other_history());
    return answer{};
  });
}

kj::Promise<result<nothing>> receiver::give_up(inbox_applier::hole hole) {
  if (hole.after < hole.upto)
    observer_.on_gap(hole.conversation, hole.after, hole.upto);
  rules_.given_up(hole);
  if (config_.how == intake::pull)
    return pull();
  if (auto* link = host_.link())
    link->end({ec::unavailable, "Messages of a conversation could not be fetched.", {}});
  return result<nothing>{};
}

void receiver::held_no_more(std::optional<cursor> place) {
  if (!place) // others are held
    return;
  applied_batch batch;
  batch.upto = *place;
  if (!kept(host_, [&] { store_.apply(batch); }))
    return;
  rules_.place_kept(std::move(*place));
  acknowledge(1); // what was held up is in a hurry
}

void receiver::commit_page(const conversation_page& page, conversation_id c) {
  const auto batch = delivery_rules::to_keep(page, c, rules_.applier().position(c));
  store_.apply(batch);
  rules_.applier().advance(c, batch.positions.front().second);
  for (const auto* m : batch.messages)
    tell(*m);
  for (const auto& mark : page.marks)
    rose(rules_.applier().raise(mark));
}

void receiver::commit(const std::vector<inbox_row>& rows, const inbox_applier::plan& plan, cursor upto) {
  const auto batch = rules_.to_keep(rows, plan, upto);
  store_.apply(batch.to_apply);
  rules_.kept(batch, plan, std::move(upto));
  // Told in the order of arrival: an opening before its first message.
  auto fresh = plan.fresh.begin();
  for (std::size_t n = 0; n < rows.size(); ++n)
    std::visit(overloaded{
                   [&](const message_row& row) {
                     if (fresh == plan.fresh.end() || *fresh != n)
                       return;
                     history_.row(history_event::what::applied, row);
                     tell(row.msg);
                     ++fresh;
                   },
                   [&](const conversation_info& opened) { observer_.on_opened(opened); },
                   [&](const watermark& mark) { rose(rules_.applier().raise(mark)); },
                   [&](const device_added& added) { observer_.on_device_added(added); },
               },
               rows[n]);
  if (batch.moves)
    acknowledge(batch.messages);
}

void receiver::tell(const message& m) {
  if (m.client_id.device == who_.device)
    return;
  ++shown_;
  observer_.on_message(m);
}

void receiver::rose(const inbox_applier::rise& r) {
  if (r.delivered)
    observer_.on_delivered(r.now.conversation, r.now.user, r.now.delivered);
  if (r.read)
    observer_.on_read(r.now.conversation, r.now.user, r.now.read);
}

// --- acknowledging -----------------------------------------------------------------------------------------

void receiver::acknowledge(std::size_t messages) {
  auto* link = host_.link();
  if (!link)
    return;
  const auto next = rules_.acks().next(messages, now(timer_));
  if (next.what == delivery_acks::step::now)
    send_ack();
  else if (next.what == delivery_acks::step::at_due)
    link->add(timer_.atTime(point(next.due)).then([this] {
      rules_.acks().timer_fired();
      send_ack();
    }));
}

void receiver::send_ack() {
  auto* link = host_.link();
  if (!link || !observer_.may_acknowledge())
    return;
  auto upto = rules_.acks().begin(now(timer_));
  if (!upto)
    return;
  auto call = link->session().ackDeliveredRequest(request_size(upto->size()));
  call.setCursor(wire::as_data(*upto));
  link->add(call.send().then([this, upto = std::move(*upto), ticket = link->begin_call()](auto&& a) {
    const auto f = wire::to_failure(a.getError());
    const bool known = delivery_acks::is_settled_by(f.code);
    if (known && !kept(host_, [&] { store_.acknowledged(upto); }))
      return;
    rules_.acks().answered(upto, known);
    if (!known)
      host_.consider(f);
    check_settled();
    if (!rules_.acks().idle())
      acknowledge(0);
  }));
}

kj::Promise<void> receiver::acknowledge_all() {
  auto* link = host_.link();
  if (!link || host_.halted() || rules_.acks().idle() || !observer_.may_acknowledge())
    return kj::READY_NOW;
  auto upto = rules_.acks().applied();
  auto call = link->session().ackDeliveredRequest(request_size(upto.size()));
  call.setCursor(wire::as_data(upto));
  return call.send().then([this, upto = std::move(upto)](auto&& a) {
    if (wire::to_failure(a.getError()).code != ec::none)
      return;
    if (kept(host_, [&] { store_.acknowledged(upto); }))
      rules_.acks().answered(upto, true);
  });
}

void receiver::ack_read(conversation_id c, seq_no upto) {
  if (!reads_.news(c, upto))
    return;
  store_.read(c, upto);
  reads_.want(c, upto);
  send_reads();
}

void receiver::send_reads() {
  auto* link = host_.link();
  if (!link)
    return;
  for (const auto& mark : reads_.take()) {
    auto call = link->session().ackReadRequest(request_size());
    wire::write(call.initConversation(), mark.conversation);
    call.setSeq(number(mark.upto));
    link->add(call.send().then([this, mark, ticket = link->begin_call()](auto&& a) -> kj::Promise<void> {
      const auto f = wire::to_failure(a.getError());
      const auto v = read_marks::judge(f, config_.ack_every);
      if (v.what == read_marks::fate::settled) {
        if (kept(host_, [&] { store_.read_known(mark.conversation, mark.upto); })) {
          reads_.settled(mark);
          check_settled();
          send_reads();
        }
        return kj::READY_NOW;
      }
      host_.consider(f);
      if (v.what == read_marks::fate::next_session)
        return kj::READY_NOW;
      return timer_.afterDelay(duration(v.pause)).then([this, c = mark.conversation] {
        reads_.again(c);
        send_reads();
      });
    }));
  }
}

kj::Promise<void> receiver::settled() {
  auto paf = kj::newPromiseAndFulfiller<void>();
  settled_waiters_.push_back(kj::mv(paf.fulfiller));
  check_settled();
  return kj::mv(paf.promise);
}

void receiver::check_settled() {
  if (!idle() && !host_.halted())
    return;
  for (auto& waiter : settled_waiters_)
    waiter->fulfill();
  settled_waiters_.clear();
}

// --- pulling -----------------------------------------------------------------------------------------------

kj::Promise<result<std::size_t>> receiver::sync_inbox() {
  if (config_.how != intake::pull)
    return result<std::size_t>{tl::unexpected{
        failure{ec::bad_request, "This device receives a stream, so there is nothing to fetch.", {}}}};
  const auto before = shown_;
  return promises_.wrap(pull().then([this, before](result<nothing>&& done) -> result<std::size_t> {
    if (rules_.doubts())
      judged_ = false;
    rules_.release_all(); // it comes again with the next call
    if (!done)
      return tl::unexpected{std::move(done.error())};
    return shown_ - before;
  }));
}

kj::Promise<result<nothing>> receiver::pull() {
  using answer = result<nothing>;
  if (store_.where().compare) {
    rules_.acks().restore({}, {});
    return check_.repair().then([this](answer&& done) -> kj::Promise<answer> {
      if (!done)
        return kj::mv(done);
      return pull();
    });
  }
  const auto from = rules_.taken();
  return calls_.sync_inbox(from, config_.page_items)
      .then([this, from](result<inbox_page>&& page) -> kj::Promise<answer> {
        if (!page && page.error().code == ec::bad_cursor && !from.empty()) {
          start_over();
          return pull();
        }
        if (!page)
          return answer{tl::unexpected{page.error()}};
        const bool stays = page->rows.empty() && !page->more && page->next == from;
        if (std::exchange(judged_, true))
          return stays ? fetch_held(std::nullopt) : take_page(std::move(*page));
        auto asked = page->asked;
        return judge(std::move(asked))
            .then([this, stays,
                   page = std::move(*page)](result<late_place>&& place) mutable -> kj::Promise<answer> {
              if (!place)
                return answer{tl::unexpected{std::move(place.error())}};
              if (*place == late_place::start_over || *place == late_place::begin_again)
                return pull(); // what the page holds comes again
              return stays ? fetch_held(std::nullopt) : take_page(std::move(page));
            });
      });
}

kj::Promise<result<nothing>> receiver::take_page(inbox_page page) {
  using answer = result<nothing>;
  const bool more = page.more;
  return take(std::move(page.rows), std::move(page.next)).then([this, more]() -> kj::Promise<answer> {
    if (host_.halted())
      return answer{tl::unexpected{host_.why_halted()}};
    if (!more)
      return fetch_held(std::nullopt);
    return pull();
  });
}

} // namespace parley::client
