#include "storage/data_directory.hpp"
#include "tests/storage/scratch.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace parley;
using namespace parley::storage;
using parley::test::open;
using parley::test::scratch_directory;

namespace {

constexpr cluster_id ours{1, 2}, theirs{3, 4};

/// One write transaction, committed.
template <class Step>
auto durably(environment& env, Step step) {
  auto txn = env.begin_write();
  auto result = step(*txn);
  REQUIRE(txn->commit() == ec::none);
  return result;
}

} // namespace

TEST_CASE("a second process is refused, and told who has the directory") {
  scratch_directory dir;
  const auto path = dir.file("node");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    auto mine = data_directory::lock(path);
    const char locked = mine ? 'y' : 'n';
    (void)!::write(ends[1], &locked, 1);
    ::pause();
    ::_exit(0);
  }
  char locked = 0;
  REQUIRE(::read(ends[0], &locked, 1) == 1);
  REQUIRE(locked == 'y');
  auto refused = data_directory::lock(path);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ec::storage_failed);
  CHECK(refused.error().what.find("process " + std::to_string(pid) + ":") != std::string::npos);
  CHECK_FALSE(data_directory::lock_existing(path).has_value());

  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(data_directory::lock(path).has_value()); // a killed process leaves no lock behind
}

TEST_CASE("within one process, too, a directory has one user") {
  scratch_directory dir;
  auto first = data_directory::lock(dir.file("node"));
  REQUIRE(first.has_value());
  CHECK_FALSE(data_directory::lock(dir.file("node")).has_value());
  {
    const auto moved = std::move(*first);
    CHECK_FALSE(data_directory::lock(dir.file("node")).has_value());
  }
  CHECK(data_directory::lock(dir.file("node")).has_value());
}

TEST_CASE("a directory of another layout is left alone") {
  scratch_directory dir;
  std::ofstream{dir.file("layout")} << "parley-data 99\n";
  auto refused = data_directory::lock(dir.path());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ec::unsupported_version);
}

TEST_CASE("a layout file that cannot be read is left alone: it may be that of another version") {
  scratch_directory dir;
  const auto layout = dir.file("layout");
  std::filesystem::create_symlink("layout", layout); // to itself: there is a file, and no opening it
  const auto refused = data_directory::lock(dir.path());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ec::storage_failed);
  CHECK(refused.error().what.find("cannot read " + layout) != std::string::npos);
  CHECK(std::filesystem::is_symlink(layout));
}

TEST_CASE("a tool does not make a data directory of what is none") {
  scratch_directory dir;
  auto refused = data_directory::lock_existing(dir.path());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ec::bad_config);
  CHECK(std::filesystem::is_empty(dir.path()));
  CHECK_FALSE(data_directory::lock_existing(dir.file("nowhere")).has_value());
}

