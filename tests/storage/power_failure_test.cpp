// Power failures: of what was written and not synced, any part may be on the disk and any may not.
#include "tests/storage/faults.hpp"
#include "tests/storage/journal_fixture.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

using namespace parley;
using namespace parley::storage;
using namespace parley::test;

namespace {

/// The disk under a directory: what each of its files held when its last sync began, and what it holds now.
class disk {
public:
  explicit disk(const scratch_directory& dir) : dir_{dir} {
    faults().on_fdatasync = [this](int fd) { begins(fd); };
  }
  ~disk() { faults().on_fdatasync = nullptr; }
  disk(const disk&) = delete;
  disk& operator=(const disk&) = delete;

  /// What is found in `to` after a power failure now. Each sector that was not synced is there or not, or all of them are, or
  /// none.
  void fail(std::mt19937& luck, const scratch_directory& to) {
    std::lock_guard guard{mutex_};
    tear(luck, to);
  }
  /// Calls `at` when this thread begins its `n`-th sync from now on; for `at`, none of what that sync is for is on the disk for
  /// certain.
  void in_sync(unsigned n, std::function<void()> at) {
    left_ = n;
    at_ = std::move(at);
  }
  /// A sync that the writer does not wait for takes so long: the disk's part, which nothing can be polled for.
  void be_slow(std::chrono::microseconds time) { slow_ = time; }

private:
  static constexpr std::array names{"store.mdb", "store.journal"};

  void tear(std::mt19937& luck, const scratch_directory& to) {
    constexpr std::size_t sector = 512;
    const auto kind = luck() % 4;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto now = contents(dir_.file(names[i]));
      auto found = now.size() >= synced_[i].size() ? synced_[i] : synced_[i].substr(0, now.size());
      found.resize(now.size(), '\0');
      for (std::size_t at = 0; at < now.size(); at += sector)
        if (kind == 0 || (kind > 1 && luck() % (2 * kind) == 0))
          found.replace(at, sector, now, at, sector);
      std::ofstream{to.file(names[i]), std::ios::binary | std::ios::trunc} << found;
    }
  }
  void begins(int fd) {
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
    if (std::this_thread::get_id() == writer_ && at_ && left_-- == 0)
      std::exchange(at_, nullptr)();
    else if (std::this_thread::get_id() != writer_ && slow_.count() != 0)
      std::this_thread::sleep_for(slow_);
    std::lock_guard guard{mutex_};
    for (std::size_t i = 0; i < names.size(); ++i)
      if (path == dir_.file(names[i]))
        synced_[i] = contents(path);
  }

  const scratch_directory& dir_;
  const std::thread::id writer_ = std::this_thread::get_id();
  unsigned left_ = 0;
  std::function<void()> at_;
  std::chrono::microseconds slow_{};
  std::mutex mutex_;
  std::array<std::string, names.size()> synced_;
};

using model = std::map<std::string, std::string>;

journal_config config_of(std::mt19937& luck) {
  auto c = small_journal();
  c.bytes = (8U + luck() % 24U) << (luck() % 3 == 0 ? 14 : 12);
  c.rows_max = 10 + luck() % 300;
  constexpr std::array every{0, 3, 20, 3'600'000};
  c.checkpoint_every = std::chrono::milliseconds{every[luck() % every.size()]};
  return c;
}

/// Some steps of a life, into `env` and the model.
void live(environment& env, std::mt19937& luck, std::vector<model>& history, std::size_t& promised) {
  auto now = history.back();
  auto txn = env.begin_write();
  for (auto n = luck() % 8; n > 0; --n) {
    const auto key = "key " + std::to_string(luck() % 200);
    if (luck() % 4 == 0) {
      txn->erase(table::state, key);
      now.erase(key);
    } else {
      const auto value = std::to_string(luck()) + std::string(luck() % 900, '.');
      txn->put(table::state, key, value);
      now.insert_or_assign(key, value);
    }
  }
  if (luck() % 12 == 0)
    return; // given up
  const auto when = luck() % 3 == 0 ? durable::with_next : durable::now;
  history.push_back(std::move(now)); // it may be there as soon as it is being written
  REQUIRE(txn->commit(when) == ec::none);
  if (when == durable::now)
    promised = history.size() - 1;
}

bool is_one_of(const model& found, const std::vector<model>& history, std::size_t from) {
  return std::find(history.begin() + static_cast<std::ptrdiff_t>(from), history.end(), found) !=
         history.end();
}

} // namespace

