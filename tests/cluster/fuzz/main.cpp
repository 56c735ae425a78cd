// raft_fuzz: many seeds, one line of figures; a violation prints its seed and ends with 1.
#include "tests/cluster/fuzz/world.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using namespace parley::fuzz;

/// What the planted bugs are called; `cluster/` has them under these names.
constexpr const char* bugs[] = {"vote-not-persisted", "message-before-persist", "ack-before-sync",
                                "apply-after-seal", "successor-before-majority"};

struct settings {
  run_options run;
  std::uint64_t from = 1;
  std::uint64_t to = 1;
  int jobs = 1;
  bool repeat = false;
  bool keep_going = false;
  std::string plant;
  std::uint64_t hunt = 0;
};

/// What one process found.
struct result {
  counts count;
  std::uint64_t seeds = 0;
  std::uint64_t bad = 0;
  std::uint64_t first_bad = 0;
  std::uint64_t trace_hash = 0;
};

volatile std::sig_atomic_t seed_high = 0; // for the handler: the engine stops a node by aborting the process
volatile std::sig_atomic_t seed_low = 0;

void on_abort(int signal) {
  char line[96];
  const auto n = std::snprintf(
      line, sizeof line, "seed %llu: the engine aborted (signal %d)\n",
      static_cast<unsigned long long>(seed_high) << 31 | static_cast<unsigned>(seed_low), signal);
  if (write(STDOUT_FILENO, line, static_cast<std::size_t>(n)) < 0)
    _exit(4);
  _exit(3);
}

result run_seeds(const settings& s, std::uint64_t first, std::uint64_t step) {
  result r;
  for (auto seed = first; seed <= s.to; seed += step) {
    seed_high = static_cast<std::sig_atomic_t>(seed >> 31);
    seed_low = static_cast<std::sig_atomic_t>(seed & 0x7fffffff);
    auto options = s.run;
    options.seed = seed;
    auto found = run(options);
    if (s.repeat && found.violation.empty())
      if (auto again = run(options); again.trace_hash != found.trace_hash)
        found.violation = "the same seed made another trace";
    ++r.seeds;
    r.count.add(found.count);
    r.trace_hash = parley::mix64(r.trace_hash ^ found.trace_hash ^ seed);
    if (found.violation.empty())
      continue;
    if (r.bad++ == 0)
      r.first_bad = seed;
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), found.violation.c_str());
    std::fflush(stdout);
    if (!s.keep_going)
      break;
  }
  return r;
}

/// Runs in a child, because the engine ends the process where it cannot go on, and reads its planted bugs
/// once. `status`: as `wait` tells it.
result in_child(const settings& s, std::uint64_t first, std::uint64_t step, int& fd, pid_t& child) {
  int ends[2];
  if (pipe(ends) != 0)
    std::exit(2);
  std::fflush(stdout);
  child = fork();
  if (child == 0) {
    close(ends[0]);
    for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE})
      std::signal(signal, on_abort);
    const auto r = run_seeds(s, first, step);
    std::fflush(stdout);
    if (write(ends[1], &r, sizeof r) != sizeof r)
      _exit(2);
    _exit(0);
  }
  close(ends[1]);
  fd = ends[0];
  return {};
}

result collect(int fd, pid_t child, bool& aborted) {
  result r;
  if (read(fd, &r, sizeof r) != sizeof r)
    r = {};
  close(fd);
  int status = 0;
  waitpid(child, &status, 0);
  aborted = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  return r;
}

