#include "protocol/client/device/device.hpp"

#include "protocol/client/device/connector.hpp"
#include "protocol/client/device/enrolment.hpp"
#include "protocol/client/device/receiver.hpp"
#include "protocol/client/device/sender.hpp"
#include "protocol/client/device/session_calls.hpp"
#include "protocol/values/chance.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace parley::client {
namespace {

config checked(config settings) {
  if (const auto fault = validate(settings))
    throw std::invalid_argument{
        fmt::format("The client's setting {} cannot be used. Correct it.", fault->field)};
  return settings;
}

} // namespace

/// The parts of a device, and who tells whom: the connector tells the sender and the receiver what happens to
/// the connection; they ask it through `link_host` only.
struct device::parts final : link_listener {
  parts(kj::Timer& timer, dialer& dial, config given, client_store& store, observer& events,
        recorder* records, const kj::Clock& calendar)
      : settings{checked(std::move(given))}, chance{settings.chance ? settings.chance
                                                                    : system_chance().number()},
        first_seed{settings.first_seed < settings.seeds.size() ? settings.first_seed
                                                               : chance.upto(settings.seeds.size() - 1)},
        who{store.who().value_or(identity{})}, connection{timer, dial, settings, store,    events,
                                                          *this, who,  chance,   calendar, first_seed},
        history{records, who, connection.state()}, calls{timer, connection, settings, history, chance},
        old{events}, out{timer, connection, settings, store, events, history, who, chance, calendar, old},
        in{timer, connection, calls, settings, store, events, history, who, old}, enrol{timer,     dial,
                                                                                        settings,  store,
                                                                                        who,       chance,
                                                                                        first_seed} {}

  // What runs on the connection uses the other parts, so it ends first.
  ~parts() noexcept(false) override {
    promises.cancel("the client was closed");
    in.close();
    calls.close();
    enrol.close();
    connection.close();
  }

  void on_online(client_link& link) override {
    in.online(link);
    out.online();
  }
  void on_lost(const failure& why) override {
    out.lost(why);
    in.lost();
  }
  void on_halted(const failure& why) override {
    out.halted(why);
    in.halted();
  }

  bool has_work() const override { return !out.idle(); }

  /// Both at once: while one settles, the other can get something to do.
  kj::Promise<void> settled() {
    if (connection.halted() || (out.idle() && in.idle()))
      return kj::READY_NOW;
    return out.settled().then([this] { return in.settled(); }).then([this] { return settled(); });
  }

  const config settings;
  dice chance;
  const std::size_t first_seed;
  identity who;
  connector connection;
  history_writer history;
  session_calls calls;
  old_copy old;
  sender out;
  receiver in;
  enrolment enrol;
  bool started = false;
  kj::Canceler promises; ///< of those who wait for `settled`
};

device::device(kj::Timer& timer, dialer& dial, config settings, client_store& store, observer& events,
               recorder* records, const kj::Clock& calendar)
    : parts_{std::make_unique<parts>(timer, dial, std::move(settings), store, events, records, calendar)} {}

device::~device() = default;

kj::Promise<result<std::chrono::seconds>> device::request_code(std::string phone) {
  return parts_->enrol.request_code(std::move(phone));
}
kj::Promise<result<identity>> device::register_device(std::string phone, std::string code,
                                                      std::string device_name) {
  return parts_->enrol.register_device(std::move(phone), std::move(code), std::move(device_name));
}
void device::start() {
  if (std::exchange(parts_->started, true))
    return;
  parts_->out.tell_failures();
  parts_->connection.start();
}
kj::Promise<result<nothing>> device::online() {
  return parts_->connection.online();
}
kj::Promise<void> device::stop() {
  return parts_->connection.stop(parts_->in.acknowledge_all());
}
const connection_state& device::state() const {
  return parts_->connection.state();
}
void device::try_now() {
  parts_->connection.try_now();
}
void device::disconnect() {
  parts_->connection.disconnect();
}
kj::Promise<result<sent>> device::send(conversation_id c, std::string body) {
  return parts_->out.send(c, std::move(body));
}
result<std::uint64_t> device::post(conversation_id c, std::string body) {
  return parts_->out.post(c, std::move(body));
}
std::size_t device::unsettled() const {
  return parts_->out.unsettled();
}
failure device::why_unsettled() const {
  if (const auto& refused = parts_->out.last_refusal(); refused.code != ec::none)
    return refused;
  const auto& s = parts_->connection.state();
  return s.state == link_state::online ? failure{ec::none, {}, {}} : failure{s.why, s.sentence, {}};
}
kj::Promise<void> device::settled() {
  return parts_->promises.wrap(parts_->settled());
}
kj::Promise<result<std::size_t>> device::sync_inbox() {
  return parts_->in.sync_inbox();
}
kj::Promise<result<conversation_page>> device::sync_conversation(conversation_id c, seq_no after,
                                                                 std::uint32_t limit) {
  return parts_->calls.sync_conversation(c, after, limit);
}
void device::ack_read(conversation_id c, seq_no upto) {
  parts_->in.ack_read(c, upto);
}
kj::Promise<result<opened_direct>> device::open_direct(std::string phone) {
  return parts_->calls.open_direct(user_id{}, std::move(phone));
}
kj::Promise<result<opened_direct>> device::open_direct(user_id user) {
  return parts_->calls.open_direct(user, {});
}
kj::Promise<result<conversation_list>> device::conversations(conversation_id after, std::uint32_t limit) {
  return parts_->calls.conversations(after, limit);
}
const identity& device::who() const {
  return parts_->who;
}
seq_no device::position(conversation_id c) const {
  return parts_->in.applier().position(c);
}
std::vector<watermark> device::marks(conversation_id c) const {
  return parts_->in.applier().marks(c);
}

} // namespace parley::client
