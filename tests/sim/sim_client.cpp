#include "tests/sim/sim_client.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::nanoseconds join_within = 30s;
constexpr micros join_answer_within = 3 * one_second;

} // namespace

core::device_record record_of(device_id device) {
  core::device_record record;
  record.id = device;
  record.name = fmt::format("device {}", number(device));
  record.key[0] = static_cast<std::uint8_t>(number(device));
  return record;
}

sim_client::sim_client(fuzz::simulation& sim, judge& judge, node_finder& nodes, client_profile profile,
                       user_id user, device_id device)
    : sim_{sim}, judge_{judge}, nodes_{nodes}, profile_{profile}, user_{user}, device_{device},
      join_chance_{sim.luck.next()} {}

// --- joining -----------------------------------------------------------------------------------------------

void sim_client::join(std::string phone) {
  phone_ = phone.empty() ? fmt::format("+{}", number(user_)) : std::move(phone);
  begin_to_join();
}

void sim_client::begin_to_join() {
  join_at_ = nodes_.known_nodes();
  const auto first = std::ranges::find(join_at_, nodes_.find_node(device_));
  join_.emplace(join_at_.size(),
                first == join_at_.end() ? 0 : static_cast<std::size_t>(first - join_at_.begin()),
                pauses_of(profile_), now() + join_within);
  try_join();
}

void sim_client::try_join() {
  const auto attempt = ++join_attempt_;
  join_after_ = judge_.rescues();
  const auto answer = [this, attempt](ec why) {
    sim_.time.in(sim_.luck.between(100, profile_.latency_max),
                 [this, attempt, why] { join_answered(attempt, why); });
  };
  auto& node = *join_at_[join_->seed()];
  if (!node.is_up())
    return answer(ec::unavailable);
  sim_.time.in(join_answer_within, [this, attempt] { join_answered(attempt, ec::timed_out); });
  node.ask(core::call{core::add_device{user_, phone_, record_of(device_)}},
           [answer](core::answer& a) { answer(core::error_of(a)); });
}

void sim_client::join_answered(std::uint64_t attempt, ec why) {
  if (attempt != join_attempt_ || joined_ || sim_.failed())
    return;
  ++join_attempt_;
  if (why == ec::none && join_after_ != judge_.rescues())
    why = ec::unavailable; // the answer was on its way, and what it says may be forgotten
  if (why == ec::none)
    return enter();
  if (const auto retry = join_->again(failed(why), now(), join_chance_))
    return sim_.time.in(retry->pause / 1us, [this] { try_join(); });
  if (parley::describe(why).retryable) // the user tries again
    return begin_to_join();
  sim_.violate(fmt::format("device {} of user {} is refused: {}", number(device_), number(user_),
                           parley::describe(why).name));
}

void sim_client::enter() {
  joined_ = true;
  sim_.note("joined", number(user_), number(device_));
  judge_.added(user_, device_);
  go_online();
}

// --- coming and going --------------------------------------------------------------------------------------

sim_client_program& sim_client::program() {
  if (!program_)
    program_ = std::make_unique<sim_client_program>(sim_, judge_, nodes_, profile_, store_, told_, user_,
                                                    device_, [this] {
                                                      for (const auto with : to_open_)
                                                        try_open(with);
                                                    });
  return *program_;
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
  if (joined_ && !away_)
    program().go_online();
}

void sim_client::go_offline() {
  if (program_)
    program_->go_offline();
}

void sim_client::cut() {
  if (program_)
    program_->cut();
}

void sim_client::crash() {
  sim_.note("client-crash", number(device_));
  program_.reset();
  opening_.clear();
  syncs_ = 0;
}

void sim_client::node_ended(node_id node, std::uint64_t life) {
  if (program_)
    program_->node_ended(node, life);
}

// --- what its user wants -----------------------------------------------------------------------------------

void sim_client::send(conversation_id to, std::size_t bytes) {
  auto body = fmt::format("{}.{} ", number(device_), ++said_);
  body.resize(std::max(body.size(), bytes), 'x');
  program().send(to, std::move(body));
}

