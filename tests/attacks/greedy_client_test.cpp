// A client that has logged in, and speaks the RPC protocol so that the node has to keep something for it.
#include "tests/attacks/siege.hpp"

using namespace parley;
using namespace parley::test;

namespace {

/// Sends `piece(0)`, `piece(1)` … in batches, until the node ends the connection or all are sent.
template <class Piece>
void flood(stranger& line, std::uint32_t pieces, Piece&& piece) {
  std::string batch;
  for (std::uint32_t i = 0; i < pieces; ++i) {
    batch += piece(i);
    if (batch.size() < 60'000 && i + 1 < pieces)
      continue;
    if (!line.send(batch))
      return;
    batch.clear();
  }
}

/// What the RPC protocol has for a third party, with much to copy.
std::string introduction(std::uint32_t question) {
  capnp::MallocMessageBuilder m;
  auto provide = m.initRoot<capnp::rpc::Message>().initProvide();
  provide.setQuestionId(question);
  provide.initTarget().setImportedCap(0);
  provide.getRecipient().initAs<capnp::Data>(50'000);
  return flat(m);
}

} // namespace

TEST_CASE("a client that makes the node keep what no bound counts is disconnected, and nobody else notices") {
  siege s;
  const auto attack = [&](const std::string& what, auto&& run) {
    CAPTURE(what);
    const auto closed = s.closed("rpc-failed");
    auto in = s.log_in();
    REQUIRE(in.inside);
    run(in.line);
    CHECK(in.line.ends_within(10s));
    CHECK(poll_until(5s, [&] { return s.closed("rpc-failed") == closed + 1; }));
    CHECK(s.growth() <= attack_bytes_max);
    s.bystander_goes_on();
    MESSAGE(what << ": " << s.growth() / mib << " MiB");
  };
  attack("results kept for the caller, never sent", [&](stranger& line) {
    flood(line, 200, [&](std::uint32_t i) { return s.loot_call(10 + i, true); });
  });
  attack("a new reference to the gateway, again and again", [](stranger& line) {
    flood(line, 300'000,
          [](std::uint32_t i) { return bootstrap_message(10 + i) + finish_message(10 + i, false); });
  });
  attack("calls that are never finished",
         [](stranger& line) { flood(line, 300'000, [](std::uint32_t i) { return ping_call(10 + i); }); });
  attack("one call that is finished for all others", [&](stranger& line) {
    flood(line, 300'000, [&](std::uint32_t i) {
      return i % 1'000 == 0 ? s.loot_call(10 + i)
                            : ping_call(10 + i) + finish_message(10 + i / 1'000 * 1'000);
    });
  });
  attack("a promise of a promise of a promise …", [](stranger& line) {
    line.send(receive_call(10, 2, [](auto c) { c.setSenderPromise(1); }));
    flood(line, 300'000,
          [](std::uint32_t i) { return resolve_message(1 + i, [&](auto c) { c.setSenderPromise(2 + i); }); });
  });
  attack("receivers that turn out to be the node's own gateway", [](stranger& line) {
    flood(line, 20'000, [](std::uint32_t i) {
      return receive_call(10 + i, 2, [&](auto c) { c.setSenderPromise(1 + i); }) +
             resolve_message(1 + i, [](auto c) { c.setReceiverHosted(0); }) + finish_message(10 + i);
    });
  });
  attack("a chain of ten thousand calls, each to what the one before answers", [&](stranger& line) {
    line.send(s.loot_call(10));
    flood(line, 10'000, [](std::uint32_t i) { return ping_call(11 + i, 10 + i); });
  });
  attack("a question id that is in use",
         [&](stranger& line) { line.send(s.loot_call(10) + s.loot_call(10)); });
  attack("a release of what was never exported",
         [](stranger& line) { line.send(release_message(1'000, 1)); });
  attack("a release of more references than there are",
         [](stranger& line) { line.send(release_message(0, 1'000'000)); });
  attack("a path into an answer that has no end", [](stranger& line) {
    capnp::MallocMessageBuilder m;
    auto target = m.initRoot<capnp::rpc::Message>().initDisembargo().initTarget().initPromisedAnswer();
    target.setQuestionId(2);
    target.initTransform(50'000);
    line.send(flat(m));
  });
  CHECK(s.memory_is_back());
  s.newcomer_is_served();
}

TEST_CASE("a client that keeps to the bounds, and uses all of them, stays and costs little") {
  siege s;
  const auto use = [&](const std::string& what, auto&& run) {
    CAPTURE(what);
    auto in = s.log_in();
    REQUIRE(in.inside);
    run(in.line);
    CHECK(poll_until(20s, [&] { // until all of it is answered
      const auto before = in.line.bytes_received;
      in.line.listen(milliseconds{300});
      return in.line.bytes_received == before;
    }));
    in.line.received.clear();
    REQUIRE(in.line.send(ping_call(9)));
    CHECK(poll_until(10s, [&] {
      in.line.listen(milliseconds{20});
      return any_message(in.line.received, [](capnp::rpc::Message::Reader m) {
        return m.isReturn() && m.getReturn().getAnswerId() == 9;
      });
    }));
    CHECK(s.growth() <= attack_bytes_max);
    s.bystander_goes_on();
    MESSAGE(what << ": " << s.growth() / mib << " MiB");
  };
  use("a hundred thousand calls, each finished", [](stranger& line) {
    flood(line, 100'000, [](std::uint32_t i) { return ping_call(10 + i) + finish_message(10 + i); });
    line.listen(milliseconds{100});
  });
  use("two hundred pages, four at a time", [&](stranger& line) {
    for (std::uint32_t i = 0; i < 200; ++i) {
      line.send(s.loot_call(10 + i) + finish_message(10 + i));
      line.listen(milliseconds{1});
    }
  });
  use("introductions to third parties, which the node does not know",
      [](stranger& line) { flood(line, 200, [](std::uint32_t i) { return introduction(10 + i); }); });
  // No more than a user may call at once: a connection that asks for more is not read for a while.
  use("a thousand capabilities, each in a call that ends", [](stranger& line) {
    flood(line, 1'000, [](std::uint32_t i) {
      return receive_call(10 + i, 2, [&](auto c) { c.setSenderHosted(i); }) + finish_message(10 + i);
    });
  });
  CHECK(s.memory_is_back());
}
