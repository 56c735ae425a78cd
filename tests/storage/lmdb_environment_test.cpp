#include "storage/lmdb_environment.hpp"
#include "tests/storage/scratch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

using namespace parley;
using namespace parley::storage;
using parley::test::get;
using parley::test::numbered;
using parley::test::open;
using parley::test::put;
using parley::test::scratch_directory;
using parley::test::small_config;

namespace {

std::vector<std::string> keys(read_txn& txn, table t, std::string_view from = {}, std::string_view to = {}) {
  std::vector<std::string> found;
  txn.ascend(t, from, to, [&](std::string_view k, std::string_view) {
    found.emplace_back(k);
    return scan::more;
  });
  return found;
}

} // namespace

TEST_CASE("a config that cannot be run with is refused by the field's name") {
  scratch_directory dir;
  lmdb_config c;
  CHECK_FALSE(validate(c));
  c.readers_max = 0;
  CHECK(validate(c)->field == "readers_max");
  c = {};
  c.map_bytes_max = c.map_bytes_initial - 1;
  CHECK(validate(c)->field == "map_bytes_max");
  c = {};
  c.reserve_bytes = c.map_bytes_max;
  CHECK(validate(c)->field == "reserve_bytes");
  CHECK(lmdb_environment::open(dir.path(), c).error().code == ec::bad_config);
}

TEST_CASE("a directory that is not there, and a file that is no store, are failures with a sentence") {
  scratch_directory dir;
  auto absent = lmdb_environment::open(dir.file("nowhere"), small_config());
  REQUIRE_FALSE(absent.has_value());
  CHECK(absent.error().code == ec::storage_failed);

  auto* f = std::fopen(dir.file("store.mdb").c_str(), "w");
  for (int i = 0; i < 4096; ++i)
    std::fputs("rubbish ", f);
  std::fclose(f);
  auto rubbish = lmdb_environment::open(dir.path(), small_config());
  REQUIRE_FALSE(rubbish.has_value());
  CHECK(rubbish.error().code == ec::corrupt);
  CHECK(rubbish.error().what.find("damaged") != std::string::npos);
}

TEST_CASE("what was not committed leaves no trace") {
  scratch_directory dir;
  auto env = open(dir);
  put(*env, table::state, "kept", "1");
  {
    auto txn = env->begin_write();
    txn->put(table::state, "dropped", "2");
    txn->erase(table::state, "kept");
    CHECK(txn->get(table::state, "dropped") == "2");
    CHECK_FALSE(txn->get(table::state, "kept"));
  }
  CHECK(get(*env, table::state, "kept") == "1");
  CHECK_FALSE(get(*env, table::state, "dropped"));
}

TEST_CASE("a key that LMDB cannot hold fails its transaction, and nothing of it is stored") {
  scratch_directory dir;
  auto env = open(dir);
  auto txn = env->begin_write();
  txn->put(table::state, "good", "1");
  txn->put(table::state, std::string(600, 'k'), "1");
  CHECK(txn->status() == ec::storage_failed);
  CHECK(txn->commit() == ec::storage_failed);
}

TEST_CASE("readers beyond the bound are told so, and served again when one leaves") {
  scratch_directory dir;
  auto config = small_config();
  config.readers_max = 2;
  config.reader_wait = std::chrono::milliseconds{5};
  auto env = open(dir, config);
  put(*env, table::node, "k", "v");
  auto first = env->begin_read();
  auto second = env->begin_read();
  {
    auto third = env->begin_read();
    CHECK(third->status() == ec::overloaded);
    CHECK_FALSE(third->get(table::node, "k"));
  }
  first.reset();
  auto fourth = env->begin_read();
  CHECK(fourth->status() == ec::none);
  CHECK(fourth->get(table::node, "k") == "v");
  CHECK(env->stats().readers == 2);
  CHECK(env->stats().readers_peak == 2);
}

TEST_CASE("a reader sees one moment, and a later one all that was committed before it") {
  scratch_directory dir;
  auto env = open(dir);
  put(*env, table::state, "k", "old");
  auto before = env->begin_read();
  put(*env, table::state, "k", "new");
  CHECK(before->get(table::state, "k") == "old");
  CHECK(get(*env, table::state, "k") == "new");
  before.reset();
  auto again = env->begin_read(); // the same reader, used again
  CHECK(again->get(table::state, "k") == "new");
}

