#include "tests/sim/sim_client.hpp"

#include "protocol/values/overloaded.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {

/// A connection, with the gateway's end of it. The session's actor holds it as its port, and calls it inside
/// the node.
struct sim_client::link final : session_port, std::enable_shared_from_this<link> {
  link(sim_client& device, sim_node& node)
      : sim{device.sim_}, profile{device.profile_}, owner{&device}, at{node.id()}, server{&node},
        life{node.life()} {}

  fuzz::simulation& sim;
  const client_profile profile;
  sim_client* owner; ///< null: the device's end is gone
  node_id at{};
  sim_node* server;
  std::uint64_t life; ///< of the node
  session_actor session;
  std::shared_ptr<delivery_queue> box;
  std::uint64_t streams = 0, last_call = 0;
  std::map<std::uint64_t, done_type> open;
  micros up_at = 0, down_at = 0; ///< when what was sent last arrives at the node, at the device
  bool looking = false, closed_here = false, logged_in = false;
  std::size_t ahead = 0; ///< rows that the device has not read

  bool node_lives() const { return server->is_up() && server->life() == life; }
  micros arrival(micros& last) {
    auto latency = sim.luck.between(50, profile.latency_max);
    if (sim.luck.one_in(profile.spike_one_in))
      latency += sim.luck.between(0, profile.latency_spike_max);
    return last = std::max(last, sim.time.now() + latency);
  }
  void to_node(std::function<void()> what) {
    sim.time.at(arrival(up_at), [self = shared_from_this(), what = std::move(what)] {
      if (self->node_lives() && self->session && !self->closed_here)
        what();
    });
  }
  void to_device(std::function<void()> what) {
    sim.time.at(arrival(down_at), [self = shared_from_this(), what = std::move(what)] {
      if (self->owner)
        what();
    });
  }
  /// The gateway's end, some time after the device's.
  void end_later(micros in) {
    owner = nullptr;
    open.clear();
    sim.time.in(in, [self = shared_from_this()] { self->end_here(); });
  }
  void end_here() {
    if (closed_here)
      return;
    closed_here = true;
    if (node_lives() && session)
      server->give(session, atom::stop_v);
    session = nullptr;
  }

  // --- session_port
  void answered(std::vector<numbered_answer> answers) override {
    if (!node_lives())
      return;
    auto held = std::make_shared<std::vector<numbered_answer>>(std::move(answers));
    to_device([this, held] {
      for (auto& a : *held)
        if (auto o = open.extract(a.number); !o.empty())
          o.mapped()(&a.what);
    });
  }
  void attached(const core::attached& state) override {
    if (!node_lives())
      return;
    if (!std::exchange(logged_in, true) && state.error != ec::none)
      sim.time.in(0, [self = shared_from_this()] { self->end_here(); });
    to_device([this, state] { owner->logged_in(state); });
  }
  void rows_ready() override {
    if (node_lives())
      look();
  }
  void closed(ec why) override {
    if (!node_lives())
      return;
    sim.time.in(0, [self = shared_from_this()] { self->end_here(); });
    to_device([this, why] {
      sim.note("closed", number(owner->device_), static_cast<std::uint64_t>(why));
      owner->lost();
    });
  }

  void look() {
    if (std::exchange(looking, true))
      return;
    sim.time.in(sim.luck.between(0, 200), [self = shared_from_this()] {
      self->looking = false;
      if (self->node_lives() && !self->closed_here)
        self->pump();
    });
  }
  void pump() {
    if (ahead >= profile.rows_window)
      return; // a row that was read is followed by another look
    auto rows = std::make_shared<std::vector<core::outgoing_row>>(box->take(profile.rows_at_once, 1 << 20));
    if (rows->empty())
      return;
    if (box->rows() == 0)
      server->give(session, atom::took_v);
    ahead += rows->size();
    to_device([this, rows] {
      const auto n = rows->size();
      to_node([this, n] {
        ahead -= n;
        look();
      });
      owner->take(*rows);
    });
    look();
  }
};

sim_client::sim_client(fuzz::simulation& sim, judge& judge, node_finder& nodes, client_profile profile,
                       user_id user, device_id device)
    : sim_{sim}, judge_{judge}, nodes_{nodes}, profile_{profile}, user_{user}, device_{device} {}

sim_client::~sim_client() {
  if (link_)
    link_->owner = nullptr;
}

void sim_client::later(micros delay, std::function<void()> what) {
  sim_.time.in(delay, [this, life = life_, what = std::move(what)] {
    if (life == life_ && !sim_.failed())
      what();
  });
}

micros sim_client::pause(std::uint32_t tries) {
  const auto bound = std::min(profile_.backoff_max, profile_.backoff_min << std::min(tries, 10u));
  return sim_.luck.between(1, bound);
}

