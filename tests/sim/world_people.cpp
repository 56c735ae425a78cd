// What people do beside talking: they register by a code, look each other up, sleep for most of the run, or are away
// while much is written to them.
#include "tests/sim/world.hpp"

#include "protocol/values/limits.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

constexpr std::uint64_t first_sleeper = 1'000;
constexpr micros sleepers_within = 60 * one_second;
constexpr std::size_t newcomers_max = 8;

std::string phone_of(std::uint64_t n) {
  return fmt::format("+49{:07}", n);
}

} // namespace

/// Half of them are short, and each power of two above is as likely as the one below.
std::size_t world::body_bytes() {
  if (!shape_luck_.one_in(8))
    return 1 + shape_luck_.below(40);
  const auto top = std::size_t{1} << shape_luck_.between(0, 16);
  const auto bytes = std::min(body_bytes_max, top / 2 + 1 + shape_luck_.below(top / 2 + 1));
  shaped_.large_bodies += bytes >= 4096;
  return bytes;
}

// --- registered users --------------------------------------------------------------------------------------

void world::register_sleepers() {
  for (std::size_t i = 0; i < shape_.sleepers; ++i)
    sleepers_.push_back({user_id{first_sleeper + i}, device_id{next_device_++}});
  for (std::size_t i = 0; i < sleepers_.size(); ++i)
    try_sleeper(i);
  if (!until(sleepers_within, [&] { return std::ranges::all_of(sleepers_, &sleeper::registered); }))
    sim_.violate("liveness: not all idle users could be registered");
  shaped_.sleepers += sleepers_.size();
}

void world::try_sleeper(std::size_t which) {
  auto& s = sleepers_[which];
  const auto again_in = [this, which, tries = ++s.tries](micros delay) {
    sim_.time.in(delay, [this, which, tries] {
      if (auto& it = sleepers_[which]; !it.registered && it.tries == tries && !sim_.failed())
        try_sleeper(which);
    });
  };
  again_in(shape_luck_.between(2 * one_second, 4 * one_second));
  auto& node = some_node();
  core::device_record record;
  record.id = s.device;
  record.key[0] = static_cast<std::uint8_t>(number(s.device));
  node.ask(core::call{core::add_device{s.user, fmt::format("+{}", number(s.user)), record}},
           [this, which, again_in](core::answer& a) {
             if (core::error_of(a) == ec::none)
               sleepers_[which].registered = true;
             else
               again_in(shape_luck_.between(50 * one_ms, 500 * one_ms)); // a node takes only so many calls
           });
}

void world::wake(sleeper& s) {
  s.awake = true;
  ++shaped_.woken;
  clients_.push_back(std::make_unique<sim_client>(sim_, judge_, *this, profile_.client, s.user, s.device));
  clients_.back()->enter();
}

/// Or somebody writes to one who sleeps on.
void world::wake_one() {
  auto& s = sleepers_[shape_luck_.below(sleepers_.size())];
  if (s.awake)
    return;
  if (shape_luck_.percent(40))
    return wake(s);
  auto& friend_ = *clients_[shape_luck_.below(clients_.size())];
  if (friend_.is_member())
    friend_.open(s.user);
}

// --- newcomers ---------------------------------------------------------------------------------------------

/// Now and then two devices of one person, at the same time.
void world::add_newcomer() {
  if (newcomers_.size() >= newcomers_max)
    return;
  const auto phone = phone_of(newcomers_.size());
  begin_newcomer(phone);
  if (shape_luck_.percent(30))
    sim_.time.in(shape_luck_.between(0, 3 * one_second), [this, phone] {
      if (storming_ && !sim_.failed())
        begin_newcomer(phone);
    });
}

