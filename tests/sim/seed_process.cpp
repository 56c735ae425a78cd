#include "tests/sim/seed_process.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace parley::sim {
namespace {

bool write_all(int fd, const void* bytes, std::size_t size) {
  const auto* at = static_cast<const char*>(bytes);
  while (size != 0) {
    const auto n = write(fd, at, size);
    if (n <= 0)
      return false;
    at += n, size -= static_cast<std::size_t>(n);
  }
  return true;
}

std::string read_all(int fd) {
  std::string out;
  char some[4096];
  for (ssize_t n; (n = read(fd, some, sizeof some)) > 0;)
    out.append(some, static_cast<std::size_t>(n));
  return out;
}

/// Forks; `work(fd)` runs in the child, which ends with its exit status.
template <class Work>
process begin_writing(Work work) {
  int ends[2];
  if (pipe(ends) != 0)
    std::exit(2);
  std::fflush(stdout);
  const auto id = fork();
  if (id == 0) {
    close(ends[0]);
    const bool told = work(ends[1]);
    std::fflush(stdout);
    _exit(told ? 0 : 2);
  }
  close(ends[1]);
  return {ends[0], id};
}

/// What `p` wrote until it ended.
std::string outcome_of(const process& p) {
  auto all = read_all(p.fd);
  close(p.fd);
  waitpid(p.id, nullptr, 0);
  return all;
}

struct header {
  result is;
  micros storm_began;
  std::size_t violation, story; ///< bytes that follow
};

} // namespace

void result::add(const result& o) {
  count.add(o.count);
  shapes.add(o.shapes);
  seeds += o.seeds, bad += o.bad, took += o.took;
  trace_hash ^= o.trace_hash;
}

process begin(const std::function<result()>& work) {
  return begin_writing([&](int fd) {
    const auto found = work();
    return write_all(fd, &found, sizeof found);
  });
}

std::optional<result> end(const process& p) {
  result r;
  const auto all = outcome_of(p);
  if (all.size() != sizeof r)
    return std::nullopt;
  std::memcpy(&r, all.data(), sizeof r);
  return r;
}

finding run_alone(const run_options& options) {
  const auto all = outcome_of(begin_writing([&](int fd) {
    const auto found = run(options);
    const header h{{found.count, found.shapes, 1, !found.violation.empty(), found.trace_hash, found.took},
                   found.storm_began,
                   found.violation.size(),
                   found.story.size()};
    return write_all(fd, &h, sizeof h) && write_all(fd, found.violation.data(), found.violation.size()) &&
           write_all(fd, found.story.data(), found.story.size());
  }));
  header h{};
  finding out;
  if (all.size() >= sizeof h)
    std::memcpy(&h, all.data(), sizeof h);
  if (all.size() < sizeof h || all.size() != sizeof h + h.violation + h.story) {
    out.is.seeds = out.is.bad = 1;
    out.violation = "a node ended the process";
    return out;
  }
  out.is = h.is;
  out.storm_began = h.storm_began;
  out.violation = all.substr(sizeof h, h.violation);
  out.story = all.substr(sizeof h + h.violation);
  return out;
}

} // namespace parley::sim
