#pragma once
// A receiver alone: deliveries come from the test, and its session answers when the test says so.
#include "protocol/client/device/receiver.hpp"
#include "tests/protocol/client/device/lone_part.hpp"

namespace parley::test {

using namespace parley::client;

inline constexpr conversation_id elsewhere{3, 4}; ///< in a shard that has a leader

struct receiver_fixture : part_fixture {
  old_copy old{seen};
  kj::Own<session_calls> calls;
  kj::Own<receiver> in;

  receiver_fixture() {
    settings.ack_every = 200ms;
    settings.heal_tries_max = 3;
    settings.ask_timeout = 1'000ms;
  }
  receiver& make(client_store& from) {
    calls = kj::heap<session_calls>(timer, host, settings, history, chance);
    in = kj::heap<receiver>(timer, host, *calls, settings, from, seen, history, who, old);
    return *in;
  }
  receiver& make() { return make(store); }
  void online() {
    in->online(connect());
    turn();
  }
  void lose() {
    in->lost();
    cut();
  }
  /// The next session begins, in which the cluster knows only of `known` that it was acknowledged.
  void come_back_before(std::string_view known) {
    lose();
    online();
    auto results = session->receives[0].context.getResults();
    results.setPlace(rpc::CursorPlace::AFTER);
    results.setAcknowledged(wire::as_data(known));
    session->receives[0].accept();
    turn();
  }
  static inbox_row row(std::uint64_t prev, std::uint64_t seq, conversation_id c = talk) {
    message_row r;
    r.prev = seq_no{prev};
    r.msg.conversation = c;
    r.msg.seq = seq_no{seq};
    r.msg.sender = user_id{2};
    r.msg.client_id = {device_id{20}, seq};
    r.msg.body = std::to_string(seq);
    return r;
  }
  /// As the RPC system does it: the promise is driven, whoever waits for it.
  kj::Promise<void> take(std::vector<inbox_row> rows, cursor upto) {
    return in->take(std::move(rows), std::move(upto)).eagerlyEvaluate(nullptr);
  }
  void deliver(std::vector<inbox_row> rows, cursor upto) {
    auto taken = take(std::move(rows), std::move(upto));
    REQUIRE(taken.poll(scope));
    taken.wait(scope);
  }
  /// The session answers a fetch with one message, or none.
  void heal(std::size_t n, std::uint64_t seq = 0, bool more = false) {
    REQUIRE(session->heals.size() > n);
    auto results = session->heals[n].context.getResults();
    if (seq > 0) {
      auto m = results.initMessages(1)[0];
      wire::write(m.initConversation(), session->heals_of[n]);
      m.setSeq(seq);
      m.setSenderDevice(20);
      m.setBody(wire::as_data("healed"));
    }
    results.setMore(more);
    session->heals[n].accept();
    turn();
  }
  /// The session answers a fetch with the message as `row` makes it, the last of its conversation.
  void confirm(std::size_t n, std::uint64_t seq) {
    REQUIRE(session->heals.size() > n);
    auto results = session->heals[n].context.getResults();
    auto m = results.initMessages(1)[0];
    wire::write(m.initConversation(), session->heals_of[n]);
    m.setSeq(seq);
    m.setSender(2);
    m.setSenderDevice(20);
    m.setClientCounter(seq);
    const auto body = std::to_string(seq);
    m.setBody(wire::as_data(body));
    results.setLast(seq);
    session->heals[n].accept();
    turn();
  }
  const std::string& acked(std::size_t n) const { return session->acknowledged.at(n); }

  /// For so long, whatever is asked about the conversation is refused, because nobody leads its shard.
  void leaderless(std::chrono::milliseconds time, conversation_id c = talk) {
    for (auto left = time; left > 0ms; left -= 10ms) {
      for (; looked_at < session->heals.size(); ++looked_at)
        if (session->heals_of[looked_at] == c)
          session->heals[looked_at].refuse(ec::not_leader);
      pass(10ms);
    }
  }
  /// The next fetch of `leaderless`'s conversation that nobody has refused.
  std::size_t next_fetch() {
    pass(5'000ms);
    REQUIRE(session->heals.size() > looked_at);
    return looked_at++;
  }
  std::size_t looked_at = 0; ///< fetches of this session
};

} // namespace parley::test
