// Runs groups through random histories: members are added and removed, join, race, go offline and
// forge. All members of an epoch must agree on it, and each must read everything that was sent while it
// was a member, once, and nothing else.
//
// MLS_HISTORIES=10000 runs that many instead of 300. A failure prints the shortest history that
// fails, the events in it, and RC_PARAMS="reproduce=…", which runs only that history.
// RC_PARAMS="seed=7" runs other histories.
#include "tests/protocol/mls/history_world.hpp"

#include <rapidcheck.h>

#include <cstdlib>
#include <iostream>
#include <sstream>

namespace parley::mls::test {
namespace {

constexpr int steps_max = 32;

rc::Gen<int> below(int n) {
  return rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0, n));
}

rc::Gen<command> any_command() {
  const auto step_of = rc::gen::weightedElement<step>({{14, step::speak},
                                                       {12, step::offer},
                                                       {16, step::propose},
                                                       {6, step::ask},
                                                       {4, step::late},
                                                       {22, step::commit},
                                                       {5, step::race},
                                                       {5, step::join},
                                                       {4, step::resync},
                                                       {5, step::wake},
                                                       {7, step::restart},
                                                       {4, step::steal},
                                                       {8, step::forge},
                                                       {1, step::end}});
  const auto pick = rc::gen::map(below(256), [](int n) { return static_cast<std::uint8_t>(n); });
  return rc::gen::map(rc::gen::pair(step_of, rc::gen::container<std::array<std::uint8_t, 12>>(pick)),
                      [](const auto& parts) {
                        return command{parts.first, parts.second};
                      });
}

rc::Gen<history> any_history() {
  return rc::gen::map(
      rc::gen::tuple(below(5), below(4),
                     rc::gen::resize(steps_max, rc::gen::container<std::vector<command>>(any_command()))),
      [](auto parts) {
        return history{static_cast<std::uint8_t>(std::get<0>(parts)),
                       static_cast<std::uint8_t>(std::get<1>(parts)), std::move(std::get<2>(parts))};
      });
}

/// Returns the invariant that broke, or an empty string.
std::string live(const history& h) {
  std::optional<world> w;
  try {
    w.emplace(h);
    for (const auto& c : h.steps)
      w->live(c);
    w->finish();
  } catch (const broken_law& broke) {
    return (w ? w->trail() : "") + "BROKEN: " + broke.what();
  }
  return {};
}

/// As RapidCheck's own integrations into other test frameworks do it.
rc::detail::TestParams how_often() {
  auto out = rc::detail::configuration().testParams;
  if (!std::getenv("RC_PARAMS"))
    out.seed = 9420; // the same in every run
  out.maxSuccess = 300;
  if (const auto* count = std::getenv("MLS_HISTORIES"))
    out.maxSuccess = std::atoi(count);
  return out;
}

TEST_CASE("all members of an epoch agree, and each reads every message of its time in the group once") {
  const rc::detail::TestMetadata about{"histories", "the laws hold after each step of any history"};
  const auto property = [] {
    const auto h = *any_history();
    if (const auto broke = live(h); !broke.empty())
      RC_FAIL(broke);
  };
  const auto result = rc::detail::checkTestable(property, about, how_often());
  std::ostringstream text;
  rc::detail::printResultMessage(result, text);
  MESSAGE(text.str());
  std::ostringstream counted;
  for (const auto& [what, n] : tally_of_run().done)
    counted << "\n  " << n << "  " << what;
  MESSAGE("laws looked at: ", tally_of_run().laws, counted.str());
  CHECK(result.is<rc::detail::SuccessResult>());
}

} // namespace
} // namespace parley::mls::test
