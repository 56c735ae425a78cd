#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>

namespace parley::core {

/// Numbers from `from` to `upto`, both included.
struct number_range {
  std::uint64_t from = 0, upto = 0;
  template <class F>
  auto fields(F&& f) {
    return f(from, upto);
  }
  bool operator==(const number_range&) const = default;
};

/// A set of numbers, kept as ranges that neither overlap nor touch: debts are delivered nearly in order, so there are
/// few of them. Thread: its owner's.
class number_ranges {
public:
  void add(number_range r) {
    auto next = ranges_.upper_bound(r.from);
    if (next != ranges_.begin()) {
      const auto before = std::prev(next);
      if (before->second + 1 >= r.from) {
        r.from = before->first;
        r.upto = before->second > r.upto ? before->second : r.upto;
        next = erase(before);
      }
    }
    while (next != ranges_.end() && next->first <= r.upto + 1) {
      r.upto = next->second > r.upto ? next->second : r.upto;
      next = erase(next);
    }
    ranges_.emplace_hint(next, r.from, r.upto);
    count_ += r.upto - r.from + 1;
  }
  void add(const number_ranges& others) {
    for (const auto& [from, upto] : others.ranges_)
      add({from, upto});
  }
  /// Takes the lowest numbers out, as one range of at most `numbers_max`. There are some, and `numbers_max` is not 0.
  number_range take_lowest(std::uint64_t numbers_max) {
    auto r = lowest();
    erase(ranges_.begin());
    if (r.upto - r.from >= numbers_max) {
      add({r.from + numbers_max, r.upto});
      r.upto = r.from + numbers_max - 1;
    }
    return r;
  }
  /// There are some.
  number_range lowest() const { return {ranges_.begin()->first, ranges_.begin()->second}; }
  bool empty() const { return ranges_.empty(); }
  /// Of the numbers.
  std::uint64_t count() const { return count_; }

private:
  using map = std::map<std::uint64_t, std::uint64_t>; // from, upto
  map::iterator erase(map::iterator i) {
    count_ -= i->second - i->first + 1;
    return ranges_.erase(i);
  }

  map ranges_;
  std::uint64_t count_ = 0;
};

} // namespace parley::core
