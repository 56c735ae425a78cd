#include "tests/sim/shrink.hpp"

#include "tests/sim/switches.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <cmath>
#include <cstdio>

namespace parley::sim {
namespace {

/// What is left out changes when everything else happens, and a failure that needs a coincidence may need
/// another one then. So each candidate is tried with several.
constexpr std::uint64_t variations = 4;
constexpr int runs_max = 400;

class shrinker {
public:
  explicit shrinker(const run_options& options) : out_{options, run_alone(options), 1} {
    out_.least.print_trace = false;
    kind_ = kind_of(out_.last.violation);
  }

  shrunk run() {
    if (out_.last.violation.empty())
      return out_;
    fmt::print("{}\n", out_.last.violation.substr(0, out_.last.violation.find('\n')));
    for (bool again = true; again;) {
      again = shorten();
      for (const auto& name : all_switches()) {
        if (out_.least.without.contains(name))
          continue;
        auto next = out_.least;
        next.without.insert(name);
        again |= take(next, fmt::format("without {}", name));
      }
      again |= fewer_users();
    }
    return out_;
  }

private:
  bool take(run_options next, const std::string& step) {
    const auto own = next.variation;
    for (std::uint64_t v = 0; v < variations && out_.runs < runs_max; ++v) {
      next.variation = v == 0 ? own : own + v;
      ++out_.runs;
      auto found = run_alone(next);
      if (kind_of(found.violation) != kind_)
        continue;
      out_.least = next;
      out_.last = std::move(found);
      fmt::print("  {}\n", step);
      std::fflush(stdout);
      return true;
    }
    return false;
  }

  /// A storm that ends when the failure is seen is enough; if it is seen later, half of the storm may be.
  bool shorten() {
    bool any = false;
    for (bool again = true; again;) {
      again = false;
      auto next = out_.least;
      const auto& f = out_.last;
      const auto into = static_cast<double>(f.is.took - f.storm_began) / one_second;
      if (f.storm_began >= 0 && f.is.took != 0 && into < next.seconds)
        next.seconds = std::ceil(into * 10) / 10;
      if (next.seconds >= out_.least.seconds)
        next.seconds = std::floor(out_.least.seconds * 5) / 10;
      if (next.seconds < out_.least.seconds && next.seconds >= 0.1)
        again = take(next, fmt::format("with {:.1f} s of faults", next.seconds));
      any |= again;
    }
    return any;
  }

  bool fewer_users() {
    const auto most = out_.least.users_max == 0 ? 9 : out_.least.users_max;
    for (std::size_t n = 2; n < most; ++n) {
      auto next = out_.least;
      next.users_max = n;
      if (take(next, fmt::format("with {} users", n)))
        return true;
    }
    return false;
  }

  shrunk out_;
  std::string kind_;
};

} // namespace

std::string kind_of(std::string_view complaint) {
  if (complaint.starts_with("at "))
    if (const auto colon = complaint.find(": "); colon != complaint.npos)
      complaint.remove_prefix(colon + 2);
  if (complaint.starts_with("rule ") || complaint.starts_with("liveness"))
    return std::string{complaint.substr(0, complaint.find(':'))};
  std::string out;
  for (const char c : complaint.substr(0, complaint.find('\n')))
    if (std::isdigit(static_cast<unsigned char>(c)) == 0)
      out += c;
  return out;
}

shrunk shrink(const run_options& options) {
  return shrinker{options}.run();
}

std::string command_of(const run_options& o) {
  auto out = fmt::format("--from {} --seconds {}{}{}", o.seed, o.seconds, o.plain ? " --plain" : "",
                         o.disks     ? " --disks"
                         : o.rescues ? " --rescues"
                                     : "");
  if (o.users_max != 0)
    out += fmt::format(" --users {}", o.users_max);
  if (o.variation != 0)
    out += fmt::format(" --variation {}", o.variation);
  if (!o.without.empty())
    out += fmt::format(" --without {}", fmt::join(o.without, ","));
  return out;
}

} // namespace parley::sim
