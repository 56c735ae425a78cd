#pragma once
// Inside `device`. Three files: engine.cpp (connecting, and calls with retries), engine_send.cpp (outbox),
// engine_receive.cpp (inbox, acknowledgements).
#include "protocol/client/convert.hpp"
#include "protocol/client/device/backoff.hpp"
#include "protocol/client/device/client_link.hpp"
#include "protocol/client/device/device.hpp"
#include "protocol/client/device/inbox_applier.hpp"
#include "protocol/client/device/send_lanes.hpp"
#include "protocol/client/store/keys.hpp"
#include "protocol/transport/login_proof.hpp"

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>

namespace parley::client {

class engine final : private kj::TaskSet::ErrorHandler {
public:
  engine(kj::Timer& timer, dialer& dial, config settings, client_store& store, observer& hears,
         recorder* records, const kj::Clock& calendar);
  ~engine() noexcept(false);

  // engine.cpp
  kj::Promise<result<std::chrono::seconds>> request_code(std::string phone);
  kj::Promise<result<identity>> register_device(std::string phone, std::string code, std::string name);
  void start();
  kj::Promise<result<nothing>> online();
  kj::Promise<void> stop();
  void disconnect();
  kj::Promise<result<opened_direct>> open_direct(user_id user, std::string phone);
  kj::Promise<result<conversation_list>> conversations(conversation_id after, std::uint32_t limit);
  kj::Promise<result<conversation_page>> sync_conversation(conversation_id c, seq_no after,
                                                           std::uint32_t limit);

  // engine_send.cpp
  kj::Promise<result<sent>> send(conversation_id c, std::string body);
  result<std::uint64_t> post(conversation_id c, std::string body);
  kj::Promise<void> settled();

  // engine_receive.cpp
  kj::Promise<result<std::size_t>> sync_inbox();
  void ack_read(conversation_id c, seq_no upto);
  /// A delivery from the stream: resolves when the store has it.
  kj::Promise<void> take(std::vector<inbox_row> rows, cursor upto);
  void server_closes(failure why, std::chrono::milliseconds reconnect_after);

  const connection_state& state() const { return state_; }
  const identity& who() const { return who_; }
  std::size_t unsettled() const { return lanes_.size(); }
  const inbox_applier& applier() const { return applier_; }
  client_link* current() { return link_.get(); }

private:
  using instant = send_lanes::instant;
  instant now() const {
    return std::chrono::nanoseconds{(timer_.now() - kj::origin<kj::TimePoint>()) / kj::NANOSECONDS};
  }
  static kj::TimePoint point(instant at) {
    return kj::origin<kj::TimePoint>() + at.count() * kj::NANOSECONDS;
  }
  void taskFailed(kj::Exception&& e) override;

  // --- connecting
  kj::Promise<void> run();
  kj::Promise<void> round(std::size_t tried);
  kj::Promise<void> connect(endpoint to, std::size_t tried);
  kj::Promise<kj::Own<client_link>> establish(endpoint to);
  kj::Promise<void> log_in(client_link& w, transport::login_claim claim);
  kj::Promise<void> log_in_anew(client_link& w, transport::login_claim claim);
  template <class Write>
  auto stored(Write write);
  std::array<std::uint8_t, 64> prove(transport::login_claim& claim);
  template <class Answer>
  void enter(client_link& w, Answer& answer);
  [[noreturn]] void refused(const failure& why);
  void go_online(kj::Own<client_link> w, const endpoint& to);
  void drop_link();
  void halt(link_state final_state, failure why);
  bool halted() const { return state_.final(); }
  void wait_before_next(std::chrono::milliseconds wait);
  kj::Promise<void> heartbeat(client_link& w);
  std::uint64_t chance() { return dice_.roll(); }

  // --- calls with retries
  template <class T>
  using call_on = std::function<kj::Promise<result<T>>(client_link&)>;
  template <class T>
  kj::Promise<result<T>> ask(call_on<T> make);
  template <class T>
  kj::Promise<result<T>> attempt(std::shared_ptr<call_on<T>> make, kj::TimePoint deadline, backoff pace);
  template <class T>
  kj::Promise<result<T>>
  at_gateway(std::shared_ptr<std::function<kj::Promise<result<T>>(rpc::Gateway::Client&)>> make,
             kj::TimePoint deadline, backoff pace, std::size_t tried);
  kj::Promise<void> session_or(kj::TimePoint deadline);
  /// Errors that say something about the session, whoever made the call.
  void consider(const failure& f);

  // --- outbox
  struct transmission {
    conversation_id conversation;
    std::uint64_t counter = 0;
    unsigned attempt = 0;
  };
  void pump();
  void arm_pump();
  void transmit(const send_lanes::item& item);
  void answered(const transmission& t, const failure& error, const sent& placed);
  void retry(const transmission& t, const failure& why);
  void give_up(const transmission& t, const failure& why);

  // --- inbox
  kj::Promise<void> begin_receiving(client_link& w, cursor from);
  kj::Promise<void> take_checked(std::shared_ptr<std::vector<inbox_row>> rows, cursor upto, unsigned heals);
  kj::Promise<void> heal(inbox_applier::hole hole, backoff pace);
  void commit(const std::vector<inbox_row>& rows, const inbox_applier::plan& plan, cursor upto);
  std::size_t commit_page(const conversation_page& page, conversation_id c);
  void tell(const message& m);
  void rose(const inbox_applier::rise& r);
  void ack_soon(std::size_t messages);
  void send_ack();
  void send_reads();
  void check_settled();

  // --- history
  history_event event(history_event::kind kind, history_event::what what) const;
  void record_send(history_event::kind kind, const transmission& t, const std::string& body, ec error,
                   const sent* placed);
  void record_row(history_event::what what, const message_row& row);

  kj::Timer& timer_;
  dialer& dialer_;
  const config config_;
  client_store& store_;
  observer& observer_;
  recorder* recorder_;
  const kj::Clock& calendar_; ///< for session numbers only: waits use the timer

  dice dice_;
  backoff reconnect_;
  identity who_;
  connection_state state_;
  std::size_t seed_ = 0; ///< the next to try
  std::uint64_t connections_ = 0;
  kj::TimePoint online_since_;
  std::chrono::milliseconds wait_{0};
  bool started_ = false;
  bool spread_by_server_ = false; ///< `wait_` is the server's advice
  failure last_failure_{ec::none, {}, {}};
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> online_waiters_;

  send_lanes lanes_;
  std::unordered_map<std::uint64_t, kj::Own<kj::PromiseFulfiller<result<sent>>>> promised_;
  kj::Maybe<kj::TimePoint> pump_armed_;
  unsigned refusals_ = 0; ///< in a row, of a kind that another node may not have
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> settled_waiters_;

  inbox_applier applier_;
  client_store::place place_;
  std::size_t unacked_ = 0;
  bool ack_under_way_ = false;
  bool ack_armed_ = false;
  kj::TimePoint last_ack_;
  struct reading {
    seq_no wanted{};
    seq_no known{};
    bool under_way = false;
  };
  std::map<conversation_id, reading> reads_;

  // Destroyed first to last from the bottom: tasks and promises that use what is above them.
  kj::Own<client_link> link_;
  kj::Canceler promises_; ///< what callers hold
  kj::TaskSet tasks_;
};

} // namespace parley::client

#include "protocol/client/device/engine_calls.hpp"
