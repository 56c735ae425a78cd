#pragma once
// The questions of a client that Cap'n Proto keeps an entry for. It bounds them by nothing of its own.
#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace parley::gateway {

/// An entry lives from the question until it is answered *and* the client has finished it, in either order. A
/// client that finishes a call early, or twice, therefore gets no room for another one.
///
/// Owns:   nothing while no question is open, after `shrink`.
/// Thread: that of its connection.
class open_questions {
public:
  /// False if the id is in use: the client broke the protocol. `for_object`: its answer holds an object to call.
  bool ask(std::uint32_t id, bool for_object = false) {
    if (!open_.try_emplace(id, progress{.for_object = for_object}).second)
      return false;
    ++unanswered_;
    return true;
  }
  /// The client is done with the question. False if there is no such question, or if it was finished before.
  bool finish(std::uint32_t id) {
    const auto i = open_.find(id);
    if (i == open_.end() || i->second.finished)
      return false;
    if (i->second.answered)
      open_.erase(i);
    else
      i->second.finished = true;
    return true;
  }
  /// The answer has been written.
  void answered(std::uint32_t id) {
    const auto i = open_.find(id);
    if (i == open_.end() || i->second.answered)
      return;
    --unanswered_;
    if (i->second.finished)
      open_.erase(i);
    else
      i->second.answered = true;
  }

  /// Whether a call on the answer to `id` has to wait for it, and for nothing: there will be no object to call.
  bool waits_in_vain(std::uint32_t id) const {
    const auto i = open_.find(id);
    return i != open_.end() && !i->second.answered && !i->second.for_object;
  }

  std::size_t size() const { return open_.size(); }
  std::size_t unanswered() const { return unanswered_; }
  void shrink() {
    if (open_.empty())
      decltype(open_){}.swap(open_);
  }

private:
  struct progress {
    bool answered = false;
    bool finished = false;
    bool for_object = false;
  };
  std::unordered_map<std::uint32_t, progress> open_;
  std::size_t unanswered_ = 0;
};

} // namespace parley::gateway
