#pragma once
// One client's connection: its stream, its RPC system, its session once it has logged in, and the pump that
// moves rows from the session's delivery queue to the client's receiver.
#include "protocol/gateway/address_limits.hpp"
#include "protocol/gateway/backend.hpp"
#include "protocol/gateway/closed_sessions.hpp"
#include "protocol/gateway/code_limits.hpp"
#include "protocol/gateway/codes/code_sender.hpp"
#include "protocol/gateway/config.hpp"
#include "protocol/gateway/lookup_limits.hpp"
#include "protocol/gateway/metrics.hpp"
#include "protocol/gateway/node_addresses.hpp"
#include "protocol/gateway/open_questions.hpp"
#include "protocol/gateway/page_turns.hpp"
#include "protocol/gateway/send_turns.hpp"
#include "protocol/gateway/shared_room.hpp"
#include "protocol/schema/parley.capnp.h"
#include "protocol/transport/rpc_line.hpp"
#include "protocol/values/chance.hpp"
#include "protocol/values/wall_clock.hpp"

#include <capnp/rpc-twoparty.h>
#include <kj/refcount.h>

#include <algorithm>
#include <optional>

namespace parley::gateway {

class connection;

/// What a connection tells its server.
class server_hooks {
public:
  virtual ~server_hooks() noexcept(false) = default;
  /// The connection's stream has closed: tear it down soon, but not from here.
  virtual void retire(connection& c) = 0;
  /// Its first message has arrived, which takes a TLS handshake: it is no longer one of those who say nothing.
  virtual void spoke(connection& c) = 0;
  /// The connection has logged in: it no longer counts as a stranger.
  virtual void promoted(connection& c) = 0;
};

/// What the connections of one server share. Calls that are under way when the server is destroyed keep
/// it alive.
struct server_parts final : public kj::Refcounted {
  server_parts(const gateway_config& settings, kj::UnixEventPort& event_port, backend& b, code_sender& s,
               const wall_clock& w, gateway_metrics& m, closed_sessions& c, const node_addresses& n,
               lookup_limits& l, chance& d, code_limits& codes_limits, code_limits& registration_limits)
      : config{settings}, port{event_port}, cluster{b}, codes{s}, clock{w}, metrics{m}, closed{c}, nodes{n},
        lookups{l}, dice{d}, code_asks{codes_limits}, registrations{registration_limits},
        pages{kj::refcounted<page_turns>(event_port.getTimer(),
                                         page_turns::bounds{settings.pages_of_all_max,
                                                            settings.pages_under_way_of_all_max,
                                                            settings.page_turn_max, settings.page_wait_max})},
        asks{settings.calls_of_all_max}, sends{settings.sends_held_bytes_of_all_max},
        send_order{kj::refcounted<send_turns>(event_port.getTimer(), settings.sends_under_way_of_all_max,
                                              settings.sends_seldom_max, settings.sends_bytes_of_all_max,
                                              settings.send_turn_max)} {}

