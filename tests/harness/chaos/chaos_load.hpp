#pragma once
// The clients of a chaos run: devices of libparley_client that chat, are killed, come back, and write down
// what they saw.
//
// Thread: `run` is the load's own thread, with a KJ loop; the other members may be called from any.
#include "tests/harness/chaos/history.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace parley::chaos {

using milliseconds = std::chrono::milliseconds;

struct load_config {
  std::vector<std::string> seeds; ///< host:port
  std::string ca_file;
  std::size_t users = 56;
  std::size_t second_devices = 6; ///< so many of the users have two
  std::size_t pullers = 8;        ///< so many devices fetch instead of being streamed to
  std::size_t rooms_per_user = 3;
  double rate = 500; ///< messages a second, all together
  std::uint64_t seed = 1;
  std::size_t unsettled_max = 64; ///< per device: it writes nothing more until some are answered
  milliseconds read_every{2'000}; ///< each device syncs one of its conversations about so often
  milliseconds setup_deadline{60'000};
  milliseconds settle_deadline{60'000};
  milliseconds catch_up_max{5'000}; ///< rule 7, after healing
};

/// Shared by the load and the one who injects faults. File order is time order.
class shared_history {
public:
  explicit shared_history(const std::string& path) : out_{path} {}
  void put(event e);
  bool flush();
  std::uint64_t size() const { return size_; }

private:
  std::mutex mutex_;
  history_writer out_;
  std::atomic<std::uint64_t> size_{0};
};

/// What a progress line shows.
struct load_counters {
  std::atomic<std::uint64_t> posted{0}, acked{0}, applied{0}, unsettled{0}, online{0}, withheld{0};
};

class chaos_load {
public:
  chaos_load(load_config config, shared_history& history,
             std::function<std::optional<std::string>(const std::string&)> code_of);
  ~chaos_load();

  /// Registers everybody, then chats until `finish` was asked for and everything was read. Throws on a broken
  /// set-up.
  void run();

  /// One of the clients dies mid-send, and comes back a little later.
  void kill_client() { ++kills_wanted_; }
  /// From now on half of the conversations stay silent, so that nothing later can mend what a fault left
  /// undone there.
  void hush() { hush_ = true; }
  /// Set up: the clients chat. From here on nobody asks for codes.
  bool ready() const { return ready_; }
  /// The cluster is whole: chat a little longer, wait for all answers, and read everything.
  void finish() { finish_ = true; }
  bool finished() const { return finished_; }
  const load_counters& counters() const { return counters_; }

  // After `run` has returned:
  /// Why the run does not count though no rule was broken: clients that gave up, sends that never settled.
  const std::vector<std::string>& complaints() const { return complaints_; }
  milliseconds catch_up_took() const { return catch_up_took_; }

private:
  struct person;
  struct loop;
  load_config config_;
  shared_history& history_;
  std::function<std::optional<std::string>(const std::string&)> code_of_;
  std::atomic<unsigned> kills_wanted_{0};
  std::atomic<bool> ready_{false}, hush_{false}, finish_{false}, finished_{false};
  load_counters counters_;
  std::vector<std::string> complaints_;
  milliseconds catch_up_took_{0};
};

} // namespace parley::chaos
