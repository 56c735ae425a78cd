#pragma once
// Between the connector and the other parts of a device: what they ask of it, and what it tells them. A test
// of one part brings a host of its own.
#include "protocol/client/device/client_link.hpp"
#include "protocol/client/device/observer.hpp"
#include "protocol/client/store/store.hpp"

namespace parley::client {

/// The owner of the device's connection, as the sender, the receiver and the calls see it.
class link_host {
public:
  virtual ~link_host() noexcept(false) = default;

  /// The connection, with its session; null while there is none. It can have ended already: it is then
  /// destroyed in a later turn of the loop.
  virtual client_link* link() = 0;
  virtual const connection_state& state() const = 0;
  bool halted() const { return state().final(); }
  failure why_halted() const { return {state().why, state().sentence, {}}; }
  /// Why the last attempt to connect failed; code `none` if there was none.
  virtual const failure& last_failure() const = 0;

  /// Resolves when there is a session, when there will never be one, or at `deadline`.
  virtual kj::Promise<void> session_or(kj::TimePoint deadline) = 0;
  /// Something waits for a connection from now on: a pause before the next try becomes a short one.
  virtual void want_session() = 0;
  /// An answer failed with `f`. If the failure is about the session and not about the call, the connection
  /// ends, or the device does.
  virtual void consider(const failure& f) = 0;
  /// The node closes the connection; `reconnect_after` is its advice when to come back, 0 if it has none.
  virtual void closed_by_node(failure why, std::chrono::milliseconds reconnect_after) = 0;
  /// Ends the device: it will never be online again.
  virtual void halt(link_state final_state, failure why) = 0;
};

/// Hears what happens to the connection, in order, on the loop's thread.
class link_listener {
public:
  virtual ~link_listener() noexcept(false) = default;
  virtual void on_online(client_link& link) = 0;
  /// `link()` is destroyed right after this call: nothing on it is answered any more.
  virtual void on_lost(const failure& why) = 0;
  virtual void on_halted(const failure& why) = 0;
  /// Whether something is to be told to the cluster.
  virtual bool has_work() const = 0;
};

/// Runs `write`. A store that fails ends the device, for nothing that follows could be kept. Returns whether
/// the store kept it.
template <class Write>
bool kept(link_host& host, Write&& write) {
  try {
    write();
    return true;
  } catch (const store_error& e) {
    host.halt(link_state::broken, {ec::storage_failed, e.what(), {}});
    return false;
  }
}

} // namespace parley::client
