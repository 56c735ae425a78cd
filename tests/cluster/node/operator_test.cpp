// A real node, and what its operator does to it: signals, and consoles that nobody reads.
#include "tests/e2e/people.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

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
  std::ifstream in{t.cluster.log(node)};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  return text.find(words) != std::string::npos;
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
  // The same thread still answers others: this is a question that needs no code.
  const auto wrong = first.register_device(test_phone(1), "000000", "test").wait(t.io.waitScope);
  REQUIRE(!wrong);
  CHECK_MESSAGE(wrong.error().code == ec::code_wrong, wrong.error().sentence);
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
  CHECK(alice.device->request_code(test_phone(2)).wait(t.io.waitScope)); // over a new connection

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
  CHECK(newcomer.request_code(test_phone(3)).wait(t.io.waitScope));
  CHECK(alice.device->state().state == client::link_state::online); // on the connection that she had

  t.cluster.signal(1, SIGQUIT);
  CHECK(t.until(20s, [&] { return !t.cluster.running(1); }));
  CHECK(t.cluster.terminate(1, 0ms) == 0); // it has ended: its status
}
