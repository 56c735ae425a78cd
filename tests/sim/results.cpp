#include "tests/sim/results.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

namespace parley::sim {

results::results(std::string path) : path_{std::move(path)} {
  if (path_.empty())
    return;
  std::ifstream in{path_};
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields{line};
    std::uint64_t seed = 0;
    std::string verdict, trace, complaint;
    if (!(fields >> seed >> verdict >> trace) || (verdict != "ok" && verdict != "failed"))
      continue;
    std::getline(fields >> std::ws, complaint);
    failed_[seed] = verdict == "ok" ? "" : complaint.empty() ? "failed" : complaint;
  }
}

std::uint64_t results::left(std::uint64_t from, std::uint64_t to) const {
  const auto begin = failed_.lower_bound(from), end = failed_.upper_bound(to);
  return to - from + 1 - static_cast<std::uint64_t>(std::distance(begin, end));
}

std::map<std::uint64_t, std::string> results::failures(std::uint64_t from, std::uint64_t to) const {
  std::map<std::uint64_t, std::string> out;
  for (auto i = failed_.lower_bound(from); i != failed_.end() && i->first <= to; ++i)
    if (!i->second.empty())
      out.insert(*i);
  return out;
}

void results::append(std::uint64_t seed, std::uint64_t trace, std::string_view complaint) const {
  if (path_.empty())
    return;
  const auto line = fmt::format("{}\t{}\t{:016x}\t{}\n", seed, complaint.empty() ? "ok" : "failed", trace,
                                complaint.substr(0, complaint.find('\n')));
  const int fd = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    std::fprintf(stderr, "node_sim: %s cannot be written\n", path_.c_str());
    std::exit(2);
  }
  close(fd);
}

} // namespace parley::sim
