#include "actors/kj_mailbox.hpp"

#include "protocol/transport/turn_end.hpp"
#include "protocol/values/overloaded.hpp"

#include <algorithm>
#include <caf/send.hpp>
#include <kj/debug.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace parley {
namespace {

struct answers_came {
  std::vector<numbered_answer> answers;
};
struct rows_came {};
struct session_closed {
  ec why{};
};

/// What actors send to one KJ thread.
struct crossing {
  std::uint64_t session = 0; ///< its number
  std::variant<answers_came, core::attached, rows_came, session_closed> what;
};

/// Owns:   the queue and the eventfd that wakes the loop.
/// Thread: `post` from any, also after the loop has ended; the rest on the loop's thread.
class kj_mailbox {
public:
  kj_mailbox() : fd_{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)} {}
  ~kj_mailbox() { ::close(fd_); }
  kj_mailbox(const kj_mailbox&) = delete;
  kj_mailbox& operator=(const kj_mailbox&) = delete;

  void post(crossing c) {
    bool was_empty = false;
    {
      std::lock_guard guard{mutex_};
      was_empty = queue_.empty();
      queue_.push_back(std::move(c));
    }
    if (was_empty)
      eventfd_write(fd_, 1);
  }
  std::vector<crossing> take() {
    eventfd_t ignored = 0;
    eventfd_read(fd_, &ignored);
    std::vector<crossing> burst;
    std::lock_guard guard{mutex_};
    burst.swap(queue_);
    return burst;
  }
  int fd() const { return fd_; }

private:
  int fd_;
  std::mutex mutex_;
  std::vector<crossing> queue_;
};

class port final : public session_port {
public:
  port(std::shared_ptr<kj_mailbox> mailbox, std::uint64_t session)
      : mailbox_{std::move(mailbox)}, session_{session} {}
  void answered(std::vector<numbered_answer> answers) override {
    mailbox_->post({session_, answers_came{std::move(answers)}});
  }
  void attached(const core::attached& state) override { mailbox_->post({session_, state}); }
  void rows_ready() override {
    if (!told_.exchange(true)) // one notification until the loop has looked
      mailbox_->post({session_, rows_came{}});
  }
  void closed(ec why) override { mailbox_->post({session_, session_closed{why}}); }
  void looked() { told_.store(false); }

private:
  std::shared_ptr<kj_mailbox> mailbox_;
  std::uint64_t session_;
  std::atomic<bool> told_{false};
};

class kj_backend;

/// One session actor as the gateway sees it. Owns the promises of its unanswered calls.
class kj_session final : public gateway::session {
public:
  kj_session(kj_backend& owner, const session_identity& who, gateway::connection_sink* sink);
  ~kj_session() noexcept(false) override;

  kj::Promise<core::answer> ask(core::call what) override;
  bool start_receiving(inbox_pos after) override;
  std::vector<core::outgoing_row> take(std::size_t rows_max, std::size_t bytes_max) override {
    port_->looked();
    auto rows = box_->take(rows_max, bytes_max);
    if (!rows.empty() && box_->rows() == 0)
      caf::anon_send(actor_, atom::took_v);
    return rows;
  }
  bool copies_own() const override { return devices_ > 1; }

  kj::Promise<core::attached> first_attach();
  void cross(crossing& c);
  void flush();
  /// The backend ends before this session, which a login under way still holds.
  void outlive_owner() { owner_ = nullptr; }

private:
  /// `sends`: as `user_rates::take`. Zero: they may ask. Else how long they wait; meanwhile, or for the longest rest if that
  /// is shorter, their connection is not read.
  std::chrono::milliseconds pause_before(std::uint32_t sends);

  kj_backend* owner_; ///< null once it has ended
  std::uint64_t number_;
  user_id user_;
  std::shared_ptr<user_rates> rates_;
  gateway::connection_sink* sink_;
  std::shared_ptr<port> port_;
  std::shared_ptr<delivery_queue> box_;
  session_actor actor_;
  std::uint64_t last_call_ = 0;
  std::uint64_t streams_ = 0;
  std::unordered_map<std::uint64_t, kj::Own<kj::PromiseFulfiller<core::answer>>> open_;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<core::attached>>> attaching_;
  std::uint32_t devices_ = 1;
  call_batch turn_;
};

