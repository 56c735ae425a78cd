#include "tests/sim/regressions.hpp"

#include "tests/sim/seed_process.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace parley::sim {
namespace {

struct regression {
  run_options run;
  const char* plant; ///< does again what was mended; empty: nothing does
  const char* found;
};

const regression all[] = {
    // Faults of the product that can be planted again: clean without the bug, and a violation with it.
    {{.seed = 11},
     "begin-counts-as-told",
     "what waits while a second device is added was never told as delivered"},
    {{.seed = 4},
     "seal-without-generation",
     "a late wish ended a generation that had its own members already"},
    {{.seed = 7}, "ack-written-once", "an acknowledgement that was refused once was never written"},
    {{.seed = 37},
     "first-append-anywhere",
     "a stream began with its second message, and the first was never brought"},
    {{.seed = 43},
     "gone-stays-gone",
     "an inbox that had passivated knew nothing of a session that lived, and pushed it nothing"},
    // Of the product, too, but nothing does it again that this number still shows.
    {{.seed = 909}, "", "what an earlier session had acknowledged was forgotten with a leader"},
    {{.seed = 18071}, "", "who had outlived a replica that moved away took its emptiness for a final no"},
    {{.seed = 78, .rescues = true},
     "",
     "a device compared its history for ever, because a conversation had lost what its inbox had"},
    {{.seed = 488, .rescues = true},
     "",
     "who kept a state for others was never told that their generation had ended by a rescue"},
    {{.seed = 45, .rescues = true},
     "",
     "what a device without a message had acknowledged was forgotten, and never acknowledged again"},
    {{.seed = 260, .rescues = true}, "", "the same, after a second rescue"},
    // Faults of the simulator itself.
    {{.seed = 188}, "", "a link's window was smaller than the repair of a gap"},
    {{.seed = 622}, "", "of two devices that register together the later one passed for the first"},
    {{.seed = 1282}, "", "a newcomer asked for ever with a ticket whose code was lost"},
    {{.seed = 1479, .disks = true}, "", "a node that ended met a damaged row, and spoke to nobody"},
    {{.seed = 1818}, "", "a calm ended as the last of what a storm of bursts had left was paid"},
    {{.seed = 27}, "", "a newcomer heard the answer to an attempt that it had given up"},
    {{.seed = 10997}, "", "what was meant for a node that is gone for good counted as noise"},
    {{.seed = 11961}, "", "a device that fetched a history row by row was to have done so in 4 s"},
    {{.seed = 486, .rescues = true}, "", "a shard moved to lost disks after the operator had looked at it"},
    {{.seed = 507, .rescues = true}, "", "a client may not pass over what a rescue has lost"},
    {{.seed = 564, .rescues = true},
     "",
     "a sync that was asked before a rescue had to bring what that forgot"},
};

void plant(const char* bug) {
  setenv("PARLEY_PLANT", bug, 1); // is read once by each process, and each run has its own
}

} // namespace

int run_regressions() {
  int bad = 0;
  for (const auto& r : all) {
    const auto says = [&](const std::string& what) {
      fmt::print("seed {}{}{} ({}): {}\n", r.run.seed, r.run.disks ? " --disks" : "",
                 r.run.rescues ? " --rescues" : "", r.found, what);
      std::fflush(stdout);
    };
    plant("");
    if (const auto got = run_alone(r.run); !got.violation.empty()) {
      says(got.violation);
      ++bad;
      continue;
    }
    if (*r.plant == 0) {
      says("clean");
      continue;
    }
    plant(r.plant);
    const auto again = run_alone(r.run);
    says(fmt::format("clean, and with {}: {}", r.plant,
                     again.violation.empty() ? "NOT FOUND"
                                             : again.violation.substr(0, again.violation.find('\n'))));
    bad += again.violation.empty();
  }
  return bad == 0 ? 0 : 1;
}

} // namespace parley::sim
