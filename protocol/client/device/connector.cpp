// Connecting: one round after another.
//
//   pause ─▶ seed ─▶ login ─▶ online ─▶ lost ─▶ pause ─▶ …
//             ▲        │ refused for now, or unreachable: the next seed at once, after the last one a pause
//             └────────┘
//                      └ refused for good: halted
#include "protocol/client/device/connector.hpp"

#include "protocol/wire/codec.hpp"

#include <fmt/format.h>

namespace parley::client {

connector::connector(kj::Timer& timer, dialer& dial, const config& settings, client_store& store,
                     observer& events, link_listener& listener, const identity& who, dice& chance,
                     const kj::Clock& calendar, std::size_t first_seed)
    : timer_{timer}, config_{settings}, store_{store}, observer_{events}, listener_{listener}, who_{who},
      dice_{chance}, login_{timer, dial, settings, store, who, calendar}, nodes_{settings.seeds},
      rules_{settings.seeds.size(), first_seed, settings.reconnect, settings.stable_after,
             settings.reconnect_wanted_max} {}

connector::~connector() noexcept(false) {
  close();
}

void connector::close() {
  promises_.cancel("the client was closed");
  running_ = nullptr;
  link_ = nullptr;
}

void connector::start() {
  if (started_)
    return;
  started_ = true;
  if (!who_.registered()) {
    halt(link_state::refused,
         {ec::not_authenticated, "This profile is not registered yet: run `parley register`.", {}});
    return;
  }
  if (!kept(*this, [this] { learn(store_.nodes()); }))
    return;
  running_ = run().eagerlyEvaluate([this](kj::Exception&& e) {
    // Each step handles its own failures. What arrives here is the store's, and it ends the device.
    halt(link_state::broken, {ec::storage_failed, e.getDescription().cStr(), {}});
  });
}

kj::Promise<void> connector::run() {
  if (halted())
    return kj::READY_NOW;
  return pause().then([this] { return round(); }).then([this] { return run(); });
}

kj::Promise<void> connector::pause() {
  pause_ends_ = nullptr;
  if (halted() || timer_.now() >= resume_at_)
    return kj::READY_NOW;
  auto changed = kj::newPromiseAndFulfiller<void>();
  pause_ends_ = kj::mv(changed.fulfiller);
  return timer_.atTime(resume_at_).exclusiveJoin(kj::mv(changed.promise)).then([this] { return pause(); });
}

void connector::resume_in(std::chrono::milliseconds pause) {
  resume_at_ = timer_.now() + duration(pause);
  state_.next_try = pause;
  KJ_IF_MAYBE (ends, pause_ends_)
    (*ends)->fulfill();
}

bool connector::is_wanted() {
  std::erase_if(waiters_, [](auto& waiter) { return !waiter->isWaiting(); }); // they gave up
  return !waiters_.empty() || listener_.has_work();
}

void connector::learn(const std::vector<std::string>& named) {
  nodes_ = nodes_to_try(config_.seeds, named,
                        [](const std::string& text) { return transport::parse_server_address(text); });
  rules_.set_others(nodes_.size() - config_.seeds.size());
}

void connector::want_session() {
  if (pause_ends_ == nullptr)
    return;
  const auto left = std::chrono::milliseconds{(resume_at_ - timer_.now()) / kj::MILLISECONDS};
  if (const auto shorter = rules_.wanted(left, dice_); shorter < left)
    resume_in(shorter);
}

void connector::try_now() {
  rules_.encouraged();
  if (pause_ends_ != nullptr)
    resume_in({});
}

kj::Promise<void> connector::round() {
  if (halted())
    return kj::READY_NOW;
  const auto to = nodes_[rules_.seed()];
  state_.state = link_state::connecting;
  state_.at = to;
  observer_.on_state(state_);
  return timer_.timeoutAfter(duration(config_.dial_timeout), login_.establish(to))
      .then(
          [this, to](login::outcome&& o) -> kj::Promise<void> {
            return o ? stay(kj::mv(*o), to) : refused(std::move(o.error()));
          },
          [this, to](kj::Exception&& e) {
            // Only a timer gives this type here; its own words say nothing about how long it was.
            const auto what =
                e.getType() == kj::Exception::Type::OVERLOADED
                    ? fmt::format("no answer within {} s", (config_.dial_timeout.count() + 999) / 1000)
                    : std::string{e.getDescription().cStr()};
            return refused({{ec::unavailable, fmt::format("{}: {}.", transport::to_string(to), what), {}}});
          });
}

kj::Promise<void> connector::refused(login_refusal why) {
  if (halted())
    return kj::READY_NOW;
  last_failure_ = why.why;
  if (why.then != link_state::offline) {
    halt(why.then, std::move(why.why));
    return kj::READY_NOW;
  }
  state_.why = last_failure_.code;
  state_.sentence = last_failure_.sentence;
  if (rules_.failed(dice_, is_wanted()))
    return round();
  wait_for_next_round();
  return kj::READY_NOW;
}

kj::Promise<void> connector::stay(logged_in accepted, server_address at) {
  if (halted())
    return kj::READY_NOW;
  if (are_others_named(accepted.nodes, store_.nodes())) {
    if (!kept(*this, [&] { store_.set_nodes(accepted.nodes); }))
      return kj::READY_NOW;
    learn(accepted.nodes);
  }
  link_ = kj::mv(accepted.link);
  rules_.connected(now(timer_));
  last_failure_ = {ec::none, {}, {}};
  state_.state = link_state::online;
  state_.at = std::move(at);
  state_.node = accepted.node;
  ++state_.number;
  state_.why = ec::none;
  state_.sentence.clear();
  state_.next_try = {};
  observer_.on_state(state_);
  link_->add(heartbeat(*link_));
  listener_.on_online(*link_);
  say_waiters();
  // An event of its own: a link must not be destroyed by what runs inside it.
  return link_->over().then([this] { return kj::evalLater([this] { drop_link(); }); });
}

void connector::drop_link() {
  const auto why = link_->why();
  listener_.on_lost(why);
  link_ = nullptr;
  rules_.lost(now(timer_), dice_, is_wanted());
  if (halted())
    return;
  state_.why = why.code;
  state_.sentence = why.sentence;
  wait_for_next_round();
}

void connector::wait_for_next_round() {
  state_.state = link_state::offline;
  resume_in(rules_.pause());
  observer_.on_state(state_);
}

void connector::halt(link_state final_state, failure why) {
  if (halted())
    return;
  state_.state = final_state;
  state_.why = why.code;
  state_.sentence = why.sentence;
  state_.next_try = {};
  if (link_)
    link_->end(why);
  observer_.on_state(state_);
  say_waiters();
  listener_.on_halted(why);
}

void connector::say_waiters() {
  for (auto& waiter : waiters_)
    waiter->fulfill();
  waiters_.clear();
}

void connector::disconnect() {
  if (link_)
    link_->end({ec::unavailable, "Disconnected as asked.", {}});
}

void connector::closed_by_node(failure why, std::chrono::milliseconds reconnect_after) {
  if (why.code == ec::fenced) {
    halt(link_state::fenced, std::move(why));
    return;
  }
  rules_.closed(why.code, reconnect_after);
  if (link_)
    link_->end(why.code == ec::none ? refuse(ec::session_closed) : why);
}

void connector::consider(const failure& f) {
  switch (fate_of_session(f.code)) {
  case session_fate::stays:
    return;
  case session_fate::ends:
    if (link_)
      link_->end(f);
    return;
  case session_fate::fenced:
    return halt(link_state::fenced, f);
  }
}

kj::Promise<void> connector::heartbeat(client_link& link) {
  return timer_.atTime(point(link.last_call() + config_.ping_every))
      .then([this, &link]() -> kj::Promise<void> {
        if (link.last_call() + config_.ping_every > now(timer_))
          return heartbeat(link);
        auto ticket = link.begin_call();
        return link.session()
            .pingRequest(request_size())
            .send()
            .ignoreResult()
            .attach(kj::mv(ticket))
            .then([this, &link] { return heartbeat(link); });
      });
}

kj::Promise<void> connector::session_or(kj::TimePoint deadline) {
  if (link_ || halted())
    return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiters_.push_back(kj::mv(paf.fulfiller));
  want_session();
  return kj::mv(paf.promise).exclusiveJoin(timer_.atTime(deadline));
}

kj::Promise<result<nothing>> connector::online() {
  if (link_)
    return result<nothing>{};
  if (halted())
    return result<nothing>{tl::unexpected{why_halted()}};
  auto paf = kj::newPromiseAndFulfiller<void>();
  waiters_.push_back(kj::mv(paf.fulfiller));
  want_session();
  return promises_.wrap(paf.promise.then([this]() -> kj::Promise<result<nothing>> { return online(); }));
}

kj::Promise<void> connector::stop(kj::Promise<void> before) {
  const failure stopped{ec::session_closed, "Stopped.", {}};
  if (!link_ || halted()) {
    halt(link_state::stopped, stopped);
    return kj::READY_NOW;
  }
  auto goodbye = before.then([this]() -> kj::Promise<void> {
    if (!link_)
      return kj::READY_NOW;
    return link_->session().logoutRequest(request_size()).send().ignoreResult();
  });
  // A node that went away meanwhile needs no goodbye.
  return promises_.wrap(timer_.timeoutAfter(duration(config_.call_timeout), kj::mv(goodbye))
                            .then([] {}, [](kj::Exception&&) {})
                            .then([this, stopped] { halt(link_state::stopped, stopped); }));
}

} // namespace parley::client
