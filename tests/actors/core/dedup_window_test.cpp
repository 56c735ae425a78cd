#include "actors/core/dedup_window.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <vector>

using namespace parley;
using namespace parley::core;

namespace {

/// The rows as a map.
struct window {
  sender_head head;
  std::map<std::uint8_t, remembered_ids> rows;

  const remembered_id* find(std::uint64_t counter) { return find_remembered(rows[row_of(counter)], counter); }
  retry_verdict judge(std::uint64_t counter, std::uint8_t body = 1) {
    return judge_retry(head, counter, body_hash{body}, find(counter));
  }
  void accept(std::uint64_t counter, std::uint8_t body = 1) {
    remember(head, rows[row_of(counter)],
             {counter, seq_no{head.accepted + 1}, unix_ms{5}, body_hash{body}, 0});
  }
  std::size_t longest_row() const {
    std::size_t n = 0;
    for (const auto& [number, row] : rows)
      n = std::max(n, row.ids.size());
    return n;
  }
};

} // namespace

TEST_CASE("counter 0 names no message") {
  window w;
  CHECK(w.judge(0) == retry_verdict::too_old);
  w.accept(3);
  CHECK(w.judge(0) == retry_verdict::too_old);
}

TEST_CASE("an id that was forgotten is too old, whatever its body") {
  window w;
  for (std::uint64_t c = 1; c <= 257; ++c)
    w.accept(c);
  CHECK(w.judge(1) == retry_verdict::too_old);
  CHECK(w.judge(1, 2) == retry_verdict::too_old);
  CHECK(w.judge(2) == retry_verdict::repeat);
  CHECK(w.judge(257) == retry_verdict::repeat);
  CHECK(w.judge(258) == retry_verdict::fresh);
}

TEST_CASE("an unknown id below one that no row holds any more is too old: it may have been stored") {
  window w;
  w.accept(10);
  CHECK(w.judge(4) == retry_verdict::fresh); // late, but nothing was forgotten yet
  for (std::uint64_t c = 11; c <= 600; ++c)
    w.accept(c);
  CHECK(w.judge(10) == retry_verdict::too_old);
  CHECK(w.judge(4) == retry_verdict::too_old);
}

TEST_CASE("the same id with another body is a conflict") {
  window w;
  w.accept(7, 1);
  CHECK(w.judge(7, 2) == retry_verdict::conflict);
  CHECK(w.find(7)->seq == seq_no{1});
}

TEST_CASE("a message that came late is remembered as long as any other") {
  window w;
  for (std::uint64_t c = 2; c <= 257; ++c)
    w.accept(c); // full, nothing forgotten
  w.accept(1);   // overtaken by all of them; forgets 2
  CHECK(w.judge(2) == retry_verdict::too_old);
  for (std::uint64_t c = 258; c <= 258 + 254; ++c) {
    CHECK(w.judge(1) == retry_verdict::repeat);
    w.accept(c);
  }
  CHECK(w.judge(1) == retry_verdict::repeat);
  w.accept(513);
  CHECK(w.judge(1) == retry_verdict::too_old);
}

TEST_CASE(
    "the rows of a device that counts without gaps are short, in one conversation or in several by turns") {
  for (const std::uint64_t step : {1, 2, 7, 256, 512, 1000}) {
    CAPTURE(step);
    window w;
    for (std::uint64_t n = 1; n <= 5000; ++n)
      w.accept(n * step);
    CHECK(w.longest_row() <= (step == 1 ? 2 : 12));
    CHECK(w.rows.size() <= dedup_ids_max);
  }
}

TEST_CASE("a row holds no more ids than are remembered, even if its device chooses their counters") {
  window w;
  for (std::uint64_t c = 1; w.head.accepted < 1000; ++c)
    if (row_of(c) == 7)
      w.accept(c);
  CHECK(w.rows.size() == 1);
  CHECK(w.longest_row() == dedup_ids_max);
}

TEST_CASE("whatever the order of counters, the newest 256 are known and nothing is stored twice") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 rng{seed};
    window w;
    std::vector<std::uint64_t> accepted;
    std::map<std::uint64_t, std::uint64_t> seq_of;
    for (int i = 0; i < 1500; ++i) {
      const auto counter = 1 + static_cast<std::uint64_t>(i) / 2 + rng() % 400;
      const auto verdict = w.judge(counter);
      const auto known = seq_of.find(counter);
      if (known == seq_of.end()) {
        CHECK((verdict == retry_verdict::fresh || verdict == retry_verdict::too_old));
      } else {
        const bool newest = known->second + 256 > accepted.size();
        CHECK(verdict == (newest ? retry_verdict::repeat : retry_verdict::too_old));
        if (newest)
          CHECK(number(w.find(counter)->seq) == known->second);
      }
      if (verdict == retry_verdict::fresh) {
        w.accept(counter);
        accepted.push_back(counter);
        seq_of[counter] = accepted.size();
      }
    }
    CHECK(accepted.size() > 300);
  }
}
