// A real node, and what its operator does to it: signals, and consoles that nobody reads.
#include "storage/data_directory.hpp"
#include "storage/lmdb_environment.hpp"
#include "tests/e2e/people.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace parley;
using namespace parley::test;

namespace {

process_cluster_config one_node() {
  process_cluster_config c;
  c.nodes = 1;
  c.flags = {"--shards", "2", "--drain-spread", "100ms", "--drain-deadline", "2s"};
  return c;
}

/// Whether the log of a node contains the words.
bool log_of(town& t, std::size_t node, const std::string& words) {
  return lines_with(t.cluster.log(node), words) > 0;
}

/// A program that is parleyd with more flags for some of the nodes: `cases` are lines of a shell's `case`.
std::string parleyd_with(const scratch_directory& scratch, const std::string& cases) {
  const auto program = scratch.file("parleyd.sh");
  std::ofstream{program} << "#!/bin/sh\ncase \" $* \" in\n"
                         << cases << "\nesac\nexec '" << program_folder() << "/parleyd' \"$@\"\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  return program;
}

/// Flips a bit in every state row of a stopped node that contains `text`; the log keeps its rows. How many.
std::size_t damage_rows(const std::string& data, const std::string& text) {
  const auto file = data + "/store.mdb";
  std::vector<std::streamoff> places;
  {
    const auto env = storage::lmdb_environment::open(data, {});
    REQUIRE(env.has_value());
    std::uintptr_t map = 0; // where the file is mapped: rows are read in place
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; map == 0 && std::getline(maps, line);)
      if (line.ends_with(file))
        map = std::stoull(line, nullptr, 16);
    REQUIRE(map != 0);
    (*env)->begin_read()->ascend(
        storage::table::state, {}, {}, [&](std::string_view, std::string_view value) {
          if (const auto at = value.find(text); at != std::string_view::npos)
            places.push_back(
                static_cast<std::streamoff>(reinterpret_cast<std::uintptr_t>(value.data() + at) - map));
          return storage::scan::more;
        });
  }
  std::fstream out{file, std::ios::binary | std::ios::in | std::ios::out};
  for (const auto at : places) {
    out.seekp(at);
    out.put(static_cast<char>(text.front() ^ 4));
  }
  REQUIRE(out.good());
  return places.size();
}

/// A pipe with a name, which is full and which nobody reads.
struct full_pipe {
  std::string path =
      (std::filesystem::temp_directory_path() / ("parley-pipe-" + std::to_string(::getpid()))).string();
  int fd = -1;

  full_pipe() {
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    REQUIRE(fd >= 0);
    REQUIRE(::fcntl(fd, F_SETPIPE_SZ, 4096) > 0);
    const std::string junk(4096, '#');
    REQUIRE(::write(fd, junk.data(), junk.size()) == 4096);
  }
  ~full_pipe() {
    ::close(fd);
    std::filesystem::remove(path);
    std::filesystem::remove(path + ".sh");
  }
  /// A program that is parleyd with this pipe as its console and as its log.
  std::string parleyd() const {
    std::ofstream{path + ".sh"} << "#!/bin/sh\nexec '" << program_folder() << "/parleyd' \"$@\" > '" << path
                                << "' 2> '" << path << "'\n";
    std::filesystem::permissions(path + ".sh", std::filesystem::perms::owner_all);
    return path + ".sh";
  }
};

} // namespace

TEST_CASE("a node whose console and log nobody reads refuses codes, goes on serving, and ends when told to") {
  const full_pipe unread;
  auto config = one_node();
  config.parleyd = unread.parleyd();
  town t{config};
  client::memory_store store;
  client::observer nobody;
  t.settings.call_timeout = 8'000ms;
  client::device first{t.io.provider->getTimer(), t.dial, t.settings, store, nobody};
  const auto refused = first.request_code(test_phone(1)).wait(t.io.waitScope);
  REQUIRE(!refused);
  CHECK_MESSAGE(refused.error().code == ec::code_send_failed, refused.error().sentence);
  // The same thread still answers others: a second code is asked for too soon, which the account knows.
  const auto soon = first.request_code(test_phone(1)).wait(t.io.waitScope);
  REQUIRE(!soon);
  CHECK_MESSAGE(soon.error().code != ec::timed_out, soon.error().sentence);
  CHECK(t.cluster.terminate(1, 20s) == 0);
}