// --- joining and connecting --------------------------------------------------------------------------------

void sim_client::join(std::string phone) {
  phone_ = phone.empty() ? fmt::format("+{}", number(user_)) : std::move(phone);
  try_join();
}

void sim_client::try_join() {
  if (joined_)
    return;
  later(one_second * 3, [this] { try_join(); }); // unless an answer comes before
  auto* node = nodes_.find_node(device_);
  if (node == nullptr)
    return;
  core::device_record record;
  record.id = device_;
  record.name = fmt::format("device {}", number(device_));
  record.key[0] = static_cast<std::uint8_t>(number(device_));
  node->ask(core::call{core::add_device{user_, phone_, record}}, [this, life = life_](core::answer& a) {
    const auto error = core::error_of(a);
    sim_.time.in(sim_.luck.between(100, profile_.latency_max), [this, life, error] {
      if (life != life_ || joined_)
        return;
      if (error == ec::none) {
        enter();
      } else if (parley::describe(error).retryable) {
        later(pause(tries_++), [this] { try_join(); });
      } else {
        sim_.violate(fmt::format("device {} of user {} is refused: {}", number(device_), number(user_),
                                 parley::describe(error).name));
      }
    });
  });
}

void sim_client::enter() {
  joined_ = true;
  sim_.note("joined", number(user_), number(device_));
  judge_.added(user_, device_);
  go_online();
}

void sim_client::leave() {
  away_ = true;
  go_offline();
}

void sim_client::come_back() {
  if (std::exchange(away_, false))
    go_online();
}

void sim_client::go_online() {
  if (away_)
    return;
  online_ = true;
  tries_ = 0;
  if (joined_)
    connect();
}

void sim_client::connect() {
  if (!online_ || link_ || connecting_)
    return;
  connecting_ = true;
  later(pause(tries_++), [this] {
    connecting_ = false;
    if (!online_ || link_)
      return;
    auto* node = nodes_.find_node(device_);
    if (node == nullptr)
      return connect();
    ++judge_.count.logins;
    const auto& config = node->sessions();
    link_ = std::make_shared<link>(*this, *node);
    link_->box = std::make_shared<delivery_queue>(config.queue_rows_max, config.queue_bytes_max);
    session_identity who{node->next_ref(), user_, device_, session_number{++session_}, {}};
    who.key.emplace();
    (*who.key)[0] = static_cast<std::uint8_t>(number(device_));
    sim_.note("connect", number(device_), number(node->id()), session_);
    link_->session = node->open_session(who, link_, link_->box);
    ready_ = false;
    later(profile_.answer_within, [this, l = link_] {
      if (link_ == l && !ready_)
        lost();
    });
  });
}

void sim_client::lost() {
  if (!link_)
    return;
  sim_.note("disconnect", number(device_), number(link_->at));
  const auto l = std::exchange(link_, nullptr);
  auto open = std::exchange(l->open, {});
  l->end_later(sim_.luck.between(0, profile_.notice_max));
  ready_ = false;
  for (auto& o : outbox_)
    o.under_way = false;
  for (auto& [n, done] : open)
    done(nullptr);
  connect();
}

void sim_client::logged_in(const core::attached& state) {
  if (state.error != ec::none) {
    if (!ready_) {
      if (!parley::describe(state.error).retryable && state.error != ec::fenced)
        sim_.violate(fmt::format("device {} of user {} cannot log in: {}", number(device_), number(user_),
                                 parley::describe(state.error).name));
      lost();
    }
    return;
  }
  copies_ = state.devices > 1;
  if (ready_)
    return;
  if (!std::exchange(begun_, true)) {
    cursor_ = state.acknowledged; // a later device of its user begins where the inbox was then
    if (cursor_ == inbox_pos::none)
      judge_.came_first(user_, device_);
  }
  if (state.acknowledged > cursor_)
    return sim_.violate(fmt::format("the inbox of user {} says that device {} acknowledged {}, and it has {}",
                                    number(user_), number(device_), number(state.acknowledged),
                                    number(cursor_)));
  sim_.note("login", number(device_), number(cursor_), number(state.last));
  ready_ = true;
  tries_ = 0;
  acked_ = state.acknowledged;
  acknowledge();
  link_->to_node([this, l = link_, after = cursor_] {
    l->box->begin(++l->streams);
    l->server->give(l->session, start_streaming{after, l->streams});
  });
  send_next();
  for (const auto with : to_open_)
    try_open(with, 0);
}

void sim_client::go_offline() {
  online_ = false;
  lost();
}

void sim_client::cut() {
  lost();
}

