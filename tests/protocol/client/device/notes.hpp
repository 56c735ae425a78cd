#pragma once
#include "protocol/client/device/observer.hpp"

#include <string>
#include <utility>
#include <vector>

namespace parley::test {

/// Writes down what a device says.
struct notes final : client::observer, client::recorder {
  std::vector<client::link_state> states;
  std::vector<client::message> messages;
  std::vector<client::sent> sent;
  std::vector<ec> failed;
  std::vector<client::conversation_info> opened;
  std::vector<client::device_added> devices;
  std::vector<std::pair<seq_no, seq_no>> gaps;
  unsigned old_copies = 0;
  std::vector<client::message> lost;
  seq_no delivered{}, read{};
  std::vector<client::history_event> history;

  void on_state(const client::connection_state& s) override { states.push_back(s.state); }
  void on_message(const client::message& m) override { messages.push_back(m); }
  void on_sent(const client::sent& s) override { sent.push_back(s); }
  void on_failed(const client::outgoing&, const client::failure& f) override { failed.push_back(f.code); }
  void on_delivered(conversation_id, user_id, seq_no upto) override { delivered = upto; }
  void on_read(conversation_id, user_id, seq_no upto) override { read = upto; }
  void on_opened(const client::conversation_info& c) override { opened.push_back(c); }
  void on_device_added(const client::device_added& d) override { devices.push_back(d); }
  void on_gap(conversation_id, seq_no after, seq_no upto) override { gaps.emplace_back(after, upto); }
  void on_old_copy() override { ++old_copies; }
  void on_lost(const client::message& was) override { lost.push_back(was); }
  void record(const client::history_event& e) override { history.push_back(e); }

  std::vector<std::string> bodies() const {
    std::vector<std::string> out;
    for (const auto& m : messages)
      out.push_back(m.body);
    return out;
  }
};

} // namespace parley::test
