// The journal in front of LMDB: what a crash at any moment leaves, and what readers see meanwhile.
#include "storage/journaled_environment.hpp"

#include "storage/journal.hpp"
#include "storage/journal_rows.hpp"
#include "storage/spare_pages.hpp"
#include "tests/storage/faults.hpp"
#include "tests/storage/journal_fixture.hpp"
#include "tests/storage/scratch.hpp"

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <future>
#include <map>
#include <random>
#include <thread>

using namespace parley;
using namespace parley::storage;
using namespace parley::test;

TEST_CASE("a commit that a killed process had answered is there when the directory is opened again") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  put_row(*env, "b", "2");
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path())) == std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}});
}

TEST_CASE("a record of several MiB is written in pieces and read back whole, and its memory is given back") {
  scratch_directory dir, image;
  auto config = small_journal();
  config.bytes = 8 << 20;
  auto env = open_journaled(dir.path(), config);
  std::map<std::string, std::string> all;
  auto txn = env->begin_write();
  for (char key = 'a'; key < 'n'; ++key) { // 13 rows of 300 KB
    all[std::string(1, key)] = std::string(300'000, key);
    txn->put(table::state, std::string(1, key), all[std::string(1, key)]);
  }
  REQUIRE(txn->commit(durable::now) == ec::none);
  put_row(*env, "z", all["z"] = "follows");
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path(), config)) == all);

  journal_record large;
  large.bytes().append(std::string(5 << 20, 'x'));
  large.clear();
  CHECK(large.empty());
  CHECK(large.bytes().capacity() < 1 << 20);
}

TEST_CASE("a commit that may wait is lost with the process, or kept by the next that may not") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  put_row(*env, "b", "2", durable::with_next);
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path())) == std::map<std::string, std::string>{{"a", "1"}});
  put_row(*env, "c", "3");
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path())).size() == 3);
}

TEST_CASE("a commit that may wait costs no sync, one that may not costs one") {
  scratch_directory dir;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  const auto before = faults().fdatasyncs.load();
  put_row(*env, "b", "2", durable::with_next);
  CHECK(faults().fdatasyncs == before);
  put_row(*env, "c", "3");
  CHECK(faults().fdatasyncs == before + 1);
}

TEST_CASE("a record that a power failure tore ends the journal: what came before it is there") {
  for (const std::uint64_t torn_at : {0ULL, 5ULL, 40ULL, 4000ULL, 4096ULL, 8000ULL}) {
    scratch_directory dir, image;
    auto env = open_journaled(dir.path());
    put_row(*env, "a", "1");
    put_row(*env, "b", std::string(9000, 'b')); // three blocks, from the second on
    copy_disk(dir, image);
    scribble(image.file("store.journal"), first_record + 4096 + torn_at, std::string(16, '\0'));
    CHECK(rows(*open_journaled(image.path())) == std::map<std::string, std::string>{{"a", "1"}});
  }
}

TEST_CASE("a damaged record with whole ones behind it is no torn one: the directory is refused") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  put_row(*env, "b", "2");
  put_row(*env, "c", "3");
  copy_disk(dir, image);
  scribble(image.file("store.journal"), first_record + 4096 + 40, "?");
  const auto opened = journaled_environment::open(image.path(), small_config(), small_journal());
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == ec::corrupt);
}

TEST_CASE("records that another version of the program wrote are not passed over: the node does not start") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  put_row(*env, "b", "2");
  copy_disk(dir, image);
  for (const std::uint64_t record : {0ULL, 4096ULL}) {
    CAPTURE(record);
    const auto digit = first_record + record + 3;
    scribble(image.file("store.journal"), digit, "3");
    const auto opened = journaled_environment::open(image.path(), small_config(), small_journal());
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == ec::unsupported_version);
    CHECK(opened.error().what.find("let it stop cleanly, then upgrade") != std::string::npos);
    CHECK(opened.error().what.find("data directory away") == std::string::npos);
    scribble(image.file("store.journal"), digit, "2");
  }
  CHECK(rows(*open_journaled(image.path())).size() == 2); // nothing of them was overwritten
}