void sim_client::crash() {
  sim_.note("client-crash", number(device_));
  ++life_;
  if (link_) {
    link_->end_later(sim_.luck.between(0, profile_.notice_max));
    link_ = nullptr;
  }
  online_ = connecting_ = ready_ = ack_armed_ = acknowledging_ = false;
  opening_.clear();
  acked_ = {};
  tries_ = syncs_ = 0;
  for (auto& o : outbox_)
    o.under_way = false, o.not_before = 0;
}

void sim_client::node_ended(node_id node, std::uint64_t life) {
  if (link_ && link_->at == node && link_->life <= life)
    later(sim_.luck.between(0, profile_.notice_max), [this, l = link_] {
      if (link_ == l)
        lost();
    });
}

// --- what arrives ------------------------------------------------------------------------------------------

void sim_client::take(std::vector<core::outgoing_row>& rows) {
  for (auto& r : rows)
    take(r.row);
  if (cursor_ <= acked_ || std::exchange(ack_armed_, true))
    return;
  later(sim_.luck.between(0, profile_.ack_delay_max), [this] {
    ack_armed_ = false;
    acknowledge();
  });
}

void sim_client::take(core::inbox_row& row) {
  if (row.pos <= cursor_)
    return; // it was kept before
  cursor_ = row.pos;
  std::visit(overloaded{
                 [&](const core::message_news& m) {
                   judge_.received(user_, device_, m);
                   auto& newest = newest_[m.msg.conversation];
                   newest = std::max(newest, m.msg.seq);
                 },
                 [&](const core::opened_news& o) { newest_.try_emplace(o.conversation); },
                 [&](const core::watermark& w) { judge_.told(device_, w); },
                 [&](const core::device_added&) {},
             },
             row.what);
}

/// One acknowledgement at a time: the next one covers what came meanwhile.
void sim_client::acknowledge() {
  if (!ready_ || acknowledging_ || cursor_ <= acked_)
    return;
  acknowledging_ = true;
  ask(core::call{core::acknowledge{user_, device_, cursor_}}, [this, upto = cursor_](core::answer* a) {
    acknowledging_ = false;
    if (a == nullptr)
      return; // the next login says what was acknowledged
    const auto error = core::error_of(*a);
    if (error == ec::none)
      acked_ = std::max(acked_, upto);
    else if (!parley::describe(error).retryable)
      return sim_.violate(fmt::format("an acknowledgement of device {} is refused: {}", number(device_),
                                      parley::describe(error).name));
    later(error == ec::none ? 0 : pause(4), [this] { acknowledge(); });
  });
}

void sim_client::ask(core::call what, done_type done) {
  if (!link_ || !ready_)
    return done(nullptr);
  const auto n = ++link_->last_call;
  link_->open.emplace(n, std::move(done));
  link_->to_node([l = link_, n, held = std::make_shared<core::call>(std::move(what))] {
    call_batch one;
    one.calls.push_back({n, answer_sink{}, std::move(*held)});
    l->server->give(l->session, std::move(one));
  });
  later(profile_.answer_within, [this, l = link_, n] {
    if (link_ == l && l->open.contains(n))
      lost();
  });
}

// --- what it does ------------------------------------------------------------------------------------------

void sim_client::send(conversation_id to, std::size_t bytes) {
  const client_msg_id id{device_, ++counter_};
  auto body = fmt::format("{}.{} ", number(device_), counter_);
  body.resize(std::max(body.size(), bytes), 'x');
  judge_.submitted(id, to, user_, fuzz::hash_bytes(body));
  outbox_.push_back({id, to, std::move(body), false, false, 0});
  send_next();
}

void sim_client::send_next() {
  if (!ready_)
    return;
  std::map<conversation_id, std::size_t> busy;
  for (auto& o : outbox_) {
    auto& n = busy[o.to];
    if (n >= profile_.sends_window || (o.not_before > sim_.time.now() && profile_.sends_window == 1)) {
      n = profile_.sends_window; // in order
      continue;
    }
    ++n;
    if (o.under_way || o.not_before > sim_.time.now())
      continue;
    o.under_way = true;
    if (std::exchange(o.tried, true))
      ++judge_.count.retried;
    core::submission s;
    s.conversation = o.to;
    s.from = user_;
    s.id = o.id;
    const auto hash = fuzz::hash_bytes(o.body);
    for (std::size_t i = 0; i < 8; ++i)
      s.hash[i] = static_cast<std::uint8_t>(hash >> (8 * i));
    s.at = unix_ms{1'700'000'000'000 + sim_.time.now() / one_ms};
    s.copy_own = copies_ ? 1 : 0;
    s.body = o.body;
    ask(core::call{core::submit{std::move(s)}}, [this, id = o.id](core::answer* a) { answered(id, a); });
  }
}

