// Proves the harness: each bug planted in `parleyd_planted` must be noticed by chaos, and the same program
// without one not.
#include "tests/chaos/chaos.hpp"
#include "tests/support/process_cluster.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>
#include <vector>

using namespace parley;

int main(int argc, char** argv) {
  CLI::App app{"Looks for planted bugs with chaos"};
  std::vector<std::string> bugs{"dedup-only-in-memory", "seq-by-actor", "outbox-not-replayed",
                                "inbox-accepts-gap"};
  std::uint64_t seeds = 4;
  chaos::chaos_options options;
  options.seconds = 10;
  options.rate = 300;
  options.users = 24;
  app.add_option("--bug", bugs, "Only these");
  app.add_option("--seeds", seeds, "Give up after so many")->capture_default_str();
  app.add_option("--seconds", options.seconds, "Of faults, per seed")->capture_default_str();
  app.add_option("--rate", options.rate, "Messages a second")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  options.parleyd = test::program_folder() + "/parleyd_planted";
  options.disk_losses = false;
  options.leave_evidence = false;
  unsigned missed = 0;
  std::string table;
  for (const auto& bug : bugs) {
    options.environment = {{"PARLEY_PLANT", bug}};
    std::uint64_t found_at = 0;
    for (std::uint64_t seed = 1; seed <= seeds && found_at == 0; ++seed) {
      std::printf("--- %s, seed %llu\n", bug.c_str(), static_cast<unsigned long long>(seed));
      options.seed = seed;
      const int status = chaos::run_chaos(options);
      if (status == 1)
        found_at = seed;
      else if (status != 0)
        std::printf("the harness itself failed\n");
    }
    missed += found_at == 0;
    table += bug + (found_at == 0 ? ": missed\n" : ": found, seed " + std::to_string(found_at) + "\n");
  }
  std::printf("\n%s", table.c_str());
  return missed == 0 ? 0 : 1;
}