class kj_backend final : public gateway::backend, private kj::TaskSet::ErrorHandler {
public:
  kj_backend(caf::actor_system& sys, router_actor router, kj_backend_config config,
             std::shared_ptr<std::atomic<std::uint64_t>> numbers, kj::UnixEventPort& event_port)
      : sys_{sys}, router_{std::move(router)}, config_{config}, numbers_{std::move(numbers)},
        timer_{event_port.getTimer()}, mailbox_{std::make_shared<kj_mailbox>()},
        readable_{event_port, mailbox_->fd(), kj::UnixEventPort::FdObserver::OBSERVE_READ}, tasks_{*this} {
    if (!config_.session.rates)
      config_.session.rates = make_rates(config_.session);
    tasks_.add(listen());
    own_ = kj::heap<kj_session>(*this, session_identity{next_ref(), {}, {}, {}}, nullptr);
  }
  ~kj_backend() noexcept(false) override {
    for (auto& [number, session] : sessions_)
      session->outlive_owner();
  }

  kj::Promise<core::answer> ask(core::call what) override { return own_->ask(std::move(what)); }

  kj::Promise<gateway::login_result> open_session(const gateway::login_request& who,
                                                  gateway::connection_sink& sink) override {
    const session_identity identity{next_ref(), who.user, who.device, who.session, who.key};
    if (!identity.has_user()) { // its session would attach to no inbox, and the login would never be answered
      gateway::login_result nobody;
      nobody.error = ec::no_such_user;
      return nobody;
    }
    auto session = kj::heap<kj_session>(*this, identity, &sink);
    auto attached = session->first_attach();
    return attached.then([session = kj::mv(session)](core::attached a) mutable {
      gateway::login_result r;
      r.error = a.error;
      r.retry_after_ms = a.retry_after_ms;
      r.acknowledged = a.acknowledged;
      if (a.error == ec::none)
        r.it = kj::mv(session);
      return r;
    });
  }

  /// The session has calls for its actor. They are sent at the end of this turn of the loop.
  void dirty(kj_session& s) {
    dirty_.push_back(&s);
    if (flushing_)
      return;
    flushing_ = true;
    tasks_.add(transport::turn_end(timer_).then([this] {
      flushing_ = false;
      for (auto* each : std::exchange(dirty_, {}))
        each->flush();
    }));
  }
  void enter(std::uint64_t number, kj_session& s) { sessions_.emplace(number, &s); }
  void leave(std::uint64_t number, kj_session& s) {
    sessions_.erase(number);
    std::erase(dirty_, &s);
  }
  caf::actor_system& system() { return sys_; }
  const router_actor& router() const { return router_; }
  const kj_backend_config& config() const { return config_; }
  const std::shared_ptr<kj_mailbox>& mailbox() const { return mailbox_; }

private:
  core::connection_ref next_ref() { return {config_.node, ++*numbers_, config_.process}; }

  kj::Promise<void> listen() {
    return readable_.whenBecomesReadable().then([this] {
      for (auto& c : mailbox_->take())
        if (auto i = sessions_.find(c.session); i != sessions_.end())
          i->second->cross(c);
      return listen();
    });
  }
  void taskFailed(kj::Exception&& e) override { KJ_LOG(ERROR, "the gateway's mailbox failed", e.getType()); }

  caf::actor_system& sys_;
  router_actor router_;
  kj_backend_config config_;
  std::shared_ptr<std::atomic<std::uint64_t>> numbers_;
  kj::Timer& timer_;
  std::shared_ptr<kj_mailbox> mailbox_;
  kj::UnixEventPort::FdObserver readable_;
  std::unordered_map<std::uint64_t, kj_session*> sessions_;
  std::vector<kj_session*> dirty_;
  bool flushing_ = false;
  kj::Own<kj_session> own_;
  kj::TaskSet tasks_;
};

