// The way in: a delivery is decided on, stored, shown to the judge and acknowledged.
#include "protocol/client/rules/session_rules.hpp"
#include "protocol/values/overloaded.hpp"
#include "tests/sim/sim_client_program.hpp"

namespace parley::sim {
namespace {

message as_client_sees(const core::message& m) {
  return {m.conversation, m.seq, m.id, m.from, m.client_id, m.at, std::string{m.body.view()}};
}

client::inbox_row as_client_sees(const core::inbox_row& row) {
  return std::visit(overloaded{
                        [](const core::message_news& m) -> client::inbox_row {
                          return message_row{m.prev, as_client_sees(m.msg)};
                        },
                        [](const core::opened_news& o) -> client::inbox_row {
                          return conversation_info{o.conversation, o.members, seq_no::none};
                        },
                        [](const watermark& w) -> client::inbox_row { return w; },
                        [](const device_added& d) -> client::inbox_row { return d; },
                    },
                    row.what);
}

} // namespace

conversation_page as_client_sees(const core::conversation_page& page) {
  conversation_page out;
  for (const auto& m : page.messages)
    out.messages.push_back(as_client_sees(m));
  out.last = page.last;
  out.marks = page.marks;
  out.more = page.more != 0;
  return out;
}

conversation_list as_client_sees(const core::conversation_list& list) {
  conversation_list out;
  for (const auto& c : list.items)
    out.items.push_back({c.conversation, c.members, c.last});
  out.more = list.more != 0;
  return out;
}

// --- deliveries --------------------------------------------------------------------------------------------

void sim_client_program::delivered(const std::vector<core::outgoing_row>& rows, std::function<void()> taken) {
  if (!ready_ || rows.empty())
    return;
  auto d =
      std::make_shared<delivery>(delivery{{}, place(rows.back().row.pos), std::move(taken), in_.new_tries()});
  for (const auto& r : rows) {
    d->rows.push_back(as_client_sees(r.row));
    if (r.row.pos <= told_.shown)
      continue;
    told_.shown = r.row.pos;
    if (const auto* m = std::get_if<core::message_news>(&r.row.what))
      judge_.received(user_, device_, *m);
    else if (const auto* mark = std::get_if<watermark>(&r.row.what))
      judge_.told(device_, *mark);
    else if (const auto* other = std::get_if<device_added>(&r.row.what))
      judge_.told_of(user_, device_, other->device);
  }
  behind_gate_.push_back(d);
  if (behind_gate_.size() == 1)
    take(std::move(d));
}

/// The first delivery that is not taken; the others wait, because their places would cover it.
void sim_client_program::take(std::shared_ptr<delivery> d) {
  using kind = client::delivery_rules::step::kind;
  auto step = in_.next(d->rows, d->tries);
  switch (step.what) {
  case kind::keep:
    keep(*d, step.plan);
    return taken(*d);
  case kind::fetch:
    return heal(step.hole, [this, d, missing = step.hole](reply got) {
      if (in_.fetched(missing, got, d->tries))
        fetch_held_later();
      take(d);
    });
  case kind::pass_over:
    pass_over(step.hole);
    in_.passed_over(step.hole, d->tries);
    return take(d);
  }
}

/// The client tells its user that something is missing.
void sim_client_program::pass_over(const hole& missing) {
  if (missing.after < missing.upto)
    judge_.passed_over(user_, device_, missing.conversation, missing.after, missing.upto);
}

void sim_client_program::taken(const delivery& d) {
  d.taken();
  behind_gate_.pop_front();
  if (!behind_gate_.empty())
    take(behind_gate_.front());
}

void sim_client_program::keep(const delivery& d, const client::inbox_applier::plan& plan) {
  const auto batch = in_.to_keep(d.rows, plan, d.upto);
  store_.apply(batch.to_apply);
  in_.kept(batch, plan, d.upto);
  for (const auto& mark : batch.to_apply.marks)
    in_.applier().raise(mark);
  if (batch.moves)
    acknowledge(batch.messages);
}

// --- what is missing ---------------------------------------------------------------------------------------

void sim_client_program::heal(hole missing, std::function<void(reply)> done) {
  const auto from = position(missing.conversation);
  if (from >= missing.upto)
    return done(reply::given);
  auto reached = std::make_shared<seq_no>();
  const auto make = [this, c = missing.conversation, from, reached] {
    *reached = judge_.reached(c);
    return core::call{core::sync_conversation{c, user_, from, profile_.page_rows}};
  };
  const auto fetched = [this, missing, done, from, reached](core::answer* a, const client::failure& why) {
    if (a == nullptr)
      return done(client::delivery_rules::reply_of(why));
    const auto* got = core::answer_if<core::sync_conversation>(*a);
    if (got == nullptr)
      return sim_.violate("a sync is answered as another call");
    const auto c = missing.conversation;
    judge_.page(c, from, *got, *reached);
    const auto page = as_client_sees(*got);
    const auto batch = client::delivery_rules::to_keep(page, c, position(c));
    store_.apply(batch);
    in_.applier().advance(c, batch.positions.front().second);
    for (const auto& mark : page.marks)
      in_.applier().raise(mark);
    if (!client::delivery_rules::goes_on(page, from, position(c)))
      return done(reply::given);
    heal(missing, done);
  };
  ask({make, fetched, asking(), link_}); // after a loss the rows come again
}

void sim_client_program::fetch_held_later() {
  on_link(now() + pauses_of(profile_).max, [this] {
    fetch_held(std::nullopt, [this] {
      if (in_.holds_any())
        fetch_held_later();
    });
  });
}

void sim_client_program::fetch_held(std::optional<conversation_id> after, std::function<void()> done) {
  using kind = client::delivery_rules::held_step::kind;
  const auto next = in_.next_held(after);
  if (!next)
    return done();
  if (const auto seq = in_.doubted(next->conversation); seq != seq_no::none)
    return compare_held({next->conversation, seq}, done);
  heal(*next, [this, missing = *next, done](reply got) {
    auto step = in_.held_fetched(missing, got);
    switch (step.what) {
    case kind::stop:
      return done();
    case kind::another:
      return fetch_held(missing.conversation, done);
    case kind::give_up:
      pass_over(step.hole);
      in_.given_up(step.hole);
      return cut(); // what waited behind it comes again
    case kind::complete:
      if (step.place) {
        client::applied_batch batch;
        batch.upto = *step.place;
        store_.apply(batch);
        in_.place_kept(std::move(*step.place));
        acknowledge(1);
      }
      break;
    case kind::restart:
      break;
    }
    fetch_held(std::nullopt, done);
  });
}

// --- what the cluster is told ------------------------------------------------------------------------------

void sim_client_program::acknowledge(std::size_t messages) {
  using step = client::delivery_acks::step;
  if (!ready_)
    return;
  const auto next = in_.acks().next(messages, now());
  if (next.what == step::now)
    send_ack();
  else if (next.what == step::at_due)
    on_link(next.due, [this] {
      in_.acks().timer_fired();
      send_ack();
    });
}

void sim_client_program::send_ack() {
  auto upto = in_.acks().begin(now());
  if (!upto)
    return;
  call(core::call{core::acknowledge{user_, device_, place(*upto)}}, [this, upto = *upto](core::answer* a) {
    if (a == nullptr)
      return; // the next session offers it again
    const auto why = failure_in(*a);
    if (why.code != ec::none && !client::may_help_to_repeat(why))
      return violate("an acknowledgement", why.code);
    const bool known = client::delivery_acks::is_settled_by(why.code);
    if (known)
      store_.acknowledged(upto);
    in_.acks().answered(upto, known);
    if (!known)
      consider(why);
    if (!in_.acks().idle())
      acknowledge(0);
  });
}

void sim_client_program::mark_read(conversation_id of, seq_no upto) {
  if (!reads_.news(of, upto))
    return;
  store_.read(of, upto);
  reads_.want(of, upto);
  send_reads();
}

void sim_client_program::send_reads() {
  using fate = client::read_marks::fate;
  if (!ready_)
    return;
  for (const auto& mark : reads_.take())
    call(core::call{core::mark_read{mark.conversation, user_, mark.upto}}, [this, mark](core::answer* a) {
      if (a == nullptr)
        return; // the next session offers it again
      const auto why = failure_in(*a);
      const auto v =
          client::read_marks::judge(why, std::chrono::milliseconds{profile_.ack_delay_max / one_ms});
      switch (v.what) {
      case fate::settled:
        if (why.code != ec::none)
          return violate("a mark", why.code);
        ++judge_.count.marked;
        judge_.marked(mark.conversation, user_, mark.upto);
        store_.read_known(mark.conversation, mark.upto);
        reads_.settled(mark);
        return send_reads();
      case fate::next_session:
        return consider(why);
      case fate::again:
        consider(why);
        return on_link(now() + v.pause, [this, c = mark.conversation] {
          reads_.again(c);
          send_reads();
        });
      }
    });
}

} // namespace parley::sim
