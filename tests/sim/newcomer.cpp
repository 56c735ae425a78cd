#include "tests/sim/newcomer.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {
namespace {

using namespace std::chrono_literals;

constexpr micros answer_within = 5 * one_second;     ///< of one node
constexpr std::chrono::nanoseconds ask_within = 10s; ///< of all
/// Then a person asks for another code. Above the longest that a message to a phone takes.
constexpr micros code_within = 8 * one_second;
/// Longer waits come from the bounds of an hour or a day.
constexpr micros moment = 15 * one_second;
/// Of `core::limits::codes_per_hour_of_asker_max`, which is the first bound that a device meets.
constexpr std::uint64_t codes_in_an_hour = 3;

std::uint64_t number_of(const std::string& ticket) {
  return std::stoull(ticket);
}

std::string digits_of(std::uint64_t code) {
  return fmt::format("{:0{}}", code, code_digits);
}

} // namespace

// --- the phone book ----------------------------------------------------------------------------------------

void phone_book::refused_for(const std::string& phone, micros wait) {
  if (wait > moment && asked_[phone] < codes_in_an_hour)
    sim_.violate(fmt::format("registration: {} has to wait {} s for a code, and has asked {} times", phone,
                             wait / one_second, asked_[phone]));
}

void phone_book::belongs(const std::string& phone, user_id user, const char* says_who) {
  const auto u = users_.try_emplace(phone, user).first->second;
  if (u != user)
    return sim_.violate(fmt::format("registration: {} says that {} is user {}, and it was user {}", says_who,
                                    phone, number(user), number(u)));
  const auto& p = phones_.try_emplace(user, phone).first->second;
  if (p != phone)
    sim_.violate(fmt::format("registration: {} says that user {} has {}, and it was {}", says_who,
                             number(user), phone, p));
}

std::optional<user_id> phone_book::user_of(const std::string& phone) const {
  const auto i = users_.find(phone);
  return i == users_.end() ? std::nullopt : std::optional{i->second};
}

std::string phone_book::phone_of(user_id user) const {
  const auto i = phones_.find(user);
  return i == phones_.end() ? "" : i->second;
}

// --- the device --------------------------------------------------------------------------------------------

newcomer::newcomer(fuzz::simulation& sim, phone_book& book, node_finder& nodes, const client_profile& profile,
                   std::string phone, device_id device, std::function<void(user_id)> registered)
    : sim_{sim}, book_{book}, nodes_{nodes}, profile_{profile}, phone_{std::move(phone)}, device_{device},
      registered_{std::move(registered)}, pause_{pauses_of(profile)}, chance_{sim.luck.next()} {}

void newcomer::later(micros delay, std::function<void()> what) {
  later(attempt_, delay, std::move(what));
}

void newcomer::later(std::uint64_t attempt, micros delay, std::function<void()> what) {
  sim_.time.in(delay, [this, attempt, what = std::move(what)] {
    if (attempt == attempt_ && !settled() && !sim_.failed())
      what();
  });
}

/// Calls the gateway's node: the answer is for the gateway, unless its node has ended.
void newcomer::ask(sim_node& gateway, core::call what, answered then) {
  gateway.ask(
      std::move(what), [this, &gateway, life = gateway.life(), then = std::move(then)](core::answer& a) {
        sim_.time.in(sim_.luck.between(20, 300),
                     [this, &gateway, life, then, held = std::make_shared<core::answer>(std::move(a))] {
                       if (gateway.is_up() && gateway.life() == life && !sim_.failed())
                         then(*held);
                     });
      });
}

/// From the gateway to the device, which listens only during the attempt that asked.
void newcomer::reply(std::uint64_t attempt, std::function<void()> what) {
  later(attempt, sim_.luck.between(50, profile_.latency_max), std::move(what));
}

void newcomer::begin() {
  if (settled())
    return;
  if (!seen_.empty()) {
    stage_ = stage::registers;
    if (!trial_)
      trial_.emplace(client::ticket_rules{tickets_}.for_trial(phone_));
    return begin_request();
  }
  stage_ = stage::asks;
  const auto request =
      client::ticket_rules{tickets_}.next(phone_, [this] { return fmt::format("{}", sim_.luck.next()); });
  ticket_ = request.ticket;
  begin_request();
}

