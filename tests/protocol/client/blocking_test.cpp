// A device with a loop of its own, in a program that also does other things.
#include "protocol/client/blocking.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <thread>

using namespace parley;
using namespace std::chrono_literals;

TEST_CASE("each wait has its whole limit, whatever the program did before") {
  test::scratch_directory scratch;
  const std::string dir = scratch.path();
  REQUIRE(std::system(
              (PARLEY_SOURCE_DIR "/scripts/make_certs.sh " + dir + "/certs 1 >/dev/null 2>&1").c_str()) == 0);
  client::observer silent;
  client::config settings;
  settings.seeds = *client::parse_seeds("127.0.0.1:1");
  client::blocking_device device{dir + "/profile", dir + "/certs/client-ca.pem", settings, silent};
  const auto limit = 200ms;
  std::this_thread::sleep_for(limit + 50ms); // this is what the program did; the loop's timer stood still
  // An answer that arrives a moment after the loop turns again, and long before the limit.
  auto answer = device.timer()
                    .afterDelay(0 * kj::SECONDS)
                    .then([&] { return device.timer().afterDelay(1 * kj::MILLISECONDS); })
                    .then([]() -> client::result<client::nothing> { return client::nothing{}; });
  CHECK(device.wait(kj::mv(answer), limit));
  const auto late = device.wait(kj::Promise<client::result<client::nothing>>{kj::NEVER_DONE}, 1ms);
  REQUIRE(!late);
  CHECK(late.error().code == ec::timed_out);
}
