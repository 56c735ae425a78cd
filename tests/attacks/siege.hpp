#pragma once
// One node with its own default settings, somebody decent who uses it all the time, and whoever attacks it.
#include "tests/attacks/intruder.hpp"
#include "tests/e2e/neighbours.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include <doctest/doctest.h>

#include <charconv>

namespace parley::test {

constexpr std::uint64_t mib = 1024 * 1024;
/// What an attack may make the node's memory grow by, while it lasts and afterwards. A node that allocates as
/// its bounds say stays far below it: at most a few pages of 1 MiB, and what each bounded table holds.
constexpr std::uint64_t attack_bytes_max = 40 * mib;

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
      warm.line.send(loot_call(10) + finish_message(10));
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

  intruder log_in() { return log_in_by_hand(cluster.client(1), mallory); }
  /// A call whose answer is a page of 1 MiB.
  std::string loot_call(std::uint32_t question, bool keep = false) const {
    return page_call(question, loot, keep);
  }

  lean_device alice, bob, mallory, eve;
  kj::Own<lean_connection> alices, bobs;
  conversation_id talk, loot;
  letterbox box;
  std::uint64_t sent = 0;
  std::uint64_t before = 0;
};

} // namespace parley::test
