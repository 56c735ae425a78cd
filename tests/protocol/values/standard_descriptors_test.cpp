#include "protocol/values/standard_descriptors.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

namespace {

/// The number that the next file gets in a process in which `closed` of the three descriptors were closed.
int next_file_with(int closed) {
  const auto child = ::fork();
  if (child == 0) {
    for (int fd = 0; fd <= 2; ++fd)
      if ((closed >> fd & 1) != 0)
        ::close(fd);
    const bool occupied = parley::occupy_standard_descriptors();
    ::_exit(occupied ? ::open("/dev/null", O_RDONLY) : 100);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WEXITSTATUS(status);
}

} // namespace

TEST_CASE("whichever of the standard descriptors are closed, no file of the program gets their numbers") {
  for (int closed = 0; closed < 8; ++closed) {
    CAPTURE(closed);
    CHECK(next_file_with(closed) > 2);
  }
}

TEST_CASE("what was closed neither gives input nor takes output, so that a program notices") {
  const auto child = ::fork();
  if (child == 0) {
    ::close(0);
    ::close(1);
    char byte = 0;
    const bool occupied = parley::occupy_standard_descriptors();
    ::_exit(occupied && ::read(0, &byte, 1) == -1 && ::write(1, &byte, 1) == -1 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}