void newcomer::begin_request() {
  seeds_ = nodes_.known_nodes();
  const auto first = std::ranges::find(seeds_, nodes_.find_node(device_));
  rules_.emplace(seeds_.size(), first == seeds_.end() ? 0 : static_cast<std::size_t>(first - seeds_.begin()),
                 pauses_of(profile_), now() + ask_within);
  attempt();
}

/// At the node that the rules name.
void newcomer::attempt() {
  ++attempt_;
  auto& node = *seeds_[rules_->seed()];
  if (!node.is_up())
    return reply(attempt_, [this] { refused(failed(ec::unavailable)); });
  later(answer_within, [this] { refused(failed(ec::timed_out)); });
  if (stage_ == stage::registers)
    register_device(node);
  else
    ask_for_code(node);
}

void newcomer::crash() {
  if (settled())
    return;
  sim_.note("newcomer-crash", number(device_));
  ++attempt_;
  trial_.reset();
  pause_.reset();
  later(sim_.luck.between(10 * one_ms, one_second), [this] { begin(); });
}

void newcomer::ask_for_code(sim_node& gateway) {
  const auto code = sim_.luck.below(1'000'000); // the gateway draws it
  book_.asked(phone_);
  sim_.note("ask-code", number(device_), number(gateway.id()), number_of(ticket_));
  // Of an address of its own.
  gateway::code_steps steps{phone_, ticket_, digits_of(code), {gateway::address_key{number(device_)}}};
  ask(gateway, core::call{steps.request()},
      [this, &gateway, attempt = attempt_, steps, code](const core::answer& a) {
        if (const auto* got = core::answer_if<core::request_code>(a))
          code_issued(gateway, attempt, steps, code, *got);
        else
          sim_.violate("registration: a request for a code is answered as another call");
      });
}

/// At the gateway.
void newcomer::code_issued(sim_node& gateway, std::uint64_t attempt, gateway::code_steps steps,
                           std::uint64_t code, const core::code_issued& got) {
  const auto say = [this, attempt](const gateway::code_outcome& end) {
    reply(attempt, [this, why = end.error, wait = end.retry_after_ms] {
      why == ec::none ? code_is_sent() : refused(failed(why, wait));
    });
  };
  if (const auto end = steps.issued(got))
    return say(*end);
  ++codes_;
  const bool sent = !faults_ || !sim_.luck.one_in(20);
  const bool lost = faults_ && sim_.luck.one_in(20);
  if (sent && !lost)
    sim_.time.in(sim_.luck.between(50 * one_ms, 4 * one_second), [this, code] { code_arrives(code); });
  const auto why = sent ? ec::none : ec::code_send_failed;
  auto told = std::make_shared<bool>(false);
  const auto once = [told, say, end = steps.sent(why)] {
    if (!std::exchange(*told, true))
      say(end);
  };
  ask(gateway, core::call{steps.report(why)}, [once](const core::answer&) { once(); });
  sim_.time.in(gateway::code_steps::report_within / 1us, [&gateway, life = gateway.life(), once] {
    if (gateway.is_up() && gateway.life() == life)
      once(); // whoever asks is not kept waiting for the shard
  });
}

void newcomer::code_arrives(std::uint64_t code) {
  if (settled() || sim_.failed())
    return;
  sim_.note("code", number(device_), code);
  seen_.push_back(code);
  trial_.reset();
  ++attempt_;
  later(sim_.luck.between(100 * one_ms, one_second), [this] { begin(); }); // types it in
}

void newcomer::code_is_sent() {
  ++attempt_;
  client::ticket_rules{tickets_}.issued(ticket_, ticket_);
  stage_ = stage::waits_for_code;
  pause_.reset();
  later(code_within, [this] { begin(); }); // another one
}

