// Name servers that do not answer. The system's look-up is replaced in this program, for one name only.
#include "protocol/transport/name_lookup.hpp"
#include "tests/support/patience.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <kj/async-io.h>
#include <netdb.h>

#include <atomic>
#include <chrono>
#include <string_view>
#include <thread>

using namespace parley;

namespace {

constexpr std::string_view slow_name = "slow.invalid";
std::atomic<bool> answers{false};  ///< the name servers do
std::atomic<bool> given_up{false}; ///< a look-up has waited in vain for them

} // namespace

// The programs are linked with the C library dynamically, so that this one is found first.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints, addrinfo** found) {
  using function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto system = reinterpret_cast<function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  const bool numeric = hints && (hints->ai_flags & AI_NUMERICHOST);
  if (!name || name != slow_name || numeric)
    return system(name, service, hints, found);
  const auto end = std::chrono::steady_clock::now() + test::patient(std::chrono::milliseconds{10'000});
  while (!answers)
    if (std::chrono::steady_clock::now() > end) {
      given_up = true;
      break;
    } else {
      std::this_thread::yield();
    }
  return EAI_AGAIN;
}

TEST_CASE("while a name is looked up, timers fire and other names are found") {
  auto io = kj::setupAsyncIo();
  transport::name_lookup names;
  answers = false;
  std::string why;
  bool over = false;
  auto slow = names.find({std::string{slow_name}, 7000})
                  .then([](auto&&) {}, [&](kj::Exception&& e) { why = e.getDescription().cStr(); })
                  .then([&] { over = true; })
                  .eagerlyEvaluate(nullptr);
  io.provider->getTimer().afterDelay(20 * kj::MILLISECONDS).wait(io.waitScope);
  CHECK(!names.find({"127.0.0.1", 7000}).wait(io.waitScope).empty());
  CHECK_FALSE(over);
  CHECK_FALSE(given_up);
  answers = true;
  slow.wait(io.waitScope);
  CHECK(why.find("no address for that name") != std::string::npos);
}