  const gateway_config config;
  kj::UnixEventPort& port;
  backend& cluster;
  code_sender& codes;
  const wall_clock& clock;
  gateway_metrics& metrics;
  closed_sessions& closed;
  const node_addresses& nodes;
  lookup_limits& lookups;
  chance& dice; ///< challenges, codes, new users' ids
  code_limits& code_asks;
  code_limits& registrations;
  kj::Own<page_turns> pages;
  shared_room asks;  ///< calls under way of those who have logged in, but for messages
  shared_room sends; ///< under way and waiting, in bytes
  kj::Own<send_turns> send_order;
  transport::stream_buffers* buffers = nullptr;    ///< as `server`
  transport::step_line* handshake_steps = nullptr; ///< as `server`
  transport::step_line* large_steps = nullptr;     ///< pages, and much that is written; as `server`
  transport::step_line* read_steps = nullptr;      ///< those who say much without a pause; as `server`
  server_hooks* server = nullptr;                  ///< null once the server is destroyed
  bool draining = false;
};

/// Owns:   stream, RPC system, session, receiver.
/// Thread: its server's.
/// Holds:  once retired it stays closed; calls that are still under way keep the object, not the connection. A call
///         that was read before may even begin afterwards: what uses the stream asks `refusal` first.
class connection final : public kj::Refcounted,
                         public connection_sink,
                         private transport::stream_watcher,
                         private transport::line_watcher,
                         private kj::TaskSet::ErrorHandler {
public:
  connection(kj::Own<server_parts> parts, kj::AutoCloseFd fd, const transport::tls_context& tls,
             const network_keys& from);
  ~connection() noexcept(false) override;

  void start();
  /// What its buffers take; 0 once it is closed.
  std::size_t buffered_bytes() const { return stream_.get() == nullptr ? 0 : stream_->buffered_bytes(); }
  /// All connections have buffered too much, and this one most.
  void give_up_buffers() { stream_->close(transport::close_reason::buffers_full); }
  /// Somebody else needs the room before login that this one takes.
  void give_way() { stream_->close(transport::close_reason::refused); }
  /// Checks the deadlines and brings the byte counters up to date.
  void sweep(kj::TimePoint now);
  /// Releases everything. The server calls it from the loop, never from inside the connection.
  void tear_down();

  // connection_sink
  void rows_ready() override;
  void rest(std::chrono::milliseconds time) override;
  void close(ec why, std::uint32_t reconnect_after_ms) override;

  // what the RPC objects see
  server_parts& parts() { return *parts_; }
  const server_parts& parts() const { return *parts_; }
  /// Where it comes from, as it was when it was accepted: of a connection that was reset the kernel knows nothing.
  const network_keys& networks() const { return from_; }
  bool logged_in() const { return logged_in_; }
  /// `none` while calls are answered, else why they are not.
  ec refusal() const;
  gateway::session& session() { return *session_; }
  user_id user() const { return user_; }
  device_id device() const { return device_; }

  /// Drawn by the first call, and the same for the whole connection.
  const std::array<std::uint8_t, 32>& challenge();
  bool greeted() const { return challenge_.has_value(); }
  std::array<std::uint8_t, 32> exporter() const { return stream_->login_exporter(); }
  enum class attempt : std::uint8_t { begun, one_is_under_way, too_many };
  /// Counts an attempt, unless one is under way.
  attempt begin_login();
  /// The login that has begun failed. If the session was ended meanwhile, or a newer connection has the device,
  /// this connection ends once the login is answered.
  void login_refused(ec why);
  /// The login succeeded: the session belongs to this connection now.
  void admit(user_id user, device_id device, inbox_pos acknowledged, kj::Own<gateway::session> session);

  inbox_pos acknowledged() const { return acknowledged_; }
  void note_acknowledged(inbox_pos upto) { acknowledged_ = std::max(acknowledged_, upto); }
  bool receive(rpc::Receiver::Client receiver, inbox_pos after); ///< false: the user has made too many calls
  void log_out();

  void begin_call();
  void end_call();
  /// A call of somebody who has logged in, and no message. False: all connections together have too many under way.
  bool begin_ask();
  void end_ask();
  bool begin_page(); ///< false: too many are under way, or wait for their turn
  void end_page() { --pages_; }
  /// For one that has begun: when it may be asked for, or nothing when it has waited too long.
  kj::Promise<kj::Maybe<kj::Own<page_turns::turn>>> page_turn() {
    return parts_->pages->begin(page_asker_, pages_ == 1);
  }
  /// When an answer of up to a megabyte may be put together.
  kj::Promise<void> large_step() {
    return parts_->large_steps != nullptr ? parts_->large_steps->next() : kj::Promise<void>{kj::READY_NOW};
  }
  bool begin_send(std::size_t bytes); ///< false: all connections together have too much under way
  void end_send(std::size_t bytes);
  /// For one that has begun, and takes so many bytes.
  kj::Promise<core::answer> send_in_turn(core::submit what, std::size_t bytes) {
    const send_turns::cost takes{core::sends_of(what.what), bytes};
    return parts_->send_order->ask(*sends_, std::move(what), takes);
  }

  std::size_t slot = 0; ///< in the server's table

private:
  struct rpc_side;
  struct reception;

  void start_rpc();
  kj::Promise<void> pump(kj::Own<reception> to);
  void schedule_pump();
  void end_after(kj::Promise<void> heard);
  void drop_session();
  void note_closed(ec why);
  void stream_closed() override;
  void stream_flushed() override;
  void message_read(capnp::MessageReader& message) override;
  void message_sent(capnp::rpc::Message::Reader message) override;
  void hold_or_release();
  void taskFailed(kj::Exception&&) override;

  kj::Own<server_parts> parts_;
  kj::Own<transport::message_stream> stream_;
  kj::Own<rpc_side> rpc_;
  kj::Own<gateway::session> session_;
  kj::Own<send_turns::lane> sends_; ///< as long as there is a session
  kj::Own<reception> reception_;    ///< the newest; null if the client does not receive
  user_id user_{};
  device_id device_{};
  inbox_pos acknowledged_{}; ///< by the device, as far as this session knows
  network_keys from_{};
  std::optional<std::array<std::uint8_t, 32>> challenge_;
  kj::TimePoint opened_at_;
  kj::TimePoint closing_since_;
  kj::TimePoint taken_at_; ///< the oldest row not yet written; by a finer clock than the timer's
  /// Of rows taken whose bytes the kernel does not have yet, for a figure only. The stream of a client that
  /// reads slowly and always asks for more may never be empty: above `unwritten_max` they are not noted.
  std::vector<core::moment> unwritten_;
  static constexpr std::size_t unwritten_max = 4'096;
  std::uint64_t counted_in_ = 0;
  std::uint64_t counted_out_ = 0;
  std::uint32_t calls_ = 0;
  std::uint32_t asks_ = 0;
  std::uint32_t pages_ = 0;
  page_turns::asker page_asker_;
  std::size_t sends_bytes_ = 0;
  std::uint32_t deliveries_ = 0; ///< calls to receivers that have not returned
  std::uint32_t bootstraps_ = 0;
  open_questions questions_;
  std::uint32_t login_attempts_ = 0;
  ec closing_for_ = ec::none;
  bool spoke_ = false;     ///< a message has arrived
  bool logged_in_ = false; ///< stays when the session ends
  bool login_under_way_ = false;
  bool retired_ = false;
  bool taken_ = false;
  bool holding_ = false;
  bool resting_ = false;
  kj::Own<kj::TaskSet> tasks_;
};

} // namespace parley::gateway
