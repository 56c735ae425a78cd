// raft_fuzz runs many seeds and prints one line of figures. On a violation it prints the seed
// and exits with 1.
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

/// The names of the planted bugs. All are implemented in `cluster/`, except the one of the disk.
constexpr std::string_view torn_batch = "torn-batch";
constexpr std::string_view rollback_unnoticed = "rollback-unnoticed"; // shows only where disks are put back
constexpr const char* bugs[] = {"vote-not-persisted", "message-before-persist",    "ack-before-sync",
                                "apply-after-seal",   "successor-before-majority", "entries-without-credit",
                                "probe-sends-again",  torn_batch.data(),           rollback_unnoticed.data()};

struct settings {
  run_options run;
  std::uint64_t from = 1;
  std::uint64_t to = 1;
  int jobs = 1;
  bool repeat = false;
  bool keep_going = false;
  bool here = false;
  std::string plant;
  std::uint64_t hunt = 0;
};

/// What one process has found.
struct result {
  counts count;
  std::uint64_t seeds = 0;
  std::uint64_t bad = 0;
  std::uint64_t first_bad = 0;
  std::uint64_t last = 0; ///< the seed that ran last
  std::uint64_t trace_hash = 0;
  bool aborted = false;
};

// The engine stops a node by aborting the process, so the signal handler reports what was found until then.
result found_here;
int answer_fd = -1;

void found_bad(std::uint64_t seed) {
  if (found_here.bad++ == 0)
    found_here.first_bad = seed;
}

void on_abort(int signal) {
  char line[96];
  const auto n = std::snprintf(line, sizeof line, "seed %llu: the engine stopped itself (signal %d)\n",
                               static_cast<unsigned long long>(found_here.last), signal);
  found_bad(found_here.last);
  found_here.aborted = true;
  const bool told = write(STDOUT_FILENO, line, static_cast<std::size_t>(n)) > 0 &&
                    write(answer_fd, &found_here, sizeof found_here) == sizeof found_here;
  _exit(told ? 3 : 4);
}

void run_seeds(const settings& s, std::uint64_t first, std::uint64_t step) {
  for (auto seed = first; seed <= s.to; seed += step) {
    auto& r = found_here;
    r.last = seed;
    ++r.seeds;
    auto options = s.run;
    options.seed = seed;
    auto found = run(options);
    if (s.repeat && found.violation.empty())
      if (auto again = run(options); again.trace_hash != found.trace_hash)
        found.violation = "the same seed produced a different trace";
    r.count.add(found.count);
    r.trace_hash = parley::mix64(r.trace_hash ^ found.trace_hash ^ seed);
    if (found.violation.empty())
      continue;
    found_bad(seed);
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), found.violation.c_str());
    std::fflush(stdout);
    if (!s.keep_going)
      break;
  }
}

/// One of `jobs` worker processes. A separate process is needed because the engine aborts the process
/// when it cannot continue, and because it reads the planted bugs only once.
struct worker {
  std::uint64_t next = 0;
  int fd = -1;
  pid_t child = -1;
};

void begin(worker& w, const settings& s) {
  int ends[2];
  if (pipe(ends) != 0)
    std::exit(2);
  std::fflush(stdout);
  w.child = fork();
  if (w.child == 0) {
    close(ends[0]);
    answer_fd = ends[1];
    for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE})
      std::signal(signal, on_abort);
    run_seeds(s, w.next, static_cast<std::uint64_t>(s.jobs));
    std::fflush(stdout);
    _exit(write(answer_fd, &found_here, sizeof found_here) == sizeof found_here ? 0 : 2);
  }
  close(ends[1]);
  w.fd = ends[0];
}

result collect(worker& w) {
  result r;
  if (read(w.fd, &r, sizeof r) != sizeof r) {
    std::printf("a worker process ended without a result\n");
    std::exit(2);
  }
  close(w.fd);
  waitpid(w.child, nullptr, 0);
  return r;
}

result run_all(const settings& s) {
  std::vector<worker> workers(static_cast<std::size_t>(s.jobs));
  for (std::size_t j = 0; j < workers.size(); ++j) {
    workers[j].next = s.from + j;
    begin(workers[j], s);
  }
  result all;
  for (auto& w : workers)
    for (bool again = true; again;) {
      const auto r = collect(w);
      all.count.add(r.count);
      all.seeds += r.seeds;
      all.bad += r.bad;
      if (r.bad > 0 && (all.first_bad == 0 || r.first_bad < all.first_bad))
        all.first_bad = r.first_bad;
      all.trace_hash ^= r.trace_hash;
      w.next = r.last + static_cast<std::uint64_t>(s.jobs);
      again = r.aborted && s.keep_going && w.next <= s.to;
      if (again)
        begin(w, s);
    }
  return all;
}