TEST_CASE("a store that is opened again holds what was committed") {
  scratch_directory dir;
  {
    auto env = open(dir);
    auto txn = env->begin_write();
    txn->put(table::node, "empty", "");
    txn->put(table::node, "zeros", std::string(3, '\0'));
    txn->append(table::log, numbered(1), std::string(200'000, 'e'));
    REQUIRE(txn->commit() == ec::none);
  }
  auto env = open(dir);
  CHECK(get(*env, table::node, "empty") == "");
  CHECK(get(*env, table::node, "zeros") == std::string(3, '\0'));
  CHECK(get(*env, table::log, numbered(1)) == std::string(200'000, 'e'));
  CHECK_FALSE(get(*env, table::state, "empty"));
  CHECK(env->stats().entries == std::array<std::uint64_t, table_count>{2, 1, 0});
}

TEST_CASE("a store can be read by a tool that leaves no trace") {
  scratch_directory dir;
  {
    auto env = open(dir);
    put(*env, table::state, "k", "v");
  }
  std::filesystem::remove(dir.file("store.mdb-lock"));
  auto config = small_config();
  config.read_only = true;
  {
    auto env = open(dir, config);
    CHECK(get(*env, table::state, "k") == "v");
  }
  CHECK_FALSE(std::filesystem::exists(dir.file("store.mdb-lock")));
}

TEST_CASE("an append that is not above all others is still stored in its place") {
  scratch_directory dir;
  auto env = open(dir);
  auto txn = env->begin_write();
  for (const std::uint64_t n : {5, 6, 3, 6, 9})
    txn->append(table::log, numbered(n), std::to_string(n));
  REQUIRE(txn->commit() == ec::none);
  auto read = env->begin_read();
  CHECK(keys(*read, table::log) == std::vector{numbered(3), numbered(5), numbered(6), numbered(9)});
  CHECK(read->get(table::log, numbered(3)) == "3");
  CHECK(read->status() == ec::none);
}

TEST_CASE("erase_range keeps its bounds: the first key goes, the end stays, no more than asked") {
  scratch_directory dir;
  auto env = open(dir);
  auto txn = env->begin_write();
  for (std::uint64_t n = 0; n < 100; ++n)
    txn->append(table::log, numbered(n), "x");
  CHECK(txn->erase_range(table::log, numbered(10), numbered(10), 5) == 0);
  CHECK(txn->erase_range(table::log, numbered(20), numbered(10), 5) == 0);
  CHECK(txn->erase_range(table::log, numbered(10), numbered(20), 0) == 0);
  CHECK(txn->erase_range(table::log, numbered(10), numbered(20), 4) == 4);
  CHECK(txn->get(table::log, numbered(9)));
  CHECK_FALSE(txn->get(table::log, numbered(13)));
  CHECK(txn->get(table::log, numbered(14)));
  CHECK(txn->erase_range(table::log, numbered(10), numbered(20), 100) == 6); // below the bound: none is left
  CHECK(txn->get(table::log, numbered(20)));
  CHECK(txn->erase_range(table::log, numbered(95), {}, 100) == 5); // no end: to the end
  CHECK(txn->erase_range(table::log, {}, numbered(2), 100) == 2);  // no beginning: from the first
  REQUIRE(txn->commit() == ec::none);
  CHECK(keys(*env->begin_read(), table::log).size() == 100 - 10 - 5 - 2);
}

TEST_CASE("values and keys that are views into the transaction can be put back into it") {
  scratch_directory dir;
  auto env = open(dir);
  auto txn = env->begin_write();
  for (int i = 0; i < 200; ++i)
    txn->put(table::state, "k" + std::to_string(i), std::string(static_cast<std::size_t>(i) * 11, 'a'));
  txn->ascend(table::state, "k", "l", [&](std::string_view k, std::string_view v) {
    txn->put(table::state, k, v.substr(v.size() / 2)); // rearranges the very page that k and v are in
    return scan::more;
  });
  REQUIRE(txn->status() == ec::none);
  REQUIRE(txn->commit() == ec::none);
  auto read = env->begin_read();
  for (int i = 0; i < 200; ++i) {
    const auto v = read->get(table::state, "k" + std::to_string(i));
    REQUIRE(v);
    CHECK(v->size() == (static_cast<std::size_t>(i) * 11 + 1) / 2);
  }
}

TEST_CASE("a scan goes on after the key it was called with, whatever its visitor wrote") {
  scratch_directory dir;
  auto env = open(dir);
  auto txn = env->begin_write();
  for (std::uint64_t n = 1; n <= 500; ++n)
    txn->append(table::log, numbered(n * 10), std::string(50, 'x'));
  std::vector<std::string> seen;
  txn->ascend(table::log, {}, {}, [&](std::string_view k, std::string_view) {
    seen.emplace_back(k);
    txn->erase(table::log, std::string{k});
    txn->put(table::log, std::string{seen.back()}.substr(0, 7) + '\0',
             std::string(50, 'y')); // at or before it
    return scan::more;
  });
  std::vector<std::string> wanted;
  for (std::uint64_t n = 1; n <= 500; ++n)
    wanted.push_back(numbered(n * 10));
  CHECK(seen == wanted);
  seen.clear();
  std::size_t left = keys(*txn, table::log).size();
  txn->descend(table::log, {}, {}, [&](std::string_view k, std::string_view) {
    seen.emplace_back(k);
    txn->erase(table::log, std::string{k});
    return scan::more;
  });
  CHECK(seen.size() == left);
  CHECK(std::is_sorted(seen.rbegin(), seen.rend()));
  CHECK(keys(*txn, table::log).empty());
}

TEST_CASE("what is read, up and down, is what an ordered map holds") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random{seed};
  const auto up_to = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>{0, n}(random); };
  const auto some_key = [&] {
    std::string key(1 + up_to(5), '\0');
    for (auto& c : key)
      c = "\x00\x01yz\x7f\xfe\xff"[up_to(6)];
    return key;
  };
  using rows = std::map<std::string, std::string>;
  std::array<rows, table_count> model;
  scratch_directory dir;
  auto env = open(dir);

  const auto compare = [&](read_txn& txn) {
    const auto t = static_cast<table>(up_to(2));
    const auto& m = model[static_cast<std::size_t>(t)];
    const auto from = up_to(3) == 0 ? std::string{} : some_key();
    const auto to = up_to(3) == 0 ? std::string{} : some_key();
    std::vector<std::pair<std::string, std::string>> wanted, up, down;
    for (auto i = m.lower_bound(from); i != m.end() && (to.empty() || i->first < to); ++i)
      wanted.emplace_back(*i);
    const auto limit = up_to(4) == 0 ? up_to(wanted.size()) + 1 : wanted.size() + 1;
    const auto into = [&](auto& found) {
      return [&](std::string_view k, std::string_view v) {
        found.emplace_back(k, v);
        return found.size() >= limit ? scan::stop : scan::more;
      };
    };
    txn.ascend(t, from, to, into(up));
    txn.descend(t, from, to, into(down));
    auto first = wanted, last = wanted;
    first.resize(std::min(limit, first.size()));
    std::reverse(last.begin(), last.end());
    last.resize(std::min(limit, last.size()));
    REQUIRE(up == first);
    REQUIRE(down == last);
    const auto key = some_key();
    const auto got = txn.get(t, key);
    REQUIRE(got.has_value() == m.contains(key));
    if (got)
      REQUIRE(*got == m.at(key));
  };

  for (int round = 0; round < 60; ++round) {
    const auto before = model;
    auto txn = env->begin_write();
    for (auto ops = up_to(60); ops > 0; --ops) {
      const auto t = static_cast<table>(up_to(2));
      auto& m = model[static_cast<std::size_t>(t)];
      const auto key = some_key();
      switch (up_to(8)) {
      case 0:
        txn->erase(t, key);
        m.erase(key);
        break;
      case 1: {
        const auto to = up_to(3) == 0 ? std::string{} : some_key();
        const auto most = up_to(30);
        std::size_t erased = 0;
        for (auto i = m.lower_bound(key); i != m.end() && (to.empty() || i->first < to) && erased < most;
             ++erased)
          i = m.erase(i);
        REQUIRE(txn->erase_range(t, key, to, most) == erased);
        break;
      }
      case 2:
        compare(*txn);
        break;
      default: {
        const std::string value(up_to(9) == 0 ? up_to(9000) : up_to(300), static_cast<char>(random()));
        if (up_to(1) == 0)
          txn->put(t, key, value);
        else
          txn->append(t, key, value);
        m[key] = value;
      }
      }
    }
    REQUIRE(txn->status() == ec::none);
    if (up_to(4) == 0) {
      txn.reset();
      model = before;
    } else {
      REQUIRE(txn->commit() == ec::none);
    }
    if (up_to(9) == 0) {
      env.reset();
      env = open(dir);
    }
    auto read = env->begin_read();
    for (int i = 0; i < 4; ++i)
      compare(*read);
    REQUIRE(read->status() == ec::none);
  }
}

TEST_CASE("the numbers for metrics count what was done") {
  scratch_directory dir;
  auto env = open(dir);
  const auto start = env->stats();
  for (int i = 0; i < 3; ++i) {
    auto txn = env->begin_write();
    for (std::uint64_t n = 0; n < 30; ++n)
      txn->put(table::log, numbered(n), "row");
    REQUIRE(txn->commit() == ec::none);
  }
  const auto s = env->stats();
  CHECK(s.commits == 3);
  CHECK(s.rows == 90);
  CHECK(s.batches[5] == 3); // 17 to 32 rows
  CHECK(s.commit_total >= s.commit_last);
  CHECK(s.commit_last.count() > 0);
  CHECK(s.entries[1] == 30);
  CHECK(s.map_bytes == small_config().map_bytes_max);
  CHECK(s.used_bytes > start.used_bytes);
  CHECK(s.free_bytes > 0); // what the second and third commit replaced
}