void print(const result& r, double seconds) {
  const auto& c = r.count;
  std::printf("%llu seeds, %llu bad, %.0f s: commits %llu acks %llu refusals %llu unknown %llu reads %llu "
              "elections %llu "
              "transfers %llu installs %llu seals %llu crashes %llu (%llu lost a batch) disk losses %llu "
              "partitions %llu "
              "resets %llu pauses %llu jumps %llu full disks %llu turns %llu frames %llu; trace %016llx\n",
              (unsigned long long)r.seeds, (unsigned long long)r.bad, seconds, (unsigned long long)c.commits,
              (unsigned long long)c.acks, (unsigned long long)c.refusals, (unsigned long long)c.unknown,
              (unsigned long long)c.reads, (unsigned long long)c.elections, (unsigned long long)c.transfers,
              (unsigned long long)c.installs, (unsigned long long)c.seals, (unsigned long long)c.crashes,
              (unsigned long long)c.lost_batches, (unsigned long long)c.disk_losses,
              (unsigned long long)c.partitions, (unsigned long long)c.resets, (unsigned long long)c.pauses,
              (unsigned long long)c.jumps, (unsigned long long)c.full_disks, (unsigned long long)c.turns,
              (unsigned long long)c.frames, (unsigned long long)r.trace_hash);
}

bool covers_all(const counts& c) {
  return c.acks && c.reads && c.elections && c.transfers && c.installs && c.seals && c.lost_batches &&
         c.disk_losses && c.partitions && c.resets;
}

int fuzz(const settings& s) {
  const auto began = std::chrono::steady_clock::now();
  std::vector<int> fds(static_cast<std::size_t>(s.jobs));
  std::vector<pid_t> children(fds.size());
  for (std::size_t j = 0; j < fds.size(); ++j)
    in_child(s, s.from + j, fds.size(), fds[j], children[j]);
  result all;
  bool any_aborted = false;
  for (std::size_t j = 0; j < fds.size(); ++j) {
    bool aborted = false;
    const auto r = collect(fds[j], children[j], aborted);
    all.count.add(r.count);
    all.seeds += r.seeds;
    all.bad += r.bad;
    all.trace_hash ^= r.trace_hash;
    any_aborted = any_aborted || aborted;
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  print(all, took.count());
  if (all.seeds >= 100 && !covers_all(all.count)) {
    std::printf("nothing of one kind happened in %llu seeds: the figures above mean nothing\n",
                (unsigned long long)all.seeds);
    return 1;
  }
  return all.bad == 0 && !any_aborted ? 0 : 1;
}

/// Each planted bug, until it is found. A table, and 1 if one was not.
int hunt(settings s) {
  int missed = 0;
  std::printf("%-28s %s\n", "planted bug", "seeds until it was found");
  for (const char* bug : bugs) {
    setenv("PARLEY_PLANT", bug, 1);
    s.to = s.from + s.hunt - 1;
    int fd = 0;
    pid_t child = 0;
    in_child(s, s.from, 1, fd, child);
    bool aborted = false;
    const auto r = collect(fd, child, aborted);
    if (r.bad > 0)
      std::printf("%-28s %llu\n", bug, (unsigned long long)(r.first_bad - s.from + 1));
    else
      std::printf("%-28s %s\n", bug, aborted ? "the engine's own check stopped it" : "NOT FOUND");
    missed += r.bad == 0 && !aborted;
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Fuzzes the replication layer: one seed, one run, the same each time."};
  settings s;
  app.add_option("--from", s.from, "first seed");
  app.add_option("--to", s.to, "last seed");
  app.add_option("--nodes", s.run.nodes, "3 or 5; the seed decides if left out")
      ->check(CLI::IsMember({0, 3, 5}));
  app.add_option("--seconds", s.run.seconds, "virtual seconds of storm per seed")->check(CLI::Range(1, 3600));
  app.add_option("--jobs", s.jobs, "processes")->check(CLI::Range(1, 64));
  app.add_option("--plant", s.plant, "switch on planted bugs (a build that has them)");
  app.add_option("--hunt", s.hunt, "look for each planted bug, with so many seeds at most");
  app.add_flag("--trace", s.run.print_trace, "print what happens");
  app.add_flag("--repeat", s.repeat, "run each seed twice and compare the traces");
  app.add_flag("--keep-going", s.keep_going, "do not stop at the first bad seed");
  CLI11_PARSE(app, argc, argv);
  s.to = std::max(s.to, s.from);
  if (!s.plant.empty())
    setenv("PARLEY_PLANT", s.plant.c_str(), 1);
  return s.hunt > 0 ? hunt(s) : fuzz(s);
}
