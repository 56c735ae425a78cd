#include "tests/harness/chaos/chaos.hpp"
#include "tests/harness/dev/command_line.hpp"

#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  CLI::App app{"Starts a cluster of its own, kills, stops and wipes its nodes under load, and checks that no "
               "message was lost, repeated or reordered.",
               "parley chaos"};
  parley::chaos::chaos_options o;
  app.add_option("--nodes", o.nodes, "The number of nodes")->check(CLI::Range(1, 9))->capture_default_str();
  app.add_option("--seconds", o.seconds, "The time in seconds during which faults are injected")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--rate", o.rate, "Messages per second of all clients together")
      ->check(CLI::Range(1.0, 100'000.0))
      ->capture_default_str();
  app.add_option("--seed", o.seed, "Decides which faults are injected and when")->capture_default_str();
  app.add_option("--users", o.users, "The number of users that chat; some have two devices")
      ->check(CLI::Range(10, 2'000))
      ->capture_default_str();
  std::vector<std::string> with;
  std::string known;
  for (const auto& t : parley::chaos::all_trials)
    known += "\n" + std::string{t.name} + ": " + std::string{t.sentence};
  app.add_option("--with", with, "Adds trials, separated by commas; all of them: all." + known)
      ->delimiter(',');
  app.add_option("--keep", o.keep, "A directory in which data, logs, history and dumps are kept");
  app.add_option("--parleyd", o.parleyd, "The path of parleyd, if it is not beside this program");
  app.add_flag("!--no-disk-losses", o.disk_losses, "Does not wipe disks");
  app.add_flag("--json", o.json_only, "Prints only the last line");
  app.footer(
      "Prints a table and, last, one JSON line. Exit status: 0 no harm; 1 a rule was broken, or the run does "
      "not\n"
      "count; 2 the harness failed, or the command line cannot be understood; 3 the network's faults of a "
      "trial "
      "did not\nhappen, so the run is void.\n\nExample:\n  parley chaos --nodes 3 --seconds 120 --rate 500 "
      "--seed 1");
  if (const auto ended = parley::harness::read_command_line(app, argc, argv))
    return *ended;
  for (const auto& name : with) {
    const auto one = parley::chaos::trial_named(name);
    if (!one && name != "all") {
      std::fprintf(stderr, "parley chaos: there is no trial %s. See parley chaos --help.\n", name.c_str());
      return 2;
    }
    for (const auto& t : parley::chaos::all_trials)
      if (name == "all" || t.it == *one)
        o.with.insert(t.it);
  }
  return parley::chaos::run_chaos(o);
}