TEST_CASE("a new directory is for its user's eyes only") {
  scratch_directory dir;
  auto locked = data_directory::lock(dir.file("a/b/node"));
  REQUIRE(locked.has_value());
  struct stat st {};
  REQUIRE(::stat(locked->path().c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0700);
}

TEST_CASE("a directory stays its node's, with the disk id it drew first") {
  scratch_directory dir;
  disk_id disk{};
  {
    auto env = open(dir);
    CHECK_FALSE(read_identity(*env->begin_read())->has_value());
    const auto id = durably(*env, [](auto& txn) { return claim_identity(txn, node_id{2}); });
    REQUIRE(id.has_value());
    CHECK(id->node == node_id{2});
    CHECK(id->disk != disk_id::none);
    CHECK_FALSE(id->cluster.is_set());
    disk = id->disk;
  }
  auto env = open(dir);
  const auto other = durably(*env, [](auto& txn) { return claim_identity(txn, node_id{3}); });
  REQUIRE_FALSE(other.has_value());
  CHECK(other.error().code == ec::bad_config);
  CHECK(other.error().what.find("belongs to node 2") != std::string::npos);
  const auto same = durably(*env, [](auto& txn) { return claim_identity(txn, node_id{2}); });
  REQUIRE(same.has_value());
  CHECK(same->disk == disk);

  scratch_directory elsewhere;
  auto fresh = open(elsewhere);
  CHECK(durably(*fresh, [](auto& txn) { return claim_identity(txn, node_id{2}); })->disk != disk);
}

TEST_CASE("a node that is in a cluster joins no other") {
  scratch_directory dir;
  auto env = open(dir);
  CHECK_FALSE(durably(*env, [](auto& txn) { return join_cluster(txn, ours); }).has_value()); // nobody yet
  durably(*env, [](auto& txn) { return claim_identity(txn, node_id{1}); });
  CHECK(durably(*env, [](auto& txn) { return join_cluster(txn, ours); }).has_value());
  CHECK(durably(*env, [](auto& txn) { return join_cluster(txn, ours); }).has_value());
  const auto refused = durably(*env, [](auto& txn) { return join_cluster(txn, theirs); });
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == ec::wrong_cluster);
  CHECK_FALSE(durably(*env, [](auto& txn) {
                return promise_cluster(txn, theirs, earlier_promise::is_void);
              }).has_value());
  CHECK((*read_identity(*env->begin_read()))->cluster == ours);
}

TEST_CASE("nobody promises twice, unless the operator says so") {
  scratch_directory dir;
  {
    auto env = open(dir);
    durably(*env, [](auto& txn) { return claim_identity(txn, node_id{1}); });
    CHECK(durably(*env, [](auto& txn) { return promise_cluster(txn, ours); }).has_value());
  }
  auto env = open(dir);
  const auto promised = read_promise(*env->begin_read());
  REQUIRE(promised.has_value());
  CHECK(*promised == ours);
  CHECK(durably(*env, [](auto& txn) { return promise_cluster(txn, ours); }).has_value());
  CHECK(durably(*env, [](auto& txn) { return promise_cluster(txn, theirs); }).error().code ==
        ec::wrong_cluster);
  CHECK(durably(*env, [](auto& txn) { return join_cluster(txn, theirs); }).error().code == ec::wrong_cluster);
  CHECK(durably(*env, [](auto& txn) {
          return promise_cluster(txn, theirs, earlier_promise::is_void);
        }).has_value());
  CHECK(durably(*env, [](auto& txn) { return join_cluster(txn, theirs); }).has_value());
}

TEST_CASE(
    "a promise that this version cannot read is not taken for none: the node neither starts nor joins") {
  scratch_directory dir;
  auto env = open(dir);
  durably(*env, [](auto& txn) { return claim_identity(txn, node_id{1}); });
  durably(*env, [](auto& txn) { return promise_cluster(txn, ours); });
  durably(*env, [](auto& txn) {
    auto newer = std::string{*txn.get(table::node, "i/promise")};
    newer[0] = 2;
    txn.put(table::node, "i/promise", newer);
    return 0;
  });
  CHECK_FALSE(read_promise(*env->begin_read()).has_value());
  for (const auto cluster : {ours, theirs}) {
    CHECK(durably(*env, [&](auto& txn) { return join_cluster(txn, cluster); }).error().code == ec::corrupt);
    CHECK(durably(*env, [&](auto& txn) { return promise_cluster(txn, cluster, earlier_promise::is_void); })
              .error()
              .code == ec::corrupt);
  }
  CHECK(durably(*env, [](auto& txn) { return claim_identity(txn, node_id{1}); }).error().code == ec::corrupt);
  CHECK_FALSE((*read_identity(*env->begin_read()))->cluster.is_set());
}

TEST_CASE("cluster ids are drawn, not counted") {
  const auto a = random_cluster_id(), b = random_cluster_id();
  CHECK(a.is_set());
  CHECK(a != b);
}

