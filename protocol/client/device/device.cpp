#include "protocol/client/device/device.hpp"

#include "protocol/client/device/engine.hpp"

namespace parley::client {

device::device(kj::Timer& timer, dialer& dial, config settings, client_store& store, observer& hears,
               recorder* records, const kj::Clock& calendar)
    : engine_{std::make_unique<engine>(timer, dial, std::move(settings), store, hears, records, calendar)} {}

device::~device() = default;

kj::Promise<result<std::chrono::seconds>> device::request_code(std::string phone) {
  return engine_->request_code(std::move(phone));
}
kj::Promise<result<identity>> device::register_device(std::string phone, std::string code,
                                                      std::string device_name) {
  return engine_->register_device(std::move(phone), std::move(code), std::move(device_name));
}
void device::start() {
  engine_->start();
}
kj::Promise<result<nothing>> device::online() {
  return engine_->online();
}
kj::Promise<void> device::stop() {
  return engine_->stop();
}
const connection_state& device::state() const {
  return engine_->state();
}
void device::disconnect() {
  engine_->disconnect();
}
kj::Promise<result<sent>> device::send(conversation_id c, std::string body) {
  return engine_->send(c, std::move(body));
}
result<std::uint64_t> device::post(conversation_id c, std::string body) {
  return engine_->post(c, std::move(body));
}
std::size_t device::unsettled() const {
  return engine_->unsettled();
}
kj::Promise<void> device::settled() {
  return engine_->settled();
}
kj::Promise<result<std::size_t>> device::sync_inbox() {
  return engine_->sync_inbox();
}
kj::Promise<result<conversation_page>> device::sync_conversation(conversation_id c, seq_no after,
                                                                 std::uint32_t limit) {
  return engine_->sync_conversation(c, after, limit);
}
void device::ack_read(conversation_id c, seq_no upto) {
  engine_->ack_read(c, upto);
}
kj::Promise<result<opened_direct>> device::open_direct(std::string phone) {
  return engine_->open_direct(user_id{}, std::move(phone));
}
kj::Promise<result<opened_direct>> device::open_direct(user_id user) {
  return engine_->open_direct(user, {});
}
kj::Promise<result<conversation_list>> device::conversations(conversation_id after, std::uint32_t limit) {
  return engine_->conversations(after, limit);
}
const identity& device::who() const {
  return engine_->who();
}
seq_no device::position(conversation_id c) const {
  return engine_->applier().position(c);
}
std::vector<watermark> device::marks(conversation_id c) const {
  return engine_->applier().marks(c);
}

} // namespace parley::client
