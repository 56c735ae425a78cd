// A real node, and what its operator does to it: signals, and consoles that nobody reads.
#include "tests/e2e/people.hpp"

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
