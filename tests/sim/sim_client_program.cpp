#include "tests/sim/sim_client_program.hpp"

#include "protocol/client/rules/session_rules.hpp"
#include "protocol/gateway/node_addresses.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds stable_after = 5s;
constexpr std::chrono::milliseconds wanted_max = 500ms;
constexpr std::size_t ack_items_max = 100;
constexpr unsigned heal_tries_max = 3, move_after_refusals = 6;

client::outbox_config outbox_of(const client_profile& profile, bool other_nodes) {
  client::outbox_config c;
  c.window = profile.sends_window;
  c.messages_max = 100'000;
  c.in_flight_max = 1'024;
  c.in_flight_bytes_max = 128 * 1'024;
  c.resend = pauses_of(profile);
  c.move_after_refusals = move_after_refusals;
  c.other_nodes = other_nodes;
  return c;
}

std::chrono::nanoseconds patience(client::dice& chance) {
  return chance.upto(1) == 0 ? 30s : std::chrono::nanoseconds{100ms} + chance.upto(1'000) * 1ms;
}

/// The device begins at the node that the world finds for it.
std::size_t first_seed(node_finder& finder, device_id device, const std::vector<sim_node*>& seeds) {
  const auto at = std::ranges::find(seeds, finder.find_node(device));
  return at == seeds.end() ? 0 : static_cast<std::size_t>(at - seeds.begin());
}

} // namespace

client::backoff_config pauses_of(const client_profile& profile) {
  return {std::chrono::milliseconds{profile.backoff_min / one_ms},
          std::chrono::milliseconds{profile.backoff_max / one_ms}};
}

client::failure failure_in(const core::answer& a) {
  return std::visit(
      [](const auto& x) {
        if constexpr (requires { x.what.retry_after_ms; })
          return failed(x.what.error, x.what.retry_after_ms);
        else
          return failed(x.what.error);
      },
      a);
}

client::cursor sim_client_program::place(inbox_pos pos) {
  return pos == inbox_pos::none ? "" : fmt::format("{}", number(pos));
}

inbox_pos sim_client_program::place(const client::cursor& at) {
  return at.empty() ? inbox_pos::none : inbox_pos{std::stoull(at)};
}

sim_client_program::sim_client_program(fuzz::simulation& sim, judge& judge, node_finder& nodes,
                                       const client_profile& profile, client::client_store& store,
                                       told_to_judge& told, user_id user, device_id device,
                                       online_type online)
    : sim_{sim}, judge_{judge}, finder_{nodes}, profile_{profile}, store_{store}, told_{told}, user_{user},
      device_{device}, told_online_{std::move(online)}, chance_{sim.luck.next()},
      ask_within_{patience(chance_)}, seeds_{nodes.known_nodes()}, nodes_{seeds_},
      reconnect_{seeds_.size(), first_seed(nodes, device, seeds_), pauses_of(profile), stable_after,
                 wanted_max},
      out_{outbox_of(profile, seeds_.size() > 1)}, in_{std::chrono::microseconds{profile.ack_delay_max},
                                                       ack_items_max, heal_tries_max} {
  in_.restore(store_.applied(), store_.where());
  for (const auto& r : store_.reads_owed())
    reads_.want(r.conversation, r.upto);
  for (auto& o : store_.waiting())
    out_.add(std::move(o));
  learn();
}

sim_client_program::~sim_client_program() {
  *alive_ = false;
  if (link_)
    link_->end_later(sim_.luck.between(0, profile_.notice_max));
}

unix_ms sim_client_program::calendar() const {
  return unix_ms{1'700'000'000'000 + sim_.time.now() / one_ms};
}

void sim_client_program::later(micros delay, std::function<void()> what) {
  sim_.time.in(delay, [this, alive = alive_, what = std::move(what)] {
    if (*alive && !sim_.failed())
      what();
  });
}