void sim_client::answered(const client_msg_id& id, core::answer* what) {
  const auto o = std::ranges::find(outbox_, id, &outgoing::id);
  if (o == outbox_.end())
    return;
  o->under_way = false;
  if (what == nullptr)
    return;
  const auto* placed = core::answer_if<core::submit>(*what);
  if (placed == nullptr)
    return sim_.violate("a message is answered as another call");
  if (placed->error == ec::none) {
    judge_.acked(id, placed->seq, placed->duplicate != 0);
    auto& newest = newest_[o->to];
    newest = std::max(newest, placed->seq);
    outbox_.erase(o);
  } else if (parley::describe(placed->error).retryable) {
    o->not_before = sim_.time.now() + std::max<micros>(pause(3), placed->retry_after_ms * one_ms);
    later(o->not_before - sim_.time.now(), [this] { send_next(); });
  } else {
    return sim_.violate(fmt::format("message {}.{} is refused: {}", number(id.device), id.counter,
                                    parley::describe(placed->error).name));
  }
  send_next();
}

void sim_client::open(user_id with) {
  if (to_open_.insert(with).second)
    try_open(with, 0);
}

void sim_client::try_open(user_id with, std::uint32_t tries) {
  if (!ready_ || !to_open_.contains(with) || !opening_.insert(with).second)
    return; // again after the login, or when the answer came
  const auto at = unix_ms{1'700'000'000'000 + sim_.time.now() / one_ms};
  ask(core::call{core::open_conversation{user_, with, at}}, [this, with, tries](core::answer* a) {
    opening_.erase(with);
    if (a == nullptr)
      return;
    const auto error = core::error_of(*a);
    if (error == ec::none) {
      to_open_.erase(with);
      const auto id = core::direct_conversation(user_, with);
      newest_.try_emplace(id);
      judge_.opened(id, std::min(user_, with), std::max(user_, with));
    } else if (parley::describe(error).retryable) {
      later(pause(tries), [this, with, tries] { try_open(with, tries + 1); });
    } else {
      sim_.violate(fmt::format("a conversation is not opened: {}", parley::describe(error).name));
    }
  });
}

void sim_client::mark_read(conversation_id of) {
  const auto newest = newest_.find(of);
  if (newest != newest_.end() && newest->second != seq_no::none)
    try_mark(of, newest->second, 0);
}

void sim_client::try_mark(conversation_id of, seq_no upto, std::uint32_t tries) {
  ask(core::call{core::mark_read{of, user_, upto}}, [this, of, upto, tries](core::answer* a) {
    const auto error = a ? core::error_of(*a) : ec::none; // of a lost connection nobody tries again
    if (a && error == ec::none) {
      ++judge_.count.marked;
      judge_.marked(of, user_, upto);
    } else if (error != ec::none && parley::describe(error).retryable && tries < 5)
      later(pause(tries), [this, of, upto, tries] { try_mark(of, upto, tries + 1); });
    else if (error != ec::none && !parley::describe(error).retryable)
      sim_.violate(fmt::format("a mark is refused: {}", parley::describe(error).name));
  });
}

void sim_client::sync(conversation_id of) {
  ++syncs_;
  next_page(of, seq_no::none, 0);
}

void sim_client::next_page(conversation_id of, seq_no after, std::uint32_t tries) {
  const auto reached = judge_.reached(of);
  ask(core::call{core::sync_conversation{of, user_, after, profile_.page_rows}},
      [this, of, after, tries, reached](core::answer* a) {
        const auto* page = a ? core::answer_if<core::sync_conversation>(*a) : nullptr;
        if (page == nullptr || page->error != ec::none) {
          sim_.note("no-page", number(device_), of.hi, number(after),
                    page ? static_cast<std::uint64_t>(page->error) : 0);
          if (page && !parley::describe(page->error).retryable)
            return sim_.violate(fmt::format("a sync is refused: {}", parley::describe(page->error).name));
          return later(pause(tries), [this, of, after, tries] { next_page(of, after, tries + 1); });
        }
        judge_.page(of, after, *page, reached);
        const auto last = page->messages.empty() ? after : page->messages.back().seq;
        if (page->more != 0)
          return next_page(of, last, 0);
        --syncs_;
        judge_.read_whole(of, user_, last);
      });
}

bool sim_client::settled() const {
  return joined_ && ready_ && outbox_.empty() && to_open_.empty() && syncs_ == 0;
}

std::string sim_client::describe() const {
  return fmt::format(
      "device {} of user {}: {}{}, {} to send, {} to open, {} to read, cursor {}, acknowledged {}",
      number(device_), number(user_), joined_ ? "" : "not joined, ", ready_ ? "connected" : "not connected",
      outbox_.size(), to_open_.size(), syncs_, number(cursor_), number(acked_));
}

} // namespace parley::sim