TEST_CASE(
    "after a power failure, whatever part of the unsynced writes it left, all that was promised is there") {
  std::uint64_t failures = 0, checkpoints = 0, in_syncs = 0;
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    std::mt19937 luck{seed};
    scratch_directory first;
    std::vector<std::unique_ptr<scratch_directory>> lives;
    const scratch_directory* dir = &first;
    std::vector<model> history{{}};
    std::size_t promised = 0;
    for (int life = 0; life < 6; ++life) {
      CAPTURE(life);
      const auto config = config_of(luck);
      auto image = std::make_unique<scratch_directory>();
      {
        disk under{*dir};
        auto env = open_journaled(dir->path(), config);
        REQUIRE(is_one_of(rows(*env), history, promised));
        history = {rows(*env)};
        promised = 0;
        scratch_directory in_sync;
        std::size_t there_from = 0, there_to = 0;
        under.be_slow(std::chrono::microseconds{luck() % 3 == 0 ? luck() % 3'000 : 0});
        under.in_sync(luck() % 40, [&] {
          under.fail(luck, in_sync);
          there_from = promised;
          there_to = history.size();
        });
        for (auto steps = 1 + luck() % 80; steps > 0; --steps) {
          live(*env, luck, history, promised);
          if (luck() % 4 == 0) {
            REQUIRE(env->publish(luck() % 2 == 0 ? environment::publishing::now
                                                 : environment::publishing::if_due) == ec::none);
            if (env->all_visible())
              promised = history.size() - 1; // it can be read, so it is durable
          }
        }
        if (config.checkpoint_every.count() == 0 && luck() % 5 == 0)
          checkpoint(*env);
        if (env->all_visible())
          promised = history.size() - 1;
        checkpoints += env->journal().checkpoints;
        under.in_sync(0, nullptr);
        if (there_to != 0) {
          const std::vector then(history.begin(), history.begin() + static_cast<std::ptrdiff_t>(there_to));
          CHECK(is_one_of(rows(*open_journaled(in_sync.path(), config)), then, there_from));
          ++in_syncs;
        }
        under.fail(luck, *image);
        ++failures;
        for (int again = 0; again < 2; ++again) { // the same moment, another part
          scratch_directory other;
          under.fail(luck, other);
          CHECK(is_one_of(rows(*open_journaled(other.path(), config)), history, promised));
        }
        if (luck() % 4 == 0) { // no power failure, but a stop
          REQUIRE(env->publish(environment::publishing::now) == ec::none);
          promised = history.size() - 1;
          env.reset();
          under.fail(luck, *image);
        }
      }
      lives.push_back(std::move(image));
      dir = lives.back().get();
    }
  }
  CHECK(failures == 240);
  CHECK(in_syncs > 60);
  CHECK(checkpoints > failures);
}

TEST_CASE("a journal that is always full loses nothing, whichever sync a power failure comes into") {
  auto config = small_journal();
  config.bytes = journal::bytes_min; // of four short records
  config.checkpoint_every = std::chrono::milliseconds{0};
  for (unsigned sync = 0; sync < 60; ++sync) {
    CAPTURE(sync);
    std::mt19937 luck{sync};
    scratch_directory dir;
    std::array<scratch_directory, 3> found;
    std::vector<model> history{{}}, then;
    std::size_t promised = 0, promised_then = 0;
    disk under{dir};
    auto env = open_journaled(dir.path(), config);
    under.be_slow(std::chrono::microseconds{luck() % 400});
    under.in_sync(sync, [&] {
      for (const auto& image : found)
        under.fail(luck, image);
      then = history;
      promised_then = promised;
    });
    for (unsigned step = 0; then.empty() && step < 300; ++step) {
      const auto key = std::to_string(luck() % 10);
      const std::string value(luck() % 9 == 0 ? 20'000 : luck() % 3'000, static_cast<char>('a' + step % 26));
      history.push_back(history.back());
      history.back().insert_or_assign(key, value);
      put_row(*env, key, value);
      promised = history.size() - 1;
    }
    REQUIRE_FALSE(then.empty());
    for (const auto& image : found)
      CHECK(is_one_of(rows(*open_journaled(image.path(), config)), then, promised_then));
    if (const auto word = luck() % 2;
        sync % 4 == 0) { // and with a word that is damaged, the other one is enough
      copy_disk(dir, found[0]);
      scribble(found[0].file("store.journal"), word * journal::block_bytes + 4 + luck() % 300, "?");
      CHECK(rows(*open_journaled(found[0].path(), config)) == history.back());
    }
  }
}

TEST_CASE("a power failure in the midst of a start loses nothing: the next start finds what this one found") {
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::mt19937 luck{seed};
    scratch_directory dir;
    std::vector<model> history{{}};
    std::size_t promised = 0;
    const auto config = config_of(luck);
    {
      auto env = open_journaled(dir.path(), config);
      for (int step = 0; step < 40; ++step) {
        live(*env, luck, history, promised);
        if (luck() % 6 == 0)
          REQUIRE(env->publish(environment::publishing::now) == ec::none);
      }
      if (seed % 3 == 0)
        REQUIRE(env->publish(environment::publishing::now) == ec::none); // a clean stop
    }
    const auto expected = [&] {
      scratch_directory copy;
      copy_disk(dir, copy);
      return rows(*open_journaled(copy.path(), config));
    }();
    for (unsigned sync = 0;; ++sync) { // the one that does not return
      CAPTURE(sync);
      scratch_directory started, found;
      copy_disk(dir, started);
      disk under{started};
      const auto synced = [&] { // what it has so far is on the disk
        for (const char* name : {"store.mdb", "store.journal"}) {
          const int fd = ::open(started.file(name).c_str(), O_RDONLY);
          REQUIRE(::fdatasync(fd) == 0);
          ::close(fd);
        }
      };
      synced();
      faults().fdatasyncs_until_failure = static_cast<int>(sync);
      auto env = journaled_environment::open(started.path(), small_config(), config);
      faults().fdatasyncs_until_failure = -1;
      under.fail(luck, found);
      CHECK(rows(*open_journaled(found.path(), config)) == expected);
      if (env)
        break;
      REQUIRE(sync < 20);
    }
  }
}