void print(const result& r, double seconds) {
  const auto& c = r.count;
  std::printf(
      "%llu seeds, %llu bad, %.0f s: commits %llu acks %llu refusals %llu unknown %llu reads %llu "
      "elections %llu "
      "transfers %llu installs %llu seals %llu crashes %llu (%llu lost a batch) disk losses %llu "
      "partitions %llu "
      "resets %llu pauses %llu jumps %llu full disks %llu outages %llu put back %llu (%llu recognised) "
      "turns %llu "
      "frames %llu; "
      "trace %016llx\n",
      (unsigned long long)r.seeds, (unsigned long long)r.bad, seconds, (unsigned long long)c.commits,
      (unsigned long long)c.acks, (unsigned long long)c.refusals, (unsigned long long)c.unknown,
      (unsigned long long)c.reads, (unsigned long long)c.elections, (unsigned long long)c.transfers,
      (unsigned long long)c.installs, (unsigned long long)c.seals, (unsigned long long)c.crashes,
      (unsigned long long)c.lost_batches, (unsigned long long)c.disk_losses, (unsigned long long)c.partitions,
      (unsigned long long)c.resets, (unsigned long long)c.pauses, (unsigned long long)c.jumps,
      (unsigned long long)c.full_disks, (unsigned long long)c.outages, (unsigned long long)c.rollbacks,
      (unsigned long long)c.recognised, (unsigned long long)c.turns, (unsigned long long)c.frames,
      (unsigned long long)r.trace_hash);
}

bool covers_all(const counts& c) {
  return c.acks && c.reads && c.elections && c.transfers && c.installs && c.seals && c.lost_batches &&
         c.disk_losses && c.partitions && c.resets && c.outages;
}

int fuzz(const settings& s) {
  const auto began = std::chrono::steady_clock::now();
  if (s.here)
    run_seeds(s, s.from, 1);
  const auto all = s.here ? found_here : run_all(s);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  print(all, took.count());
  if (all.bad == 0 && all.seeds >= 100 && !covers_all(all.count)) {
    std::printf("no event of one kind happened in %llu seeds, so they prove nothing\n",
                (unsigned long long)all.seeds);
    return 1;
  }
  return all.bad == 0 ? 0 : 1;
}

/// Runs seeds until each planted bug is found. Prints a table, and returns 1 if a bug was not found.
int hunt(settings s) {
  int missed = 0;
  s.jobs = 1;
  s.keep_going = false;
  s.to = s.from + s.hunt - 1;
  std::string table = "planted bug                  seeds until it was found\n";
  for (const char* bug : bugs) {
    setenv("PARLEY_PLANT", bug, 1);
    s.run.tear = bug == torn_batch;
    s.run.put_back = bug == rollback_unnoticed;
    std::printf("%s:\n", bug);
    const auto r = run_all(s);
    table +=
        fmt::format("{:28} {}\n", bug, r.bad > 0 ? std::to_string(r.first_bad - s.from + 1) : "NOT FOUND");
    missed += r.bad == 0;
  }
  std::printf("\n%s", table.c_str());
  return missed == 0 ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Fuzzes the replication layer. Each seed is one run, which is the same each time."};
  settings s;
  app.add_option("--from", s.from, "The first seed");
  app.add_option("--to", s.to, "The last seed");
  app.add_option("--nodes", s.run.nodes, "The number of nodes, 3 or 5; without it each seed decides")
      ->check(CLI::IsMember({0, 3, 5}));
  app.add_option("--seconds", s.run.seconds, "Virtual seconds of storms per seed; calms are added to them")
      ->check(CLI::Range(1, 3600));
  app.add_option("--jobs", s.jobs, "The number of worker processes")->check(CLI::Range(1, 64));
  app.add_option("--plant", s.plant, "Switches on planted bugs, in a build that has them");
  app.add_option("--hunt", s.hunt, "Looks for each planted bug, with at most this many seeds");
  app.add_flag("--damage", s.run.damages,
               "Also has replicas find damaged rows, whose rows are then replaced");
  app.add_flag("--trace", s.run.print_trace, "Prints each event of a run");
  app.add_flag("--put-back", s.run.put_back,
               "After some calms, an old copy of a node's disk takes its place");
  app.add_flag("--repeat", s.repeat, "Runs each seed twice and compares the traces");
  app.add_flag("--keep-going", s.keep_going, "Does not stop at the first seed with a violation");
  app.add_flag("--here", s.here, "Runs in this process instead of in workers, for a debugger");
  CLI11_PARSE(app, argc, argv);
  s.to = std::max(s.to, s.from);
  if (!s.plant.empty())
    setenv("PARLEY_PLANT", s.plant.c_str(), 1);
  s.run.tear = s.plant.find(torn_batch) != std::string::npos;
  return s.hunt > 0 ? hunt(s) : fuzz(s);
}
