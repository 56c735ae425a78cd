#pragma once
// Small helpers that residents, router and session share: answers leave as one message per receiver and
// handler, and a call that is waiting is answered even if its actor crashes.
#include "actors/interfaces.hpp"

#include <caf/send.hpp>

#include <optional>
#include <unordered_map>

namespace parley {

/// Where a call is answered, once the call itself has been handed on.
struct asker {
  answer_sink reply_to;
  std::uint64_t number = 0;
  core::call_kind kind{};

  explicit asker(const routed_call& c) : reply_to{c.reply_to}, number{c.number}, kind{kind_of(c.what)} {}
};

/// Collects what one handler answers. Owner: the handler's stack frame; sends when it is destroyed.
class answers {
public:
  answers() = default;
  answers(const answers&) = delete;
  answers& operator=(const answers&) = delete;
  ~answers() { flush(); }

  void add(const answer_sink& to, std::uint64_t number, core::answer what) {
    if (!to) // nobody waits
      return;
    for (auto& [sink, batch] : groups_) { // few receivers per handler: a scan beats a map
      if (sink == to) {
        batch.answers.push_back({number, std::move(what)});
        return;
      }
    }
    auto& batch = groups_.emplace_back(to, answer_batch{}).second;
    batch.answers.push_back({number, std::move(what)});
  }
  /// The answer to `c`, which is a `Call`.
  template <class Call>
  void answer(const routed_call& c, typename Call::answer what) {
    add(c.reply_to, c.number, core::answer_to<Call>{std::move(what)});
  }
  void refuse(const routed_call& c, ec why, std::uint32_t retry_after_ms = 0) {
    add(c.reply_to, c.number, core::refusal(c.what, why, retry_after_ms));
  }
  void refuse(const asker& who, ec why, std::uint32_t retry_after_ms = 0) {
    add(who.reply_to, who.number, core::refusal(who.kind, why, retry_after_ms));
  }
  void flush() {
    for (auto& [sink, batch] : groups_)
      caf::anon_send(sink, std::move(batch));
    groups_.clear();
  }

private:
  std::vector<std::pair<answer_sink, answer_batch>> groups_;
};

/// Calls that wait for a result of the STORE, by ticket.
/// Holds: a call that is still here when the table is destroyed (its actor crashed) is answered `internal`.
class waiting_calls {
public:
  waiting_calls() = default;
  waiting_calls(const waiting_calls&) = delete;
  waiting_calls& operator=(const waiting_calls&) = delete;
  ~waiting_calls() {
    answers out;
    for (auto& [ticket, c] : calls_)
      out.refuse(c, ec::internal);
  }

  /// Keeps `c` (its body may be moved out before) and answers its ticket.
  std::uint64_t wait(routed_call c) {
    const auto ticket = next_ticket();
    calls_.emplace(ticket, std::move(c));
    return ticket;
  }
  /// A ticket for what no call waits for.
  std::uint64_t next_ticket() { return ++last_; }
  std::optional<routed_call> take(std::uint64_t ticket) {
    auto node = calls_.extract(ticket);
    if (node.empty())
      return std::nullopt;
    return std::move(node.mapped());
  }
  const routed_call* find(std::uint64_t ticket) const {
    const auto i = calls_.find(ticket);
    return i == calls_.end() ? nullptr : &i->second;
  }
  bool empty() const { return calls_.empty(); }
  /// Its owner is idle: an empty table keeps no buckets. Not for every call: they would be allocated anew
  /// each time.
  void release_if_empty() {
    if (calls_.empty())
      decltype(calls_){}.swap(calls_); // assigning `{}` would only clear it
  }
  std::size_t size() const { return calls_.size(); }

private:
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, routed_call> calls_;
};

/// The call that waited for `r` and is still to be answered. None if no call waited, or if the STORE sent an
/// error: then the call is refused with it.
inline std::optional<routed_call> take_or_refuse(waiting_calls& waiting, const result& r, answers& out) {
  auto c = waiting.take(r.ticket);
  if (c && r.error != ec::none) {
    out.refuse(*c, r.error);
    return std::nullopt;
  }
  return c;
}

} // namespace parley
