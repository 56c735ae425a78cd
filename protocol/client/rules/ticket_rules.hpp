#pragma once
// With which ticket a device asks for its next code, and with which ones it tries the code that its person types in.
#include "protocol/client/values.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace parley::client {

struct code_request {
  std::string ticket;
  bool repeats = false; ///< an earlier request with this ticket has no answer
};

/// The tickets of a device that is not registered yet: those of its identity, as the store keeps them.
///
/// Owns:   nothing; it changes the list that it is given, which the caller keeps before a node is asked.
/// Thread: its owner's. Pure: a ticket is random, and drawn by the caller.
/// Holds:  a request without an answer is repeated with its ticket, so that no second code is sent. One that had its
///         answer is not: whoever asks again wants another code. A ticket for which no code will come is forgotten.
class ticket_rules {
public:
  explicit ticket_rules(std::vector<code_ticket>& tickets) : tickets_{tickets} {}

  /// For a code for `phone`. `draw` makes a ticket and is called if there is none to repeat.
  template <class Draw>
  code_request next(const std::string& phone, Draw draw) {
    const auto last = std::ranges::find_if(
        tickets_, [&](const code_ticket& t) { return t.unanswered && t.phone == phone; });
    if (last != tickets_.end())
      return {last->ticket, true};
    tickets_.push_back({phone, draw(), true});
    if (tickets_.size() > code_tickets_max)
      tickets_.erase(tickets_.begin());
    return {tickets_.back().ticket, false};
  }
  /// The code is on its way, and is good with the ticket `given`: a node of an earlier version draws its own.
  void issued(const std::string& asked_with, std::string given) {
    for (auto& t : tickets_)
      if (t.ticket == asked_with) {
        t = {t.phone, std::move(given)};
        return;
      }
  }
  /// The request ended with `why`. Returns whether the list has changed.
  bool refused(const std::string& asked_with, const failure& why) {
    return !why.retryable &&
           std::erase_if(tickets_, [&](const code_ticket& t) { return t.ticket == asked_with; }) > 0;
  }
  /// A code for `phone` was typed in, so the next request for `phone` is for another one. Returns with which tickets it
  /// is tried, the first one last.
  std::vector<std::string> for_trial(std::string_view phone) {
    std::vector<std::string> all;
    for (auto& t : tickets_)
      if (t.phone == phone) {
        t.unanswered = false;
        all.push_back(t.ticket);
      }
    return all;
  }

private:
  std::vector<code_ticket>& tickets_;
};

/// One code, tried with one ticket after another, the newest first: who asked twice does not know which of the two codes
/// is in his hand.
///
/// Owns:   the tickets that were not refused, and the refusal that says most.
/// Thread: its owner's. Pure.
class code_trial {
public:
  /// `tickets`: as `ticket_rules::for_trial` returns them.
  explicit code_trial(std::vector<std::string> tickets)
      : left_{std::move(tickets)}, why_{refuse(ec::code_expired)} {}

  /// No ticket is left: the code is not good.
  bool over() const { return left_.empty(); }
  /// The one to try now.
  const std::string& ticket() const { return left_.back(); }
  /// The node refused the code with `ticket()`. Returns whether the next one is to be tried; if not, `why()` is the answer.
  bool refused(failure why) {
    const bool of_the_ticket = why.code == ec::code_wrong || why.code == ec::code_expired;
    // "Wrong" says more than "expired": an old ticket has expired whatever the code.
    if (!of_the_ticket || why.code == ec::code_wrong)
      why_ = std::move(why);
    if (!of_the_ticket)
      return false;
    left_.pop_back();
    return !over();
  }
  const failure& why() const { return why_; }

private:
  std::vector<std::string> left_;
  failure why_;
};

} // namespace parley::client
