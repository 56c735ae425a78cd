#pragma once
// One node with its own default settings, somebody decent who uses it all the time, and whoever attacks it.
#include "tests/attacks/stranger.hpp"
#include "tests/e2e/neighbours.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include "protocol/transport/login_proof.hpp"

#include <doctest/doctest.h>

#include <charconv>

namespace parley::test {

constexpr std::uint64_t mib = 1024 * 1024;
/// What an attack may make the node's memory grow by, while it lasts and afterwards. A node that allocates as
/// its bounds say stays far below it: at most a few pages of 1 MiB, and what each bounded table holds.
constexpr std::uint64_t attack_bytes_max = 40 * mib;

/// A person of the siege who logs in by hand, and may then say anything.
struct intruder {
  stranger line;
  bool inside = false;
};

struct siege : neighbourhood {
  siege() : neighbourhood{one_node()}, alice{enroll(1)}, bob{enroll(2)}, mallory{enroll(3)}, eve{enroll(4)} {
    alices = login(1, alice);
    bobs = login(1, bob);
    talk = open(*alices, bob.user);
    receive(*bobs, box);
    {
      auto hers = login(1, mallory);
      loot = open(*hers, eve.user);
      const std::string body(body_bytes_max, 'm');
      for (std::uint64_t i = 1; i <= 17; ++i) // a page of 1 MiB
        REQUIRE(settle(*hers, loot, i, body).error == ec::none);
    }
    for (int i = 0; i < 3; ++i) { // what a first connection leaves behind counts for nobody
      auto warm = log_in();
      REQUIRE(warm.inside);
      warm.line.send(page_call(10) + finish_message(10));
      warm.line.listen(milliseconds{200});
    }
    bystander_goes_on();
    before = cluster.rss_bytes(1);
  }

  /// A node that ended says why in its log: under a sanitizer that is the report of what the attack has hit.
  ~siege() {
    for (const auto& how : cluster.unexpected_exits())
      FAIL_CHECK(how);
  }

  static process_cluster_config one_node() {
    process_cluster_config c;
    c.nodes = 1;
    return c;
  }

  /// How many connections the node has closed for `reason`.
  std::uint64_t closed(std::string_view reason) const {
    return metric("connections_closed_total{reason=\"" + std::string{reason} + "\"} ");
  }
  std::uint64_t metric(const std::string& line_begin) const {
    const auto page = cluster.get(1, "/metrics", milliseconds{5000}).value_or("");
    const auto at = page.find(line_begin);
    std::uint64_t n = 0;
    if (at != std::string::npos)
      std::from_chars(page.data() + at + line_begin.size(), page.data() + page.size(), n);
    return n;
  }
  /// By how much the node's memory has grown since before the first attack.
  std::uint64_t growth() const {
    const auto now = cluster.rss_bytes(1);
    return memory_is_telling && now > before ? now - before : 0;
  }
  bool memory_is_back() {
    const bool back = poll_until(
        milliseconds{25'000}, [&] { return growth() <= attack_bytes_max / 2; }, milliseconds{200});
    MESSAGE("the node holds " << growth() / mib << " MiB more than before the attacks");
    return back;
  }
  /// Two who are logged in all the time still talk.
  void bystander_goes_on() {
    ++sent;
    const auto body = "still here " + std::to_string(sent);
    CHECK(settle(*alices, talk, sent, body).error == ec::none);
    CHECK(until(10s, [&] { return box.count(body) == 1; }));
  }
  /// A newcomer connects and logs in.
  void newcomer_is_served() {
    CHECK(get(login(1, eve)->session().pingRequest().send().ignoreResult().then([] { return true; })));
  }

  intruder log_in() { return log_in(mallory); }
  /// Logs in by hand: questions 0 to 2 are taken.
  intruder log_in(const lean_device& who) {
    intruder in{stranger{cluster.client(1)}};
    if (!in.line.handshake())
      return in;
    in.line.send(bootstrap_message() +
                 door_call<rpc::Gateway::HelloParams>(
                     1, door_method::hello, [](auto&, auto p) { p.setVersion(rpc::PROTOCOL_VERSION); }));
    transport::login_claim claim;
    const auto greeted = [&](capnp::rpc::Message::Reader m) {
      if (!m.isReturn() || m.getReturn().getAnswerId() != 1 || !m.getReturn().isResults())
        return false;
      const auto hello = m.getReturn().getResults().getContent().getAs<rpc::Gateway::HelloResults>();
      claim.cluster = wire::to_cluster(hello.getCluster());
      claim.node = node_id{hello.getNode()};
      std::copy_n(hello.getChallenge().begin(), 32, claim.challenge.begin());
      return true;
    };
    if (!poll_until(10s,
                    [&] { return in.line.listen(milliseconds{50}), any_message(in.line.received, greeted); }))
      return in;
    claim.user = who.user;
    claim.device = who.device;
    claim.session = lean.last_session = session_number{std::max<std::uint64_t>(
        number(lean.last_session) + 1,
        static_cast<std::uint64_t>(
            std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count()))};
    claim.exporter = in.line.exporter();
    const auto signature = client::sign(who.key, transport::login_proof_bytes(claim));
    in.line.send(door_call<rpc::Gateway::LoginParams>(2, door_method::login, [&](auto&, auto p) {
      p.setUser(number(claim.user));
      p.setDevice(number(claim.device));
      p.setSignature(capnp::Data::Reader{signature.data(), signature.size()});
      p.setSessionNumber(number(claim.session));
    }));
    std::optional<verdict> v;
    poll_until(10s, [&] {
      in.line.listen(milliseconds{50});
      v = answer_to<rpc::Gateway::LoginResults>(2, in.line.received);
      return v.has_value();
    });
    in.inside = v && !v->exception && v->code == 0;
    in.line.received.clear();
    return in;
  }

  /// A call whose answer is a page of 1 MiB.
  std::string page_call(std::uint32_t question, bool keep = false) const {
    return session_call<rpc::Session::SyncConversationParams>(question, 2, session_method::sync_conversation,
                                                              [&](auto& call, auto p) {
                                                                if (keep)
                                                                  call.getSendResultsTo().setYourself();
                                                                wire::write(p.initConversation(), loot);
                                                              });
  }

  lean_device alice, bob, mallory, eve;
  kj::Own<lean_connection> alices, bobs;
  conversation_id talk, loot;
  letterbox box;
  std::uint64_t sent = 0;
  std::uint64_t before = 0;
};

} // namespace parley::test
