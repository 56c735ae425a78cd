#include "actors/core/calls.hpp"

#include <doctest/doctest.h>

using namespace parley;

TEST_CASE("a call is read as it was written, after it was encoded for another node") {
  core::submission s;
  s.conversation = {1, 2};
  s.from = user_id{3};
  s.id = {device_id{4}, 5};
  s.body = "ciphertext";
  const core::call sent{core::submit{s}};
  const auto got = core::decode<core::call>(core::encode(sent));
  REQUIRE(got);
  REQUIRE(std::holds_alternative<core::submit>(*got));
  CHECK(std::get<core::submit>(*got).what.body == "ciphertext");
  CHECK(std::get<core::submit>(*got).what.id == s.id);
}

TEST_CASE("bytes that are too short, too long or name no call are refused") {
  const auto bytes = core::encode(core::call{core::find_phone{"+491701234567", user_id{1}}});
  for (std::size_t n = 0; n < bytes.size(); ++n)
    CHECK_FALSE(core::decode<core::call>(std::string_view{bytes}.substr(0, n)));
  CHECK_FALSE(core::decode<core::call>(bytes + "x"));
  CHECK_FALSE(core::decode<core::call>("\xff"));
}

TEST_CASE("a direct conversation has one id, whoever opens it") {
  CHECK(core::direct_conversation(user_id{7}, user_id{9}) ==
        core::direct_conversation(user_id{9}, user_id{7}));
  CHECK(core::direct_conversation(user_id{7}, user_id{9}) !=
        core::direct_conversation(user_id{7}, user_id{8}));
}

TEST_CASE("every call can be refused with an answer of its own type") {
  const core::call c{core::pull_inbox{}};
  const auto a = core::refusal(c, ec::overloaded, 250);
  CHECK(core::kind_of(a) == core::kind_of(c));
  CHECK(core::error_of(a) == ec::overloaded);
  REQUIRE(core::answer_if<core::pull_inbox>(a));
  CHECK(core::answer_if<core::pull_inbox>(a)->retry_after_ms == 250);
}

TEST_CASE(
    "of all calls only sending counts against the rate of sends: once for each KiB that a body begins") {
  const auto of_body = [](std::size_t bytes) {
    core::submission s;
    s.body = std::string(bytes, 'x');
    return core::sends_of(core::call{core::submit{s}});
  };
  CHECK(of_body(0) == 1);
  CHECK(of_body(1) == 1);
  CHECK(of_body(1'024) == 1);
  CHECK(of_body(1'025) == 2);
  CHECK(of_body(65'536) == 64);
  CHECK(core::sends_of(core::call{core::acknowledge{}}) == 0);
  CHECK(core::sends_of(core::call{core::mark_read{}}) == 0);
  CHECK(core::sends_of(core::call{core::sync_conversation{}}) == 0);
}

TEST_CASE("answers of one type belong to the call that they answer") {
  const core::answer read = core::answer_to<core::mark_read>{core::done{ec::not_a_member}};
  CHECK(core::kind_of(read) == core::kind_of(core::call{core::mark_read{}}));
  CHECK(core::answer_if<core::acknowledge>(read) == nullptr);
  const auto got = core::decode<core::answer>(core::encode(read));
  REQUIRE(got);
  REQUIRE(core::answer_if<core::mark_read>(*got));
  CHECK(core::answer_if<core::mark_read>(*got)->error == ec::not_a_member);
}