kj_session::kj_session(kj_backend& owner, const session_identity& who, gateway::connection_sink* sink)
    : owner_{&owner}, number_{who.ref.number}, user_{who.user}, rates_{owner.config().session.rates},
      sink_{sink}, port_{std::make_shared<port>(owner.mailbox(), who.ref.number)},
      box_{std::make_shared<delivery_queue>(owner.config().session.queue_rows_max,
                                            owner.config().session.queue_bytes_max, owner.config().queues)},
      actor_{spawn_session(owner.system(), who, owner.config().session, port_, box_, owner.router())} {
  owner.enter(number_, *this);
}

kj_session::~kj_session() noexcept(false) {
  if (owner_ != nullptr)
    owner_->leave(number_, *this);
  caf::anon_send(actor_, atom::stop_v);
}

kj::Promise<core::attached> kj_session::first_attach() {
  auto paf = kj::newPromiseAndFulfiller<core::attached>();
  attaching_ = kj::mv(paf.fulfiller);
  return kj::mv(paf.promise);
}

kj::Promise<core::answer> kj_session::ask(core::call what) {
  if (owner_ == nullptr)
    return core::refusal(what, ec::unavailable);
  // The conversation answers retries even above its limit. A user who sends this fast gets none answered, and has to
  // wait.
  if (const auto pause = pause_before(core::sends_of(what)); pause.count() != 0) {
    count(owner_->config().session.refused, &refused_calls::rate_of_user);
    return core::refusal(what, ec::rate_limited, static_cast<std::uint32_t>(pause.count()));
  }
  const auto n = ++last_call_;
  auto paf = kj::newPromiseAndFulfiller<core::answer>();
  open_.emplace(n, kj::mv(paf.fulfiller));
  if (turn_.calls.empty())
    owner_->dirty(*this);
  turn_.calls.push_back({n, answer_sink{}, std::move(what)});
  return kj::mv(paf.promise);
}

std::chrono::milliseconds kj_session::pause_before(std::uint32_t sends) {
  using std::chrono::milliseconds;
  if (user_ == user_id{})
    return milliseconds{0};
  const auto wait = rates_->take(user_, sends, std::chrono::steady_clock::now());
  if (wait.count() == 0)
    return milliseconds{0};
  const auto pause = std::max(std::chrono::ceil<milliseconds>(wait), gateway::rest_min);
  if (sink_)
    sink_->rest(std::min(pause, gateway::rest_max));
  return pause;
}

bool kj_session::start_receiving(inbox_pos after) {
  if (pause_before(0).count() != 0)
    return false;
  // At once: the actor may put rows of the stream before until it hears of the new one.
  box_->begin(++streams_);
  caf::anon_send(actor_, parley::start_streaming{after, streams_});
  return true;
}

void kj_session::flush() {
  caf::anon_send(actor_, std::exchange(turn_, {}));
}

void kj_session::cross(crossing& c) {
  std::visit(overloaded{
                 [&](answers_came& came) {
                   for (auto& a : came.answers)
                     if (auto open = open_.extract(a.number); !open.empty())
                       open.mapped()->fulfill(kj::mv(a.what));
                 },
                 [&](core::attached& state) {
                   if (state.error == ec::none)
                     devices_ = state.devices;
                   KJ_IF_MAYBE (f, attaching_) {
                     (*f)->fulfill(kj::mv(state));
                     attaching_ = nullptr;
                   }
                 },
                 [&](rows_came&) {
                   if (sink_)
                     sink_->rows_ready();
                   else
                     port_->looked();
                 },
                 [&](session_closed& closed) {
                   if (sink_)
                     sink_->close(closed.why, 0);
                 },
             },
             c.what);
}

} // namespace

kj::Own<gateway::backend> make_kj_backend(caf::actor_system& sys, router_actor router,
                                          kj_backend_config config,
                                          std::shared_ptr<std::atomic<std::uint64_t>> numbers,
                                          kj::UnixEventPort& port) {
  return kj::heap<kj_backend>(sys, std::move(router), config, std::move(numbers), port);
}

} // namespace parley
