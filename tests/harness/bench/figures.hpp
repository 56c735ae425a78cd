#pragma once
// For benches with one thread: a figure is the median of rounds, in CPU time and in wall time.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace parley::bench {

inline double micros(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

struct sample {
  double cpu = 0, wall = 0;
};

template <class Work>
sample timed(int times, Work work) {
  const auto cpu = micros(CLOCK_THREAD_CPUTIME_ID), wall = micros(CLOCK_MONOTONIC);
  for (int i = 0; i < times; ++i)
    work(i);
  return {(micros(CLOCK_THREAD_CPUTIME_ID) - cpu) / times, (micros(CLOCK_MONOTONIC) - wall) / times};
}

inline double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

/// The figures in the order of their measurement, with their names in the JSON.
class report {
public:
  void time(const std::string& key, const std::string& text, const std::vector<sample>& all) {
    std::vector<double> cpu, wall;
    for (const auto& s : all) {
      cpu.push_back(s.cpu);
      wall.push_back(s.wall);
    }
    std::printf("%-64s %10.1f %10.1f\n", text.c_str(), median(cpu), median(wall));
    std::fflush(stdout);
    cpu_us_[key] = median(cpu);
    put(key + "_cpu_us", median(cpu));
    put(key + "_wall_us", median(wall));
  }
  void number(const std::string& key, const std::string& text, double value, const char* unit) {
    std::printf("%-64s %10.1f %s\n", text.c_str(), value, unit);
    values_[key] = value;
    put(key, value);
  }
  double value(const std::string& key) const { return values_.at(key); }
  /// Prints which share of a figure certain primitives take, each with its number of calls.
  void share(const std::string& of, const std::vector<std::pair<const char*, double>>& counts) {
    std::string text = "  of which";
    double sum = 0;
    for (const auto& [primitive, count] : counts) {
      char part[64];
      std::snprintf(part, sizeof part, " %.0f x %s,", count, primitive);
      text += part;
      sum += count * cpu_us_.at(primitive);
    }
    text.pop_back();
    number(of + "_share_percent", text, 100 * sum / cpu_us_.at(of), "%");
  }
  void print_json() const { std::printf("{%s}\n", json_.c_str()); }

private:
  void put(const std::string& key, double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    json_ += (json_.empty() ? "\"" : ", \"") + key + "\": " + text;
  }
  std::string json_;
  std::map<std::string, double> cpu_us_, values_;
};

/// Takes `rounds` samples of `times` calls each.
template <class Work>
std::vector<sample> rounds_of(int rounds, int times, Work work) {
  std::vector<sample> all;
  for (int i = 0; i < rounds; ++i)
    all.push_back(timed(times, work));
  return all;
}

} // namespace parley::bench