/// The attempt failed. Where the request ends with that, the person begins again.
void newcomer::refused(const client::failure& why) {
  ++attempt_;
  const micros wait = why.retry_after / 1us;
  if (why.code == ec::rate_limited) {
    book_.refused_for(phone_, wait);
    if (wait > moment) {
      stage_ = stage::gave_up;
      return;
    }
  }
  if (const auto retry = rules_->again(why, now(), chance_))
    return later(retry->pause / 1us, [this] { attempt(); });
  if (stage_ == stage::registers) {
    if (trial_->refused(why))
      return begin_request();
    if (trial_->over()) { // asks for another code
      trial_.reset();
      seen_.clear();
    } else if (!why.retryable) {
      return sim_.violate(fmt::format("registration: device {} is refused: {}", number(device_),
                                      parley::describe(why.code).name));
    }
  } else {
    client::ticket_rules{tickets_}.refused(ticket_, why);
    if (!why.retryable)
      return sim_.violate(fmt::format("registration: device {} may have no code: {}", number(device_),
                                      parley::describe(why.code).name));
  }
  later(std::max<micros>(pause_.next(chance_) / 1us, wait), [this] { begin(); });
}

void newcomer::register_device(sim_node& gateway) {
  const auto& ticket = trial_->ticket();
  const auto code = seen_.back();
  const auto candidate = user_id{(std::uint64_t{1} << 40) + sim_.luck.below(std::uint64_t{1} << 40)};
  sim_.note("confirm", number(device_), number(gateway.id()), number_of(ticket));
  gateway::registration_steps steps{phone_, ticket, digits_of(code), record_of(device_), candidate};
  ask(gateway, core::call{steps.confirm()},
      [this, &gateway, attempt = attempt_, steps, used = std::pair{ticket, code}](const core::answer& a) {
        const auto* got = core::answer_if<core::confirm_code>(a);
        if (got == nullptr)
          return sim_.violate("registration: a code is answered as another call");
        auto it = steps;
        auto next = it.confirmed(*got);
        if (!next)
          return reply(attempt,
                       [this, why = next.error()] { refused(failed(why.error, why.retry_after_ms)); });
        used_ = used;
        book_.belongs(phone_, got->user, "a code");
        add_device(gateway, attempt, std::move(it), std::move(*next));
      });
}

/// At the gateway.
void newcomer::add_device(sim_node& gateway, std::uint64_t attempt, gateway::registration_steps steps,
                          core::add_device call) {
  ask(gateway, core::call{std::move(call)}, [this, attempt, steps](const core::answer& a) {
    const auto* got = core::answer_if<core::add_device>(a);
    if (got == nullptr)
      return sim_.violate("registration: an added device is answered as another call");
    const auto user = steps.added(*got);
    reply(attempt, [this, user] {
      user ? is_in(*user) : refused(failed(user.error().error, user.error().retry_after_ms));
    });
  });
}

void newcomer::is_in(user_id user) {
  sim_.note("registered", number(device_), number(user));
  ++attempt_;
  if (sim_.luck.one_in(3))
    try_stolen_code();
  stage_ = stage::done;
  registered_(user);
}

/// Somebody has seen the code and has the ticket.
void newcomer::try_stolen_code() {
  auto* node = nodes_.find_node(device_);
  if (node == nullptr || !used_)
    return;
  const auto& [ticket, code] = *used_;
  const gateway::registration_steps steps{phone_, ticket, digits_of(code),
                                          record_of(device_id{~number(device_)}), user_id{7}};
  ask(*node, core::call{steps.confirm()}, [this](const core::answer& a) {
    if (core::error_of(a) == ec::none)
      sim_.violate(fmt::format("registration: a code for {} has served two keys", phone_));
  });
}

std::string newcomer::describe() const {
  static constexpr const char* names[] = {"asks for a code", "waits for its code", "registers",
                                          "is registered", "may have no code for an hour"};
  return fmt::format("the newcomer with device {} {}: {} tickets, {} codes came of {}", number(device_),
                     names[static_cast<std::size_t>(stage_)], tickets_.size(), seen_.size(), codes_);
}

} // namespace parley::sim
