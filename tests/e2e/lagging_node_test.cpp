// A node that was away while the others wrote more than a link holds.
#include "tests/e2e/people.hpp"

#include <doctest/doctest.h>

#include <map>

using namespace parley;
using namespace parley::test;

namespace {

/// The values of a metric by what is within its braces.
std::map<std::string, double> values(town& t, std::size_t node, const std::string& name) {
  std::map<std::string, double> out;
  const auto text = t.cluster.get(node, "/metrics").value_or("");
  for (std::size_t i = 0; (i = text.find("\n" + name + "{", i)) != std::string::npos;) {
    i += name.size() + 2;
    const auto end = text.find('}', i);
    out[text.substr(i, end - i)] = std::strtod(text.c_str() + end + 1, nullptr);
  }
  return out;
}

double resets(town& t, std::size_t node, std::size_t peer) {
  return values(t, node, "parley_link_resets_total")["peer=\"" + std::to_string(peer) + "\""];
}

} // namespace

TEST_CASE("a node that was away for many times what a link holds catches up, and its links stay up") {
  town t;
  t.settings.first_seed = 0;
  person alice{t, 1};
  std::vector<conversation_id> chats;
  std::vector<std::unique_ptr<person>> others;
  for (std::size_t n = 2; n <= 6; ++n) {
    others.push_back(std::make_unique<person>(t, n));
    chats.push_back(alice.chat_with(*others.back()));
  }
  REQUIRE(t.until(20s, [&] { return alice.device->unsettled() == 0; }));
  t.cluster.kill(3);
  const std::string body(60'000, 'x');
  for (int round = 0; round < 80; ++round) { // 24 MB
    for (const auto c : chats)
      REQUIRE(alice.device->post(c, body));
    REQUIRE(t.until(60s, [&] { return alice.device->unsettled() < 20; }));
  }
  REQUIRE(t.until(60s, [&] { return alice.device->unsettled() == 0; }));
  others.clear();
  const auto applied = values(t, 1, "parley_shard_applied_total");
  const double before = resets(t, 1, 3) + resets(t, 2, 3);
  const auto begun = std::chrono::steady_clock::now();
  t.cluster.start(3);
  const auto is_level = [&] {
    auto there = values(t, 3, "parley_shard_applied_total");
    for (const auto& [shard, index] : applied)
      if (there[shard] < index)
        return false;
    return !applied.empty();
  };
  CHECK(t.until(60s, is_level));
  MESSAGE(
      "level after ms: ",
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count(),
      ", resets: ", resets(t, 1, 3) + resets(t, 2, 3) - before);
  CHECK(resets(t, 1, 3) + resets(t, 2, 3) - before <= 1);
}
