// Messages whose inside does not hold together: pointers to nowhere, to themselves, to the same place a
// thousand times.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include <doctest/doctest.h>

#include <ctime>

using namespace parley;
using namespace parley::test;
using transport::close_reason;

namespace {

/// The code that a requestCode with that pointer is answered with.
ec asked_with(fixture& f, std::uint64_t pointer, const std::vector<std::uint64_t>& more = {}) {
  raw_client hostile{f};
  REQUIRE(hostile.handshake());
  hostile.send(bootstrap_message() + call_with_pointer(pointer, more));
  std::optional<verdict> v;
  REQUIRE(f.until([&] {
    hostile.ended();
    v = answer_to<rpc::Gateway::RequestCodeResults>(1, hostile.received);
    return v.has_value();
  }));
  CHECK_FALSE(v->exception);
  return ec{v->code};
}

/// Whether that hello, from a client of its own, is answered.
bool says_hello_to(fixture& f, const std::string& hello) {
  raw_client decent{f};
  REQUIRE(decent.handshake());
  decent.send(bootstrap_message() + hello);
  return f.until([&] {
    decent.ended();
    return answer_to<rpc::Gateway::HelloResults>(1, decent.received).has_value();
  });
}

/// A message that the server does not know and hands back as `unimplemented`, copying all that is in it:
/// structs in each other, `depth` of them.
std::string unknown_message(unsigned depth) {
  capnp::MallocMessageBuilder m{64};
  m.initRoot<capnp::rpc::Message>().initObsoleteSave().setAs<capnp::Text>(
      std::string(8 * depth + 7, 'x').c_str());
  auto bytes = flat(m);
  const auto at = bytes.find("xxxxxxxx");
  const auto first = struct_pointer(0, 0, 1);
  std::memcpy(bytes.data() + at - 8, &first, sizeof first);
  for (unsigned i = 0; i <= depth; ++i) { // the last one points to nothing
    const auto pointer = i + 1 < depth ? struct_pointer(0, 0, 1) : 0;
    std::memcpy(bytes.data() + at + 8 * i, &pointer, sizeof pointer);
  }
  return bytes;
}

/// A hello whose table of capabilities has `entries` entries of no size.
std::string call_with_capabilities(std::uint32_t entries) {
  auto bytes = door_call<rpc::Gateway::HelloParams>(1, door_method::hello, [](auto& call, auto params) {
    params.setVersion(rpc::PROTOCOL_VERSION);
    call.getParams().initCapTable(1)[0].setNone();
  });
  // The table is the only list of structs: its tag says one element of one word and one pointer.
  const std::uint64_t tag = struct_pointer(1, 1, 1);
  const auto at = bytes.rfind(std::string_view{reinterpret_cast<const char*>(&tag), sizeof tag});
  REQUIRE(at != std::string::npos);
  const std::uint64_t many = struct_pointer(static_cast<std::int32_t>(entries), 0, 0);
  std::memcpy(bytes.data() + at, &many, sizeof many);
  return bytes;
}

} // namespace