TEST_CASE("what only looks like a record of another version, without this journal's salt, is a torn one") {
  for (const auto* bytes : {"PLJ3", "QLJ2", "PLJ2", "PLJ1"}) {
    CAPTURE(bytes);
    scratch_directory dir, image;
    auto env = open_journaled(dir.path());
    put_row(*env, "a", "1");
    copy_disk(dir, image);
    auto header = std::string(32, '\x7f');
    header.replace(0, 4, bytes);
    scribble(image.file("store.journal"), first_record + 4096, header);
    CHECK(rows(*open_journaled(image.path())).size() == 1);
  }
}

TEST_CASE("after a clean stop nothing of the journal keeps a program of another version from starting") {
  scratch_directory dir;
  {
    auto env = open_journaled(dir.path());
    put_row(*env, "a", "1");
    put_row(*env, "b", "2");
    REQUIRE(env->publish(environment::publishing::now) == ec::none);
  }
  scribble(dir.file("store.journal"), first_record + 3,
           "3"); // this program is the other one, as seen from these records
  scribble(dir.file("store.journal"), first_record + 4096 + 3, "3");
  const auto all = contents(dir.file("store.journal"));
  for (const std::size_t block : {0, 1})
    CHECK(all.substr(block * journal::block_bytes, 4) == "PLW1"); // and the first version knows its words
  CHECK(rows(*open_journaled(dir.path())).size() == 2);
}

TEST_CASE("what is closed takes nothing more, and is closed once") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  CHECK(env->close());
  CHECK_FALSE(env->close());
  {
    auto txn = env->begin_write();
    txn->put(table::state, "b", "1");
    CHECK(txn->commit() == ec::storage_failed);
  }
  copy_disk(dir, image); // the process ends here, and destroys nothing
  CHECK_FALSE(journal::checkpoint_in(image.path())->has_value());
  CHECK(rows(*open(image)).size() == 1);
}

TEST_CASE("what is not published keeps a close from being a clean stop, and is there at the next start") {
  scratch_directory dir;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  CHECK_FALSE(env->close());
  env.reset();
  CHECK(rows(*open_journaled(dir.path())).size() == 1);
}

TEST_CASE("words of another version are not passed over: only it knows which commit of the tables is whole") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  copy_disk(dir, image);
  scribble(image.file("store.journal"), 3, "3");
  const auto opened = journaled_environment::open(image.path(), small_config(), small_journal());
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == ec::unsupported_version);
  scribble(image.file("store.journal"), 3, "2");
  CHECK(rows(*open_journaled(image.path())).size() == 1);
}

TEST_CASE(
    "a whole record with an operation or a table that is not known asks for the version that wrote it") {
  scratch_directory dir;
  put_and_stop(dir.path(), "a", "1");
  std::string payload;
  ec expected = ec::unsupported_version;
  SUBCASE("a later operation") {
    payload = std::string("\x05\x02", 2);
  }
  SUBCASE("a later table") {
    note_put(payload, table{table_count}, "k", "v");
  }
  SUBCASE("no operation at all") {
    payload = std::string("\x00\x02", 2);
    expected = ec::corrupt;
  }
  SUBCASE("an operation that ends early") {
    note_put(payload, table::state, "k", "v");
    payload.pop_back();
    expected = ec::corrupt;
  }
  const auto mark = decode_mark(*get(*open(dir), table::node, mark_key));
  REQUIRE(mark);
  {
    auto file = journal::open(dir.path(), small_journal().bytes);
    REQUIRE(file.has_value());
    REQUIRE(file->restart(*mark, name_of(dir)) == 0);
    journal_record record;
    record.bytes().append(payload);
    REQUIRE(file->append(record) == 0);
  }
  const auto opened = journaled_environment::open(dir.path(), small_config(), small_journal());
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == expected);
  const bool keeps_the_directory = opened.error().what.find("data directory away") == std::string::npos;
  CHECK(keeps_the_directory == (expected == ec::unsupported_version));
}

