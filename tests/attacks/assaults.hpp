#pragma once
// What attackers do to a node for as long as they are let: many connections of strangers and of people with accounts,
// and a few greedy ones. The tests beside this file check single bounds; these are for measuring what a node pays.
#include "tests/harness/cluster/lean_client.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <atomic>
#include <span>
#include <string_view>
#include <vector>

namespace parley::test {

/// Somebody with an account, and with a page of `loot`: a conversation that begins with 1 MiB of messages.
struct attacker {
  lean_device who;
  conversation_id loot; ///< with the attacker beside: 0 with 1, 2 with 3 …
};

/// Where the attackers are. Each of `threads` threads calls `run` of one assault with its own number.
struct battlefield {
  address node;
  std::span<const attacker> attackers;
  std::size_t threads = 1;
  std::atomic<bool> over{false};
  std::atomic<std::size_t> opened{0}; ///< connections, those that failed included
};

struct assault {
  std::string_view name;
  std::string_view what; ///< a sentence
  std::size_t lines = 0; ///< connections at a time
  bool accounts = false; ///< whether they log in
  void (*run)(battlefield& field, std::size_t thread,
              std::size_t lines) = nullptr; ///< until the field is over
};

std::span<const assault> all_assaults();

} // namespace parley::test