void sim_client_program::on_link(client::instant due, std::function<void()> what) {
  // Rounded up, so that what is due is due.
  const auto in = std::chrono::ceil<std::chrono::microseconds>(due - now()).count();
  later(std::max<micros>(in, 0), [this, l = link_, what = std::move(what)] {
    if (link_ == l)
      what();
  });
}

void sim_client_program::violate(std::string_view what, ec why) {
  sim_.violate(fmt::format("{} of device {} of user {} is refused: {}", what, number(device_), number(user_),
                           parley::describe(why).name));
}

// --- connecting --------------------------------------------------------------------------------------------

void sim_client_program::go_online() {
  online_ = true;
  reconnect_.encouraged();
  if (!link_)
    next_round(0ms);
}

void sim_client_program::go_offline() {
  online_ = false;
  ++round_;
  resume_at_.reset();
  cut();
}

void sim_client_program::cut() {
  if (!link_)
    return;
  if (ready_)
    lost();
  else
    not_let_in();
}

void sim_client_program::node_ended(node_id node, std::uint64_t life) {
  if (link_ && link_->is_of(node, life))
    on_link(now() + std::chrono::microseconds{sim_.luck.between(0, profile_.notice_max)}, [this] { cut(); });
}

/// Something waits for a connection from now on.
void sim_client_program::want_session() {
  if (!resume_at_)
    return;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*resume_at_ - now());
  if (const auto shorter = reconnect_.wanted(left, chance_); shorter < left)
    next_round(shorter);
}

void sim_client_program::next_round(std::chrono::milliseconds pause) {
  if (!online_)
    return;
  resume_at_ = now() + pause;
  later(pause / std::chrono::microseconds{1}, [this, n = ++round_] {
    if (n != round_)
      return;
    resume_at_.reset();
    round();
  });
}

void sim_client_program::round() {
  auto* node = nodes_[reconnect_.seed()];
  if (!node->is_up()) {
    later(sim_.luck.between(50, profile_.latency_max), [this, n = round_] {
      if (n == round_)
        not_let_in();
    });
    return;
  }
  ++judge_.count.logins;
  const auto session = store_.next_session(calendar());
  sim_.note("connect", number(device_), number(node->id()), number(session));
  link_ = std::make_shared<sim_client_link>(sim_, profile_, *node, *this);
  link_->open(user_, device_, session);
  on_link(now() + std::chrono::microseconds{profile_.answer_within}, [this] {
    if (!ready_)
      not_let_in();
  });
}

/// The node was not reached, or did not accept the device.
void sim_client_program::not_let_in() {
  if (const auto l = std::exchange(link_, nullptr))
    l->end_later(sim_.luck.between(0, profile_.notice_max));
  if (!online_)
    return;
  if (reconnect_.failed(chance_, is_wanted()))
    round();
  else
    next_round(reconnect_.pause());
}

void sim_client_program::logged_in(const core::attached& state) {
  if (state.error != ec::none) {
    if (ready_)
      return;
    if (client::fate_of_login(client::login_step::login, failed(state.error)) != client::login_fate::later)
      return violate("the login", state.error);
    return not_let_in();
  }
  copies_ = state.devices > 1;
  if (ready_)
    return;
  const auto applied = place(in_.acks().applied());
  if (state.acknowledged > applied && applied != inbox_pos::none)
    return sim_.violate(fmt::format("the inbox of user {} says that device {} acknowledged {}, and it has {}",
                                    number(user_), number(device_), number(state.acknowledged),
                                    number(applied)));
  if (!std::exchange(told_.begun, true))
    judge_.came(user_, device_, state.acknowledged == inbox_pos::none);
  sim_.note("login", number(device_), number(applied), number(state.last));
  ready_ = true;
  calls_.emplace(std::chrono::microseconds{profile_.answer_within}, now());
  reconnect_.connected(now());
  name_nodes();
  begin_stream(state.acknowledged);
  send_reads();
  out_.connected();
  if (!out_.empty())
    store_.trying(out_.newest());
  pump();
  for (auto& q : std::exchange(waiting_, {}))
    attempt(q);
  told_online_();
}

