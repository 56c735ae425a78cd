#include "tests/harness/chaos/chaos.hpp"

#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  CLI::App app{"Starts a cluster of its own, kills, stops and wipes its nodes under load, and checks that no "
               "message was lost, repeated or reordered.",
               "parley chaos"};
  parley::chaos::chaos_options o;
  app.add_option("--nodes", o.nodes, "Nodes of the cluster")->check(CLI::Range(1, 9))->capture_default_str();
  app.add_option("--seconds", o.seconds, "How long faults are injected")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  app.add_option("--rate", o.rate, "Messages a second, all clients together")
      ->check(CLI::Range(1.0, 100'000.0))
      ->capture_default_str();
  app.add_option("--seed", o.seed, "Decides which faults come when")->capture_default_str();
  app.add_option("--users", o.users, "Users that chat; some have two devices")
      ->check(CLI::Range(10, 2'000))
      ->capture_default_str();
  app.add_option("--keep", o.keep, "Directory for data, logs, history and dumps, which are then left there");
  app.add_option("--parleyd", o.parleyd, "The node's program, if it is not beside this one");
  app.add_flag("!--no-disk-losses", o.disk_losses, "Leave the disks alone");
  app.add_flag("--json", o.json_only, "Print the last line only");
  app.footer(
      "Prints a table and, last, one JSON line. Exit status: 0 no harm; 1 a rule was broken, or the run does "
      "not\n"
      "count; 2 the harness failed.\n\nExample:\n  parley chaos --nodes 3 --seconds 120 --rate 500 --seed 1");
  CLI11_PARSE(app, argc, argv);
  return parley::chaos::run_chaos(o);
}
