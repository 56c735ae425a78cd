// The gateway's steps for a code and for a registration, without a gateway.
#include "protocol/gateway/crypto.hpp"
#include "protocol/gateway/registration.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::gateway;

namespace {

const std::string phone = "+491234567", ticket = "sixteen bytes ..", code = "012345";
const network_keys here{address_key{7}};

code_steps asked() {
  return {phone, ticket, code, here};
}

registration_steps registering() {
  core::device_record device;
  device.id = device_id{5};
  device.key.fill(9);
  device.name = "a phone";
  return {phone, ticket, code, device, user_id{77}};
}

} // namespace

// --- codes -------------------------------------------------------------------------------------------------

TEST_CASE("a shard is told of a code and its ticket by hashes only, and who asks by a short one") {
  const auto call = asked().request();
  CHECK(call.phone == phone);
  CHECK(call.ticket == hash_of_ticket(ticket));
  CHECK(call.code_hash == hash_of_code(ticket, phone, code));
  CHECK(call.by == asker_of(phone, here));
}

TEST_CASE("a code is sent when the shard has taken it, and then the asker is told how long it is good") {
  auto steps = asked();
  CHECK(!steps.issued({ec::none, 0, 0, 600'000}));
  CHECK(steps.phone() == phone);
  CHECK(steps.code() == code);
  const auto end = steps.sent(ec::none);
  CHECK(end.error == ec::none);
  CHECK(end.good_for_ms == 600'000);
  CHECK(end.sends_one);
}

TEST_CASE("no code is sent if the shard refuses it, and the asker is told when to ask again") {
  const auto end = asked().issued({ec::rate_limited, 700});
  REQUIRE(end);
  CHECK(end->error == ec::rate_limited);
  CHECK(end->retry_after_ms == 700);
  CHECK(!end->sends_one);
}

TEST_CASE("no second code is sent for a ticket whose code is on its way") {
  const auto end = asked().issued({ec::none, 0, 1, 400'000});
  REQUIRE(end);
  CHECK(end->error == ec::none);
  CHECK(end->good_for_ms == 400'000);
  CHECK(!end->sends_one);
}

TEST_CASE("a code that could not be sent is an error, and takes nothing of what the node may send") {
  auto steps = asked();
  CHECK(!steps.issued({ec::none, 0, 0, 600'000}));
  for (const auto why : {ec::code_send_failed, ec::overloaded}) {
    const auto end = steps.sent(why);
    CHECK(end.error == why);
    CHECK(end.good_for_ms == 0);
    CHECK(!end.sends_one);
  }
}

TEST_CASE("what became of a code is reported with the hashes under which it was taken") {
  const auto steps = asked();
  const auto taken = steps.request();
  for (const auto why : {ec::none, ec::code_send_failed}) {
    const auto report = steps.report(why);
    CHECK(report.phone == taken.phone);
    CHECK(report.ticket == taken.ticket);
    CHECK(report.code_hash == taken.code_hash);
    CHECK(report.sent == (why == ec::none ? 1 : 0));
  }
}

// --- registrations -----------------------------------------------------------------------------------------

TEST_CASE("a code is tried under the hashes under which it was asked for, for one key") {
  const auto call = registering().confirm();
  const auto issued = asked().request();
  CHECK(call.phone == issued.phone);
  CHECK(call.ticket == issued.ticket);
  CHECK(call.code_hash == issued.code_hash);
  CHECK(call.candidate == user_id{77});
  std::array<std::uint8_t, 32> key;
  key.fill(9);
  CHECK(call.key_hash == hash_of_key(key));
}

TEST_CASE("a device is added to the user whose number it is, who need not be the candidate") {
  auto steps = registering();
  const auto call = steps.confirmed({ec::none, user_id{3}, 0});
  REQUIRE(call);
  CHECK(call->user == user_id{3});
  CHECK(call->phone == phone);
  CHECK(call->device.id == device_id{5});
  CHECK(call->device.name == "a phone");
  CHECK(steps.added({}) == user_id{3});
}

TEST_CASE("no device is added with a code that is not good") {
  const auto call = registering().confirmed({ec::code_wrong});
  REQUIRE(!call);
  CHECK(call.error().error == ec::code_wrong);
}

TEST_CASE("a device that is not added is told why, and when to try again") {
  auto steps = registering();
  REQUIRE(steps.confirmed({ec::none, user_id{3}, 0}));
  const auto user = steps.added({ec::overloaded, 300});
  REQUIRE(!user);
  CHECK(user.error().error == ec::overloaded);
  CHECK(user.error().retry_after_ms == 300);
}
