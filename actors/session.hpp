#pragma once
#include "actors/delivery_queue.hpp"
#include "actors/interfaces.hpp"
#include "protocol/values/config_fault.hpp"
#include "protocol/values/settings.hpp"

#include <chrono>
#include <memory>

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
  std::int64_t sends_burst_max = settings::session_sends_burst.standard; ///< messages of one session
  std::chrono::microseconds sends_refill_every =
      settings::interval(settings::session_sends_per_second.standard);
};
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
  /// A session without a user is a gateway's own, for calls before login. It has no inbox to attach to.
  bool has_user() const { return user != user_id{}; }
};

/// Spawns the SESSION. It attaches to the user's inbox by itself.
session_actor spawn_session(caf::actor_system& sys, session_identity who, session_config config,
                            std::shared_ptr<session_port> port, std::shared_ptr<delivery_queue> box,
                            router_actor router);

} // namespace parley
