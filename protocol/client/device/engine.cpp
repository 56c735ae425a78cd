#include "protocol/client/device/engine.hpp"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <algorithm>
#include <stdexcept>

namespace parley::client {
namespace {

std::uint64_t fresh_chance() {
  std::uint64_t seed = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&seed), sizeof seed);
  return seed;
}

/// Refusals that another attempt, here or elsewhere, cannot change.
bool is_final(const failure& f) {
  return !f.retryable;
}

[[noreturn]] void lose(std::string_view sentence) {
  kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, std::string{sentence}.c_str()));
}

} // namespace

std::string_view name(link_state s) {
  switch (s) {
  case link_state::offline:
    return "offline";
  case link_state::connecting:
    return "connecting";
  case link_state::online:
    return "online";
  case link_state::fenced:
    return "fenced";
  case link_state::refused:
    return "refused";
  case link_state::broken:
    return "broken";
  case link_state::stopped:
    return "stopped";
  }
  return "unknown";
}

engine::engine(kj::Timer& timer, dialer& dial, config settings, client_store& store, observer& hears,
               recorder* records, const kj::Clock& calendar)
    : timer_{timer}, dialer_{dial}, config_{std::move(settings)}, store_{store}, observer_{hears},
      recorder_{records}, calendar_{calendar}, dice_{config_.chance ? config_.chance : fresh_chance()},
      reconnect_{config_.reconnect}, online_since_{timer.now()}, lanes_{config_.window},
      last_ack_{kj::origin<kj::TimePoint>()}, tasks_{*this} {
  if (const auto field = config_.objection(); !field.empty())
    throw std::invalid_argument{fmt::format("The client's setting {} cannot be run with.", field)};
  seed_ =
      config_.first_seed < config_.seeds.size() ? config_.first_seed : dice_.upto(config_.seeds.size() - 1);
  if (auto who = store_.who())
    who_ = *who;
  store_.restore(applier_);
  place_ = store_.where();
  for (auto& o : store_.waiting())
    lanes_.add(std::move(o));
  for (const auto& r : store_.reads_owed())
    reads_[r.conversation].wanted = r.upto;
}

engine::~engine() noexcept(false) {
  promises_.cancel("the client was closed");
}

void engine::taskFailed(kj::Exception&& e) {
  // Tasks handle their own failures; what arrives here is the store's, and it ends the device.
  halt(link_state::broken, {ec::storage_failed, e.getDescription().cStr(), {}});
}

// --- becoming somebody -------------------------------------------------------------------------------------

