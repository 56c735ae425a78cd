#include "tests/harness/chaos/copy_scheduler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

using namespace parley;
using namespace parley::chaos;
using namespace std::chrono_literals;

namespace {

using what = copy_step::what;

/// A cluster in virtual time, whose other faults kill a node every other second. A copy is recognised a second after it
/// met somebody, and all are whole again a second later.
struct world {
  explicit world(std::size_t n) : nodes{n}, starts(n, 1), up(n, true) {}

  std::size_t nodes;
  bool recognises = true;
  milliseconds wiped_every{0};
  std::vector<unsigned> starts; ///< how often each node began
  std::vector<bool> up;
  std::optional<std::size_t> copied; ///< whose directory the copy is of
  unsigned copied_start = 0;
  bool copy_is_of_old_disk = false;
  bool beside = false, wounded = false;
  milliseconds struck_at{-1}, whole_at{0};
  std::map<copy_fault, unsigned> used, recognised, missed;
  std::set<std::size_t> hit;
  std::vector<copy_step> trace;
  std::size_t most_down = 0;

  std::size_t down() const { return static_cast<std::size_t>(std::count(up.begin(), up.end(), false)); }
  void take(std::size_t n) {
    copied = n;
    copied_start = starts[n - 1];
    copy_is_of_old_disk = false;
  }
  void suffer(copy_scheduler& s, const copy_step& step, milliseconds now) {
    trace.push_back(step);
    auto is_up = up.at(step.node - 1);
    switch (step.is) {
    case what::take:
      CHECK(is_up);
      take(step.node);
      break;
    case what::kill:
      CHECK(is_up);
      CHECK(whole_at <= now);
      up[step.node - 1] = false;
      most_down = std::max(most_down, down());
      break;
    case what::put_back:
      CHECK_FALSE(is_up);
      CHECK_FALSE(wounded); // one disk at a time
      REQUIRE(copied == step.node);
      CHECK_FALSE(copy_is_of_old_disk);
      if (s.fault() != copy_fault::running)
        CHECK(starts[step.node - 1] > copied_start); // a later life, which others saw
      wounded = true;
      struck_at = now;
      ++used[s.fault()];
      hit.insert(step.node);
      break;
    case what::start:
      CHECK_FALSE(is_up);
      up[step.node - 1] = true;
      ++starts[step.node - 1];
      break;
    case what::start_beside:
      CHECK(is_up);
      CHECK_FALSE(beside);
      REQUIRE(copied == step.node);
      beside = true;
      struck_at = now;
      ++used[s.fault()];
      break;
    case what::end_beside:
      CHECK(beside);
      beside = false;
      break;
    case what::recognised:
      ++recognised[s.fault()];
      wounded = false;
      break;
    case what::missed:
      ++missed[s.fault()];
      wounded = false;
      break;
    }
  }

  void run(copy_scheduler& s, milliseconds length) {
    milliseconds killed_at{0}, wiped_at{0};
    std::size_t dead = 0;
    for (milliseconds now{0}; now < length || s.struck(); now += 10ms) {
      if (dead != 0 && now >= killed_at + 500ms) { // the other faults' node begins again
        up[dead - 1] = true;
        ++starts[dead - 1];
        dead = 0;
        whole_at = now + 300ms;
      }
      if (dead == 0 && !s.alone() && now < length && now >= killed_at + 2s) {
        dead = static_cast<std::size_t>(now / 10ms) % nodes + 1;
        killed_at = now;
        up[dead - 1] = false;
        if (s.killed(dead, now))
          take(dead);
        if (wiped_every > 0ms && now >= wiped_at + wiped_every) {
          wiped_at = now;
          s.lost(dead);
          copy_is_of_old_disk = copy_is_of_old_disk || copied == dead;
        }
      }
      copy_view view;
      view.up = down() == 0;
      view.recognised = recognises && struck_at >= 0ms && now >= struck_at + 1s;
      if (wounded && !(view.recognised && now >= struck_at + 2s))
        whole_at = now + 10ms;
      view.whole = down() == 0 && now >= whole_at;
      for (const auto& step : s.tick(now, view))
        suffer(s, step, now);
    }
    for (const auto& step : s.heal())
      suffer(s, step, length);
    if (dead != 0)
      up[dead - 1] = true;
  }
};

} // namespace