/// The node names others, as the gateway's answer to a login does.
void sim_client_program::name_nodes() {
  gateway::node_addresses::list listed;
  for (const auto* n : finder_.known_nodes())
    listed.emplace_back(n->id(), fmt::format("{}", number(n->id())));
  gateway::node_addresses of_cluster;
  of_cluster.set(std::move(listed));
  const auto named = of_cluster.others(link_->node());
  if (!client::are_others_named(named, store_.nodes()))
    return;
  store_.set_nodes(named);
  learn();
}

void sim_client_program::learn() {
  const auto all = finder_.known_nodes();
  nodes_ = client::nodes_to_try(seeds_, store_.nodes(), [&](const std::string& name) {
    const auto n = std::ranges::find(all, node_id{std::stoull(name)}, &sim_node::id);
    return n == all.end() ? std::optional<sim_node*>{} : std::optional{*n};
  });
  reconnect_.set_others(nodes_.size() - seeds_.size());
}

void sim_client_program::closed(ec why) {
  sim_.note("closed", number(device_), static_cast<std::uint64_t>(why));
  // Nobody else has this device's key, and nobody puts the cluster back to an older copy.
  if (why == ec::fenced || (why == ec::bad_cursor && !judge_.has_rescues()))
    return violate("the session", why);
  if (client::is_place_unknown(why, in_.acks().applied()))
    start_over();
  if (!ready_)
    return not_let_in();
  reconnect_.closed(why, 0ms);
  lost();
}

void sim_client_program::lost() {
  const auto l = std::exchange(link_, nullptr);
  sim_.note("disconnect", number(device_), number(l->node()));
  l->end_later(sim_.luck.between(0, profile_.notice_max));
  ready_ = false;
  const auto open = std::exchange(open_, {});
  calls_.reset();
  watching_ = false;
  pump_at_.reset();
  behind_gate_.clear();
  out_.lost([](const client::send_lanes::item&) {});
  in_.release_all();
  in_.acks().lost();
  reads_.lost();
  reconnect_.lost(now(), chance_, is_wanted());
  next_round(reconnect_.pause());
  for (const auto& [n, o] : open)
    o.done(nullptr);
}

// --- calls -------------------------------------------------------------------------------------------------

void sim_client_program::call(core::call what, done_type done) {
  const auto n = ++last_call_;
  open_.emplace(n, open_call{calls_->begin(now()), std::move(done)});
  link_->call(n, std::move(what));
  watch();
}

void sim_client_program::watch() {
  const auto due = calls_->due();
  if (!due || std::exchange(watching_, true))
    return;
  on_link(*due, [this, due = *due] {
    watching_ = false;
    if (calls_->is_dead(due, now()))
      lost();
    else
      watch();
  });
}

void sim_client_program::answered(std::uint64_t call, core::answer& what) {
  auto o = open_.extract(call);
  if (o.empty())
    return;
  const auto done = std::move(o.mapped().done);
  { const auto over = std::move(o); }
  done(&what);
}

void sim_client_program::consider(const client::failure& why) {
  switch (client::fate_of_session(why.code)) {
  case client::session_fate::stays:
    return;
  case client::session_fate::ends:
    return cut();
  case client::session_fate::fenced:
    return violate("a call", why.code);
  }
}

void sim_client_program::ask(std::function<core::call()> make, answered_type done) {
  ask({std::move(make), std::move(done), asking(), nullptr});
}

client::ask_rules sim_client_program::asking() const {
  return {pauses_of(profile_), now() + ask_within_};
}