TEST_CASE(
    "a hangup makes a node read certificates and log level again, and no other signal ends it undrained") {
  scratch_directory scratch;
  const auto dir = scratch.path().string(), file = dir + "/node.toml";
  std::ofstream{file} << "[log]\nlevel = \"info\"\n";
  auto config = one_node();
  config.environment["PARLEY_CONFIG"] = file;
  town t{config};
  person alice{t, 1}; // is connected throughout
  const auto log_has = [&](const std::string& words) {
    return t.until(10s, [&] { return log_of(t, 1, words); });
  };
  for (const int which : {SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE})
    t.cluster.signal(1, which);

  // Of another authority: only a client that trusts that one can connect with the new certificate.
  make_certificates(dir + "/certs", "1");
  const auto home = t.cluster.certs() + "/node-1/";
  const auto put = [&](const std::string& pem, const std::string& key) {
    using std::filesystem::copy_options;
    std::filesystem::copy_file(pem, home + "client.pem", copy_options::overwrite_existing);
    std::filesystem::copy_file(key, home + "client.key", copy_options::overwrite_existing);
  };
  put(dir + "/certs/node-1/client.pem", dir + "/certs/node-1/admin.key"); // do not belong together
  std::ofstream{file} << "[log]\nlevel = \"loud\"\n";
  t.cluster.signal(1, SIGHUP);
  CHECK(log_has("settings-kept"));
  CHECK(log_has("certificates-kept of=clients"));
  client::memory_store of_bob;
  client::observer deaf;
  client::device bob{t.io.provider->getTimer(), t.dial, t.settings, of_bob, deaf};
  CHECK(bob.request_code(test_phone(2)).wait(t.io.waitScope)); // over a new connection

  client::tls_dialer theirs{t.io.unixEventPort, *client::trust(dir + "/certs/client-ca.pem")};
  client::memory_store store;
  client::observer nobody;
  client::device newcomer{t.io.provider->getTimer(), theirs, t.settings, store, nobody};
  const auto stranger = newcomer.request_code(test_phone(3)).wait(t.io.waitScope);
  REQUIRE(!stranger);
  CHECK_MESSAGE(stranger.error().sentence.find("certificate verify failed") != std::string::npos,
                stranger.error().sentence);

  put(dir + "/certs/node-1/client.pem", dir + "/certs/node-1/client.key");
  std::ofstream{file} << "[timing]\npassivate = \"2min\"\n[log]\nlevel = \"warn\"\n";
  t.cluster.signal(1, SIGHUP);
  CHECK(log_has("settings-need-restart changed=timing.passivate"));
  CHECK(log_has("certificates-reloaded of=clients"));
  CHECK(log_has("certificates-reloaded of=\"the links to other nodes\""));
  CHECK(!log_of(t, 1, "settings-reloaded log_level=warn")); // which is said at a level below
  CHECK(newcomer.request_code(test_phone(3)).wait(t.io.waitScope));
  CHECK(alice.device->state().state == client::link_state::online); // on the connection that she had

  t.cluster.signal(1, SIGQUIT);
  CHECK(t.until(20s, [&] { return !t.cluster.running(1); }));
  CHECK(t.cluster.terminate(1, 0ms) == 0); // it has ended: its status
}

TEST_CASE("a node says which of its certificates ends soon, and what to do") {
  town t{one_node()};
  make_short_lived(t.cluster.certs(), "client", "1", 10);
  t.cluster.signal(1, SIGHUP);
  CHECK(t.until(10s, [&] { return log_of(t, 1, "certificate-ends certificate=client"); }));
  CHECK(log_of(t, 1, "days_left=9"));
}

