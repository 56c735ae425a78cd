// What disks, kills and full file systems do to a store.
#include "storage/journal.hpp"
#include "storage/lmdb_environment.hpp"
#include "tests/storage/faults.hpp"
#include "tests/storage/scratch.hpp"

#include <doctest/doctest.h>

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

using namespace parley;
using namespace parley::storage;
using parley::test::faults;
using parley::test::get;
using parley::test::numbered;
using parley::test::open;
using parley::test::put;
using parley::test::scratch_directory;
using parley::test::small_config;

namespace {

/// Flips one bit of every place in the file that holds `pattern`: LMDB keeps old pages around.
int rot(const std::string& file, std::string_view pattern, std::size_t offset) {
  std::fstream f{file, std::ios::in | std::ios::out | std::ios::binary};
  std::string bytes{std::istreambuf_iterator<char>{f}, {}};
  f.clear();
  int places = 0;
  for (auto at = bytes.find(pattern); at != std::string::npos; at = bytes.find(pattern, at + 1)) {
    f.seekp(static_cast<std::streamoff>(at + offset));
    f.put(static_cast<char>(bytes[at + offset] ^ 0x04));
    ++places;
  }
  return places;
}

/// Runs `body` in a process of its own; gives its end as `waitpid` does, and what it wrote to stderr.
template <class Body>
std::pair<int, std::string> in_child(Body body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::signal(SIGABRT, SIG_DFL); // the test framework would report it as its own failure
    ::dup2(ends[1], STDERR_FILENO);
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char bytes[512];
  for (ssize_t n = 0; (n = ::read(ends[0], bytes, sizeof bytes)) > 0;)
    said.append(bytes, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return {status, said};
}

bool fill_until_refused(environment& env, std::uint64_t& next, std::size_t row_bytes, int batches_max) {
  for (int i = 0; i < batches_max; ++i) {
    if (!env.room().accepts_proposals)
      return true;
    auto txn = env.begin_write();
    txn->append(table::log, numbered(next++), std::string(row_bytes, 'f'));
    REQUIRE(txn->commit() == ec::none);
  }
  return false;
}

} // namespace

TEST_CASE("a flipped bit in a value is found: the record reads as absent, and the status stays") {
  scratch_directory dir;
  {
    auto env = open(dir);
    put(*env, table::state, "a", "a row before");
    put(*env, table::state, "b", "the-row-that-rots");
    put(*env, table::state, "c", "a row behind");
  }
  REQUIRE(rot(dir.file("store.mdb"), "the-row-that-rots", 4) >= 1);
  auto env = open(dir);
  auto read = env->begin_read();
  CHECK(read->get(table::state, "a") == "a row before");
  CHECK(read->status() == ec::none);
  CHECK_FALSE(read->get(table::state, "b"));
  CHECK(read->status() == ec::corrupt);
  CHECK(read->get(table::state, "c") == "a row behind");
  CHECK(read->status() == ec::corrupt);

  std::string seen;
  auto scanning = env->begin_read();
  scanning->ascend(table::state, {}, {}, [&](std::string_view k, std::string_view) {
    seen += k;
    return scan::more;
  });
  CHECK(seen == "ac");
  CHECK(scanning->status() == ec::corrupt);

  scanning.reset();
  CHECK(env->begin_read()->status() == ec::none); // of a transaction, not of the store
}

TEST_CASE("a flipped bit in a key, and one in the checksum itself, are found") {
  scratch_directory dir;
  {
    auto env = open(dir);
    put(*env, table::state, "a-long-key-to-rot", "v");
    put(*env, table::node, "k", "look-behind-me");
  }
  REQUIRE(rot(dir.file("store.mdb"), "a-long-key-to-rot", 2) >= 1);
  REQUIRE(rot(dir.file("store.mdb"), "look-behind-me", sizeof "look-behind-me" - 1) >= 1);
  auto env = open(dir);
  auto read = env->begin_read();
  int seen = 0;
  read->descend(table::state, {}, {}, [&](std::string_view, std::string_view) {
    ++seen;
    return scan::more;
  });
  CHECK(seen == 0);
  CHECK(read->status() == ec::corrupt);
  read = env->begin_read();
  CHECK_FALSE(read->get(table::node, "k"));
  CHECK(read->status() == ec::corrupt);
}

TEST_CASE("a page of garbage is told in a sentence, whatever it leads LMDB to") {
  scratch_directory dir;
  {
    const auto env = open(dir);
    const auto txn = env->begin_write();
    for (std::uint64_t n = 0; n < 3'000; ++n)
      txn->put(table::state, numbered(n), std::string(100, 'v'));
    REQUIRE(txn->commit() == ec::none);
  }
  const auto file = dir.file("store.mdb");
  std::ifstream in{file, std::ios::binary};
  const std::string whole{std::istreambuf_iterator<char>{in}, {}};
  constexpr std::size_t page = 4096;
  REQUIRE(whole.size() > 60 * page);
  std::mt19937_64 dice{7};
  int told = 0;
  for (int i = 0; i < 120; ++i) {
    auto bytes = whole;
    const auto at = (2 + dice() % (whole.size() / page - 2)) * page; // behind the two meta pages
    for (std::size_t n = 0; n < page; ++n)
      bytes[at + n] = static_cast<char>(dice());
    std::ofstream{file, std::ios::binary} << bytes;
    const auto [how, said] = in_child([&] {
      auto env = lmdb_environment::open(dir.path(), small_config());
      if (!env)
        ::_exit(2);
      (*env)->begin_read()->ascend(table::state, {}, {},
                                   [](std::string_view, std::string_view) { return scan::more; });
    });
    CAPTURE(i);
    CHECK(WIFEXITED(how));
    if (WIFEXITED(how) && WEXITSTATUS(how) == 1) {
      CHECK_MESSAGE(said.find("damaged") != std::string::npos, said);
      ++told;
    }
  }
  CHECK(told > 0);
}

TEST_CASE("nothing is committed that was decided while looking at a damaged record") {
  scratch_directory dir;
  {
    auto env = open(dir);
    put(*env, table::state, "b", "the-row-that-rots");
  }
  REQUIRE(rot(dir.file("store.mdb"), "the-row-that-rots", 0) >= 1);
  auto env = open(dir);
  auto txn = env->begin_write();
  if (!txn->get(table::state, "b"))
    txn->put(table::state, "derived", "b is absent");
  CHECK(txn->commit() == ec::corrupt);
  env.reset();
  env = open(dir);
  CHECK_FALSE(get(*env, table::state, "derived"));
}

namespace {

/// Where `text` is in the file, once.
std::size_t place_of(const std::string& file, std::string_view text) {
  std::ifstream in{file, std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{in}, {}};
  const auto at = bytes.find(text);
  REQUIRE(at != std::string::npos);
  return at;
}

void overwrite(const std::string& file, std::size_t at, const std::string& with) {
  std::fstream out{file, std::ios::binary | std::ios::in | std::ios::out};
  out.seekp(static_cast<std::streamoff>(at));
  out << with;
  REQUIRE(out.good());
}

/// Reads every row of a damaged file in a process of its own.
std::pair<int, std::string> read_all_of(const scratch_directory& dir) {
  return in_child([&] {
    const auto env = lmdb_environment::open(dir.path(), small_config());
    if (!env)
      ::_exit(2);
    std::size_t bytes = 0;
    (*env)->begin_read()->ascend(table::state, {}, {}, [&](std::string_view, std::string_view value) {
      for (const char c : value)
        bytes += static_cast<unsigned char>(c);
      return scan::more;
    });
    ::_exit(bytes == 0 ? 3 : 0);
  });
}

void check_said(const std::pair<int, std::string>& end) {
  const auto& [status, said] = end;
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
  CHECK_MESSAGE(said.find("store.mdb is damaged") != std::string::npos, said);
  CHECK_MESSAGE(said.find("If other nodes have replicas of its shards, set the data directory aside") !=
                    std::string::npos,
                said);
}

} // namespace

TEST_CASE(
    "a length that leads out of the file ends the process with advice, an absurd one is a damaged row") {
  scratch_directory dir;
  {
    auto env = open(dir);
    put(*env, table::state, "a-key-to-find", "a value");
  }
  // A node of LMDB: the value's length in two halves, flags, the key's length, the key.
  const auto file = dir.file("store.mdb");
  const auto high_half = place_of(file, "a-key-to-find") - 6;
  overwrite(file, high_half, std::string("\x00\x02", 2)); // 32 MiB: within the map, beyond the file
  check_said(read_all_of(dir));
  overwrite(file, high_half, std::string("\xff\x7f", 2));
  const auto env = open(dir);
  const auto read = env->begin_read();
  CHECK(!read->get(table::state, "a-key-to-find"));
  CHECK(read->status() == ec::corrupt);
}

TEST_CASE("a page that LMDB cannot believe ends the process with advice, not with an abort") {
  scratch_directory dir;
  {
    auto env = open(dir);
    auto txn = env->begin_write();
    for (std::uint64_t i = 0; i < 300; ++i)
      txn->put(table::state, numbered(i), i == 150 ? std::string{"in-the-middle"} : std::string(100, 'v'));
    REQUIRE(txn->commit() == ec::none);
  }
  const auto file = dir.file("store.mdb");
  overwrite(file, place_of(file, "in-the-middle") / 4096 * 4096, std::string(4096, '\0'));
  check_said(read_all_of(dir));
}

TEST_CASE("a failed sync ends the process before anybody is answered") {
  scratch_directory dir;
  { open(dir); }
  const auto [status, said] = in_child([&] {
    auto config = small_config();
    config.abort_on_failure = true;
    auto env = lmdb_environment::open(dir.path(), config);
    auto txn = (*env)->begin_write();
    txn->put(table::state, "k", "v");
    faults().fdatasync_errno = EIO;
    txn->commit();
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(said.find("storage failed") != std::string::npos);
  CHECK(said.find("Input/output error") != std::string::npos);
}

TEST_CASE("a failed write of the meta page ends the process too") {
  scratch_directory dir;
  { open(dir); }
  const auto [status, said] = in_child([&] {
    auto config = small_config();
    config.abort_on_failure = true;
    auto env = lmdb_environment::open(dir.path(), config);
    auto txn = (*env)->begin_write();
    txn->put(table::state, "k", "v");
    faults().pwrite_errno = EIO;
    txn->commit();
  });
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 1);
}

TEST_CASE("after a failed commit everything is refused, until the store is opened again") {
  scratch_directory dir;
  auto env = open(dir);
  put(*env, table::state, "k", "old");
  {
    auto txn = env->begin_write();
    txn->put(table::state, "k", "new");
    faults().fdatasync_errno = EIO;
    CHECK(txn->commit() == ec::storage_failed);
    faults().fdatasync_errno = 0;
  }
  {
    auto txn = env->begin_write();
    txn->put(table::state, "k", "newer");
    CHECK(txn->status() == ec::storage_failed);
    CHECK(txn->commit() == ec::storage_failed);
    CHECK(env->begin_read()->status() == ec::storage_failed);
    CHECK_FALSE(env->room().accepts_proposals);
  }
  env.reset();
  env = open(dir);
  CHECK(get(*env, table::state, "k") == "old"); // the sync failed before the meta page was written
}

TEST_CASE("every commit that changes something is synced") {
  scratch_directory dir;
  auto env = open(dir);
  for (int i = 0; i < 5; ++i) {
    const auto before = faults().fdatasyncs.load();
    put(*env, table::log, numbered(static_cast<std::uint64_t>(i)), "entry");
    CHECK(faults().fdatasyncs > before);
  }
}

TEST_CASE("killing the process in the midst of commits loses nothing that was answered") {
  scratch_directory dir;
  std::uint64_t answered = 0;
  for (int round = 0; round < 4; ++round) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const auto pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      auto env = lmdb_environment::open(dir.path(), small_config());
      for (auto n = answered + 1; env; ++n) {
        auto txn = (*env)->begin_write();
        for (std::uint64_t row = 0; row < 10; ++row)
          txn->append(table::log, numbered(n * 10 + row), "entry " + std::to_string(n));
        txn->put(table::node, "last", std::to_string(n));
        if (txn->commit() != ec::none || ::write(ends[1], &n, sizeof n) != sizeof n)
          ::_exit(1);
      }
      ::_exit(1);
    }
    ::close(ends[1]);
    const auto enough = answered + 20 + static_cast<std::uint64_t>(round) * 7;
    std::uint64_t n = 0;
    while (::read(ends[0], &n, sizeof n) == sizeof n) {
      answered = n;
      if (n == enough)
        ::kill(pid, SIGKILL); // and go on reading: what it had answered until then counts
    }
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(answered >= enough);

    auto env = open(dir);
    auto read = env->begin_read();
    const auto last = std::stoull(std::string{read->get(table::node, "last").value_or("0")});
    CHECK(last >= answered);
    std::uint64_t rows = 0;
    read->ascend(table::log, {}, {}, [&](std::string_view k, std::string_view v) {
      CHECK(k == numbered(rows + 10));
      CHECK(v == "entry " + std::to_string(1 + rows / 10));
      ++rows;
      return scan::more;
    });
    CHECK(rows == last * 10);
    CHECK(read->status() == ec::none);
    answered = last;
  }
}

TEST_CASE("the map grows under load while readers come and go") {
  scratch_directory dir;
  auto config = small_config();
  config.map_bytes_initial = config.map_bytes_step = 1 << 20;
  config.reserve_bytes = config.resume_bytes = 64 << 10;
  config.grow_wait =
      std::chrono::seconds{5}; // a reader may be off its processor for long, and the steps are small
  config.grow_retry_every = std::chrono::milliseconds{1};
  auto env = open(dir, config);
  put(*env, table::node, "count", "0");

  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::atomic<int> reads{0};
  std::vector<std::jthread> readers;
  struct stopper {
    std::atomic<bool>& flag;
    ~stopper() { flag = true; }
  } stops_them{stop}; // before they are joined, should a check leave this test
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      while (!stop) {
        auto txn = env->begin_read();
        const auto count = std::stoull(std::string{txn->get(table::node, "count").value_or("999999")});
        std::uint64_t rows = 0;
        txn->ascend(table::log, {}, {}, [&](std::string_view, std::string_view v) {
          rows += v.size() == 100'000 ? 1 : 1000;
          return scan::more;
        });
        if (rows != count || txn->status() != ec::none)
          ++wrong;
        ++reads;
      }
    });
  for (std::uint64_t n = 1; n <= 120; ++n) {
    auto txn = env->begin_write();
    txn->append(table::log, numbered(n), std::string(100'000, 'x'));
    txn->put(table::node, "count", std::to_string(n));
    REQUIRE(txn->commit() == ec::none);
    CHECK(env->room().accepts_proposals);
  }
  stop = true;
  readers.clear();
  CHECK(wrong == 0);
  CHECK(reads > 0);
  CHECK(env->stats().growths >= 5);
  CHECK(env->stats().map_bytes > 12'000'000);
}

TEST_CASE("a reader that stays puts growth off, proposals stop before the map is full, and all goes on when "
          "it leaves") {
  scratch_directory dir;
  auto config = small_config();
  config.map_bytes_initial = config.map_bytes_step = 2 << 20;
  config.reserve_bytes = config.resume_bytes = 256 << 10;
  config.grow_wait = std::chrono::milliseconds{1};
  config.grow_retry_every = std::chrono::milliseconds{1};
  auto env = open(dir, config);
  std::uint64_t next = 1;
  auto staying = env->begin_read(); // on the writer's own thread, as a snapshot's is
  REQUIRE(fill_until_refused(*env, next, 20'000, 200));
  CHECK(env->stats().growths == 0);
  CHECK(env->stats().growths_put_off > 0);
  CHECK(env->room().bytes_free > (32 << 20)); // there is room, but not yet

  staying.reset();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (env->stats().growths == 0 && std::chrono::steady_clock::now() < deadline)
    put(*env, table::node, "vote", "1"); // small ones are always taken
  CHECK(env->stats().growths == 1);
  CHECK(env->room().accepts_proposals);
}

TEST_CASE("below the reserve proposals are refused, reading and votes go on, and erasing brings them back") {
  scratch_directory dir;
  auto env = open(dir, small_config(4 << 20));
  std::uint64_t next = 1;
  REQUIRE(fill_until_refused(*env, next, 3'000, 5'000));
  CHECK(env->room().bytes_free < (2 << 20));
  CHECK(get(*env, table::log, numbered(1)) == std::string(3'000, 'f'));
  for (int i = 0; i < 50; ++i)
    put(*env, table::node, "vote", std::to_string(i));
  CHECK_FALSE(env->room().accepts_proposals);

  std::uint64_t resumed_after = 0;
  for (std::uint64_t upto = 20; upto < next && resumed_after == 0; upto += 20) {
    auto txn = env->begin_write();
    CHECK(txn->erase_range(table::log, {}, numbered(upto), 100) > 0);
    REQUIRE(txn->commit() == ec::none);
    if (env->room().accepts_proposals)
      resumed_after = upto;
  }
  CHECK(resumed_after >= 60); // hysteresis: a sixteenth of the map, not the first page
  CHECK(env->stats().free_bytes > 0);
  CHECK_FALSE(fill_until_refused(*env, next, 3'000, 20));
}

TEST_CASE("a full map is an answer, never a half-stored batch") {
  scratch_directory dir;
  auto env = open(dir, small_config(1 << 20));
  put(*env, table::state, "k", "v");
  auto txn = env->begin_write();
  for (std::uint64_t n = 0; n < 600; ++n)
    txn->append(table::log, numbered(n), std::string(3'000, 'f'));
  CHECK(txn->status() == ec::disk_full);
  CHECK(txn->commit() == ec::disk_full);
  env.reset();
  env = open(dir, small_config(1 << 20));
  CHECK(get(*env, table::state, "k") == "v");
  CHECK_FALSE(get(*env, table::log, numbered(0)));
}

TEST_CASE("a disk without room for the journal is named with what to do, and left as it was") {
  scratch_directory dir;
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=8m,mode=700") != 0) {
    MESSAGE("not permitted to mount: skipped");
    return;
  }
  {
    const auto refused = journal::open(dir.path(), 32 << 20);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ec::disk_full);
    CHECK_MESSAGE(refused.error().what.find("which takes 32 MiB: free space there") != std::string::npos,
                  refused.error().what);
  }
  CHECK(std::filesystem::file_size(journal::path_in(dir.path())) == 0);
  ::umount2(dir.path().c_str(), MNT_DETACH);
}

TEST_CASE("on a full file system proposals are refused in time, and accepted again when there is space") {
  scratch_directory dir;
  // A mount name space of its own: the file system goes with this process, however it ends.
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", dir.path().c_str(), "tmpfs", 0, "size=8m,mode=700") != 0) {
    MESSAGE("not permitted to mount: skipped");
    return;
  }
  auto config = small_config();
  config.reserve_bytes = 2 << 20;
  config.resume_bytes = 1 << 20;
  config.prepare_bytes = 1 << 20; // what the file has already is nobody else's to fill
  auto env = open(dir, config);
  std::uint64_t next = 1;
  CHECK_FALSE(fill_until_refused(*env, next, 10'000, 20));
  std::ofstream{dir.file("filler")} << std::string(8 << 20, 'x'); // somebody else's
  REQUIRE_FALSE(env->room().accepts_proposals);
  for (int i = 0; i < 20; ++i)
    put(*env, table::node, "vote", std::to_string(i));
  CHECK(get(*env, table::log, numbered(1)) == std::string(10'000, 'f'));
  std::filesystem::remove(dir.file("filler"));
  CHECK(env->room().accepts_proposals);
  CHECK_FALSE(fill_until_refused(*env, next, 10'000, 20));

  // And if somebody fills it to the last byte: no acknowledgement, and the last commit is whole.
  std::ofstream{dir.file("filler")} << std::string(8 << 20, 'x');
  auto txn = env->begin_write();
  txn->append(table::log, numbered(next), std::string(4 << 20, 'f'));
  const auto outcome = txn->commit(); // LMDB calls a write that stopped half-way an input/output error
  CHECK(outcome == ec::disk_full);
  txn.reset();
  env.reset();
  const auto [status, said] = in_child([&] {
    config.abort_on_failure = true;
    auto full = lmdb_environment::open(dir.path(), config);
    auto more = (*full)->begin_write();
    more->append(table::log, numbered(next), std::string(4 << 20, 'f'));
    more->commit();
  });
  CHECK(WEXITSTATUS(status) == 1);
  CHECK_MESSAGE(said.find("The disk is full: free space") != std::string::npos, said);
  CHECK_MESSAGE(said.find("aside") == std::string::npos, said); // it may be the only copy
  std::filesystem::remove(dir.file("filler"));
  env = open(dir, config);
  CHECK(get(*env, table::log, numbered(next - 1)) == std::string(10'000, 'f'));
  CHECK_FALSE(get(*env, table::log, numbered(next)));
  put(*env, table::node, "vote", "after");
  env.reset();
  ::umount2(dir.path().c_str(), MNT_DETACH);
}