TEST_CASE(
    "the name of a commit fits no other file, which is left as it is, and one that is missing is not made") {
  scratch_directory dir, other;
  std::string before;
  auto env = open_journaled(dir.path());
  put_row(*env, "a", "1");
  SUBCASE("another node's") {
    auto foreign = open_journaled(other.path());
    put_row(*foreign, "a", "2");
    checkpoint(*foreign);
    foreign.reset();
    before = contents(other.file("store.mdb"));
    std::filesystem::copy_file(dir.file("store.journal"), other.file("store.journal"),
                               std::filesystem::copy_options::overwrite_existing);
  }
  SUBCASE("none") {
    std::filesystem::copy_file(dir.file("store.journal"), other.file("store.journal"));
  }
  const auto opened = journaled_environment::open(other.path(), small_config(), small_journal());
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == ec::corrupt);
  CHECK(opened.error().what.find("store.mdb is missing or empty, or it is not the file") !=
        std::string::npos);
}

TEST_CASE("a data file that cannot be synced stops everything, before what was not synced is given up") {
  scratch_directory dir;
  auto config = small_journal();
  config.checkpoint_every = std::chrono::milliseconds{0};
  auto env = open_journaled(dir.path(), config);
  put_row(*env, "a", "1");
  faults().only_failing = dir.file("store.mdb");
  faults().fdatasync_errno = EIO;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  auto published = env->publish(environment::publishing::now);
  while (published == ec::none && std::chrono::steady_clock::now() < end)
    published = env->publish(environment::publishing::if_due);
  CHECK(published == ec::storage_failed);
  faults().fdatasync_errno = 0;
  faults().only_failing.clear();
  auto txn = env->begin_write();
  txn->put(table::state, "b", "1");
  CHECK(txn->commit() == ec::storage_failed);
  txn.reset();
  env.reset();
  CHECK(rows(*open_journaled(dir.path(), config)).size() == 1);
}

TEST_CASE("a journal that goes round and round holds what no checkpoint has, and the file stays as it is") {
  scratch_directory dir, image;
  auto config = small_journal();
  config.bytes = 256 << 10;
  config.checkpoint_every = std::chrono::milliseconds{0};
  auto env = open_journaled(dir.path(), config);
  const auto size = std::filesystem::file_size(dir.file("store.journal"));
  for (int i = 0; i < 2'000; ++i) {
    put_row(*env, "row " + std::to_string(i % 50), std::to_string(i));
    if (i % 97 == 0) {
      copy_disk(dir, image);
      CHECK(rows(*open_journaled(image.path(), config)).at("row " + std::to_string(i % 50)) ==
            std::to_string(i));
    }
  }
  CHECK(env->journal().checkpoints > 5);
  CHECK(std::filesystem::file_size(dir.file("store.journal")) == size);
}

TEST_CASE(
    "pages of a checkpoint are used again after the next one, so the data file does not grow for ever") {
  scratch_directory dir;
  auto config = small_journal();
  config.checkpoint_every = std::chrono::milliseconds{0};
  auto env = open_journaled(dir.path(), config);
  const auto round = [&] {
    for (int i = 0; i < 20; ++i) {
      for (std::uint64_t n = 0; n < 40; ++n)
        put_row(*env, numbered(n * 37), std::string(1'000, 'x'), durable::with_next);
      checkpoint(*env);
    }
    return env->stats().used_bytes;
  };
  round();
  const auto used = round();
  CHECK(round() <= used + (used >> 3));
}