void sim_client::open(user_id with) {
  if (to_open_.insert(with).second)
    try_open(with);
}

void sim_client::try_open(user_id with) {
  if (!program_ || !program_->is_ready() || !to_open_.contains(with) || !opening_.insert(with).second)
    return; // again after the login, or when the answer came
  const auto asked = std::make_shared<std::uint64_t>();
  const auto make = [this, with, asked] {
    *asked = judge_.rescues();
    const auto at = unix_ms{1'700'000'000'000 + sim_.time.now() / one_ms};
    return core::call{core::open_conversation{user_, with, at}};
  };
  program_->ask(make, [this, with, asked](core::answer* a, const client::failure& why) {
    opening_.erase(with);
    if (a != nullptr && *asked != judge_.rescues()) {
      try_open(with);
    } else if (a != nullptr) {
      to_open_.erase(with);
      judge_.opened(core::direct_conversation(user_, with), std::min(user_, with), std::max(user_, with));
    } else if (why.retryable) {
      try_open(with);
    } else {
      sim_.violate(fmt::format("a conversation is not opened: {}", parley::describe(why.code).name));
    }
  });
}

void sim_client::mark_read(conversation_id of) {
  if (const auto newest = store_.newest(of, 1); !newest.empty())
    program().mark_read(of, newest.front().seq);
}

void sim_client::sync(conversation_id of) {
  ++syncs_;
  next_page(of, seq_no::none);
}

void sim_client::next_page(conversation_id of, seq_no after) {
  struct moment {
    seq_no reached{}, position{};
  };
  const auto asked = std::make_shared<moment>();
  const auto make = [this, of, after, asked] {
    *asked = {judge_.reached(of), program_->position(of)};
    return core::call{core::sync_conversation{of, user_, after, profile_.page_rows}};
  };
  program().ask(make, [this, of, after, asked](core::answer* a, const client::failure& why) {
    if (a == nullptr) {
      sim_.note("no-page", number(device_), of.hi, number(after), static_cast<std::uint64_t>(why.code));
      if (!why.retryable)
        return sim_.violate(fmt::format("a sync is refused: {}", parley::describe(why.code).name));
      return next_page(of, after);
    }
    const auto* page = core::answer_if<core::sync_conversation>(*a);
    if (page == nullptr)
      return sim_.violate("a sync is answered as another call");
    judge_.page(of, after, *page, asked->reached);
    check_kept(*page, asked->position);
    const auto last = page->messages.empty() ? after : page->messages.back().seq;
    if (page->more != 0)
      return next_page(of, last);
    --syncs_;
    judge_.read_whole(of, user_, last);
  });
}

/// What the device counts as applied is in its store. Messages of its own user need not come to it.
void sim_client::check_kept(const core::conversation_page& page, seq_no position) {
  for (const auto& m : page.messages) {
    if (m.seq > position || m.from == user_)
      continue;
    const auto kept = store_.newest(m.conversation, m.seq, 1);
    if (kept.empty() || kept.front().seq != m.seq || kept.front().client_id != m.client_id)
      return sim_.violate(
          fmt::format("client: device {} of user {} has applied conversation {} up to seq {}, "
                      "and its store has not seq {}",
                      number(device_), number(user_), name(m.conversation), number(position), number(m.seq)));
  }
}

// --- its state ---------------------------------------------------------------------------------------------

bool sim_client::settled() const {
  return joined_ && program_ && program_->is_ready() && !program_->has_outgoing() && !program_->has_marks() &&
         to_open_.empty() && syncs_ == 0;
}

std::string sim_client::describe() {
  return fmt::format(
      "device {} of user {}: {}{}, {} to send{}, {} to open, {} to read, cursor {}, acknowledged {}",
      number(device_), number(user_), joined_ ? "" : "not joined, ",
      program_ && program_->is_ready() ? "connected" : "not connected", store_.waiting().size(),
      program_ && program_->has_marks() ? ", marks to tell" : "", to_open_.size(), syncs_, number(cursor()),
      number(sim_client_program::place(store_.where().acknowledged)));
}

} // namespace parley::sim
