#include "protocol/gateway/connection.hpp"

#include "protocol/gateway/call_shape.hpp"
#include "protocol/gateway/crypto.hpp"
#include "protocol/gateway/rows.hpp"
#include "protocol/gateway/rpc_objects.hpp"
#include "protocol/gateway/tokens.hpp"
#include "protocol/transport/turn_end.hpp"

namespace parley::gateway {
namespace {

kj::Duration span(std::chrono::milliseconds d) {
  return static_cast<std::int64_t>(d.count()) * kj::MILLISECONDS;
}

/// The error that a client gets at its next login after we closed its stream for `r`. `none` if it knows
/// the reason already, or closed the stream itself.
ec told_as(transport::close_reason r) {
  using transport::close_reason;
  switch (r) {
  case close_reason::outbound_full:
  case close_reason::write_deadline:
  case close_reason::receiver_stalled:
  case close_reason::buffers_full:
    return ec::overloaded;
  case close_reason::idle:
    return ec::session_closed;
  case close_reason::bad_frame:
  case close_reason::message_too_large:
  case close_reason::handshake_flood:
  case close_reason::rpc_failed:
    return ec::bad_request;
  default:
    return ec::none;
  }
}

} // namespace

/// A receiver of the client, and the pump that serves it. A pump that waits keeps it after it was replaced:
/// the promise it waits for would otherwise be rejected.
struct connection::reception final : public kj::Refcounted {
  reception(rpc::Receiver::Client r, kj::TimePoint now) : receiver{kj::mv(r)}, waiting_since{now} {}
  rpc::Receiver::Client receiver;
  bool pumping = false;
  bool waiting = false; ///< until there is room in its window
  kj::TimePoint waiting_since;
};

/// The door is created when the client asks for it, and is the same for the whole connection, because each
/// would be an export of its own. A client that has logged in needs none, so it is destroyed after the login,
/// once the client releases it.
struct connection::rpc_side final : private capnp::BootstrapFactory<capnp::rpc::twoparty::VatId> {
  explicit rpc_side(connection& c)
      : owner{c}, network{*c.stream_, transport::side::server,
                          transport::rpc_options(c.parts_->config.nesting_max), &c},
        system{capnp::makeRpcServer(
            network, static_cast<capnp::BootstrapFactory<capnp::rpc::twoparty::VatId>&>(*this))} {
    system.setFlowLimit(c.parts_->config.flow_words_max);
  }
  /// Once a message has arrived, the only connection has been accepted: the RPC system need not wait for
  /// others.
  void stop_accepting() { auto ended = system.run(); }
  capnp::Capability::Client createFor(capnp::rpc::twoparty::VatId::Reader) override {
    KJ_IF_MAYBE (it, door)
      return *it;
    auto it = make_door(kj::addRef(owner));
    door = it;
    return kj::mv(it);
  }

