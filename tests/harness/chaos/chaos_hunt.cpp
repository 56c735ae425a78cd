// Tests the harness itself: chaos must detect each bug planted in `parleyd_planted` by the rules that
// cover it, and a run of the same program without a bug must be clean.
//
// All hunts run at the same time, each in a process of its own, because they spend most
// of their time waiting.
#include "tests/harness/chaos/chaos.hpp"
#include "tests/harness/chaos/copy_trial.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <CLI/CLI.hpp>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

using namespace parley;

namespace {

struct prey {
  std::string bug;     ///< empty: no bug, and nothing must be found
  std::set<int> rules; ///< rules of tests/harness/chaos/checker.hpp, of which at least one must be broken
  chaos::trials with;  ///< what the bug needs to show
  unsigned seconds_more = 0; ///< of faults
};
const std::vector<prey> all{
    {"", {}},
    {"dedup-only-in-memory", {2}},
    {"seq-by-actor", {3, 5}},
    {"debts-not-replayed", {7}},
    {"inbox-accepts-gap", {7, 8}},
    {"rollback-unnoticed", {1, 3, chaos::rule_of_copies}, {chaos::trial::copies}, 22}};

constexpr int missed = 100, failed = 101; ///< exit statuses of a hunt; any other is the seed
                                          ///< that found the bug

/// Runs in a process of its own.
int hunt(const prey& p, chaos::chaos_options options, std::uint64_t seeds) {
  using clock = std::chrono::steady_clock;
  if (!p.bug.empty())
    options.environment = {{"PARLEY_PLANT", p.bug}};
  options.with = p.with;
  options.seconds += p.seconds_more;
  int worst = missed;
  for (std::uint64_t seed = 1; seed <= (p.bug.empty() ? 1 : seeds); ++seed) {
    options.seed = seed;
    std::set<int> broken;
    const auto began = clock::now();
    const int status = chaos::run_chaos(options, &broken);
    const auto took = std::chrono::duration_cast<std::chrono::seconds>(clock::now() - began).count();
    std::printf("seed %d: status %d after %d s\n", static_cast<int>(seed), status, static_cast<int>(took));
    std::fflush(stdout);
    if (p.bug.empty())
      return status == 0 ? 0 : failed;
    if (std::any_of(p.rules.begin(), p.rules.end(), [&](int r) { return broken.contains(r); }))
      return static_cast<int>(seed);
    worst = status == 2 ? failed : worst;
  }
  return worst;
}

struct hunter {
  const prey* after = nullptr;
  std::string log;
  pid_t pid = -1;
};

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Looks for planted bugs with chaos runs."};
  std::vector<std::string> only;
  std::uint64_t seeds = 4;
  std::size_t jobs = all.size();
  chaos::chaos_options options;
  options.seconds = 8;
  options.rate = 200;
  options.users = 24;
  app.add_option("--bug", only, "Looks only for these bugs; none is the program without a bug");
  app.add_option("--seeds", seeds, "The number of seeds after which a hunt gives up")
      ->check(CLI::Range(1, 90))
      ->capture_default_str();
  app.add_option("--jobs", jobs, "The number of hunts at the same time")
      ->check(CLI::Range(1, 6))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "Seconds of faults per seed")->capture_default_str();
  app.add_option("--rate", options.rate, "Messages per second")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  options.parleyd = test::program_folder() + "/parleyd_planted";
  options.disk_losses = false;
  options.leave_evidence = false;
  options.drain_at_end = false;
  constexpr std::uint16_t ports_each = 2'000;
  std::vector<hunter> hunts;
  std::size_t running = 0;
  bool all_well = true;
  const auto name_of = [](const prey& p) { return p.bug.empty() ? std::string{"none"} : p.bug; };
  const auto one_ends = [&] {
    int status = 0;
    const auto pid = ::wait(&status);
    const auto it = std::find_if(hunts.begin(), hunts.end(), [&](const hunter& h) { return h.pid == pid; });
    if (it == hunts.end())
      return;
    --running;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : failed;
    std::cout << "--- " << name_of(*it->after) << "\n" << std::ifstream{it->log}.rdbuf();
    const bool well = code < missed;
    all_well = all_well && well;
    std::cout << name_of(*it->after) << ": "
              << (code == missed   ? "missed"
                  : code == failed ? "the run without a bug was not clean, or the harness failed"
                  : code == 0      ? "clean"
                                   : "found, seed " + std::to_string(code))
              << std::endl;
    ::unlink(it->log.c_str());
  };
  for (const auto& p : all) {
    if (!only.empty() && std::find(only.begin(), only.end(), name_of(p)) == only.end())
      continue;
    while (running >= jobs)
      one_ends();
    hunter h{&p, {}, -1};
    auto log = (std::filesystem::temp_directory_path() / "parley-hunt-XXXXXX").string();
    const int fd = ::mkstemp(log.data());
    h.log = log;
    options.port_first = static_cast<std::uint16_t>(20'000 + ports_each * hunts.size());
    options.port_last = static_cast<std::uint16_t>(options.port_first + ports_each);
    const auto parent = ::getpid();
    h.pid = ::fork();
    if (h.pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent)
        ::_exit(failed);
      ::dup2(fd, 1);
      ::dup2(fd, 2);
      std::_Exit(hunt(p, options, seeds));
    }
    ::close(fd);
    hunts.push_back(h);
    ++running;
  }
  while (running > 0)
    one_ends();
  return all_well ? 0 : 1;
}