TEST_CASE("a journal mark of another version asks for the version that wrote it") {
  scratch_directory dir;
  put_and_stop(dir.path(), "a", "1");
  auto mark = *get(*open(dir), table::node, mark_key);
  SUBCASE("a higher version") {
    mark[0] = 2;
  }
  SUBCASE("a field more") {
    ++mark[1];
    mark.push_back('n');
  }
  SUBCASE("no salt, as if there were no journal") {
    mark = encode(journal_mark{0, 5});
  }
  put(*open(dir), table::node, mark_key, mark);
  const auto opened = journaled_environment::open(dir.path(), small_config(), small_journal());
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == ec::unsupported_version);
}

TEST_CASE("without the journal that its tables name, a directory is refused") {
  scratch_directory dir;
  { put_row(*open_journaled(dir.path()), "a", "1"); }
  SUBCASE("it is missing") {
    std::filesystem::remove(dir.file("store.journal"));
  }
  SUBCASE("it is empty") {
    std::filesystem::resize_file(dir.file("store.journal"), 0);
  }
  const auto opened = journaled_environment::open(dir.path(), small_config(), small_journal());
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == ec::corrupt);
}

TEST_CASE("a journal whose tables are lost is refused, and not taken for a new one's") {
  test::scratch_directory dir;
  for (const bool stopped : {true, false}) {
    {
      const auto env = open_journaled(dir.path());
      put_row(*env, "a", "1");
      if (stopped)
        REQUIRE(env->publish(environment::publishing::now) == ec::none);
    }
    std::filesystem::remove(dir.file("store.mdb"));
    for (int attempt = 0; attempt < 2; ++attempt) { // the first one has made an empty file
      const auto again = journaled_environment::open(dir.path(), small_config(), small_journal());
      REQUIRE_FALSE(again.has_value());
      CHECK(again.error().code == ec::corrupt);
      CHECK(again.error().what.find("store.mdb is missing or empty") != std::string::npos);
    }
    std::filesystem::remove(dir.file("store.mdb"));
    std::filesystem::remove(dir.file("store.journal"));
    CHECK(rows(*open_journaled(dir.path())).empty()); // an empty directory is a new one
  }
}

TEST_CASE("records that the tables contain already are not applied again") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  put_row(*env, "b", "2");
  put_row(*env, "c", "3");
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path())).size() == 3);
  { // over the first record; the older second and third stand behind it
    auto txn = env->begin_write();
    txn->erase(table::state, "b");
    txn->erase(table::state, "c");
    REQUIRE(txn->commit() == ec::none);
  }
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path())) == std::map<std::string, std::string>{{"a", "1"}});
}

TEST_CASE(
    "a commit that erased nothing has its place in the journal, and the next ones are found behind it") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  {
    auto txn = env->begin_write();
    CHECK(txn->erase_range(table::state, "a", "b", 10) == 0);
    REQUIRE(txn->commit() == ec::none);
  }
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  put_row(*env, "a", "1");
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path())).size() == 1);
}

TEST_CASE("bytes of an earlier life of the journal are no records of this one") {
  scratch_directory dir, image;
  for (int life = 0; life < 3; ++life) {
    auto env = open_journaled(dir.path());
    put_row(*env, "life " + std::to_string(life), "x");
    put_row(*env, "again", std::to_string(life));
  }
  auto env = open_journaled(dir.path()); // takes the last life's into the tables
  copy_disk(dir, image);
  const auto all = rows(*open_journaled(image.path()));
  CHECK(all.size() == 4);
  CHECK(all.at("again") == "2");
}

TEST_CASE("a transaction that is given up leaves the commits before it as they were") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "published", "0");
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  put_row(*env, "a", "1");
  put_row(*env, "b", "2", durable::with_next);
  {
    auto txn = env->begin_write();
    txn->put(table::state, "a", "wrong");
    txn->erase(table::state, "published");
  }
  put_row(*env, "c", "3");
  const std::map<std::string, std::string> expected{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"published", "0"}};
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path())) == expected);
  CHECK(rows(*env) == expected);
}

TEST_CASE("a commit of one short row outlives a transaction that is given up, and the publish after it") {
  scratch_directory dir, image;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  put_row(*env, "b", "2");
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  {
    auto txn = env->begin_write();
    txn->erase(table::state, "a"); // the shortest operation there is
    REQUIRE(txn->commit() == ec::none);
  }
  {
    auto txn = env->begin_write();
    txn->put(table::state, "b", "wrong");
  }
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  put_row(*env, "c", "3");
  const std::map<std::string, std::string> expected{{"b", "2"}, {"c", "3"}};
  copy_disk(dir, image);
  CHECK(rows(*env) == expected);
  CHECK(rows(*open_journaled(image.path())) == expected);
}

