#pragma once
#include "actors/delivery_queue.hpp"
#include "actors/interfaces.hpp"
#include "actors/refused_calls.hpp"
#include "actors/user_rates.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/settings.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>

namespace parley {

struct session_config {
  std::size_t queue_rows_max = settings::delivery_queue_rows.standard;
  std::size_t queue_bytes_max = settings::delivery_queue_bytes.standard;
  std::uint32_t pull_rows = 128; ///< per page of a catch-up
  std::size_t calls_max = 1024;  ///< unanswered; above: overloaded
  /// Then the call ends with `timed_out`: its outcome is unknown.
  std::chrono::milliseconds answer_within = settings::call_timeout.standard;
  std::chrono::milliseconds own_answer_within{
      1500};                                  ///< the session's own calls, which change nothing: ask again
  std::chrono::milliseconds sweep_every{500}; ///< while calls are unanswered
  std::chrono::milliseconds attach_every{30'000}; ///< heartbeat to the inbox
  std::chrono::milliseconds pull_retry_after{100};
  std::int64_t sends_burst_max = settings::user_sends_burst.standard; ///< messages of one user
  std::chrono::microseconds sends_refill_every = settings::interval(settings::user_sends_per_second.standard);
  /// All calls of one user, sends included. Each costs a message to a shard, perhaps at another node.
  std::int64_t calls_burst_max = sends_burst_max + other_calls_burst;
  std::chrono::microseconds calls_refill_every = calls_interval(settings::user_sends_per_second.standard);
  /// Where the two rates are kept: one for all sessions of the process. They are asked where a call comes in
  /// (kj_mailbox.cpp), before it costs a hop. Null: a loop has its own.
  std::shared_ptr<user_rates> rates;
  refused_calls* refused = nullptr; ///< outlives the actors; may be null

  static constexpr std::uint32_t other_calls_burst = 1'000;
  static constexpr std::uint32_t other_calls_per_second = 300;
  static constexpr std::chrono::microseconds calls_interval(std::uint32_t sends_per_second) {
    return std::max(settings::interval(sends_per_second + other_calls_per_second),
                    std::chrono::microseconds{1});
  }
};
std::shared_ptr<user_rates> make_rates(const session_config& config);
config_check validate(const session_config& config);

/// The KJ side of a session. Called from CAF workers; it posts to its loop and returns.
class session_port {
public:
  virtual ~session_port() = default;
  /// Answers to the gateway's own calls.
  virtual void answered(std::vector<numbered_answer> answers) = 0;
  /// The inbox answered the session's attach. Is called for the first answer, also if that is an error, and
  /// then for each answer without an error: it holds the number of devices that the user has by now.
  virtual void attached(const core::attached& state) = 0;
  virtual void rows_ready() = 0;
  virtual void closed(ec why) = 0;
};

/// Whose session it is.
struct session_identity {
  core::connection_ref ref;
  user_id user{}; ///< 0: no user's
  device_id device{};
  session_number session{};
  /// With which the device's proof was checked. Null: with the key of its record, which was looked up.
  std::optional<std::array<std::uint8_t, 32>> key{};
  /// A session without a user is a gateway's own, for calls before login. It has no inbox to attach to.
  bool has_user() const { return user != user_id{}; }
};

/// Spawns the SESSION. It attaches to the user's inbox by itself.
session_actor spawn_session(caf::actor_system& sys, session_identity who, session_config config,
                            std::shared_ptr<session_port> port, std::shared_ptr<delivery_queue> box,
                            router_actor router);

} // namespace parley