kj::Promise<result<std::chrono::seconds>> engine::request_code(std::string phone) {
  using answer = result<std::chrono::seconds>;
  auto make = [phone = std::move(phone)](rpc::Gateway::Client& gateway) -> kj::Promise<answer> {
    auto call = gateway.requestCodeRequest(request_size(phone.size()));
    call.setPhone(phone.c_str());
    return call.send().then([](auto&& a) -> answer {
      if (auto f = to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      return std::chrono::seconds{a.getExpiresInS()};
    });
  };
  const auto deadline = timer_.now() + duration(config_.ask_timeout);
  return promises_.wrap(at_gateway<std::chrono::seconds>(
      std::make_shared<std::function<kj::Promise<answer>(rpc::Gateway::Client&)>>(std::move(make)), deadline,
      backoff{config_.resend}, 0));
}

kj::Promise<result<identity>> engine::register_device(std::string phone, std::string code, std::string name) {
  using answer = result<identity>;
  // The key is kept before it is shown to anybody: a registration whose answer is lost is repeated with it.
  auto mine = store_.who().value_or(identity{});
  if (mine.registered())
    return answer{tl::unexpected{
        failure{ec::bad_request,
                "This profile is registered already: give another --profile for another device.",
                {}}}};
  if (mine.key == key_pair{})
    mine.key = make_key();
  mine.phone = phone;
  store_.set_identity(mine);
  auto make = [this, mine, phone = std::move(phone), code = std::move(code),
               name = std::move(name)](rpc::Gateway::Client& gateway) -> kj::Promise<answer> {
    auto call = gateway.registerRequest(request_size(phone.size() + code.size() + name.size() + 32));
    call.setPhone(phone.c_str());
    call.setCode(code.c_str());
    call.setDeviceKey(kj::arrayPtr(mine.key.open.data(), mine.key.open.size()));
    call.setDeviceName(name.c_str());
    return call.send().then([this, mine](auto&& a) mutable -> answer {
      if (auto f = to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      mine.user = user_id{a.getUser()};
      mine.device = device_id{a.getDevice()};
      store_.set_identity(mine);
      who_ = mine;
      return mine;
    });
  };
  const auto deadline = timer_.now() + duration(config_.ask_timeout);
  return promises_.wrap(at_gateway<identity>(
      std::make_shared<std::function<kj::Promise<answer>(rpc::Gateway::Client&)>>(std::move(make)), deadline,
      backoff{config_.resend}, 0));
}

// --- being connected ---------------------------------------------------------------------------------------

void engine::start() {
  if (started_)
    return;
  started_ = true;
  if (!who_.registered()) {
    halt(link_state::refused,
         {ec::not_authenticated, "This profile is not registered yet: run `parley register`.", {}});
    return;
  }
  tasks_.add(run());
}

/// One round after another: wait, then try each seed in turn until one takes us; stay until that connection
/// is lost.
kj::Promise<void> engine::run() {
  if (halted())
    return kj::READY_NOW;
  return timer_.afterDelay(duration(wait_)).then([this] { return round(0); }).then([this] { return run(); });
}

kj::Promise<void> engine::round(std::size_t tried) {
  if (halted())
    return kj::READY_NOW;
  if (tried == config_.seeds.size()) {
    wait_before_next(reconnect_.next(dice_));
    return kj::READY_NOW;
  }
  return connect(config_.seeds[seed_ % config_.seeds.size()], tried);
}

kj::Promise<void> engine::connect(endpoint to, std::size_t tried) {
  state_.state = link_state::connecting;
  state_.at = to;
  observer_.on_state(state_);
  return timer_.timeoutAfter(duration(config_.dial_timeout), establish(to))
      .then(
          [this, to](kj::Own<client_link>&& w) -> kj::Promise<bool> {
            if (halted())
              return true;
            go_online(kj::mv(w), to);
            // An event of its own: a link must not be destroyed by what runs inside it.
            return link_->over().then([this] { return kj::evalLater([this] { drop_link(); }); }).then([] {
              return true;
            });
          },
          [this, to](kj::Exception&& e) -> kj::Promise<bool> {
            if (last_failure_.code == ec::none)
              last_failure_ = {ec::unavailable,
                               fmt::format("{}: {}.", transport::to_string(to), e.getDescription().cStr()),
                               {}};
            state_.why = last_failure_.code;
            state_.sentence = last_failure_.sentence;
            ++seed_;
            return false;
          })
      .then([this, tried](bool was_online) -> kj::Promise<void> {
        return was_online ? kj::Promise<void>{kj::READY_NOW} : round(tried + 1);
      });
}

kj::Promise<kj::Own<client_link>> engine::establish(endpoint to) {
  last_failure_ = {ec::none, {}, {}};
  return dialer_.dial(to).then([this](kj::Own<line>&& l) {
    auto w = kj::heap<client_link>(kj::mv(l), timer_, config_.call_timeout);
    auto call = w->gateway().helloRequest(request_size());
    call.setVersion(rpc::PROTOCOL_VERSION);
    auto& it = *w;
    auto lost = it.over().then([] { lose("the connection was lost before the login"); });
    return call.send()
        .then([this, &it](auto&& hello) {
          if (auto f = to_failure(hello.getError()); f.code != ec::none) {
            last_failure_ = f;
            if (f.code == ec::unsupported_version)
              halt(link_state::refused, f);
            lose(f.sentence);
          }
          transport::login_claim claim;
          if (hello.getChallenge().size() != claim.challenge.size())
            lose("the node's challenge cannot be signed");
          claim.cluster_hi = hello.getCluster().getHi();
          claim.cluster_lo = hello.getCluster().getLo();
          claim.node = node_id{hello.getNode()};
          std::copy(hello.getChallenge().begin(), hello.getChallenge().end(), claim.challenge.begin());
          claim.user = who_.user;
          claim.device = who_.device;
          claim.exporter = it.exporter();
          state_.node = claim.node;
          return log_in(it, claim);
        })
        .exclusiveJoin(kj::mv(lost))
        .then([w = kj::mv(w)]() mutable { return kj::mv(w); });
  });
}

/// What the login writes. A store that fails ends the device: no other node could help.
template <class Write>
auto engine::stored(Write write) {
  try {
    return write();
  } catch (const store_error& e) {
    last_failure_ = {ec::storage_failed, e.what(), {}};
    halt(link_state::broken, last_failure_);
    lose(e.what());
  }
}

/// Numbers the attempt, then signs for it. The number is on disk before anybody sees it: one that is not kept
/// could be given again, and would then lose against the connection that has it.
std::array<std::uint8_t, 64> engine::prove(transport::login_claim& claim) {
  claim.session = stored(
      [this] { return store_.next_session(unix_ms{(calendar_.now() - kj::UNIX_EPOCH) / kj::MILLISECONDS}); });
  return sign(who_.key, transport::login_proof_bytes(claim));
}

void engine::refused(const failure& why) {
  last_failure_ = why;
  if (is_final(why))
    halt(why.code == ec::fenced ? link_state::fenced : link_state::refused, why);
  lose(why.sentence);
}

// With a token the node knows at once where we were; without one, or if it does not like the token, a login.
kj::Promise<void> engine::log_in(client_link& w, transport::login_claim claim) {
  const auto token = store_.token();
  if (token.empty())
    return log_in_anew(w, claim);
  const auto proof = prove(claim);
  auto call = w.gateway().resumeRequest(request_size(64 + token.size()));
  call.setResumeToken(as_data(token));
  call.setSignature(kj::arrayPtr(proof.data(), proof.size()));
  call.setSessionNumber(number(claim.session));
  return call.send().then([this, &w, claim](auto&& answer) -> kj::Promise<void> {
    const auto f = to_failure(answer.getError());
    if (f.code == ec::none) {
      enter(w, answer);
      return kj::READY_NOW;
    }
    if (!is_final(f) || f.code == ec::fenced)
      refused(f);
    stored([this] { store_.set_token({}); }); // it is too old, or another cluster's: it proves nothing anyway
    return log_in_anew(w, claim);
  });
}

kj::Promise<void> engine::log_in_anew(client_link& w, transport::login_claim claim) {
  const auto proof = prove(claim);
  auto call = w.gateway().loginRequest(request_size(64));
  call.setUser(number(who_.user));
  call.setDevice(number(who_.device));
  call.setSignature(kj::arrayPtr(proof.data(), proof.size()));
  call.setSessionNumber(number(claim.session));
  return call.send().then([this, &w](auto&& answer) {
    if (const auto f = to_failure(answer.getError()); f.code != ec::none)
      refused(f);
    enter(w, answer);
  });
}

template <class Answer>
void engine::enter(client_link& w, Answer& answer) {
  w.set_session(answer.getSession());
  stored([&] { store_.set_token(bytes(answer.getResumeToken())); });
}

void engine::go_online(kj::Own<client_link> w, const endpoint& to) {
  link_ = kj::mv(w);
  online_since_ = timer_.now();
  refusals_ = 0;
  spread_by_server_ = false;
  state_.state = link_state::online;
  state_.at = to;
  state_.number = ++connections_;
  state_.why = ec::none;
  state_.sentence.clear();
  state_.next_try = {};
  observer_.on_state(state_);
  link_->add(heartbeat(*link_));
  if (config_.how == intake::live)
    link_->add(begin_receiving(*link_, place_.applied));
  for (auto& waiter : online_waiters_)
    waiter->fulfill();
  online_waiters_.clear();
  // What an earlier connection applied and could not acknowledge any more.
  if (place_.applied != place_.acknowledged)
    send_ack();
  send_reads();
  pump();
}

void engine::drop_link() {
  if (!link_)
    return;
  const auto why = link_->why();
  lanes_.all_again([&](const send_lanes::item& i) {
    record_send(history_event::kind::info, {i.it.conversation, i.it.counter, i.attempts}, *i.it.body,
                why.code, nullptr);
  });
  for (auto& [c, r] : reads_)
    r.under_way = false;
  ack_under_way_ = ack_armed_ = false;
  pump_armed_ = nullptr;
  link_ = nullptr;
  ++seed_; // the next one: whatever happened to this node may last
  if (halted())
    return;
  state_.why = why.code;
  state_.sentence = why.sentence;
  if (timer_.now() - online_since_ >= duration(config_.stable_after))
    reconnect_.reset();
  if (!spread_by_server_)
    wait_ = reconnect_.next(dice_);
  wait_before_next(wait_);
}

void engine::wait_before_next(std::chrono::milliseconds wait) {
  wait_ = wait;
  state_.state = link_state::offline;
  state_.next_try = wait;
  observer_.on_state(state_);
}

void engine::halt(link_state final_state, failure why) {
  if (halted())
    return;
  state_.state = final_state;
  state_.why = why.code;
  state_.sentence = why.sentence;
  state_.next_try = {};
  if (link_)
    link_->end(why);
  observer_.on_state(state_);
  for (auto& waiter : online_waiters_)
    waiter->fulfill();
  online_waiters_.clear();
  for (auto& waiter : settled_waiters_)
    waiter->fulfill();
  settled_waiters_.clear();
  // The messages stay in the store; only those who wait here are told that they wait in vain.
  for (auto& [counter, fulfiller] : promised_)
    fulfiller->fulfill(tl::unexpected{why});
  promised_.clear();
}

void engine::disconnect() {
  if (link_)
    link_->end({ec::unavailable, "Disconnected as asked.", {}});
}

void engine::server_closes(failure why, std::chrono::milliseconds reconnect_after) {
  if (why.code == ec::fenced) {
    halt(link_state::fenced, why);
    return;
  }
  if (reconnect_after.count() > 0) {
    wait_ = reconnect_after;
    spread_by_server_ = true;
  }
  if (link_)
    link_->end(why.code == ec::none ? refuse(ec::session_closed) : why);
}

void engine::consider(const failure& f) {
  if (f.code == ec::fenced)
    halt(link_state::fenced, f);
  else if (link_ &&
           (f.code == ec::session_closed || f.code == ec::draining || f.code == ec::not_authenticated))
    link_->end(f);
}

kj::Promise<void> engine::heartbeat(client_link& w) {
  return timer_.atTime(w.last_call() + duration(config_.ping_every)).then([this, &w]() -> kj::Promise<void> {
    if (w.last_call() + duration(config_.ping_every) > timer_.now())
      return heartbeat(w);
    auto ticket = w.begin_call();
    return w.session()
        .pingRequest(request_size())
        .send()
        .ignoreResult()
        .attach(kj::mv(ticket))
        .then([this, &w] { return heartbeat(w); });
  });
}

kj::Promise<void> engine::session_or(kj::TimePoint deadline) {
  if (link_ || halted())
    return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  online_waiters_.push_back(kj::mv(paf.fulfiller));
  return kj::mv(paf.promise).exclusiveJoin(timer_.atTime(deadline));
}

kj::Promise<result<nothing>> engine::online() {
  if (link_)
    return result<nothing>{};
  if (halted())
    return result<nothing>{tl::unexpected{failure{state_.why, state_.sentence, {}}}};
  auto paf = kj::newPromiseAndFulfiller<void>();
  online_waiters_.push_back(kj::mv(paf.fulfiller));
  return promises_.wrap(paf.promise.then([this]() -> kj::Promise<result<nothing>> { return online(); }));
}

kj::Promise<void> engine::stop() {
  if (!link_ || halted()) {
    halt(link_state::stopped, {ec::session_closed, "Stopped.", {}});
    return kj::READY_NOW;
  }
  kj::Promise<void> acknowledged = kj::READY_NOW;
  if (place_.applied != place_.acknowledged) {
    auto call = link_->session().ackDeliveredRequest(request_size(place_.applied.size()));
    call.setCursor(as_data(place_.applied));
    acknowledged = call.send().then([this, upto = place_.applied](auto&& a) {
      if (a.getError().getCode() == 0) {
        store_.acknowledged(upto);
        place_.acknowledged = upto;
      }
    });
  }
  auto goodbye = acknowledged.then([this]() -> kj::Promise<void> {
    if (!link_)
      return kj::READY_NOW;
    return link_->session().logoutRequest(request_size()).send().ignoreResult();
  });
  // A node that went away meanwhile has heard enough.
  return promises_.wrap(timer_.timeoutAfter(duration(config_.call_timeout), kj::mv(goodbye))
                            .then([] {}, [](kj::Exception&&) {})
                            .then([this] {
                              halt(link_state::stopped, {ec::session_closed, "Stopped.", {}});
                            }));
}

// --- calls -------------------------------------------------------------------------------------------------

kj::Promise<result<opened_direct>> engine::open_direct(user_id user, std::string phone) {
  using answer = result<opened_direct>;
  return ask<opened_direct>([user, phone = std::move(phone)](client_link& w) -> kj::Promise<answer> {
    auto call = w.session().openDirectRequest(request_size(phone.size()));
    call.setUser(number(user));
    call.setPhone(phone.c_str());
    return call.send().then([](auto&& a) -> answer {
      if (auto f = to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      return opened_direct{to_conversation(a.getConversation()), user_id{a.getUser()}};
    });
  });
}

kj::Promise<result<conversation_list>> engine::conversations(conversation_id after, std::uint32_t limit) {
  using answer = result<conversation_list>;
  return ask<conversation_list>([after, limit](client_link& w) -> kj::Promise<answer> {
    auto call = w.session().conversationsRequest(request_size());
    fill(call.initAfter(), after);
    call.setLimit(limit);
    return call.send().then([](auto&& a) -> answer {
      if (auto f = to_failure(a.getError()); f.code != ec::none)
        return tl::unexpected{std::move(f)};
      conversation_list list;
      for (auto item : a.getItems())
        list.items.push_back(to_info(item));
      list.more = a.getMore();
      return list;
    });
  });
}

kj::Promise<result<conversation_page>> engine::sync_conversation(conversation_id c, seq_no after,
                                                                 std::uint32_t limit) {
  using answer = result<conversation_page>;
  return ask<conversation_page>([this, c, after, limit](client_link& w) -> kj::Promise<answer> {
    auto e = event(history_event::kind::invoke, history_event::what::sync);
    e.conversation = c;
    e.prev = after;
    if (recorder_)
      recorder_->record(e);
    auto call = w.session().syncConversationRequest(request_size());
    fill(call.initConversation(), c);
    call.setAfter(number(after));
    call.setLimit(limit);
    return call.send().then([this, e](auto&& a) mutable -> answer {
      e.at = event(e.type, e.f).at;
      if (auto f = to_failure(a.getError()); f.code != ec::none) {
        e.type = history_event::kind::fail; // a read that says no has read nothing
        e.error = f.code;
        if (recorder_)
          recorder_->record(e);
        return tl::unexpected{std::move(f)};
      }
      conversation_page page;
      page.messages.reserve(a.getMessages().size());
      for (auto m : a.getMessages())
        page.messages.push_back(to_message(m));
      for (auto m : a.getWatermarks())
        page.marks.push_back(to_watermark(m));
      page.last = seq_no{a.getLast()};
      page.more = a.getMore();
      if (recorder_) {
        e.type = history_event::kind::ok;
        e.seq = page.last;
        e.page = &page;
        recorder_->record(e);
      }
      return page;
    });
  });
}

} // namespace parley::client
