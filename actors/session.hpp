#pragma once
#include "actors/interfaces.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>

namespace parley {

struct session_config {
  std::size_t outbox_rows_max = 256;
  std::size_t outbox_bytes_max = 512 << 10;
  std::uint32_t pull_rows = 128;                 ///< per page of a catch-up
  std::size_t calls_max = 1024;                  ///< unanswered; above: overloaded
  std::chrono::milliseconds answer_within{5000}; ///< then `timed_out`: the outcome is unknown
  std::chrono::milliseconds own_answer_within{
      1500};                                  ///< the connection's own calls, which change nothing: ask again
  std::chrono::milliseconds sweep_every{500}; ///< while calls are unanswered
  std::chrono::milliseconds attach_every{30'000}; ///< heartbeat to the inbox
  std::chrono::milliseconds pull_retry_after{100};
  std::int64_t user_burst_max = 4000; ///< messages of one connection
  std::chrono::microseconds user_refill_every{500};
};
caf::error validate(const session_config& config);

/// Where a connection's news cross to its KJ thread.
///
/// Owns:   rows that are pushed but not yet taken; bounded, because what does not fit stays in the inbox.
/// Thread: any; short critical sections.
class outbox {
public:
  /// `depth`: what all outboxes of the process hold together; outlives this one, may be null.
  outbox(std::size_t rows_max, std::size_t bytes_max, std::atomic<std::uint64_t>* depth = nullptr)
      : rows_max_{rows_max}, bytes_max_{bytes_max}, depth_{depth} {}
  ~outbox();
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  /// Takes as many rows as fit (a lone row always does). Answers how many.
  std::size_t put(std::vector<core::inbox_row>& rows, core::moment applied_at = {});
  std::vector<core::outgoing_row> take(std::size_t rows_max, std::size_t bytes_max);
  std::size_t rows() const;
  /// Nothing came for a while: gives the memory of former rows back.
  void release_if_empty();
  /// What one row costs.
  static std::size_t weight(const core::inbox_row& row);

private:
  mutable std::mutex mutex_;
  std::vector<core::outgoing_row> rows_;
  std::size_t first_ = 0; ///< taken before
  std::size_t bytes_ = 0;
  std::size_t rows_max_, bytes_max_;
  std::atomic<std::uint64_t>* depth_;
};

/// The KJ side of a connection. Called from CAF workers: posts to its loop and returns.
class session_port {
public:
  virtual ~session_port() = default;
  virtual void answered(std::vector<numbered_answer> answers) = 0;
  virtual void outbox_filled() = 0;
  virtual void closed(ec why) = 0;
};

/// Whose connection it is. `user` none (0): a gateway's own, for calls before login.
struct session_identity {
  core::connection_ref ref;
  user_id user{};
  device_id device{};
  session_number session{};
};

/// Spawns the SESSION of one session. It attaches to the user's inbox by itself and answers the
/// attach as call number 0.
session_actor spawn_session(caf::actor_system& sys, session_identity who, session_config config,
                            std::shared_ptr<session_port> port, std::shared_ptr<outbox> box,
                            router_actor router);

} // namespace parley
