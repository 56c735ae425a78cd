// node_sim runs the seeds FROM to TO and prints one line of figures. On a violation it prints the seed and
// exits with 1.
#include "cluster/ops/logging.hpp"
#include "tests/sim/plants.hpp"
#include "tests/sim/regressions.hpp"
#include "tests/sim/results.hpp"
#include "tests/sim/seed_process.hpp"
#include "tests/sim/shrink.hpp"
#include "tests/sim/switches.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace parley::sim;

struct settings {
  run_options run;
  std::uint64_t from = 1, to = 1;
  int jobs = 1;
  bool repeat = false, keep_going = false, hashes = false, only_left = false, regressions = false;
  std::string results_file;
  std::vector<std::string> plants;
  std::uint64_t shrink = 0; ///< the seed; 0: none
  std::vector<std::string> without;
};

/// Red, and on a terminal only.
std::string red(std::string text) {
  return isatty(STDOUT_FILENO) != 0 ? "\033[31m" + text + "\033[0m" : text;
}

/// Prints what a person needs of a failure: the seed, the rule, and what came before.
void print(std::uint64_t seed, const finding& found) {
  fmt::print("{} {}\n", red(fmt::format("seed {}:", seed)), found.violation);
  if (!found.story.empty())
    fmt::print("The last events about it, the newest last:\n{}", found.story);
  std::fflush(stdout);
}

result run_seeds(const settings& s, const results& done, std::uint64_t first) {
  result all;
  for (auto seed = first; seed <= s.to; seed += static_cast<std::uint64_t>(s.jobs)) {
    if (done.has(seed))
      continue;
    auto options = s.run;
    options.seed = seed;
    auto found = run_alone(options);
    if (s.repeat && found.violation.empty())
      if (const auto again = run_alone(options); again.is.trace_hash != found.is.trace_hash) {
        found.violation = "the same seed produced a different trace";
        found.is.bad = 1;
      }
    if (!found.violation.empty())
      print(seed, found);
    if (s.hashes)
      fmt::print("seed {}: trace {:016x}\n", seed, found.is.trace_hash);
    done.append(seed, found.is.trace_hash, found.violation);
    found.is.trace_hash = parley::mix64(found.is.trace_hash ^ seed);
    all.add(found.is);
    if (all.bad != 0 && !s.keep_going)
      break;
  }
  return all;
}

int shrink_seed(const settings& s) {
  auto options = s.run;
  options.seed = s.shrink;
  fmt::print("seed {}: ", s.shrink);
  std::fflush(stdout);
  const auto found = shrink(options);
  if (found.last.violation.empty()) {
    fmt::print("it does not fail\n");
    return 0;
  }
  std::vector<std::string> needed;
  for (auto& name : all_switches())
    if (!found.least.without.contains(name))
      needed.push_back(name);
  fmt::print("After {} runs, the least that fails in the same way has {:.1f} s of faults and {}.\n",
             found.runs, found.least.seconds,
             needed.empty() ? "nothing else" : fmt::to_string(fmt::join(needed, ", ")));
  fmt::print("It is shown again by\n  node_sim{}{} {}\n", s.plants.empty() ? "" : "_planted --plant ",
             fmt::join(s.plants, ","), command_of(found.least));
  print(s.shrink, found.last);
  return 1;
}

