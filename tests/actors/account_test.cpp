#include "actors/resident.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_reader.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace std::chrono_literals;

namespace {

struct own_clock final : wall_clock {
  unix_ms at{1'800'000'000'000};
  unix_ms now() const override { return at; }
};

struct fixture : test::actor_fixture {
  test::fake_reader reader;
  fake_store store = make_store();
  fake_router router = make_router();
  sink asker = make_sink();
  own_clock clock;
  resident_config config;
  account_actor account;

  fixture() {
    config.time_of_day = &clock;
    config.code_valid = 30s; // shorter than clocks may differ
    account = spawn_account(sys, {shard_id{1},
                                  core::format_number::newest,
                                  {resident_kind::account, 1, 2},
                                  7,
                                  config,
                                  &reader,
                                  store.handle,
                                  router.handle,
                                  make_silent_shard()});
  }
  ~fixture() { caf::anon_send_exit(account, caf::exit_reason::user_shutdown); }

  template <class Command>
  Command proposed_for(core::call what) {
    call(account, asker.handle, 1, std::move(what));
    run();
    const auto proposed = store.proposals.take();
    REQUIRE(proposed.size() == 1);
    const auto command = core::decode<core::command>(proposed[0].command);
    REQUIRE(command);
    return std::get<Command>(*command);
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture, "a code begins and is judged by the clock of its shard's leader, whoever asks") {
  const auto issued =
      proposed_for<core::issue_code>(core::request_code{"+4917012345", body_hash{1}, body_hash{2}});
  CHECK(issued.at == clock.at);
  CHECK(issued.expires == unix_ms{static_cast<std::int64_t>(clock.at) + 30'000});
  CHECK(issued.ticket == body_hash{2});
  clock.at = unix_ms{static_cast<std::int64_t>(clock.at) + 29'000};
  const auto tried = proposed_for<core::redeem_code>(
      core::confirm_code{"+4917012345", body_hash{1}, user_id{5}, body_hash{3}, body_hash{2}});
  CHECK(tried.at == clock.at);
  CHECK(tried.at < issued.expires);
  CHECK(tried.key_hash == body_hash{3});
  CHECK(tried.ticket == body_hash{2});
}

TEST_CASE_FIXTURE(fixture, "what became of a code is written with its ticket") {
  for (const std::uint8_t sent : {0, 1}) {
    const auto outcome =
        proposed_for<core::settle_code>(core::report_code{"+4917012345", body_hash{2}, body_hash{1}, sent});
    CHECK(outcome.phone == "+4917012345");
    CHECK(outcome.ticket == body_hash{2});
    CHECK(outcome.code_hash == body_hash{1});
    CHECK(outcome.sent == sent);
  }
}

TEST_CASE_FIXTURE(fixture, "a gateway whose clock is a year ahead does not date a device") {
  core::add_device add{user_id{5}, "+4917012345", {device_id{6}, {}, "phone", unix_ms{1'831'536'000'000}}};
  CHECK(proposed_for<core::put_device>(add).device.since == unix_ms{1'800'000'060'000});
}
