#include "protocol/values/last_words.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace {

/// A process whose standard error is a pipe of one page with `filled` bytes in it says `line` and ends.
struct last_moment {
  int status = 0;
  std::string read;

  last_moment(const std::string& line, std::size_t filled) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(::fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
    const std::string junk(filled, '#');
    REQUIRE(::write(ends[1], junk.data(), junk.size()) == static_cast<ssize_t>(filled));
    const auto child = ::fork();
    if (child == 0) {
      ::dup2(ends[1], STDERR_FILENO);
      parley::end_process(line);
    }
    REQUIRE(::waitpid(child, &status, 0) == child);
    ::close(ends[1]);
    char buffer[4096];
    for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
      read.append(buffer, static_cast<std::size_t>(n));
    ::close(ends[0]);
  }
};

} // namespace

TEST_CASE("a process that cannot go on says why and ends with status 1") {
  const last_moment m{"the disk is gone: replace it", 0};
  CHECK(WIFEXITED(m.status));
  CHECK(WEXITSTATUS(m.status) == 1);
  CHECK(m.read == "the disk is gone: replace it\n");
}

TEST_CASE("a process that cannot go on ends even if nobody reads its last words") {
  const last_moment m{std::string(3000, 'x'), 4000};
  CHECK(WIFEXITED(m.status));
  CHECK(WEXITSTATUS(m.status) == 1);
  CHECK(m.read == std::string(4000, '#'));
}
