#pragma once
#include "protocol/client/device/link_host.hpp"
#include "protocol/client/device/login.hpp"
#include "protocol/client/rules/reconnect_rules.hpp"
#include "protocol/client/rules/session_rules.hpp"

#include <vector>

namespace parley::client {

/// Keeps a device connected: tries the seeds, logs in, keeps the connection alive, and replaces it when it is
/// lost, until the device is halted.
///
/// Owns:   the connection, the connection's state, and the promises of those who wait for one.
/// Thread: that of the loop.
/// Holds:  besides the seeds it tries the nodes that the cluster named at the last login, so it finds the
///         cluster when the seeds have moved. There is one connection at most; a state that is final stays. The listener is told of a
///         connection's end before the connection is destroyed, and of the next connection after that.
/// Errors: `state()` says why the device is not online. A failing store ends the device as `broken`.
class connector final : public link_host {
public:
  /// All references outlive it. `first_seed` is an index into the seeds.
  connector(kj::Timer& timer, dialer& dial, const config& settings, client_store& store, observer& events,
            link_listener& listener, const identity& who, dice& chance, const kj::Clock& calendar,
            std::size_t first_seed);
  ~connector() noexcept(false);
  KJ_DISALLOW_COPY(connector);

  void start();
  /// Resolves when online, with the reason if that will never be.
  kj::Promise<result<nothing>> online();
  /// Drops the connection as a broken network would.
  void disconnect();
  /// Tries to connect now instead of after the pause, and begins with short pauses again.
  void try_now();
  /// Waits for `before`, logs out and halts. Takes no longer than `call_timeout`.
  kj::Promise<void> stop(kj::Promise<void> before);
  /// Drops the connection and all that is under way, and tells nobody. The listener may be destroyed then.
  void close();

  client_link* link() override { return link_.get(); }
  const connection_state& state() const override { return state_; }
  const failure& last_failure() const override { return last_failure_; }
  kj::Promise<void> session_or(kj::TimePoint deadline) override;
  void want_session() override;
  void consider(const failure& f) override;
  void closed_by_node(failure why, std::chrono::milliseconds reconnect_after) override;
  void halt(link_state final_state, failure why) override;

private:
  kj::Promise<void> run();
  void learn(const std::vector<std::string>& nodes);
  kj::Promise<void> pause();
  void resume_in(std::chrono::milliseconds pause);
  bool is_wanted();
  kj::Promise<void> round();
  kj::Promise<void> stay(logged_in accepted, server_address at);
  kj::Promise<void> refused(login_refusal why);
  void drop_link();
  void wait_for_next_round();
  void say_waiters();
  kj::Promise<void> heartbeat(client_link& link);

  kj::Timer& timer_;
  const config& config_;
  client_store& store_;
  observer& observer_;
  link_listener& listener_;
  const identity& who_;
  dice& dice_;

  login login_;
  std::vector<server_address> nodes_; ///< to try: the seeds, then those that the cluster named
  reconnect_rules rules_;
  connection_state state_;
  failure last_failure_{ec::none, {}, {}};
  bool started_ = false;
  kj::TimePoint resume_at_ = kj::origin<kj::TimePoint>();     ///< when the pause is over
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> pause_ends_; ///< during a pause: fulfilled when it changes
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> waiters_;  ///< for a session, or for the end of all hope

  // Destroyed from the bottom up: what runs uses what is above it.
  kj::Own<client_link> link_;
  kj::Canceler promises_; ///< what callers hold
  kj::Promise<void> running_ = nullptr;
};

} // namespace parley::client