TEST_CASE("a hangup that finds settings in a directory that must not be looked into ends no node") {
  scratch_directory scratch;
  const auto file = scratch.file("node.toml");
  std::ofstream{file} << "[log]\nlevel = \"info\"\n";
  auto config = one_node();
  config.environment["PARLEY_CONFIG"] = file;
  town t{config};
  std::filesystem::remove(file);
  std::filesystem::create_symlink(file, file); // a loop fails as such a directory does, for root as well
  t.cluster.signal(1, SIGHUP);
  CHECK(t.until(10s, [&] { return log_of(t, 1, "settings-kept"); }));
  CHECK(t.cluster.ready(1, 2000ms));
}

TEST_CASE("what a node prints that has no descriptors 0 to 2 goes nowhere, and into none of its files") {
  scratch_directory scratch;
  const auto program = scratch.file("parleyd.sh");
  std::ofstream{program} << "#!/bin/sh\nexec '" << program_folder() << "/parleyd' \"$@\" <&- >&- 2>&-\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  auto config = one_node();
  config.parleyd = program;
  town t{config};
  client::memory_store store;
  client::observer nobody;
  client::device first{t.io.provider->getTimer(), t.dial, t.settings, store, nobody};
  first.request_code(test_phone(1)).wait(t.io.waitScope); // a code is printed
  CHECK(t.cluster.terminate(1, 15s) == 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator{t.cluster.data(1)}) {
    if (!entry.is_regular_file())
      continue;
    std::ifstream in{entry.path(), std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    CHECK_MESSAGE(text.find(" stopping ") == std::string::npos, entry.path().string());
    CHECK_MESSAGE(text.find("code for ") == std::string::npos, entry.path().string());
  }
  CHECK(storage::lmdb_environment::open(t.cluster.data(1), {}).has_value());
}

TEST_CASE("help and settings that cannot be written are a failure") {
  const auto said = [](const std::string& flags, const char* where) {
    return std::system(
        ("'" + program_folder() + "/parleyd' " + flags + " >" + where + " 2>/dev/null").c_str());
  };
  const std::string settings = "--print-config --node 1 --data-dir d --certs-dir c --seeds 127.0.0.1:1";
  for (const auto& flags : {std::string{"--help"}, settings}) {
    CHECK(said(flags, "/dev/null") == 0);
    CHECK(said(flags, "/dev/full") != 0);
  }
}

TEST_CASE("a node whose disk has no room leads nothing, and people send through it all the same") {
  scratch_directory scratch;
  process_cluster_config config;
  // The reserve of node 2 is larger than its disk.
  config.parleyd = parleyd_with(
      scratch, "*' --node 2 '*) set -- \"$@\" --limits-map 64TiB --limits-disk-reserve 16TiB ;;");
  config.flags = {"--shards", "6", "--drain-spread", "100ms"};
  town t{config};
  REQUIRE(
      t.until(20s, [&] { return t.cluster.leads(2) == 0 && t.cluster.leads(1) + t.cluster.leads(3) == 6; }));
  const auto everywhere = t.settings.seeds;
  t.settings.seeds = {everywhere[1]}; // Alice knows node 2 only
  person alice{t, 1}, bob{t, 2}, carol{t, 3};
  for (auto* other : {&bob, &carol}) {
    const auto c = alice.chat_with(*other);
    for (int i = 0; i < 10; ++i)
      CHECK(alice.device->send(c, "through a full node").wait(t.io.waitScope));
    CHECK(t.until(10s, [&] { return other->heard.size() == 10; }));
  }
  CHECK(t.cluster.leads(2) == 0);
  CHECK(t.cluster.ready(2, 2000ms));
  CHECK(!t.cluster.whole(2, 2000ms));
  const auto metrics = t.cluster.get(2, "/metrics", 2000ms);
  REQUIRE(metrics);
  CHECK(metrics->find("\nparley_storage_has_room 0\n") != std::string::npos);
  // Whoever leads says so, too: a second loss would stop its shards.
  CHECK(t.until(10s, [&] {
    const auto said = t.cluster.page(t.cluster.leads(1) > 0 ? 1 : 3, "/wholez", 2000ms);
    return said.starts_with("503 ") && said.find("the disk of node 2 has no room") != std::string::npos;
  }));
}

TEST_CASE("a node that leads and has a damaged row hands over, and nobody misses what the row said") {
  scratch_directory scratch;
  process_cluster_config config;
  config.parleyd = parleyd_with(scratch, "*' --node 2 '*) ;;\n*) set -- \"$@\" --timing-election 3s ;;");
  config.flags = {"--shards", "1", "--drain-spread", "100ms"};
  town t{config};
  REQUIRE(t.until(20s, [&] { return t.cluster.leads(2) == 1; })); // its election time-out is the shortest
  person alice{t, 1}, bob{t, 2};
  const auto c = alice.chat_with(bob);
  const std::vector<std::string> all{"before", "the row that rots", "after"};
  for (const auto& text : all)
    REQUIRE(alice.device->send(c, text).wait(t.io.waitScope));
  REQUIRE(t.until(10s, [&] { return bob.heard == all; }));
  for (std::size_t n = 1; n <= 3; ++n)
    CHECK(t.cluster.terminate(n, 15s) == 0);
  REQUIRE(damage_rows(t.cluster.data(2), all[1]) > 0);
  t.cluster.start_all();
  REQUIRE(t.cluster.wait_ready(30s));
  // A command that needs the row, of what was not worked off when the nodes stopped, ends the process with the advice to start
  // it again, as a supervisor does.
  const auto supervised = [&] {
    t.cluster.start(2);
    return true;
  };
  // Whatever reads the row first, a fan-out or a person, makes node 2 hand over. Nobody is refused for good.
  const auto reads_all = [&](person& who) {
    try {
      return who.bodies(c) == all;
    } catch (const cluster_error&) { // no answer in time, perhaps
      return false;
    }
  };
  CHECK(t.until(60s, [&] {
    return supervised() && reads_all(alice) && reads_all(bob) && log_of(t, 2, "replica-damaged");
  }));
  CHECK(t.until(10s, [&] { return supervised() && t.cluster.leads(2) == 0; }));
  // It gets the rows of the next leader, and then nothing is damaged any more.
  CHECK(t.until(
      30s, [&] { return supervised() && log_of(t, 2, "replica-mended") && t.cluster.whole(2, 2000ms); }));
  const auto metrics = t.cluster.get(2, "/metrics", 2000ms);
  REQUIRE(metrics);
  CHECK(metrics->find("\nparley_replicas_damaged 0\n") != std::string::npos);
}

TEST_CASE(
    "a process on a directory in use is refused before it asks anybody, and says who has the directory") {
  const scratch_directory scratch;
  const auto dir = scratch.path().string();
  make_certificates(dir + "/certs", "1");
  const auto used = storage::data_directory::lock(dir + "/data");
  REQUIRE(used.has_value());
  const int seed = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  REQUIRE(::bind(seed, reinterpret_cast<sockaddr*>(&at), size) == 0);
  REQUIRE(::listen(seed, 16) == 0);
  REQUIRE(::getsockname(seed, reinterpret_cast<sockaddr*>(&at), &size) == 0);
  const auto port = [&seed_at = at](int n) { // of its own address, so that nobody else has it
    return "127.99." + std::to_string(n) + ".1:" + std::to_string(ntohs(seed_at.sin_port));
  };
  const auto log = scratch.file("log");
  const auto command = "timeout " + std::to_string(patient(20s).count()) + " '" + program_folder() +
                       "/parleyd' --node 1 --data-dir " + dir + "/data --certs-dir " + dir +
                       "/certs --peer-listen " + port(1) + " --client-listen " + port(2) +
                       " --admin-listen " + port(3) +
                       " --seeds 127.0.0.1:" + std::to_string(ntohs(at.sin_port)) + " > " + log + " 2>&1";
  const int how = std::system(command.c_str());
  std::ifstream in{log};
  const std::string said{std::istreambuf_iterator<char>{in}, {}};
  CHECK_MESSAGE((WIFEXITED(how) && WEXITSTATUS(how) == 1), said);
  CHECK_MESSAGE(said.find("is in use by process " + std::to_string(::getpid())) != std::string::npos, said);
  CHECK(::accept(seed, nullptr, nullptr) < 0); // nobody has called
  ::close(seed);
}