void world::begin_newcomer(const std::string& phone) {
  const device_id device{next_device_++};
  newcomers_.push_back(std::make_unique<newcomer>(
      sim_, phones_, *this, profile_.client, phone, device, [this, device](user_id user) {
        ++shaped_.registered;
        clients_.push_back(std::make_unique<sim_client>(sim_, judge_, *this, profile_.client, user, device));
        clients_.back()->enter();
      }));
  auto& n = *newcomers_.back();
  n.begin();
  if (shape_luck_.percent(30))
    sim_.time.in(shape_luck_.between(0, 6 * one_second), [this, &n] {
      if (storming_ && !sim_.failed())
        n.crash();
    });
}

/// A phone that is registered, that is about to be, or that nobody has. Who finds a user opens a conversation, perhaps
/// before the user's first device is there.
void world::look_up_phone() {
  auto& by = *clients_[shape_luck_.below(clients_.size())];
  if (by.is_member())
    ask_phone({phone_of(shape_luck_.below(newcomers_.size() + 1))}, by);
}

void world::ask_phone(look_up what, sim_client& by) {
  const auto again = [this, what, &by] {
    if (what.until_found)
      sim_.time.in(500 * one_ms, [this, what, &by] { ask_phone(what, by); });
  };
  auto& node = some_node();
  if (sim_.failed())
    return;
  if (!node.is_up())
    return again();
  auto answered = std::make_shared<bool>(false);
  if (what.until_found)
    sim_.time.in(4 * one_second, [again, answered] {
      if (!std::exchange(*answered, true))
        again();
    });
  const auto known = phones_.user_of(what.phone);
  node.ask(core::call{core::find_phone{what.phone, by.user()}},
           [this, what, &by, known, again, answered](core::answer& a) {
             if (std::exchange(*answered, true))
               return;
             const auto* found = core::answer_if<core::find_phone>(a);
             if (found == nullptr)
               return sim_.violate("a phone is answered as another call");
             if (found->error == ec::no_such_user) {
               if (known)
                 sim_.violate(fmt::format(
                     "registration: {} is said to be nobody's, and was user {}'s before the question",
                     what.phone, number(*known)));
               return;
             }
             if (found->error != ec::none)
               return again();
             ++shaped_.found_phones;
             phones_.belongs(what.phone, found->user, "the phone's shard");
             if (what.until_found)
               --looking_up_;
             else if (by.user() != found->user)
               sim_.time.in(0, [&by, user = found->user] { by.open(user); });
           });
}

// --- what the cluster says of people in the end ------------------------------------------------------------

void world::ask_in_the_end() {
  std::set<user_id> users;
  for (const auto& [a, b] : judge_.pairs())
    users.insert({a, b});
  for (const auto user : users)
    ask_list(user, {}, {});
  for (const auto& c : clients_)
    ask_device(c->user(), c->device());
  if (!until(agree_within_, [&] { return asking_ == 0; }))
    sim_.violate("liveness: questions about conversations and devices have no answer");
}

/// Each again until it is answered: nothing is broken any more.
void world::ask_until_answered(core::call what, std::function<void(const core::answer&)> done) {
  ++asking_;
  auto is_over = std::make_shared<bool>(false);
  const auto again = [this, what, done, is_over] {
    if (sim_.failed() || std::exchange(*is_over, true))
      return;
    --asking_;
    ask_until_answered(what, done);
  };
  auto& node = some_node();
  if (!node.is_up())
    return sim_.time.in(100 * one_ms, again);
  sim_.time.in(12 * one_second, again);
  node.ask(what, [this, done, is_over, again](core::answer& a) {
    if (parley::describe(core::error_of(a)).retryable)
      return sim_.time.in(100 * one_ms, again);
    if (std::exchange(*is_over, true))
      return;
    --asking_;
    done(a);
  });
}

