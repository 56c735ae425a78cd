#include "cluster/ops/certificates.hpp"

#include "tests/support/certificates.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <fstream>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

constexpr auto day = 24h;

struct some_certificates {
  test::scratch_directory scratch;
  std::string dir = scratch.path().string();
  std::string client = dir + "/node-1/client.pem";
  some_certificates() { test::make_certificates(dir, "1"); }
};

} // namespace

TEST_CASE_FIXTURE(some_certificates,
                  "a certificate that is not valid now is refused with the day, others are not") {
  const auto now = std::chrono::system_clock::now();
  CHECK(!date_objection(client, now));
  const auto late = date_objection(client, now + 826 * day);
  REQUIRE(late);
  CHECK_MESSAGE(late->find("client.pem: the certificate has expired on " + day_of(now + 825 * day)) !=
                    std::string::npos,
                *late);
  const auto early = date_objection(client, now - 2 * day);
  REQUIRE(early);
  CHECK_MESSAGE(early->find("is the clock of this machine right?") != std::string::npos, *early);
  std::ofstream{client} << "junk";
  CHECK(date_objection(client, now));
  CHECK(date_objection(dir + "/nothing.pem", now));
}

TEST_CASE_FIXTURE(some_certificates, "from 30 days before its end a certificate is warned of, once a day") {
  certificate_calendar calendar;
  calendar.use("client", client);
  REQUIRE(calendar.ends().size() == 1);
  const auto end = calendar.ends()[0].until;
  CHECK(calendar.due(end - 31 * day).empty());
  const auto first = calendar.due(end - 29 * day);
  REQUIRE(first.size() == 1);
  CHECK(first[0].name == "client");
  CHECK(first[0].file == client);
  CHECK(calendar.due(end - 29 * day + 23h).empty());
  CHECK(calendar.due(end - 28 * day).size() == 1);
  CHECK(calendar.due(end + 5 * day).size() == 1); // it goes on after the end
}

TEST_CASE_FIXTURE(some_certificates,
                  "a renewed certificate ends later, and another one that ends soon is warned of "
                  "at once") {
  test::make_short_lived(dir, "client", "1", 3);
  certificate_calendar calendar;
  calendar.use("client", client);
  const auto now = std::chrono::system_clock::now();
  CHECK(calendar.due(now).size() == 1);
  test::make_short_lived(dir, "client", "1", 4);
  calendar.use("client", client);
  CHECK(calendar.due(now).size() == 1);
  test::make_certificates(dir, "1"); // renews what ends within 30 days
  calendar.use("client", client);
  CHECK(calendar.due(now + 2 * day).empty());
  CHECK(calendar.ends()[0].until > now + 800 * day);
}