TEST_CASE("the writer's own reader sees what it committed") {
  scratch_directory dir;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  CHECK(rows(*env).size() == 1);
}

TEST_CASE("a reader on another thread never waits, and sees what the last publish showed") {
  scratch_directory dir;
  const auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  CHECK(env->all_visible());
  put_row(*env, "b", "2");
  CHECK_FALSE(env->all_visible());
  std::async(std::launch::async, [&] {
    const auto txn = env->begin_read();
    CHECK(txn->get(table::state, "a") == "1");
    CHECK_FALSE(txn->get(table::state, "b"));
    CHECK(txn->status() == ec::none);
  }).get();
}

TEST_CASE("a reader that nothing newer concerns does not wait, not even while a transaction is open") {
  scratch_directory dir;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  auto txn = env->begin_write();
  txn->put(table::state, "b", "2");
  const auto seen = std::async(std::launch::async, [&] { return rows(*env).size(); }).get();
  CHECK(seen == 1);
  REQUIRE(txn->commit() == ec::none);
}

TEST_CASE("a full journal, too many rows and a batch larger than the journal end in a publish") {
  scratch_directory dir, image;
  auto config = small_journal();
  config.bytes = 64 << 10;
  config.rows_max = 50;
  auto env = open_journaled(dir.path(), config);
  const auto publishes = [&] { return env->stats().commits; };
  auto before = publishes();
  for (int i = 0; i < 40; ++i) // 4 KiB each
    put_row(*env, "row " + std::to_string(i), std::string(100, 'x'));
  CHECK(publishes() > before);
  before = publishes();
  put_row(*env, "large", std::string(200'000, 'y'));
  CHECK(publishes() == before + 1);
  {
    auto txn = env->begin_write();
    for (int i = 0; i < 60; ++i)
      txn->put(table::state, "many " + std::to_string(i), "z");
    REQUIRE(txn->commit(durable::with_next) == ec::none);
  }
  CHECK(publishes() == before + 2);
  copy_disk(dir, image);
  CHECK(rows(*open_journaled(image.path(), config)).size() == 101);
}

TEST_CASE("the memory of a large transaction is given back, and nothing of how that is done reaches a reader "
          "or the disk") {
  scratch_directory dir;
  auto config = small_journal();
  config.bytes = 16 << 20;
  auto tables = small_config();
  tables.pages_kept_for = std::chrono::milliseconds{50};
  auto env = std::move(*journaled_environment::open(dir.path(), tables, config));
  std::map<std::string, std::string> all;
  auto txn = env->begin_write();
  for (std::uint64_t i = 0; i < 4'000; ++i) // two rows to a page
    txn->put(table::state, numbered(i), all[numbered(i)] = std::string(1'500, 'x'));
  REQUIRE(txn->commit() == ec::none);
  txn.reset();
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  const auto node_rows = env->stats().entries[static_cast<std::size_t>(table::node)];
  const auto kept = mallinfo2().uordblks; // 0 under a sanitizer, which counts by itself
  const auto enough = kept - std::min(kept, std::size_t{6 << 20}); // of 8 MiB
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  for (int i = 0; i < 3 || (mallinfo2().uordblks > enough && std::chrono::steady_clock::now() < end); ++i) {
    put_row(*env, "small", all["small"] = std::to_string(i));
    REQUIRE(env->publish(environment::publishing::now) == ec::none);
  }
  CHECK(mallinfo2().uordblks <= enough);
  CHECK(rows(*env) == all);
  CHECK(env->stats().entries[static_cast<std::size_t>(table::node)] == node_rows);
  env.reset();
  CHECK(rows(*open_journaled(dir.path(), config)) == all);
}

TEST_CASE("pages that transactions need again and again are not given back") {
  const spare_pages::time_point start{};
  const auto at = [&](int seconds) { return start + std::chrono::seconds{seconds}; };
  spare_pages pages{std::chrono::seconds{5}};
  CHECK(pages.due(at(0)) == 0);
  for (int second = 0; second < 20; ++second) {
    pages.committed(second % 4 == 0 ? 5'000 : 10, at(second));
    CHECK(pages.due(at(second)) == 0);
  }
  pages.committed(10, at(20));
  CHECK(pages.due(at(20)) == 0); // the last large one was at 16
  CHECK(pages.due(at(21)) == spare_pages::at_once);
  CHECK(pages.due(at(21)) == 0); // the next part a second later
  CHECK(pages.due(at(22)) == spare_pages::at_once);
  CHECK(pages.due(at(23)) == 5'000 - 2 * spare_pages::at_once);
  CHECK(pages.due(at(24)) == 0);
}

TEST_CASE("a journal that cannot be synced ends the process before anybody is answered") {
  scratch_directory dir;
  { open_journaled(dir.path()); }
  const auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    auto tables = small_config();
    tables.abort_on_failure = true;
    auto env = journaled_environment::open(dir.path(), tables, small_journal());
    auto txn = (*env)->begin_write();
    txn->put(table::state, "k", "v");
    faults().fdatasync_errno = EIO;
    ::close(2);
    txn->commit();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
}

TEST_CASE("after a failed sync everything is refused, until the store is opened again") {
  scratch_directory dir;
  auto env = open_journaled(dir.path());
  put_row(*env, "k", "old");
  {
    auto txn = env->begin_write();
    txn->put(table::state, "k", "new");
    faults().fdatasync_errno = EIO;
    CHECK(txn->commit() == ec::storage_failed);
    faults().fdatasync_errno = 0;
  }
  auto txn = env->begin_write();
  txn->put(table::state, "k", "newer");
  CHECK(txn->commit() == ec::storage_failed);
}

TEST_CASE("whatever is done and whenever it crashes, what is found is a prefix of the commits with all that "
          "was promised") {
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::mt19937 luck{seed};
    const auto below = [&](std::uint32_t n) { return luck() % n; };
    scratch_directory dir;
    using model = std::map<std::string, std::string>;
    std::vector<model> history{{}};
    std::size_t promised = 0;
    auto config = small_journal();
    config.bytes = 32 << 10;
    auto env = open_journaled(dir.path(), config);
    for (int step = 0; step < 150; ++step) {
      auto now = history.back();
      auto txn = env->begin_write();
      for (auto n = below(6); n > 0; --n) {
        const auto key = "key " + std::to_string(below(40));
        switch (below(4)) {
        case 0:
          txn->erase(table::state, key);
          now.erase(key);
          break;
        case 1: {
          const auto most = below(5);
          std::size_t erased = 0;
          for (auto i = now.lower_bound(key); i != now.end() && erased < most; ++erased)
            i = now.erase(i);
          CHECK(txn->erase_range(table::state, key, {}, most) == erased);
          break;
        }
        default: {
          const auto value = std::to_string(luck()) + std::string(below(300), '.');
          txn->put(table::state, key, value);
          now.insert_or_assign(key, value);
        }
        }
      }
      if (below(10) == 0) {
        txn.reset(); // given up
        continue;
      }
      const auto when = below(3) == 0 ? durable::with_next : durable::now;
      REQUIRE(txn->commit(when) == ec::none);
      history.push_back(std::move(now));
      if (when == durable::now)
        promised = history.size() - 1;
      if (below(15) == 0) {
        REQUIRE(env->publish(environment::publishing::now) == ec::none); // and LMDB's pages are given back
        promised = history.size() - 1;
      }
      if (below(8) != 0)
        continue;
      scratch_directory image;
      copy_disk(dir, image);
      const auto found = rows(*open_journaled(image.path(), config));
      bool is_prefix = false;
      for (auto i = promised; i < history.size(); ++i)
        is_prefix = is_prefix || history[i] == found;
      CHECK(is_prefix);
      if (below(2) == 0) { // the life goes on from there
        env.reset();
        std::filesystem::copy(image.path(), dir.path(), std::filesystem::copy_options::overwrite_existing);
        env = open_journaled(dir.path(), config);
        history = {found};
        promised = 0;
      }
    }
  }
}