/// All conversations, also those in which nobody has said anything.
void world::ask_list(user_id user, conversation_id after, std::set<conversation_id> seen) {
  const auto limit = static_cast<std::uint32_t>(shape_luck_.between(1, 5));
  ask_until_answered(
      core::list_conversations{user, after, limit}, [this, user, seen](const core::answer& a) mutable {
        const auto* page = core::answer_if<core::list_conversations>(a);
        if (page == nullptr || page->error != ec::none)
          return sim_.violate(fmt::format("the conversations of user {} are not listed", number(user)));
        for (const auto& one : page->items)
          seen.insert(one.conversation);
        if (page->more != 0 && !page->items.empty())
          return ask_list(user, page->items.back().conversation, std::move(seen));
        for (const auto& [x, y] : judge_.pairs())
          if ((x == user || y == user) && seen.erase(core::direct_conversation(x, y)) == 0)
            return sim_.violate(fmt::format("the list of user {} lacks conversation {}", number(user),
                                            name(core::direct_conversation(x, y))));
        if (!seen.empty())
          sim_.violate(fmt::format("the list of user {} has conversation {}, which nobody opened",
                                   number(user), name(*seen.begin())));
      });
}

void world::ask_device(user_id user, device_id device) {
  ask_until_answered(core::find_device{user, device}, [this, user, device](const core::answer& a) {
    const auto* found = core::answer_if<core::find_device>(a);
    if (found == nullptr || found->error != ec::none || found->device.id != device ||
        found->device.key[0] != static_cast<std::uint8_t>(number(device)))
      return sim_.violate(fmt::format("device {} of user {} is not found", number(device), number(user)));
    const auto has = std::ranges::count(clients_, user, [](const auto& c) { return c->user(); });
    // Who gave up may have been registered, and has not heard of it.
    const auto unsure = std::ranges::count_if(newcomers_, [&](const auto& n) {
      return !n->is_registered() && n->phone() == phones_.phone_of(user);
    });
    if (found->devices < has || found->devices > has + unsure)
      sim_.violate(
          fmt::format("user {} has {} devices, and is said to have {}", number(user), has, found->devices));
  });
}

// --- long absences -----------------------------------------------------------------------------------------

void world::send_away(micros storm) {
  for (std::size_t i = 0; i < shape_.absent; ++i) {
    const auto [a, b] = shape_luck_.pick(judge_.pairs());
    const auto user = shape_luck_.percent(50) ? a : b;
    const auto c = std::ranges::find(clients_, user, [](const auto& x) { return x->user(); });
    if (c == clients_.end() || !(*c)->is_member())
      continue;
    ++shaped_.absent;
    auto& gone = **c;
    sim_.note("absent", number(gone.device()));
    gone.leave();
    const auto back = shape_luck_.between(storm / 2, storm);
    write_to(user, shape_.letters, back / static_cast<micros>(shape_.letters));
    if (shape_luck_.percent(50))
      sim_.time.in(back - shape_luck_.between(0, 2 * one_second), [this, user] { add_device_of(user); });
    sim_.time.in(back, [&gone] { gone.come_back(); });
  }
  agree_within_ += static_cast<micros>(shape_.absent * shape_.letters) * 200 * one_ms;
}

void world::write_to(user_id absent, std::size_t left, micros mean) {
  if (left == 0)
    return;
  sim_.time.in(shape_luck_.between(0, 2 * mean), [this, absent, left, mean] {
    if (!storming_ || sim_.failed())
      return;
    std::vector<std::pair<conversation_id, sim_client*>> writers;
    for (const auto& [a, b] : judge_.pairs())
      if (a == absent || b == absent)
        for (auto& c : clients_)
          if (c->is_member() && c->user() == (a == absent ? b : a))
            writers.emplace_back(core::direct_conversation(a, b), c.get());
    if (!writers.empty()) {
      const auto [to, who] = shape_luck_.pick(writers);
      ++shaped_.letters;
      who->send(to, 1 + shape_luck_.below(40));
    }
    write_to(absent, left - 1, mean);
  });
}

void world::add_device_of(user_id user) {
  if (sim_.failed())
    return;
  clients_.push_back(
      std::make_unique<sim_client>(sim_, judge_, *this, profile_.client, user, device_id{next_device_++}));
  clients_.back()->join(phones_.phone_of(user));
}

} // namespace parley::sim
