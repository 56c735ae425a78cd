#pragma once
// The clients of a chaos run: devices of libparley_client that chat, are killed, restart, and
// record what they saw.
//
// Thread: `run` runs on the load's own thread, with a KJ loop. The other members may be
// called from any thread.
#include "tests/harness/chaos/history.hpp"
#include "tests/harness/chaos/trials.hpp"

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
  std::size_t second_devices = 6; ///< the number of users with two devices
  std::size_t pullers = 8;        ///< the number of devices that fetch messages instead of receiving a stream
  std::size_t rooms_per_user = 3;
  double rate = 500; ///< messages per second of all clients together
  trials with;
  milliseconds newcomer_every{700};
  std::uint64_t seed = 1;
  std::size_t unsettled_max = 64; ///< unanswered messages per device; above this it sends nothing new
  milliseconds read_every{2'000}; ///< the mean interval at which each device syncs one of its conversations
  milliseconds setup_deadline{60'000};
  milliseconds settle_deadline{60'000};
  milliseconds catch_up_max{5'000}; ///< rule 7: the limit after healing
};

/// Shared by the load and the thread that injects faults. File order is time order.
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

/// The figures of a progress line.
struct load_counters {
  std::atomic<std::uint64_t> posted{0}, acked{0}, applied{0}, unsettled{0}, online{0}, withheld{0};
  std::atomic<std::uint64_t> last_acked{0}; ///< of the last messages that `hush` asks for
};

class chaos_load {
public:
  chaos_load(load_config config, shared_history& history,
             std::function<std::optional<std::string>(const std::string&)> code_of);
  ~chaos_load();

  /// Registers all users, then chats until `finish` was called and everything was read. Throws
  /// if the set-up fails.
  void run();

  /// Kills one of the clients while it sends, and restarts it a little later.
  void kill_client() { ++kills_wanted_; }
  /// One last message, at once, in half of the conversations, which stay silent from then on: no later message
  /// can repair there what a fault has left undone.
  void hush() { hush_ = true; }
  /// True when the set-up is complete and the clients chat.
  bool ready() const { return ready_; }
  /// Called when the cluster is whole: chats a little longer, waits for all answers, and reads everything.
  void finish() { finish_ = true; }
  bool finished() const { return finished_; }
  const load_counters& counters() const { return counters_; }

  // After `run` has returned:
  /// The reasons why the run does not count although no rule was broken: clients that gave up, or sends
  /// whose outcome never became known.
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