/// What an earlier run of the same seeds has found, and how many there are to do. False: nothing is left.
bool print_left(const settings& s, const results& done) {
  if (s.results_file.empty())
    return true;
  const auto left = done.left(s.from, s.to);
  fmt::print("{} of {} seeds are left\n", left, s.to - s.from + 1);
  for (const auto& [seed, what] : done.failures(s.from, s.to))
    fmt::print("{} {}\n", red(fmt::format("seed {}:", seed)), what);
  std::fflush(stdout);
  return left != 0;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Simulates whole nodes, their network, disks and clients in virtual time"};
  settings s;
  app.add_option("--from", s.from, "The first seed");
  const auto* to = app.add_option("--to", s.to, "The last seed; the first one, if it is not given");
  app.add_option("--jobs", s.jobs, "Processes at a time")->check(CLI::Range(1, 64));
  app.add_option("--seconds", s.run.seconds, "Virtual seconds of faults in each run");
  app.add_option("--plant", s.plants, "Switches planted bugs on (node_sim_planted)")
      ->delimiter(',')
      ->check(CLI::IsMember(parley::sim::all_plants())); // whoever mistyped one would read "0 failed"
  app.add_option("--without", s.without, "Leaves these out: faults, work of users, conditions")
      ->delimiter(',')
      ->check(CLI::IsMember(all_switches()));
  app.add_option("--users", s.run.users_max, "At most so many users")->check(CLI::Range(2, 9));
  app.add_option("--variation", s.run.variation, "Draws anew how long frames and syncs take");
  app.add_option("--shrink", s.shrink, "Looks for the least that fails as this seed does");
  app.add_option("--results", s.results_file,
                 "Appends a line for each seed to this file, and leaves out those in it");
  app.add_flag("--left", s.only_left, "Only prints which seeds the file of results lacks");
  app.add_flag("--plain", s.run.plain, "Leaves out what seeds add to their usual runs");
  auto* disks =
      app.add_flag("--disks", s.run.disks,
                   "With disks that are full, fail, are damaged, lost, or put back to older copies");
  app.add_flag("--rescues", s.run.rescues, "With shards that lose their majority for good, and are rescued")
      ->excludes(disks);
  app.add_flag("--trace", s.run.print_trace, "Prints each event of a run");
  app.add_flag("--regressions", s.regressions,
               "Runs the seeds that have found faults, and plants those that can be");
  app.add_flag("--repeat", s.repeat, "Runs each seed twice and compares the traces");
  app.add_flag("--hashes", s.hashes, "Prints the hash of each seed's trace");
  app.add_flag("--keep-going", s.keep_going, "Does not stop at the first seed with a violation");
  CLI11_PARSE(app, argc, argv);
  if (to->empty())
    s.to = s.from;
  if (s.to < s.from) {
    fmt::print(stderr, "node_sim: there are no seeds from {} to {}: the first one comes first\n", s.from,
               s.to);
    return 2;
  }
  if (!s.plants.empty() && !std::string_view{argv[0]}.ends_with("_planted")) {
    fmt::print(stderr, "node_sim: this program has no planted bugs; node_sim_planted has them\n");
    return 2;
  }
  if (!s.plants.empty())
    setenv("PARLEY_PLANT", fmt::format("{}", fmt::join(s.plants, ",")).c_str(), 1);
  // Above errors: a damaged row is one, and here it is a fault like others.
  parley::log::set_level(static_cast<parley::log::level>(static_cast<int>(parley::log::level::error) + 1));

  if (s.regressions)
    return run_regressions();
  s.run.without = {s.without.begin(), s.without.end()};
  if (s.shrink != 0)
    return shrink_seed(s);
  const results done{s.results_file};
  const bool had_failures = !done.failures(s.from, s.to).empty();
  if (!print_left(s, done) || s.only_left)
    return had_failures ? 1 : 0;

  const auto begun = std::chrono::steady_clock::now();
  std::vector<process> workers;
  for (int i = 0; i < s.jobs && s.from + static_cast<std::uint64_t>(i) <= s.to; ++i)
    workers.push_back(begin([&] { return run_seeds(s, done, s.from + static_cast<std::uint64_t>(i)); }));
  result all;
  for (const auto& w : workers)
    if (const auto r = end(w))
      all.add(*r);
    else
      ++all.bad;
  const auto& c = all.count;
  fmt::print("acked {} (sent again {}), received {}, syncs {}, marks {}, opened {}, devices {}, logins {}\n",
             c.acked, c.retried, c.received, c.synced, c.marked, c.opened, c.devices, c.logins);
  fmt::print(
      "crashes {} (power {}, batches lost {}), cuts {}, resets {}, pauses {}, slow disks {}, hand-overs {}, "
      "duels {}, refusals {}, sessions held up {}, last strikes {}, gone for good {}, client crashes {}, "
      "absences {}\n",
      c.crashes, c.power_losses, c.lost_batches, c.cuts, c.resets, c.pauses, c.slow_disks, c.hand_overs,
      c.duels, c.refusals, c.held_up, c.last_strikes, c.gone_for_good, c.client_crashes, c.absences);
  const auto& x = all.shapes;
  fmt::print(
      "seals {} (generations {}), joined {}, foreign logins {}, stuffed lanes {} (payloads {}), flickers {}, "
      "late reads {}, registered {} (codes {}, found {}), sleepers {} (woken {}), absent {} (letters {}), "
      "large bodies {}\n",
      x.seals_asked, x.generations, x.joined, x.foreign, x.stuffed, x.unsent, x.flickers, x.late_reads,
      x.registered, x.codes, x.found_phones, x.sleepers, x.woken, x.absent, x.letters, x.large_bodies);
  if (s.run.disks)
    fmt::print("disks: full {}, errors {}, reads failed {}, nodes stopped {}, rows flipped {} (replicas "
               "mended {}), lost {}, "
               "put back {} (to meet a laggard {}, recognised {}), trials {}\n",
               c.full_disks, c.disk_errors, c.read_errors, c.stops, c.flips, c.mended, c.lost_disks,
               c.put_back, c.laggards, c.fenced, c.trials);
  if (s.run.rescues)
    fmt::print("rescues {} (impossible {}), disks lost {}, numbers lost {}\n", c.rescues, c.not_rescued,
               c.lost_disks, c.numbers_lost);
  const std::chrono::duration<double> real = std::chrono::steady_clock::now() - begun;
  const double virtual_seconds = static_cast<double>(all.took) / one_second;
  fmt::print("{} seeds, {} failed, {:.0f} virtual s at {:.0f} x real time, {} messages of actors, {} turns, "
             "{} frames, "
             "trace {:016x}\n",
             all.seeds, all.bad, virtual_seconds, virtual_seconds / real.count(), c.messages, c.turns,
             c.frames, all.trace_hash);
  return all.bad == 0 && !had_failures ? 0 : 1;
}
