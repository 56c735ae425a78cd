#pragma once
#include "protocol/client/device/observer.hpp"
#include "protocol/client/rules/outbox_rules.hpp"

namespace parley::client {

/// Writes the history of a device for a checker, if there is a recorder.
///
/// Owns:   nothing; the recorder, the identity and the state outlive it.
/// Thread: the device's.
class history_writer {
public:
  history_writer(recorder* to, const identity& who, const connection_state& state)
      : to_{to}, who_{who}, state_{state} {}

  /// Without a recorder there is no need to put events together.
  bool wanted() const { return to_ != nullptr; }
  /// An event of now, with who records it and over which connection.
  history_event event(history_event::kind kind, history_event::what what) const;
  void write(const history_event& e) {
    if (to_)
      to_->record(e);
  }

  void send(history_event::kind kind, const send_attempt& a, const std::string& body, ec error,
            const sent* placed = nullptr);
  void row(history_event::what what, const message_row& row);

private:
  recorder* to_;
  const identity& who_;
  const connection_state& state_;
};

} // namespace parley::client