TEST_CASE("starts count up, each with a word of its own, and the newest are kept") {
  scratch_directory dir;
  auto env = open(dir);
  start_history last;
  for (std::uint64_t n = 1; n <= start_history::words_max + 3; ++n) {
    const auto h = *durably(*env, [](write_txn& txn) { return begin_start(txn); });
    REQUIRE(h.number == n);
    REQUIRE(h.words.size() == std::min<std::uint64_t>(n, start_history::words_max));
    if (n > 1) {
      REQUIRE(h.words[h.words.size() - 2] == last.words.back());
      REQUIRE(h.words.back() != last.words.back());
    }
    last = h;
  }
  durably(*env, [](write_txn& txn) { return txn.put(table::node, "i/start", "damaged"), 0; });
  auto txn = env->begin_write();
  CHECK(begin_start(*txn).error().code == ec::corrupt);
}

TEST_CASE("what was seen of other nodes' starts is read back by node") {
  scratch_directory dir;
  auto env = open(dir);
  durably(*env, [](write_txn& txn) {
    txn.put(table::node, seen_key(node_id{300}), "c");
    txn.put(table::node, seen_key(node_id{2}), "b");
    return 0;
  });
  const auto found = read_seen(*env->begin_read());
  REQUIRE(found);
  CHECK(*found == std::vector<std::pair<node_id, std::string>>{{node_id{2}, "b"}, {node_id{300}, "c"}});
}

TEST_CASE("a node whose disk does not read what it saw of other nodes' starts says just that") {
  struct unreadable final : read_txn {
    std::optional<std::string_view> get(table, std::string_view) override { return std::nullopt; }
    void ascend(table, std::string_view, std::string_view, const visitor&) override {}
    void descend(table, std::string_view, std::string_view, const visitor&) override {}
    ec status() const override { return ec::corrupt; }
  } txn;
  const auto found = read_seen(txn);
  REQUIRE(!found);
  CHECK(found.error().code == ec::corrupt);
  CHECK(found.error().what.find("starts of other nodes cannot be read") != std::string::npos);
}

TEST_CASE("a fenced directory says why for ever, and the first reason stays") {
  scratch_directory dir;
  CHECK(read_fence(dir.path())->why.empty());
  REQUIRE(write_fence(dir.path(), {"it is an older copy", fence::then::begin_anew}));
  REQUIRE(write_fence(dir.path(), {"something else", fence::then::stay}));
  CHECK(read_fence(dir.path())->why == "it is an older copy");
  CHECK(read_fence(dir.path())->next == fence::then::begin_anew);
  scratch_directory other;
  REQUIRE(write_fence(other.path(), {"it runs twice", fence::then::stay}));
  CHECK(read_fence(other.path())->next == fence::then::stay);
}

TEST_CASE("a directory that is set aside keeps all that it held, and no more than a few are") {
  scratch_directory dir;
  const auto node = dir.file("node");
  for (std::size_t n = 0; n < asides_max; ++n) {
    std::filesystem::create_directory(node);
    std::ofstream{node + "/kept"} << n;
    const auto aside = set_aside(node + (n == 1 ? "/" : ""), "then-" + std::to_string(n));
    REQUIRE(aside);
    CHECK(*aside == node + ".aside-then-" + std::to_string(n));
    CHECK_FALSE(std::filesystem::exists(node));
    CHECK(std::filesystem::exists(*aside + "/kept"));
  }
  std::filesystem::create_directory(node);
  CHECK_FALSE(set_aside(node, "once more"));
  CHECK(std::filesystem::exists(node));
}

TEST_CASE(
    "a directory is not set aside if its disk has less free than it holds: it is filled again beside it") {
  scratch_directory dir;
  const auto node = dir.file("node");
  std::filesystem::create_directory(node);
  std::ofstream{node + "/store.mdb"} << "kept";
  const auto disk = std::filesystem::space(node);
  std::filesystem::resize_file(node + "/store.mdb", disk.capacity); // a hole: nothing is written
  const auto refused = set_aside(node, "now");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ec::disk_full);
  CHECK(std::filesystem::exists(node + "/store.mdb"));
}