void sim_client_program::attempt(std::shared_ptr<question> q) {
  if (q->only_on && q->only_on != link_)
    return;
  if (q->rules.over(now()))
    return q->done(nullptr, failed(ec::timed_out));
  if (!ready_) {
    waiting_.push_back(q);
    want_session();
    const auto left = std::chrono::ceil<std::chrono::microseconds>(q->rules.deadline() - now());
    return later(left.count(), [this, q] {
      if (const auto i = std::ranges::find(waiting_, q); i != waiting_.end()) {
        waiting_.erase(i);
        attempt(q);
      }
    });
  }
  call(q->make(), [this, q](core::answer* a) {
    if (q->only_on && q->only_on != link_)
      return;
    const auto why = a ? failure_in(*a) : failed(ec::unavailable);
    if (why.code == ec::none)
      return q->done(a, why);
    consider(why);
    if (const auto wait = q->rules.again(why, now(), chance_))
      later(*wait / std::chrono::microseconds{1}, [this, q] { attempt(q); });
    else
      q->done(nullptr, why);
  });
}

// --- the way out -------------------------------------------------------------------------------------------

void sim_client_program::send(conversation_id to, std::string body) {
  if (out_.full())
    return sim_.violate("harness: an outbox is full");
  const auto hash = fuzz::hash_bytes(body);
  auto o = store_.enqueue(to, std::move(body), {out_.clock(calendar()), ready_});
  judge_.submitted({device_, o.sent_as()}, to, user_, hash);
  out_.add(std::move(o));
  if (ready_)
    pump();
  else
    want_session();
}

void sim_client_program::pump() {
  while (ready_) {
    const auto* item = out_.take(now());
    if (item == nullptr)
      break;
    transmit(*item);
  }
  const auto due = out_.next_due();
  if (!ready_ || !due || (pump_at_ && *pump_at_ <= *due))
    return;
  pump_at_ = due;
  on_link(*due, [this, due = *due] {
    if (pump_at_ == due)
      pump_at_.reset();
    pump();
  });
}

void sim_client_program::transmit(const client::send_lanes::item& item) {
  const client::send_attempt a{item.it.conversation, item.it.counter, item.it.sent_as(), item.attempts};
  const auto body = item.it.body;
  if (!item.first_attempt())
    ++judge_.count.retried;
  core::submission s;
  s.conversation = a.conversation;
  s.from = user_;
  s.id = {device_, a.sent_as};
  const auto hash = fuzz::hash_bytes(*body);
  for (std::size_t i = 0; i < 8; ++i)
    s.hash[i] = static_cast<std::uint8_t>(hash >> (8 * i));
  s.at = calendar(); // the gateway's
  s.copy_own = copies_ ? 1 : 0;
  s.body = *body;
  call(core::call{core::submit{std::move(s)}}, [this, a, body](core::answer* what) { sent(a, *body, what); });
}

void sim_client_program::sent(const client::send_attempt& a, const std::string& body, core::answer* what) {
  using fate = client::outbox_rules::fate;
  if (what == nullptr)
    return; // it is in its lane again
  const auto* placed = core::answer_if<core::submit>(*what);
  if (placed == nullptr)
    return sim_.violate("a message is answered as another call");
  const auto why = failure_in(*what);
  if (why.code == ec::none) {
    const client::sent there{a.counter,  a.conversation, placed->seq,
                             placed->id, placed->at,     placed->duplicate != 0};
    judge_.acked({device_, a.sent_as}, there.seq, there.duplicate);
    if (out_.stored(a, there, calendar()).what != fate::sent)
      return sim_.violate(fmt::format("message {}.{} is said to be stored before it was first sent",
                                      number(device_), a.sent_as));
    const message m{a.conversation, there.seq, there.id, user_, {device_, a.sent_as}, there.at, body};
    const bool other =
        client::is_number_taken(store_.newest(m.conversation, m.seq, 1), m) && !store_.where().compare;
    if (other)
      store_.start_over(); // the next stream compares first
    store_.sent(m);
    out_.settle(a);
    if (other)
      return cut();
  } else {
    const auto v = out_.refused(a, why, now(), calendar(), chance_);
    if (v.what != fate::again)
      return sim_.violate(fmt::format("message {}.{} is refused: {}", number(device_), a.sent_as,
                                      parley::describe(why.code).name));
    if (v.leave_node)
      return cut();
    consider(why);
  }
  pump();
}

} // namespace parley::sim
