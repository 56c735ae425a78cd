#include "actors/resident.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_reader.hpp"

#include <doctest/doctest.h>

using namespace parley;

namespace {

struct fixture : test::actor_fixture {
  const user_id alice{1};
  const device_id phone{10};
  test::fake_reader reader;
  fake_store store = make_store();
  fake_router router = make_router();
  sink asker = make_sink();
  std::shared_ptr<int> idles = std::make_shared<int>(0);
  account_actor it = spawn_account(sys, {shard_id{1},
                                         core::format_number::newest,
                                         {resident_kind::account, 0, 1},
                                         7,
                                         {},
                                         &reader,
                                         store.handle,
                                         router.handle,
                                         make_silent_shard(idles)});
  ~fixture() { caf::anon_send_exit(it, caf::exit_reason::user_shutdown); }

  void ask(device_id device) {
    call(it, asker.handle, 1, core::call{core::find_device{alice, device}});
    run();
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture,
                  "a device that an old view has is found at once, because devices stay as they are") {
  reader.found.device.name = "phone";
  ask(phone);
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(std::get<core::answer_to<core::find_device>>(answers[0].what).what.device.name == "phone");
  CHECK(store.reads.take().empty());
}

TEST_CASE_FIXTURE(fixture, "that a user exists is known at once, whichever devices there are meanwhile") {
  reader.found.error = ec::no_such_user;
  reader.found.devices = 1;
  ask(device_id{});
  CHECK(asker.answers.take().size() == 1);
  CHECK(store.reads.take().empty());
}

TEST_CASE_FIXTURE(fixture, "what an old view does not have is looked up in a fresh one") {
  reader.found.error = ec::no_such_user;
  SUBCASE("a user") {
    ask(device_id{});
  }
  SUBCASE("a device of a user that exists") {
    reader.found.devices = 1;
    ask(phone);
  }
  SUBCASE("a device whose record cannot be read") {
    reader.found.error = ec::corrupt;
    ask(phone);
  }
  CHECK(asker.answers.take().empty());
  reader.found = {};
  const auto reads = store.reads.take();
  REQUIRE(reads.size() == 1);
  store.answer(reads[0]);
  run();
  const auto answers = asker.answers.take();
  REQUIRE(answers.size() == 1);
  CHECK(core::error_of(answers[0].what) == ec::none);
}
