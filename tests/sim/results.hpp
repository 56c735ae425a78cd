#pragma once
// The file of results of many seeds: a line for each seed that has ended. Whoever goes on with it leaves
// those out.
//
//   seed TAB ok|failed TAB hash of the trace TAB complaint
//
// The results are those of one program with one set of options: its user names the file after both.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace parley::sim {

class results {
public:
  /// An empty path: nothing is kept. A line that cannot be read counts as none.
  explicit results(std::string path);
  bool has(std::uint64_t seed) const { return failed_.contains(seed); }
  /// Of the seeds [from, to].
  std::uint64_t left(std::uint64_t from, std::uint64_t to) const;
  /// Complaints of those that failed, as they were when the file was opened.
  std::map<std::uint64_t, std::string> failures(std::uint64_t from, std::uint64_t to) const;
  /// One write, so that several processes may append.
  void append(std::uint64_t seed, std::uint64_t trace, std::string_view complaint) const;

private:
  std::string path_;
  std::map<std::uint64_t, std::string> failed_; ///< by seed; empty: it was clean
};

} // namespace parley::sim
