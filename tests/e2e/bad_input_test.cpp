// Bad input that only a whole cluster can judge. The numbers are those of
// the list in tests/protocol/gateway/README.md.
#include "tests/e2e/neighbours.hpp"
#include "tests/support/mutations.hpp"

#include "protocol/gateway/tokens.hpp"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <set>

using namespace parley;
using namespace parley::test;

TEST_CASE(
    "one id is one message: repeated elsewhere after a reset, at two nodes at once, with another body") {
  neighbourhood t;
  const auto alice = t.enroll(1), bob = t.enroll(2);
  auto bobs = t.login(2, bob);
  letterbox box;
  t.receive(*bobs, box);
  auto c = conversation_id{};
  {
    auto first = t.login(1, alice);
    c = t.open(*first, bob.user);
  }
  std::uint64_t counter = 0;
  std::map<std::uint64_t, placed> known;

  // 8: the answer to a committed send never arrives.
  for (std::size_t round = 0; round < 10; ++round) {
    CAPTURE(round);
    const auto body = "reset " + std::to_string(round);
    ++counter;
    {
      auto stream =
          t.get(transport::connect(t.lean.port, t.at(1 + round % 3), "127.0.0.1", t.lean.tls, t.lean.limits));
      auto& wire = *stream;
      auto cut_off = kj::heap<lean_connection>(t.lean, kj::mv(stream));
      t.get(cut_off->login(alice));
      wire.hold_reads(); // the answer stays in the socket
      auto unheard = neighbourhood::send(*cut_off, c, counter, body).eagerlyEvaluate(nullptr);
      REQUIRE(t.until(10s, [&] { return box.count(body) == 1; })); // committed, applied, even delivered
      CHECK_FALSE(unheard.poll(t.io.waitScope));
      const linger now{1, 0};
      setsockopt(wire.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    auto elsewhere = t.login(1 + (round + 1) % 3, alice);
    const auto again = t.settle(*elsewhere, c, counter, body);
    CHECK(again.error == ec::none);
    CHECK(again.duplicate);
    CHECK(again.seq == box.letters.back().seq);
    const auto thrice = t.settle(*elsewhere, c, counter, body);
    CHECK(thrice.duplicate);
    CHECK(thrice.seq == again.seq);
    CHECK(thrice.id == again.id);
    known[counter] = again;
  }

  // 33: a hundred ids are sent to two nodes at the same time. The second login fences the first
  // connection while its sends are still in progress; how far they have come depends on the round.
  std::size_t at_both = 0, stored_by_other = 0;
  for (std::size_t round = 0; round < 20; ++round) {
    CAPTURE(round);
    auto here = t.login(1 + round % 3, alice);
    auto there = t.connect(1 + (round + 1) % 3);
    std::vector<placed> here_says(5), there_says(5);
    const auto fire = [&](lean_connection& from, std::vector<placed>& into) {
      kj::Vector<kj::Promise<void>> under_way;
      for (std::size_t i = 0; i < into.size(); ++i)
        under_way.add(neighbourhood::send(from, c, counter + 1 + i, "both " + std::to_string(counter + 1 + i))
                          .then([&into, i](placed p) { into[i] = p; }));
      return kj::joinPromises(under_way.releaseAsArray());
    };
    auto both = kj::heapArrayBuilder<kj::Promise<void>>(2);
    both.add(there->login(alice).then([&] { return fire(*there, there_says); }));
    both.add(t.io.provider->getTimer()
                 .afterDelay(static_cast<std::int64_t>(round) * 500 * kj::MICROSECONDS)
                 .then([&] { return fire(*here, here_says); }));
    t.get(kj::joinPromises(both.finish()));
    for (std::size_t i = 0; i < there_says.size(); ++i) {
      const auto id = counter + 1 + i;
      CAPTURE(id);
      auto answer = there_says[i];
      if (answer.error != ec::none || answer.lost)
        answer = t.settle(*there, c, id, "both " + std::to_string(id));
      CHECK(answer.error == ec::none);
      stored_by_other += answer.duplicate;
      const auto& other = here_says[i];
      if (!other.lost && other.error == ec::none) {
        ++at_both;
        CHECK(other.seq == answer.seq);
        CHECK(other.id == answer.id);
        CHECK(other.duplicate != answer.duplicate); // exactly one of them was first
      }
      known[id] = answer;
    }
    counter += there_says.size();
  }
  MESSAGE("of 100 ids " << at_both << " were answered at both nodes, " << stored_by_other
                        << " stored by the other connection");
  CHECK(stored_by_other > 0); // otherwise the test would have shown nothing

  // 32: another body under an id that was used before.
  auto third = t.login(3, alice);
  for (const auto& [id, first] : known) {
    CAPTURE(id);
    const auto conflict = t.settle(*third, c, id, "something else");
    CHECK(conflict.error == ec::conflict);
    CHECK(conflict.seq == first.seq);
    CHECK(conflict.id == first.id);
  }

  const auto all = t.history(*third, c);
  CHECK(all.messages.size() == known.size());
  CHECK(std::set<std::uint64_t>(all.counters.begin(), all.counters.end()).size() == known.size());
  for (const auto& m : all.messages)
    CHECK(m.body != "something else");
  CHECK(t.until(10s, [&] { return box.letters.size() >= known.size(); }));
  CHECK(box.letters.size() == known.size()); // each exactly once
}

TEST_CASE("what is not a device's own is refused, at every node, and uses no number") {
  neighbourhood t;
  const auto alice = t.enroll(1), bob = t.enroll(2), mallory = t.enroll(3);
  auto alices = t.login(1, alice), bobs = t.login(2, bob);
  const auto c = t.open(*alices, bob.user);
  letterbox box;
  t.receive(*bobs, box);
  REQUIRE(t.settle(*alices, c, 1, "between us").seq == seq_no{1});
  REQUIRE(t.until(10s, [&] { return !box.cursor.empty(); }));

  // 31: a stranger sends, reads and marks as read, and uses another user's name.
  for (std::size_t node = 1; node <= 3; ++node) {
    CAPTURE(node);
    auto stranger = t.login(node, mallory);
    CHECK(t.settle(*stranger, c, node, "let me in").error == ec::not_a_member);
    CHECK(t.history(*stranger, c).error == ec::not_a_member);
    auto mark = stranger->session().ackReadRequest();
    wire::write(mark.initConversation(), c);
    mark.setSeq(1);
    (void)t.get(mark.send());
    auto inbox = stranger->session().syncRequest();
    inbox.setCursor(wire::as_data(box.cursor)); // the cursor of bob
    CHECK(wire::to_code(t.get(inbox.send()).getError()) == ec::bad_cursor);
    CHECK(t.get(stranger->session().syncRequest().send()).getItems().size() == 0);
    CHECK(t.get(stranger->session().conversationsRequest().send()).getItems().size() == 0);
    auto forged = mallory;
    forged.user = alice.user; // the name of alice with the stranger's key
    CHECK(t.refusal_of(node, forged) == ec::bad_signature);
    forged.device = alice.device;
    CHECK(t.refusal_of(node, forged) == ec::bad_signature);
    forged = mallory;
    forged.device = alice.device;
    CHECK(t.refusal_of(node, forged) == ec::bad_signature);
  }
  kj::Vector<kj::Promise<void>> wrong_sends;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) { // a hundred similar conversation ids
    auto other = c;
    (seed % 2 == 0 ? other.hi : other.lo) ^= 1ull << mix64(seed) % 64;
    wrong_sends.add(neighbourhood::send(*alices, other, 1000 + seed, "lost").then([seed](placed p) {
      CAPTURE(seed);
      CHECK_FALSE(p.lost);
      CHECK(p.error != ec::none);
      CHECK((p.error == ec::no_such_conversation || p.error == ec::not_a_member ||
             describe(p.error).retryable));
      CHECK(p.seq == seq_no::none);
    }));
  }
  t.get(kj::joinPromises(wrong_sends.releaseAsArray()));
  const auto after = t.history(*alices, c);
  CHECK(after.last == seq_no{1});
  CHECK(after.messages.size() == 1);
  CHECK(after.messages[0].sender == alice.user);
  CHECK_FALSE(after.read.contains(mallory.user));

  // 34: an id that the conversation no longer remembers. The window holds 256 ids.
  constexpr std::uint64_t written = 300;
  for (std::uint64_t id = 2; id <= written;) {
    kj::Vector<kj::Promise<void>> some;
    for (const auto end = std::min(id + 49, written); id <= end; ++id)
      some.add(neighbourhood::send(*alices, c, id, "m " + std::to_string(id)).then([](placed p) {
        CHECK(p.error == ec::none);
      }));
    t.get(kj::joinPromises(some.releaseAsArray()));
  }
  auto elsewhere = t.login(3, alice);
  for (std::uint64_t id = 1; id <= 40; ++id) {
    CAPTURE(id);
    const auto old = t.settle(*elsewhere, c, id, id == 1 ? "between us" : "m " + std::to_string(id));
    CHECK(old.error == ec::retry_too_old);
    CHECK(old.seq == seq_no::none);
  }
  CHECK(t.settle(*elsewhere, c, 100, "m 100").duplicate);
  CHECK(t.history(*elsewhere, c).last == seq_no{written});

  // 35: cursors damaged in a hundred ways, and a limit far above the maximum.
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    const auto bad = mutator{seed}.of(box.cursor);
    if (bad == box.cursor || bad.empty())
      continue;
    auto request = bobs->session().syncRequest();
    request.setCursor(wire::as_data(bad));
    CHECK(wire::to_code(t.get(request.send()).getError()) == ec::bad_cursor);
  }
  REQUIRE(t.until(10s, [&] { return box.letters.size() == written; }));
  auto greedy = bobs->session().syncRequest();
  greedy.setLimit(~0u);
  CHECK(t.get(greedy.send()).getItems().size() <= 500);

  // 36: an acknowledgement of a position in the future, then of one far in the past. Neither loses
  // or repeats any message.
  auto who = bobs->gateway().helloRequest();
  who.setVersion(rpc::PROTOCOL_VERSION);
  const auto hello = t.get(who.send());
  const cluster_id cluster{hello.getCluster().getHi(), hello.getCluster().getLo()};
  const auto acknowledge = [&](inbox_pos upto) {
    auto request = bobs->session().ackDeliveredRequest();
    request.setCursor(wire::as_data(gateway::encode_cursor(cluster, bob.user, upto)));
    return wire::to_code(t.get(request.send()).getError());
  };
  const auto got = *gateway::decode_cursor(cluster, bob.user, box.cursor);
  const auto beyond = acknowledge(inbox_pos{1ull << 60});
  CHECK((beyond == ec::none || beyond == ec::bad_cursor));
  CHECK(acknowledge(got) == ec::none);
  CHECK(acknowledge(inbox_pos{1}) == ec::none);
  bobs = nullptr;
  CHECK(t.settle(*elsewhere, c, written + 1, "after all").error == ec::none);
  letterbox later;
  bobs = t.login(1, bob);
  t.receive(*bobs, later);
  REQUIRE(t.until(10s, [&] { return later.count("after all") == 1; }));
  CHECK(later.letters.size() == 1);
}
