#pragma once
#include "protocol/client/rules/backoff.hpp"

#include <list>
#include <memory>
#include <optional>

namespace parley::client {

/// Decides when a connection counts as dead: when a call on it has waited for its answer too long.
///
/// Owns:   when each call under way began, oldest first, and when the last one began. A call holds a ticket;
///         when the ticket is destroyed, however the call ended, the call is removed from the list.
/// Thread: its owner's. Pure: time is an argument.
/// Holds:  the cluster answers every call in less than `timeout`, if only with "timed out", so silence means
///         that the connection is dead. Time in which the device did not run counts for no call: answers may
///         have come meanwhile and wait to be read.
class calls_under_way {
  using list = std::list<instant>;

public:
  calls_under_way(std::chrono::nanoseconds timeout, instant now) : timeout_{timeout}, last_{now} {}

  class ticket {
  public:
    ticket(std::shared_ptr<list> calls, list::iterator at) : calls_{std::move(calls)}, at_{at} {}
    ticket(ticket&& other) noexcept : calls_{std::move(other.calls_)}, at_{other.at_} {}
    ticket& operator=(ticket&&) = delete;
    ~ticket() {
      if (calls_)
        calls_->erase(at_);
    }

  private:
    std::shared_ptr<list> calls_;
    list::iterator at_;
  };
  ticket begin(instant now) {
    last_ = now;
    return {calls_, calls_->insert(calls_->end(), now)};
  }
  /// When the oldest call will have waited too long; nothing while no call is under way.
  std::optional<instant> due() const {
    return calls_->empty() ? std::nullopt : std::optional{calls_->front() + timeout_};
  }
  /// To be asked when the timer fires that was set for `due`: is the connection dead? If not, and if there is
  /// a new `due()`, set it again.
  bool is_dead(instant due, instant now) {
    if (now - due > stood_still)
      postpone({}, now);
    return !calls_->empty() && calls_->front() + timeout_ <= now;
  }
  /// What was taken for the time when the last calls began, `since`, was an old one: it is `now`.
  void moved(instant since, instant now) {
    if (since == now)
      return;
    postpone(since, now);
    last_ = now;
  }
  /// When the last call began. A connection that is idle for long needs a ping, which is a call.
  instant last() const { return last_; }

private:
  /// A timer that fires so late was set by a program that did not run.
  static constexpr std::chrono::nanoseconds stood_still = std::chrono::seconds{1};

  /// Those that began at `since` or later are said to have begun at `now`.
  void postpone(instant since, instant now) {
    for (auto i = calls_->rbegin(); i != calls_->rend() && *i >= since; ++i)
      *i = now;
  }

  std::chrono::nanoseconds timeout_;
  instant last_;
  std::shared_ptr<list> calls_ = std::make_shared<list>();
};

} // namespace parley::client
