#include "actors/shard.hpp"
#include "tests/support/actor_fixture.hpp"
#include "tests/support/fake_reader.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

using namespace parley;
using namespace std::chrono_literals;

namespace {

/// Fails as a handler with a bug would.
struct faulty_reader final : test::fake_reader {
  bool faulty = false;
  bool forgets = false; ///< the view of a moment ago has nothing yet
  int heads_read = 0;
  bool has_subject(shard_id, const core::call&) override { return !forgets; }
  found_conversation head(shard_id s, conversation_id c) override {
    ++heads_read;
    if (faulty)
      throw std::runtime_error{"a planted bug"};
    return fake_reader::head(s, c);
  }
};

struct fixture : test::actor_fixture {
  const user_id alice{1}, bob{2};
  const conversation_id room = core::direct_conversation(alice, bob);
  faulty_reader reader;
  fake_store store = make_store();
  fake_router router = make_router();
  sink asker = make_sink();
  shard_config config;
  shard_actor it;
  std::uint64_t term = 0;

  fixture() { reader.heads[room] = {true, {alice, bob}, seq_no{0}}; }
  ~fixture() {
    leads(false);
    for (const auto& p : store.proposals.take())
      store.refuse(p, ec::not_leader);
    for (const auto& r : store.reads.take())
      store.answer(r, ec::not_leader);
    run();
    caf::anon_send_exit(it, caf::exit_reason::user_shutdown);
  }
  void start() {
    it = spawn_shard(sys, shard_id{1}, config, reader, store.handle, router.handle);
    run();
  }
  void leads(bool ready) {
    caf::anon_send(it, core::leadership{shard_id{1}, generation{1}, ++term, node_id{1}, ready});
    run();
  }
  void send(std::uint64_t n, user_id from) { send(std::vector<std::uint64_t>{n}, from); }
  void send(std::vector<std::uint64_t> numbers, user_id from) {
    call_batch b;
    for (auto n : numbers) {
      core::submission s;
      s.conversation = room;
      s.from = from;
      s.id = {device_id{number(from)}, n};
      b.calls.push_back({n, asker.handle, core::call{core::submit{s}}});
    }
    caf::anon_send(it, std::move(b));
    run();
  }
  std::vector<ec> told() {
    std::vector<ec> out;
    for (const auto& a : asker.answers.take())
      out.push_back(core::error_of(a.what));
    return out;
  }
};

using errors = std::vector<ec>;

} // namespace

TEST_CASE_FIXTURE(fixture, "without leadership every call is refused, and nothing is proposed") {
  start();
  send(1, alice);
  CHECK(told() == errors{ec::not_leader});
  CHECK(store.proposals.take().empty());
}

TEST_CASE_FIXTURE(fixture,
                  "if a resident crashes, the call that made it crash and those behind it are answered") {
  start();
  leads(true);
  reader.faulty = true;
  send({1, 2, 3}, alice);
  CHECK(told() == errors{ec::internal, ec::internal, ec::internal});
}