TEST_CASE(
    "each kind of copy comes once before any comes again, hits any node, and ends with all nodes running") {
  for (const std::size_t nodes : {3u, 5u, 7u}) {
    std::set<std::size_t> hit;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      CAPTURE(nodes);
      CAPTURE(seed);
      copy_config c;
      c.length = 180s;
      copy_scheduler s{c, seed, nodes};
      world w{nodes};
      w.run(s, c.length);
      CHECK(s.promised().size() == copy_fault_kinds);
      for (const auto f : s.promised())
        CHECK(w.recognised[f] >= 1);
      CHECK(w.recognised == w.used);
      CHECK(w.missed.empty());
      CHECK(w.down() == 0);
      CHECK_FALSE(w.beside);
      hit.insert(w.hit.begin(), w.hit.end());
    }
    CHECK(hit.size() == nodes);
  }
}

TEST_CASE("a laggard meets the copy without any other node") {
  copy_config c;
  c.length = 180s;
  for (const std::size_t nodes : {3u, 5u, 7u}) {
    copy_scheduler s{c, 2, nodes};
    world w{nodes};
    w.run(s, c.length);
    CHECK(w.most_down == nodes); // all but the laggard end while it is still away
  }
}

TEST_CASE("a copy of a disk that was lost since is not used, nor one of a running node after any loss") {
  copy_config c;
  c.length = 300s;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    copy_scheduler s{c, seed, 3};
    world w{3};
    w.wiped_every = 5s;
    w.run(s, c.length);
    CHECK(w.trace.size() > 4);
  }
}

TEST_CASE("a copy that nobody recognises is reported, and the next one comes") {
  copy_config c;
  c.length = 300s;
  copy_scheduler s{c, 4, 3};
  world w{3};
  w.recognises = false;
  w.run(s, c.length);
  CHECK(w.missed == w.used);
  CHECK(w.missed.size() >= 3);
  CHECK(w.recognised.empty());
  CHECK(w.down() == 0);
}

TEST_CASE("no copy is used while a node is not whole") {
  copy_scheduler s{{}, 1, 3};
  for (milliseconds now{0}; now < 200s; now += 10ms) {
    if (now < 120s)
      s.killed(1, now);
    for (const auto& step : s.tick(now, {true, false, false}))
      CHECK(step.is == what::take);
  }
  CHECK_FALSE(s.struck());
}

TEST_CASE("a run that ends in the middle of a copy leaves no node down and no second process") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    copy_config c;
    copy_scheduler s{c, seed, 5};
    world w{5};
    const auto end = milliseconds{15'000 + 700 * static_cast<std::int64_t>(seed)};
    milliseconds now{0};
    for (; now < end; now += 10ms) {
      if (now % 2'000ms == 0ms && !s.alone() && s.killed(1, now)) {
        w.take(1);
        ++w.starts[0];
      }
      for (const auto& step : s.tick(now, {w.down() == 0, w.down() == 0, false}))
        w.suffer(s, step, now);
    }
    for (const auto& step : s.heal())
      w.suffer(s, step, now);
    CHECK(w.down() == 0);
    CHECK_FALSE(w.beside);
  }
}

TEST_CASE("the same seed copies the same, another one differs") {
  const auto told = [](std::uint64_t seed) {
    copy_config c;
    c.length = 180s;
    copy_scheduler s{c, seed, 5};
    world w{5};
    w.run(s, c.length);
    return w.trace;
  };
  CHECK(told(3) == told(3));
  CHECK(told(3) != told(4));
}
