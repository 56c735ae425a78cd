// How much memory a logged-in idle connection costs the gateway. Not part of a test run:
//   gateway_test --no-skip -tc="*idle connection costs*"        (CONNECTIONS=4000)
// The cluster behind it is the test's, so what actors add comes on top.
#include "tests/protocol/gateway/fixture.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

using namespace parley;
using namespace parley::test;

namespace {

double resident_kib() {
  std::ifstream f{"/proc/self/statm"};
  long pages = 0, resident = 0;
  f >> pages >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1024;
}

struct line_of_pipe {
  int ends[2];
  line_of_pipe() { REQUIRE(::pipe(ends) == 0); }
};

void be_the_clients(std::size_t count, std::uint16_t port, const std::string& ca, const device_key& key,
                    int ready, int stop) {
  fixture f;
  f.port = port;
  f.client_tls = *transport::make_client_context({ca});
  std::vector<kj::Own<test_client>> clients;
  std::vector<rpc::Session::Client> sessions;
  test_receiver::record got;
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(kj::heap<test_client>(f));
    sessions.push_back(clients.back()->login(key, user_id{1}, device_id{i + 1}));
    auto request = sessions.back().receiveRequest();
    request.setReceiver(kj::heap<test_receiver>(got));
    f.get(request.send());
  }
  char byte = 0;
  (void)!::write(ready, &byte, 1);
  (void)!::read(stop, &byte, 1);
}

} // namespace

TEST_CASE("the memory of an idle connection is measured" * doctest::skip()) {
  const char* wanted = std::getenv("CONNECTIONS");
  const std::size_t count = wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 4000;
  device_key key;
  line_of_pipe address, ready, stop;
  const auto child = ::fork();
  if (child == 0) {
    std::uint16_t port = 0;
    (void)!::read(address.ends[0], &port, sizeof port);
    char ca[256] = {};
    (void)!::read(address.ends[0], ca, sizeof ca);
    be_the_clients(count, port, ca, key, ready.ends[1], stop.ends[0]);
    std::_Exit(0);
  }
  fixture f;
  f.config.handshakes_burst = 1'000'000;
  f.config.sweep_every = std::chrono::milliseconds{500};
  f.start();
  f.cluster.on_call = [&](core::call what) -> kj::Promise<core::answer> {
    core::found_device found;
    found.device = {std::get<core::find_device>(what).device, key.public_half, "", unix_ms::none};
    return core::answer{core::answer_to<core::find_device>{found}};
  };
  const auto before = resident_kib();
  char ca[256] = {};
  std::snprintf(ca, sizeof ca, "%s", f.certificate.certificate_file.c_str());
  REQUIRE(::write(address.ends[1], &f.port, sizeof f.port) > 0);
  REQUIRE(::write(address.ends[1], ca, sizeof ca) > 0);
  std::size_t last = 0;
  while (last < count && f.until([&] { return f.cluster.receiving_from.size() > last; }))
    last = f.cluster.receiving_from.size();
  CHECK(last == count);
  f.cluster.calls = {};
  f.cluster.receiving_from = {};
  const auto after = resident_kib();
  std::printf("%zu connections, %.1f KiB each\n", count, (after - before) / static_cast<double>(count));
  (void)!::write(stop.ends[1], "", 1);
  ::waitpid(child, nullptr, 0);
}
