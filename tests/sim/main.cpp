// node_sim runs the seeds FROM to TO and prints one line of figures. On a violation it prints the seed and
// exits with 1.
#include "cluster/ops/logging.hpp"
#include "tests/sim/world.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>

namespace {

using namespace parley::sim;

struct settings {
  run_options run;
  std::uint64_t from = 1, to = 1;
  int jobs = 1;
  bool repeat = false, keep_going = false, hashes = false;
  std::string plant;
};

/// What one process has found.
struct result {
  tally count;
  std::uint64_t seeds = 0, bad = 0, trace_hash = 0;
  micros took = 0;
  void add(const result& o) {
    count.add(o.count);
    seeds += o.seeds, bad += o.bad, took += o.took;
    trace_hash ^= o.trace_hash;
  }
};
static_assert(std::is_trivially_copyable_v<result>);

struct process {
  int fd = -1;
  pid_t id = -1;
};

template <class Work>
process begin(Work work) {
  int ends[2];
  if (pipe(ends) != 0)
    std::exit(2);
  std::fflush(stdout);
  const auto id = fork();
  if (id == 0) {
    close(ends[0]);
    const result found = work();
    std::fflush(stdout);
    _exit(write(ends[1], &found, sizeof found) == sizeof found ? 0 : 2);
  }
  close(ends[1]);
  return {ends[0], id};
}

/// Nothing if the process ended before it had a result.
std::optional<result> end(const process& p) {
  result r;
  const bool told = read(p.fd, &r, sizeof r) == sizeof r;
  close(p.fd);
  waitpid(p.id, nullptr, 0);
  return told ? std::optional{r} : std::nullopt;
}

result run_seed(const settings& s, std::uint64_t seed) {
  auto options = s.run;
  options.seed = seed;
  const auto found = run(options);
  if (!found.violation.empty())
    fmt::print("seed {}: {}\n", seed, found.violation);
  return {found.count, 1, !found.violation.empty(), found.trace_hash, found.took};
}

/// A seed runs in a process of its own: a node that cannot go on ends its process, and a run that begins with
/// the same memory does the same even if something depends on addresses.
result run_seeds(const settings& s, std::uint64_t first) {
  result all;
  for (auto seed = first; seed <= s.to; seed += static_cast<std::uint64_t>(s.jobs)) {
    auto found = end(begin([&] { return run_seed(s, seed); }));
    if (!found) {
      fmt::print("seed {}: a node ended the process\n", seed);
      found = result{{}, 1, 1, 0, 0};
    } else if (s.repeat && found->bad == 0) {
      if (const auto again = end(begin([&] { return run_seed(s, seed); }));
          !again || again->trace_hash != found->trace_hash) {
        fmt::print("seed {}: the same seed produced a different trace\n", seed);
        found->bad = 1;
      }
    }
    if (s.hashes)
      fmt::print("seed {}: trace {:016x}\n", seed, found->trace_hash);
    found->trace_hash = parley::mix64(found->trace_hash ^ seed);
    all.add(*found);
    if (all.bad != 0 && !s.keep_going)
      break;
  }
  return all;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Simulates whole nodes, their network, disks and clients in virtual time"};
  settings s;
  app.add_option("--from", s.from, "The first seed");
  app.add_option("--to", s.to, "The last seed");
  app.add_option("--jobs", s.jobs, "Processes at a time")->check(CLI::Range(1, 64));
  app.add_option("--seconds", s.run.seconds, "Virtual seconds of faults in each run");
  app.add_option("--plant", s.plant, "Switches planted bugs on, in a build that has them");
  app.add_flag("--trace", s.run.print_trace, "Prints each event of a run");
  app.add_flag("--repeat", s.repeat, "Runs each seed twice and compares the traces");
  app.add_flag("--hashes", s.hashes, "Prints the hash of each seed's trace");
  app.add_flag("--keep-going", s.keep_going, "Does not stop at the first seed with a violation");
  // Where addresses are not random, a seed that depends on them by mistake does so in the same way each time.
  if (const auto now = personality(0xffffffff);
      now != -1 && (now & ADDR_NO_RANDOMIZE) == 0 &&
      personality(static_cast<unsigned long>(now) | ADDR_NO_RANDOMIZE) != -1)
    execv("/proc/self/exe", argv);
  CLI11_PARSE(app, argc, argv);
  s.to = std::max(s.to, s.from);
  if (!s.plant.empty())
    setenv("PARLEY_PLANT", s.plant.c_str(), 1);
  parley::log::set_level(parley::log::level::error);

  const auto begun = std::chrono::steady_clock::now();
  std::vector<process> workers;
  for (int i = 0; i < s.jobs && s.from + static_cast<std::uint64_t>(i) <= s.to; ++i)
    workers.push_back(begin([&] { return run_seeds(s, s.from + static_cast<std::uint64_t>(i)); }));
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
      "client crashes {}, absences {}\n",
      c.crashes, c.power_losses, c.lost_batches, c.cuts, c.resets, c.pauses, c.slow_disks, c.hand_overs,
      c.client_crashes, c.absences);
  const std::chrono::duration<double> real = std::chrono::steady_clock::now() - begun;
  const double virtual_seconds = static_cast<double>(all.took) / one_second;
  fmt::print("{} seeds, {} failed, {:.0f} virtual s at {:.0f} x real time, {} messages of actors, {} turns, "
             "{} frames, "
             "trace {:016x}\n",
             all.seeds, all.bad, virtual_seconds, virtual_seconds / real.count(), c.messages, c.turns,
             c.frames, all.trace_hash);
  return all.bad == 0 ? 0 : 1;
}