TEST_CASE_FIXTURE(fixture, "calls that wait in a resident that crashes are answered, and the next call finds "
                           "it restarted from storage") {
  start();
  leads(true);
  send(1, alice);
  REQUIRE(store.proposals.take().size() == 1);
  CHECK(reader.heads_read == 1);
  reader.faulty = true;
  send(2, user_id{9}); // not known as a member: it looks again
  CHECK(told() == errors{ec::internal, ec::internal});
  reader.faulty = false;
  const auto before = reader.heads_read;
  send(3, alice);
  CHECK(reader.heads_read == before + 1);
  CHECK(store.proposals.all->size() == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "a shard with as many residents as it may have answers `overloaded` until some passivate") {
  refused_calls refused;
  config.residents_max = 1;
  config.resident.refused = &refused;
  config.resident.passivate_after = 2s;
  start();
  leads(true);
  send(1, alice);
  for (const auto& p : store.proposals.take())
    store.answer(p, core::placement{});
  run();
  CHECK(told() == errors{ec::none});
  const auto other = [&] {
    call_batch b;
    b.calls.push_back({9, asker.handle, core::call{core::list_conversations{alice, {}, 1}}});
    caf::anon_send(it, std::move(b));
    run();
  };
  other();
  CHECK(told() == errors{ec::overloaded});
  CHECK(refused.residents == 1);
  for (int i = 0; i < 4; ++i)
    advance(1s);
  other();
  CHECK(told().empty());
  CHECK(store.reads.all->size() == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "a call about a conversation, a device or a number that does not exist makes no resident") {
  config.residents_max = 1;
  reader.heads.clear();
  reader.forgets = true;
  reader.nobody = true;
  start();
  leads(true);
  call_batch b;
  for (std::uint64_t i = 1; i <= 10; ++i) {
    const conversation_id nothing{i, i};
    core::submission s;
    s.conversation = nothing;
    s.from = alice;
    b.calls.push_back({i, asker.handle, core::call{core::submit{s}}});
    b.calls.push_back({100 + i, asker.handle, core::call{core::mark_read{nothing, alice, seq_no{1}}}});
    b.calls.push_back({200 + i, asker.handle, core::call{core::sync_conversation{nothing, alice, {}, 1}}});
    b.calls.push_back({300 + i, asker.handle, core::call{core::find_device{user_id{i}, device_id{i}}}});
    b.calls.push_back(
        {400 + i, asker.handle, core::call{core::find_phone{"+49" + std::to_string(i), alice}}});
    b.calls.push_back({500 + i, asker.handle,
                       core::call{core::log_in{user_id{i}, device_id{i}, {}, session_number{1}, {}}}});
  }
  caf::anon_send(it, std::move(b));
  run();
  CHECK(told().empty()); // the old view is not the last word
  for (const auto& r : store.reads.take())
    store.answer(r);
  run();
  const auto all = told();
  CHECK(all.size() == 60);
  for (const auto e : all)
    CHECK((e == ec::no_such_conversation || e == ec::no_such_user));
  // There is room for the one that exists.
  reader.heads[room] = {true, {alice, bob}, seq_no{0}};
  reader.forgets = false;
  send(1, alice);
  CHECK(store.proposals.all->size() == 1);
}

TEST_CASE_FIXTURE(fixture, "the end of a session that nobody knows makes no resident") {
  config.residents_max = 1;
  start();
  leads(true);
  call_batch b;
  for (std::uint64_t i = 1; i <= 10; ++i)
    b.calls.push_back({i, asker.handle, core::call{core::detach{user_id{i}, device_id{i}, {}}}});
  caf::anon_send(it, std::move(b));
  run();
  CHECK(told() == errors(10, ec::none));
  send(1, alice);
  CHECK(store.proposals.all->size() == 1);
}

TEST_CASE_FIXTURE(fixture, "a device that was added a moment ago logs in after a fresh look") {
  reader.forgets = true;
  start();
  leads(true);
  call_batch b;
  const core::connection_ref connection{node_id{1}, 1, 1};
  b.calls.push_back(
      {1, asker.handle, core::call{core::log_in{alice, device_id{1}, connection, session_number{1}, {}}}});
  caf::anon_send(it, std::move(b));
  run();
  for (int looks = 0; looks < 2; ++looks) { // the shard's, then the inbox's
    CHECK(asker.answers.all->empty());
    for (const auto& r : store.reads.take())
      store.answer(r);
    run();
  }
  CHECK(told() == errors{ec::none});
}

TEST_CASE_FIXTURE(fixture, "a conversation that was opened a moment ago is served after a fresh look") {
  reader.forgets = true;
  start();
  leads(true);
  send(1, alice);
  CHECK(store.proposals.all->empty());
  for (const auto& r : store.reads.take())
    store.answer(r);
  run();
  CHECK(store.proposals.all->size() == 1); // by its resident
}

TEST_CASE_FIXTURE(fixture, "an idle resident is stopped, and the next call starts it again from storage") {
  config.resident.passivate_after = 2s;
  start();
  leads(true);
  for (int round = 1; round <= 3; ++round) {
    send(static_cast<std::uint64_t>(round), alice);
    CHECK(reader.heads_read == round);
    for (const auto& p : store.proposals.take())
      store.answer(p, core::placement{});
    run();
    CHECK(told() == errors{ec::none});
    for (int i = 0; i < 4; ++i)
      advance(1s);
  }
}

TEST_CASE_FIXTURE(fixture, "the account of a phone leaves memory soon after its calls: strangers name many") {
  config.residents_max = 1;
  start();
  leads(true);
  call_batch b;
  b.calls.push_back({1, asker.handle, core::call{core::request_code{"+491700000001", {}, {}, {}}}});
  caf::anon_send(it, std::move(b));
  run();
  send(2, alice);
  CHECK(told() == errors{ec::overloaded}); // the account waits for its answer
  for (const auto& p : store.proposals.take())
    store.answer(p, core::code_issued{});
  run();
  CHECK(told() == errors{ec::none});
  for (int i = 0; i < 3; ++i)
    advance(1s);
  send(3, alice);
  CHECK(told().empty());
  CHECK(store.proposals.all->size() == 1);
}

TEST_CASE_FIXTURE(fixture, "every call that waits when leadership is lost gets an answer") {
  start();
  leads(true);
  send(1, alice);
  leads(false);
  send(2, alice);
  CHECK(told() == errors{ec::not_leader});
  store.refuse(store.proposals.take().at(0), ec::timed_out);
  run();
  CHECK(told() == errors{ec::timed_out});
}

TEST_CASE_FIXTURE(fixture, "with every new leadership the fan-out starts again from the stored debts") {
  start();
  leads(true);
  CHECK(reader.debts_reads == 1);
  leads(true); // lost and won again before anybody said so
  CHECK(reader.debts_reads == 2);
  leads(false);
  CHECK(reader.debts_reads == 2);
}