  connection& owner;
  kj::Maybe<rpc::Gateway::Client> door;
  transport::rpc_line network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> system;
};

connection::connection(kj::Own<server_parts> parts, kj::AutoCloseFd fd, const transport::tls_context& tls,
                       const network_keys& from)
    : parts_{kj::mv(parts)}, stream_{kj::heap<transport::message_stream>(parts_->port, kj::mv(fd), tls,
                                                                         transport::side::server,
                                                                         parts_->config.stream)},
      from_{from}, opened_at_{parts_->port.getTimer().now()}, closing_since_{opened_at_},
      taken_at_{opened_at_}, tasks_{kj::heap<kj::TaskSet>(static_cast<kj::TaskSet::ErrorHandler&>(*this))} {
  stream_->limit_inbound(parts_->config.login_bytes_max);
  stream_->watch(this);
  stream_->share(parts_->buffers);
  stream_->write_in_steps(parts_->large_steps);
  stream_->read_in_steps(parts_->read_steps);
}

connection::~connection() noexcept(false) = default;

void connection::start() {
  // A handshake that fails has closed the stream. It is counted when the connection is retired.
  tasks_->add(
      stream_->handshake(parts_->handshake_steps).then([this] { start_rpc(); }, [](kj::Exception&&) {}));
}

void connection::start_rpc() {
  rpc_ = kj::heap<rpc_side>(*this);
}

void connection::sweep(kj::TimePoint now) {
  if (retired_)
    return;
  add(parts_->metrics.bytes_in, stream_->bytes_in() - counted_in_);
  add(parts_->metrics.bytes_out, stream_->bytes_out() - counted_out_);
  counted_in_ = stream_->bytes_in();
  counted_out_ = stream_->bytes_out();
  using transport::close_reason;
  const auto& config = parts_->config;
  if (closing_for_ != ec::none) {
    if (now - closing_since_ >= span(config.close_grace))
      stream_->close(close_reason::session_over);
    return;
  }
  stream_->sweep(now);
  if (unwritten_.empty() && unwritten_.capacity() > 0)
    std::vector<core::moment>{}.swap(unwritten_); // an idle connection keeps no memory
  questions_.shrink();
  if (!logged_in_) {
    // A call that is under way (a code that is being sent, an election) is our own delay, so the client
    // gets more time.
    const auto age = now - opened_at_;
    const auto deadline = span(config.login_deadline);
    if (age >= deadline * 3 || (age >= deadline && calls_ == 0))
      stream_->close(close_reason::login_deadline);
    else if (stream_->at_inbound_limit() && calls_ == 0)
      stream_->close(close_reason::login_bytes);
    return;
  }
  if (sends_.get() != nullptr)
    add(parts_->metrics.refused_for(bound::messages_waiting),
        parts_->send_order->give_up(*sends_, config.page_wait_max));
  if (reception_.get() != nullptr && reception_->waiting &&
      now - reception_->waiting_since >= span(config.receiver_deadline))
    stream_->close(close_reason::receiver_stalled);
  else if (now - stream_->last_message_at() >= span(config.idle_deadline))
    stream_->close(close_reason::idle);
}

void connection::tear_down() {
  retired_ = true;
  stream_->watch(nullptr);
  add(parts_->metrics.bytes_in, stream_->bytes_in() - counted_in_);
  add(parts_->metrics.bytes_out, stream_->bytes_out() - counted_out_);
  add(parts_->metrics.closes[static_cast<std::size_t>(stream_->reason())]);
  if (rpc_.get() == nullptr)
    add(parts_->metrics.handshakes_failed);
  note_closed(told_as(stream_->reason()));
  drop_session();
  reception_ = nullptr;
  tasks_ = nullptr;
  rpc_ = nullptr;
  stream_ = nullptr;
}

void connection::drop_session() {
  if (session_.get() == nullptr)
    return;
  parts_->metrics.sessions.fetch_sub(1, std::memory_order_relaxed);
  sends_->close(ec::session_closed);
  sends_ = nullptr;
  session_ = nullptr;
}

void connection::note_closed(ec why) {
  // Only the first reason is kept, because the stream of a fenced session closes, too.
  if (logged_in_ && closing_for_ == ec::none && why != ec::none)
    parts_->closed.note(user_, device_, why);
}

void connection::stream_closed() {
  if (parts_->server != nullptr)
    parts_->server->retire(*this);
}

void connection::stream_flushed() {
  if (!taken_)
    return;
  taken_ = false;
  const auto took = kj::systemPreciseMonotonicClock().now() - taken_at_;
  parts_->metrics.taken_to_written.observe(std::chrono::nanoseconds{took / kj::NANOSECONDS});
  const auto now = std::chrono::steady_clock::now();
  for (const auto at : unwritten_)
    parts_->metrics.applied_to_written.observe(now - at);
  unwritten_.clear(); // a sweep gives its memory back
}

void connection::message_read(capnp::MessageReader& message) {
  const auto& config = parts_->config;
  if (!std::exchange(spoke_, true) && parts_->server != nullptr)
    parts_->server->spoke(*this);
  const auto m = message.getRoot<capnp::rpc::Message>();
  const auto asked = [&](std::uint32_t question, bool for_object) {
    return questions_.ask(question, for_object) && questions_.size() <= config.questions_max;
  };
  // Cap'n Proto keeps it, whole. Before the login there are bounds on what a connection may send.
  const auto in_vain = [&](capnp::rpc::MessageTarget::Reader target) {
    return logged_in_ && target.isPromisedAnswer() &&
           questions_.waits_in_vain(target.getPromisedAnswer().getQuestionId());
  };
  bool decent = is_modest(m, config);
  switch (m.which()) {
  case capnp::rpc::Message::BOOTSTRAP:
    decent = decent && !logged_in_ && ++bootstraps_ <= config.bootstraps_max &&
             asked(m.getBootstrap().getQuestionId(), true);
    break;
  case capnp::rpc::Message::CALL:
    decent = decent && !in_vain(m.getCall().getTarget()) &&
             asked(m.getCall().getQuestionId(), is_for_session(m.getCall()));
    break;
  case capnp::rpc::Message::FINISH:
    decent = decent && questions_.finish(m.getFinish().getQuestionId());
    break;
  case capnp::rpc::Message::RETURN: // the RPC system refuses one that answers nothing
    if (deliveries_ > 0)
      --deliveries_;
    break;
  default:
    break;
  }
  if (decent)
    hold_or_release();
  else
    stream_->close(transport::close_reason::rpc_failed);
}

void connection::message_sent(capnp::rpc::Message::Reader m) {
  if (m.isCall())
    ++deliveries_;
  if (!m.isReturn())
    return;
  questions_.answered(m.getReturn().getAnswerId());
  hold_or_release();
}

void connection::taskFailed(kj::Exception&&) {
  add(parts_->metrics.internal_errors);
  if (stream_.get() != nullptr)
    stream_->close(transport::close_reason::rpc_failed);
}

// --- before login ------------------------------------------------------------------------------------------

ec connection::refusal() const {
  if (closing_for_ != ec::none)
    return closing_for_ == ec::fenced || closing_for_ == ec::draining ? closing_for_ : ec::session_closed;
  return retired_ || (logged_in_ && session_.get() == nullptr) ? ec::session_closed : ec::none;
}

const std::array<std::uint8_t, 32>& connection::challenge() {
  if (!challenge_)
    parts_->dice.fill(challenge_.emplace());
  return *challenge_;
}

connection::attempt connection::begin_login() {
  if (login_under_way_)
    return attempt::one_is_under_way;
  if (++login_attempts_ > parts_->config.login_attempts_max)
    return attempt::too_many;
  login_under_way_ = true;
  return attempt::begun;
}

void connection::login_refused(ec why) {
  login_under_way_ = false;
  add(parts_->metrics.logins_failed);
  if (retired_) // the client has gone meanwhile: there is nothing left to close
    return;
  if (closing_for_ != ec::none)
    end_after(kj::READY_NOW);
  else if (why == ec::fenced)
    close(why, 0);
}

void connection::admit(user_id user, device_id device, inbox_pos acknowledged,
                       kj::Own<gateway::session> session) {
  login_under_way_ = false;
  logged_in_ = true;
  user_ = user;
  device_ = device;
  acknowledged_ = acknowledged;
  session_ = kj::mv(session);
  sends_ = kj::refcounted<send_turns::lane>(*session_);
  challenge_.reset();
  stream_->limit_inbound(0);
  rpc_->stop_accepting();
  rpc_->door = nullptr;
  add(parts_->metrics.logins);
  add(parts_->metrics.sessions);
  if (parts_->server != nullptr)
    parts_->server->promoted(*this);
}

// --- calls under way ---------------------------------------------------------------------------------------

void connection::begin_call() {
  add(parts_->metrics.calls);
  ++calls_;
}

void connection::end_call() {
  --calls_;
}

void connection::hold_or_release() {
  // Calls that wait behind another call (behind a login, for example) have not begun, but are kept, too.
  const auto& config = parts_->config;
  const auto calls_max =
      logged_in_ ? config.calls_max : std::min(config.calls_before_login_max, config.calls_max);
  const bool hold =
      resting_ || questions_.unanswered() >= calls_max || sends_bytes_ >= config.sends_each_bytes_max;
  if (hold == holding_ || stream_.get() == nullptr)
    return;
  holding_ = hold;
  if (hold)
    stream_->hold_reads();
  else
    stream_->release_reads();
}

void connection::rest(std::chrono::milliseconds time) {
  if (retired_ || std::exchange(resting_, true))
    return;
  hold_or_release();
  tasks_->add(parts_->port.getTimer().afterDelay(span(time)).then([this] {
    resting_ = false;
    hold_or_release();
  }));
}

bool connection::begin_ask() {
  if (!parts_->asks.take(1, asks_))
    return false;
  ++asks_;
  return true;
}

void connection::end_ask() {
  --asks_;
  parts_->asks.give_back(1);
}

bool connection::begin_page() {
  if (pages_ >= parts_->config.pages_max)
    return false;
  ++pages_;
  return true;
}

bool connection::begin_send(std::size_t bytes) {
  if (!parts_->sends.take(bytes, sends_bytes_))
    return false;
  sends_bytes_ += bytes;
  hold_or_release();
  return true;
}

void connection::end_send(std::size_t bytes) {
  sends_bytes_ -= bytes;
  parts_->sends.give_back(bytes);
  hold_or_release();
}

// --- towards the client ------------------------------------------------------------------------------------

bool connection::receive(rpc::Receiver::Client receiver, inbox_pos after) {
  if (!session_->start_receiving(after))
    return false;
  reception_ = kj::refcounted<reception>(kj::mv(receiver), parts_->port.getTimer().now());
  schedule_pump();
  return true;
}

void connection::rows_ready() {
  schedule_pump();
}

void connection::schedule_pump() {
  if (retired_ || reception_.get() == nullptr || reception_->pumping || session_.get() == nullptr)
    return;
  reception_->pumping = true;
  tasks_->add(kj::evalLater([this, to = kj::addRef(*reception_)]() mutable { return pump(kj::mv(to)); }));
}

kj::Promise<void> connection::pump(kj::Own<reception> to) {
  to->waiting = false;
  to->pumping = false;
  if (to.get() != reception_.get() || session_.get() == nullptr || closing_for_ != ec::none)
    return kj::READY_NOW; // a receiver that was replaced gets nothing more
  if (deliveries_ >= parts_->config.deliveries_max) {
    stream_->close(transport::close_reason::receiver_stalled);
    return kj::READY_NOW;
  }
  auto rows = session_->take(parts_->config.deliver_rows_max, parts_->config.deliver_bytes_max);
  if (rows.empty())
    return kj::READY_NOW;
  if (!taken_) {
    taken_ = true;
    taken_at_ = kj::systemPreciseMonotonicClock().now();
  }
  constexpr std::uint64_t around = 16; // params, list tag, cursor
  std::uint64_t words = around;
  for (const auto& r : rows)
    words += words_of(r.row);
  auto request = to->receiver.deliverRequest(capnp::MessageSize{words, 0});
  auto items = request.initItems(static_cast<unsigned>(rows.size()));
  for (unsigned i = 0; i < items.size(); ++i)
    write(items[i], rows[i].row);
  for (const auto& r : rows)
    if (r.applied_at != core::moment{} && unwritten_.size() < unwritten_max)
      unwritten_.push_back(r.applied_at);
  request.setCursor(as_data(encode_cursor(parts_->config.cluster, user_, rows.back().row.pos)));
  add(parts_->metrics.rows_delivered, rows.size());
  to->pumping = true;
  to->waiting = true;
  to->waiting_since = parts_->port.getTimer().now();
  auto same = kj::addRef(*to);
  // The promise resolves when the window has room again; while it has room, at once.
  return request.send().then([this, to = kj::mv(to)]() mutable { return pump(kj::mv(to)); },
                             [this, to = kj::mv(same)](kj::Exception&&) mutable {
                               // Either the connection is gone, or the receiver threw: no deliver after that
                               // one would be accepted, so the client starts anew. Unless it has done so.
                               to->waiting = false;
                               to->pumping = false;
                               if (to.get() == reception_.get())
                                 stream_->close(transport::close_reason::rpc_failed);
                               return kj::Promise<void>{kj::READY_NOW};
                             });
}

void connection::close(ec why, std::uint32_t reconnect_after_ms) {
  if (retired_ || closing_for_ != ec::none || stream_->closed())
    return;
  note_closed(why);
  closing_for_ = why == ec::none ? ec::session_closed : why;
  closing_since_ = parts_->port.getTimer().now();
  if (sends_.get() != nullptr)
    sends_->close(refusal());
  kj::Promise<void> heard = kj::READY_NOW;
  if (reception_.get() != nullptr) {
    auto request = reception_->receiver.closedRequest(capnp::MessageSize{8 + words_of(why), 0});
    write(request.initError(), closing_for_, reconnect_after_ms);
    request.setReconnectAfterMs(reconnect_after_ms);
    heard = request.send().ignoreResult().catch_([](kj::Exception&&) {});
  }
  if (!login_under_way_) // else its answer comes first, and says why
    end_after(kj::mv(heard));
}

/// Closes the stream. The answers of this turn are sent before; if the client does not read them, the sweep
/// closes the connection.
void connection::end_after(kj::Promise<void> heard) {
  const auto reason = closing_for_ == ec::rate_limited ? transport::close_reason::refused
                                                       : transport::close_reason::session_over;
  tasks_->add(heard.then([this] { return transport::turn_end(parts_->port.getTimer()); })
                  .then([this] { return stream_->flushed(); })
                  .then([this, reason] { stream_->close(reason); }));
}

void connection::log_out() {
  reception_ = nullptr;
  drop_session();
  logged_in_ = true;
  closing_for_ = ec::session_closed;
  closing_since_ = parts_->port.getTimer().now();
  end_after(kj::READY_NOW);
}

} // namespace parley::gateway
