#pragma once
// What a node pays while it is attacked: its memory during each assault and 30 s later, and how long the messages of
// two people who are logged in all the while, and the logins of others, take.
#include "tests/harness/bench/bench_cluster.hpp"
#include "tests/harness/bench/histogram.hpp"
#include "tests/harness/bench/newcomers.hpp"

#include <string_view>
#include <vector>

namespace parley::bench {

/// Of one assault. Bytes are anonymous memory of the node that is attacked: pages of LMDB's map are the kernel's cache of
/// a file, and count as nobody's.
struct assault_result {
  std::string_view name;
  std::size_t lines = 0;  ///< connections at a time
  std::size_t opened = 0; ///< connections in all
  std::uint64_t before = 0, peak = 0, after = 0;
  std::uint64_t others_peak = 0, others_after = 0; ///< of another node, by how much it grew: the most
  /// Of the bystanders' messages, from the first attempt until they are acknowledged, and until they are received.
  histogram calm_ack_us, attacked_ack_us, calm_us, attacked_us;
  std::uint64_t unanswered = 0; ///< of these messages, those that had not arrived 10 s after the assault
  double cores = 0;             ///< that the node used meanwhile
  logins calm, attacked;        ///< of people who come meanwhile
};

struct attack_result {
  std::uint64_t fresh = 0;    ///< after its start
  std::uint64_t baseline = 0; ///< after ordinary use, before the first assault
  std::vector<assault_result> assaults;
};

/// Runs the assaults that `only` names, or all, one after the other on the same cluster.
attack_result measure_attacks(bench_cluster& bench, const bench_options& options);

/// A line of a table.
void print(const attack_result& all, const assault_result& one);

} // namespace parley::bench