TEST_CASE_FIXTURE(fixture, "pointers out of bounds are a bad request") {
  start();
  CHECK(asked_with(*this, list_pointer(0x0fffffff, 2, 13)) == ec::bad_request);
  CHECK(asked_with(*this, list_pointer(-0x10000000, 2, 13)) == ec::bad_request);
  CHECK(asked_with(*this, list_pointer(0, 2, 0x1fffffff)) == ec::bad_request);
  CHECK(asked_with(*this, 0x00000007'00000012ULL) == ec::bad_request); // a segment that does not exist
  test_client decent{*this};
  CHECK(decent.hello().claim.node == config.node);
}

TEST_CASE_FIXTURE(fixture, "a pointer to itself is a bad request") {
  start();
  CHECK(asked_with(*this, struct_pointer(-1, 0, 1)) == ec::bad_request);
  CHECK(asked_with(*this, list_pointer(-1, 6, 1)) == ec::bad_request);
}

TEST_CASE_FIXTURE(fixture, "17 nested structs in the place of a text are a bad request") {
  start();
  const std::vector<std::uint64_t> deep(17, struct_pointer(0, 0, 1));
  CHECK(asked_with(*this, struct_pointer(0, 0, 1), deep) == ec::bad_request);
  const std::vector<std::uint64_t> lists(17, list_pointer(0, 6, 1));
  CHECK(asked_with(*this, list_pointer(0, 6, 1), lists) == ec::bad_request);
}

TEST_CASE_FIXTURE(fixture, "what is copied back to its sender is followed 16 levels deep and not 17") {
  start();
  raw_client curious{*this};
  REQUIRE(curious.handshake());
  curious.send(unknown_message(10));
  CHECK(until([&] {
    curious.ended();
    return any_message(curious.received, [](auto m) { return m.isUnimplemented(); });
  }));
  CHECK(server->connections() == 1);
  curious.send(unknown_message(17));
  CHECK(closed_for(close_reason::rpc_failed));
  raw_client endless{*this};
  REQUIRE(endless.handshake());
  auto cycle = unknown_message(1);
  const auto to_itself = struct_pointer(-1, 0, 1);
  std::memcpy(cycle.data() + cycle.size() - 16, &to_itself, sizeof to_itself);
  endless.send(cycle);
  CHECK(until([&] { return closes(close_reason::rpc_failed) == 2 && server->connections() == 0; }));
}

TEST_CASE_FIXTURE(fixture, "text that overlaps the message around it is a bad request") {
  start();
  CHECK(asked_with(*this, list_pointer(-8, 2, 60)) == ec::bad_request);
}

TEST_CASE_FIXTURE(fixture,
                  "a small message whose pointers all lead to the same bytes is read up to a bound only") {
  config.login_bytes_max = 64 * 1024; // the message is to be read
  start();
  // 1,500 pointers to one list of 1,000 words: 12 KB that would be copied back as 12 MB.
  capnp::MallocMessageBuilder m{4096};
  auto outer = m.initRoot<capnp::rpc::Message>().initObsoleteSave().initAs<capnp::List<capnp::Data>>(1500);
  outer.init(1499, 8000);
  auto bytes = flat(m);
  const auto words_of_outer = std::size_t{1500};
  const auto first = bytes.size() - 8000 - words_of_outer * 8;
  for (std::size_t i = 0; i < words_of_outer; ++i) {
    const auto pointer = list_pointer(static_cast<std::int32_t>(words_of_outer - 1 - i), 2, 8000);
    std::memcpy(bytes.data() + first + 8 * i, &pointer, sizeof pointer);
  }
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  const auto sent_before = shared.metrics.bytes_out.load();
  const auto cpu_before = std::clock();
  hostile.send(bytes);
  CHECK(closed_for(close_reason::rpc_failed));
  const auto cpu = 1e3 * static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC;
  MESSAGE("overlaps refused after " << cpu << " ms of CPU, the client's included (bound: 5)");
  // The bound that makes it so: no more is followed than one message may have.
  CHECK(shared.metrics.bytes_out.load() - sent_before < 16 * 1024);
}

TEST_CASE_FIXTURE(fixture, "a table of more capabilities than any call has closes the connection") {
  start();
  for (const std::uint32_t entries : {9u, 60'000u, 0x1fffffffu}) {
    CAPTURE(entries);
    raw_client hostile{*this};
    REQUIRE(hostile.handshake());
    hostile.send(bootstrap_message() + call_with_capabilities(entries));
    CHECK(until([&] { return hostile.ended(); }));
    CHECK(until([&] { return server->connections() == 0; }));
    CHECK_FALSE(answer_to<rpc::Gateway::HelloResults>(1, hostile.received));
  }
  CHECK(says_hello_to(*this, call_with_capabilities(8)));
}

TEST_CASE_FIXTURE(fixture,
                  "a path into an answer with more steps than any answer has closes the connection") {
  start();
  const auto call_along = [](unsigned steps) {
    return door_call<rpc::Gateway::HelloParams>(1, door_method::hello, [&](auto& call, auto) {
      auto target = call.initTarget().initPromisedAnswer();
      target.setQuestionId(0);
      target.initTransform(steps); // steps that lead nowhere: no-operations
    });
  };
  raw_client hostile{*this};
  REQUIRE(hostile.handshake());
  hostile.send(bootstrap_message() + call_along(9));
  CHECK(closed_for(close_reason::rpc_failed));
  CHECK(says_hello_to(*this, call_along(8)));
}

TEST_CASE_FIXTURE(fixture, "2^29 structs of no size are a bad request") {
  start();
  CHECK(asked_with(*this, list_pointer(0, 0, 0x1fffffff)) == ec::bad_request);
  CHECK(asked_with(*this, list_pointer(0, 7, 0)) == ec::bad_request);
}

TEST_CASE_FIXTURE(fixture, "every flipped bit of a call gives an answer or a closed connection") {
  start();
  const auto good = call_with_pointer(list_pointer(0, 2, 13));
  for (std::size_t i = 0; i < 100; ++i) {
    auto bad = good;
    const auto bit = mix64(i) % (bad.size() * 8);
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    raw_client hostile{*this};
    REQUIRE(hostile.handshake());
    hostile.send(bootstrap_message() + bad);
  }
  test_client decent{*this};
  CHECK(decent.hello().claim.node == config.node);
  CHECK(until([&] { return server->connections() == 1; }));
}
