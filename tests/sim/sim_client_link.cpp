#include "tests/sim/sim_client_link.hpp"

#include <algorithm>

namespace parley::sim {

// --- what the device does ----------------------------------------------------------------------------------

void sim_client_link::open(user_id user, device_id device, session_number session) {
  const auto& config = server_->sessions();
  box_ = std::make_shared<delivery_queue>(config.queue_rows_max, config.queue_bytes_max);
  session_identity who{server_->next_ref(), user, device, session, {}};
  who.key.emplace();
  (*who.key)[0] = static_cast<std::uint8_t>(number(device));
  session_ = server_->open_session(who, shared_from_this(), box_);
}

void sim_client_link::receive(inbox_pos after) {
  to_node([this, after] {
    box_->begin(++streams_);
    server_->give(session_, start_streaming{after, streams_});
  });
}

void sim_client_link::call(std::uint64_t number, core::call what) {
  to_node([this, number, held = std::make_shared<core::call>(std::move(what))] {
    call_batch one;
    one.calls.push_back({number, answer_sink{}, std::move(*held)});
    server_->give(session_, std::move(one));
  });
}

void sim_client_link::end_later(micros in) {
  user_ = nullptr;
  sim_.time.in(in, [self = shared_from_this()] { self->end_here(); });
}

void sim_client_link::end_here() {
  if (closed_here_)
    return;
  closed_here_ = true;
  if (node_lives() && session_)
    server_->give(session_, atom::stop_v);
  session_ = nullptr;
}

void sim_client_link::end_soon() {
  sim_.time.in(0, [self = shared_from_this()] { self->end_here(); });
}

// --- between the two ends ----------------------------------------------------------------------------------

micros sim_client_link::arrival(micros& last) {
  auto latency = sim_.luck.between(50, profile_.latency_max);
  if (sim_.luck.one_in(profile_.spike_one_in))
    latency += sim_.luck.between(0, profile_.latency_spike_max);
  return last = std::max(last, sim_.time.now() + latency);
}

void sim_client_link::to_node(std::function<void()> what) {
  sim_.time.at(arrival(up_at_), [self = shared_from_this(), what = std::move(what)] {
    if (self->node_lives() && self->session_ && !self->closed_here_)
      what();
  });
}

void sim_client_link::to_device(std::function<void()> what) {
  sim_.time.at(arrival(down_at_), [self = shared_from_this(), what = std::move(what)] {
    if (self->user_)
      what();
  });
}

// --- session_port ------------------------------------------------------------------------------------------

void sim_client_link::answered(std::vector<numbered_answer> answers) {
  if (!node_lives())
    return;
  auto held = std::make_shared<std::vector<numbered_answer>>(std::move(answers));
  to_device([this, held] {
    for (auto& a : *held)
      if (user_) // an answer may end the connection
        user_->answered(a.number, a.what);
  });
}

void sim_client_link::attached(const core::attached& state) {
  if (!node_lives())
    return;
  if (!std::exchange(logged_in_, true) && state.error != ec::none)
    end_soon();
  to_device([this, state] { user_->logged_in(state); });
}

void sim_client_link::rows_ready() {
  if (node_lives())
    look();
}

void sim_client_link::closed(ec why) {
  if (!node_lives())
    return;
  end_soon();
  to_device([this, why] { user_->closed(why); });
}

void sim_client_link::look() {
  if (std::exchange(looking_, true))
    return;
  sim_.time.in(sim_.luck.between(0, 200), [self = shared_from_this()] {
    self->looking_ = false;
    if (self->node_lives() && !self->closed_here_)
      self->pump();
  });
}

void sim_client_link::pump() {
  if (ahead_ >= profile_.rows_window)
    return; // rows that were taken are followed by another look
  auto rows = std::make_shared<std::vector<core::outgoing_row>>(box_->take(profile_.rows_at_once, 1 << 20));
  if (rows->empty())
    return;
  if (box_->rows() == 0)
    server_->give(session_, atom::took_v);
  ahead_ += rows->size();
  to_device([this, rows] {
    user_->delivered(*rows, [self = shared_from_this(), n = rows->size()] {
      self->to_node([link = self.get(), n] {
        link->ahead_ -= n;
        link->look();
      });
    });
  });
  look();
}

} // namespace parley::sim
