#pragma once
// Is a node the one that was seen before, or an older copy of its directory? (docs/decisions/0032)
//
// At each start a node takes the next number and a random word, and makes both durable before it says anything. Its
// greeting holds the words of its newest starts. A peer keeps the newest start that it saw of each disk of a node.
// A directory that does not continue that start forgot what it has acknowledged since.
//
// Thread: `start_book` any; the functions are pure.
#include "actors/core/archive.hpp"
#include "protocol/values/types.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::cluster {

/// A start, as a node greets with it.
struct node_start {
  static constexpr auto inside = core::nested::grows;
  std::uint64_t disk = 0;
  std::uint64_t number = 0;         ///< 0: this program keeps no starts (tests)
  std::vector<std::uint64_t> words; ///< of the newest starts, oldest first; the last one is of `number`
  template <class F>
  auto fields(F&& f) {
    return f(disk, number, words);
  }
  std::uint64_t word() const { return words.empty() ? 0 : words.back(); }
  /// Of start `n`; none if it is not among the newest.
  std::optional<std::uint64_t> word_of(std::uint64_t n) const;
};

/// The newest start that was seen of one disk.
struct seen_start {
  std::uint64_t disk = 0;
  std::uint64_t number = 0;
  std::uint64_t word = 0;
  template <class F>
  auto fields(F&& f) {
    return f(disk, number, word);
  }
};
/// What is kept of a node: one row. Of more disks than `disks_max`, the one that started longest ago is forgotten.
struct seen_node {
  static constexpr std::size_t disks_max = 16;
  std::vector<seen_start> disks; ///< the last one started last
  template <class F>
  auto fields(F&& f) {
    return f(disks);
  }
};

/// On the wire: never renumber.
enum class start_verdict : std::uint8_t {
  fits = 0,
  older = 1,    ///< its number is lower than that of a start that was seen
  other = 2,    ///< it does not continue the start that was seen: its word for that number is another one
  replaced = 3, ///< this process is known, and another one with another disk has started since
  twice = 4,    ///< a process of an earlier start runs and answers: this one was started beside it
};
/// What a node does not do any more, and what the operator has to do.
std::string_view describe(start_verdict v);

start_verdict judge(const seen_node& seen, const node_start& start);
/// Remembers a start that fits. False: nothing is new.
bool note(seen_node& seen, const node_start& start);

/// What a node knows of the starts of the others.
/// Owns:   the memory of it; `keep` makes it durable.
class start_book {
public:
  using row = std::pair<node_id, std::string>;
  /// Makes the row of a node durable, then calls back, from any thread. Rows are kept in the order of the calls.
  using keeper = std::function<void(row, std::function<void()> durable)>;

  /// `rows`: as they were kept. One that cannot be read is left out, and named in `unread`.
  explicit start_book(const std::vector<row>& rows);
  void kept_by(keeper keep);
  const std::vector<node_id>& unread() const { return unread_; }

  /// `done` is called once: at once, or from another thread when a start that was new is durable here. Before that
  /// nothing may depend on it: this node could forget that it saw it.
  void judge(node_id peer, const node_start& start, std::function<void(start_verdict)> done);
  /// False if that was told already: a peer that calls again and again is one cause.
  bool tell(node_id peer, const node_start& start, start_verdict why);

private:
  std::mutex order_; ///< of judgements, and with it of rows; taken before `mutex_`, which guards all below
  std::mutex mutex_;
  keeper keep_;
  std::vector<node_id> unread_;
  struct entry {
    seen_node seen;
    std::uint64_t kept = 0,
                  asked = 0; ///< how many of its rows are durable, and how many are under way or are
    std::vector<std::pair<std::uint64_t, std::function<void(start_verdict)>>> waiting;
    std::uint64_t told_word = 0;
    start_verdict told{};
  };
  std::map<node_id, entry> nodes_;
  void durable(node_id peer, std::uint64_t upto);
};

} // namespace parley::cluster
