#pragma once
// Messages of the RPC protocol made by hand, for peers that do not keep to it.
#include "protocol/schema/parley.capnp.h"

#include <capnp/capability.h>
#include <capnp/rpc.capnp.h>
#include <capnp/schema.h>
#include <capnp/serialize.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::test {

inline capnp::Data::Reader bytes_of(std::string_view s) {
  return {reinterpret_cast<const kj::byte*>(s.data()), s.size()};
}

inline std::string flat(capnp::MessageBuilder& m) {
  const auto array = capnp::messageToFlatArray(m);
  return {reinterpret_cast<const char*>(array.begin()), array.size() * sizeof(capnp::word)};
}

/// Its answer is the gateway. The calls below take question 0 for it.
inline std::string bootstrap_message(std::uint32_t question = 0) {
  capnp::MallocMessageBuilder m;
  m.initRoot<capnp::rpc::Message>().initBootstrap().setQuestionId(question);
  return flat(m);
}

inline std::string finish_message(std::uint32_t question, bool release = true) {
  capnp::MallocMessageBuilder m;
  auto finish = m.initRoot<capnp::rpc::Message>().initFinish();
  finish.setQuestionId(question);
  finish.setReleaseResultCaps(release);
  return flat(m);
}

inline std::string release_message(std::uint32_t id, std::uint32_t references) {
  capnp::MallocMessageBuilder m;
  auto release = m.initRoot<capnp::rpc::Message>().initRelease();
  release.setId(id);
  release.setReferenceCount(references);
  return flat(m);
}

/// What is promised as `promise` is something else: `fill` says what.
template <class Fill>
std::string resolve_message(std::uint32_t promise, Fill&& fill) {
  capnp::MallocMessageBuilder m;
  auto resolve = m.initRoot<capnp::rpc::Message>().initResolve();
  resolve.setPromiseId(promise);
  fill(resolve.initCap());
  return flat(m);
}

/// Method numbers, as the schema has them.
enum class door_method : std::uint16_t { hello, request_code, register_device, login, resume };
enum class session_method : std::uint16_t {
  send,
  sync,
  sync_conversation,
  ack_delivered,
  ack_read,
  open_direct,
  conversations,
  receive,
  ping,
  logout
};

/// A call to what question 0 is answered with.
template <class Params, class Fill>
std::string door_call(std::uint32_t question, door_method method, Fill&& fill) {
  capnp::MallocMessageBuilder m;
  auto call = m.initRoot<capnp::rpc::Message>().initCall();
  call.setQuestionId(question);
  call.initTarget().initPromisedAnswer().setQuestionId(0);
  call.setInterfaceId(capnp::typeId<rpc::Gateway>());
  call.setMethodId(static_cast<std::uint16_t>(method));
  fill(call, call.initParams().getContent().template initAs<Params>());
  return flat(m);
}

/// A call to the session that `login`, a question too, is answered with.
template <class Params, class Fill>
std::string session_call(std::uint32_t question, std::uint32_t login, session_method method, Fill&& fill) {
  capnp::MallocMessageBuilder m;
  auto call = m.initRoot<capnp::rpc::Message>().initCall();
  call.setQuestionId(question);
  auto target = call.initTarget().initPromisedAnswer();
  target.setQuestionId(login);
  target.initTransform(1)[0].setGetPointerField(1);
  call.setInterfaceId(capnp::typeId<rpc::Session>());
  call.setMethodId(static_cast<std::uint16_t>(method));
  fill(call, call.initParams().getContent().template initAs<Params>());
  return flat(m);
}

/// A `receive`, whose receiver is the capability that `fill` describes.
template <class Fill>
std::string receive_call(std::uint32_t question, std::uint32_t login, Fill&& fill) {
  capnp::MallocMessageBuilder m;
  auto call = m.initRoot<capnp::rpc::Message>().initCall();
  call.setQuestionId(question);
  auto target = call.initTarget().initPromisedAnswer();
  target.setQuestionId(login);
  target.initTransform(1)[0].setGetPointerField(1);
  call.setInterfaceId(capnp::typeId<rpc::Session>());
  call.setMethodId(static_cast<std::uint16_t>(session_method::receive));
  auto payload = call.initParams();
  capnp::BuilderCapabilityTable capabilities; // only to have a pointer to the first entry of the table
  auto params = capabilities.imbue(payload.getContent()).template initAs<rpc::Session::ReceiveParams>();
  params.setReceiver(rpc::Receiver::Client{kj::Exception{kj::Exception::Type::FAILED, "", 0}});
  fill(payload.initCapTable(1)[0]);
  return flat(m);
}

constexpr std::uint64_t list_pointer(std::int32_t offset, std::uint32_t element, std::uint32_t count) {
  return (static_cast<std::uint64_t>(element | count << 3) << 32) |
         (static_cast<std::uint32_t>(offset) << 2 | 1u);
}
constexpr std::uint64_t struct_pointer(std::int32_t offset, std::uint16_t data, std::uint16_t pointers) {
  return (static_cast<std::uint64_t>(data | static_cast<std::uint32_t>(pointers) << 16) << 32) |
         (static_cast<std::uint32_t>(offset) << 2);
}

/// A requestCode, question 1, whose pointer to the phone's text is `pointer` instead, followed by `more`
/// words.
inline std::string call_with_pointer(std::uint64_t pointer, const std::vector<std::uint64_t>& more = {}) {
  const std::string marker = "+49000000000";
  auto bytes = door_call<rpc::Gateway::RequestCodeParams>(
      1, door_method::request_code, [&](auto&, auto params) { params.setPhone(marker.c_str()); });
  // The text's pointer is the word before the text: a list of 13 bytes, right behind.
  const auto at = bytes.find(marker) - 8;
  std::memcpy(bytes.data() + at, &pointer, sizeof pointer);
  if (!more.empty()) { // one segment: its size is the second half of the first word
    bytes.resize(at + 8);
    bytes.append(reinterpret_cast<const char*>(more.data()), more.size() * sizeof more[0]);
    const auto words = static_cast<std::uint32_t>(bytes.size() / 8 - 1);
    std::memcpy(bytes.data() + 4, &words, sizeof words);
  }
  return bytes;
}

/// Hands each whole message in `received` to `see`, until it says that it has seen enough.
template <class See>
bool any_message(std::string_view received, See&& see) {
  while (received.size() >= 8) {
    std::vector<capnp::word> copy(received.size() / 8);
    std::memcpy(copy.data(), received.data(), copy.size() * 8);
    const kj::ArrayPtr<const capnp::word> rest{copy.data(), copy.size()};
    if (capnp::expectedSizeInWordsFromPrefix(rest) > rest.size())
      return false;
    capnp::FlatArrayMessageReader reader{rest};
    if (see(reader.getRoot<capnp::rpc::Message>()))
      return true;
    received.remove_prefix(static_cast<std::size_t>(reader.getEnd() - rest.begin()) * 8);
  }
  return false;
}

/// What a question was answered with: an exception, or the error inside the results.
struct verdict {
  bool exception = false;
  std::uint16_t code = 0;
};
template <class Results>
std::optional<verdict> answer_to(std::uint32_t question, std::string_view received) {
  std::optional<verdict> v;
  any_message(received, [&](capnp::rpc::Message::Reader message) {
    if (!message.isReturn() || message.getReturn().getAnswerId() != question)
      return false;
    const auto it = message.getReturn();
    v.emplace();
    v->exception = !it.isResults();
    if (it.isResults())
      v->code = it.getResults().getContent().template getAs<Results>().getError().getCode();
    return true;
  });
  return v;
}

} // namespace parley::test
