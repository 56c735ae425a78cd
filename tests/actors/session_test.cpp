#include "actors/session.hpp"
#include "tests/support/actor_fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace parley;
using namespace std::chrono_literals;

namespace {

struct recording_port final : session_port {
  std::vector<numbered_answer> answers;
  std::vector<core::attached> states;
  int filled = 0;
  std::vector<ec> closes;
  void answered(std::vector<numbered_answer> a) override {
    for (auto& each : a)
      answers.push_back(std::move(each));
  }
  void attached(const core::attached& state) override { states.push_back(state); }
  void rows_ready() override { ++filled; }
  void closed(ec why) override { closes.push_back(why); }
};

core::inbox_row row(std::uint64_t pos, std::size_t bytes = 10) {
  core::message m;
  m.seq = seq_no{pos};
  m.body = std::string(bytes, 'x');
  return {inbox_pos{pos}, core::message_news{seq_no{pos - 1}, m}};
}

struct fixture : test::actor_fixture {
  fake_router router = make_router();
  std::shared_ptr<recording_port> port = std::make_shared<recording_port>();
  std::shared_ptr<delivery_queue> box;
  session_config config;
  session_actor it;
  const core::connection_ref ref{node_id{1}, 5, 77};

  ~fixture() { caf::anon_send_exit(it, caf::exit_reason::user_shutdown); }

  void open() {
    box = std::make_shared<delivery_queue>(config.queue_rows_max, config.queue_bytes_max);
    it = spawn_session(sys, {ref, user_id{1}, device_id{2}, session_number{3}}, config, port, box,
                       router.handle);
    run();
  }
  template <class Call>
  void answer(const routed_call& c, typename Call::answer what) {
    answer_batch b;
    b.answers.push_back({c.number, core::answer_to<Call>{std::move(what)}});
    caf::anon_send(c.reply_to, std::move(b));
    run();
  }
  template <class T>
  routed_call expect() {
    for (auto& c : router.calls.take())
      if (std::holds_alternative<T>(c.what))
        return c;
    FAIL("no such call left");
    return {};
  }
  void attach(core::attached state = {}) {
    open();
    answer<core::attach>(expect<core::attach>(), state);
  }
  void go_live(inbox_pos last = inbox_pos::none) {
    attach();
    caf::anon_send(it, start_streaming{last});
    run();
    core::inbox_page page;
    page.next = last;
    answer<core::pull_inbox>(expect<core::pull_inbox>(), page);
  }
  void push(std::uint64_t after, std::vector<core::inbox_row> rows, ec close = ec::none) {
    delivery_batch b;
    b.deliveries.push_back({ref, inbox_pos{after}, std::move(rows), close});
    caf::anon_send(it, std::move(b));
    run();
  }
  void submit(std::uint64_t n) {
    call_batch b;
    b.calls.push_back({n, answer_sink{}, core::call{core::submit{}}});
    caf::anon_send(it, std::move(b));
    run();
  }
};

} // namespace

TEST_CASE_FIXTURE(fixture, "a call that gets no answer is answered `timed_out` in the end") {
  attach();
  submit(1);
  for (int i = 0; i < 20; ++i)
    advance(500ms);
  REQUIRE_FALSE(port->answers.empty());
  CHECK(port->answers.back().number == 1);
  CHECK(core::error_of(port->answers.back().what) == ec::timed_out);
}

TEST_CASE_FIXTURE(
    fixture, "a session with as many calls without an answer as it may have refuses more, which is counted") {
  refused_calls refused;
  config.refused = &refused;
  config.calls_max = 2; // the attach has its answer by then
  attach();
  for (std::uint64_t n = 1; n <= 3; ++n)
    submit(n);
  REQUIRE(port->answers.size() == 1);
  CHECK(port->answers[0].number == 3);
  CHECK(core::error_of(port->answers[0].what) == ec::overloaded);
  CHECK(refused.calls_of_session == 1);
}

TEST_CASE_FIXTURE(fixture, "an answer of another kind than the call does not lose the call") {
  attach();
  submit(1);
  const auto sent = expect<core::submit>();
  answer<core::propose>(sent, {});
  CHECK(port->answers.empty());
  answer<core::submit>(sent, {});
  REQUIRE(port->answers.size() == 1);
  CHECK(port->answers[0].number == 1);
}

TEST_CASE_FIXTURE(fixture,
                  "a full delivery queue loses nothing: what did not fit is fetched when there is room") {
  config.queue_rows_max = 2;
  go_live();
  push(0, {row(1), row(2), row(3)});
  CHECK(box->rows() == 2);
  push(3, {row(4)}); // while full: the inbox has it
  CHECK(box->rows() == 2);
  CHECK(box->take(10, 1 << 20).size() == 2);
  caf::anon_send(it, atom::took_v);
  run();
  const auto pull = expect<core::pull_inbox>();
  CHECK(std::get<core::pull_inbox>(pull.what).after == inbox_pos{2});
}

TEST_CASE_FIXTURE(fixture,
                  "a push that does not follow the last one makes the session fetch what is missing") {
  go_live(inbox_pos{4});
  push(5, {row(6)});
  CHECK(box->rows() == 0);
  CHECK(std::get<core::pull_inbox>(expect<core::pull_inbox>().what).after == inbox_pos{4});
}

TEST_CASE_FIXTURE(fixture,
                  "a push without rows makes the session fetch what it missed, if it missed anything") {
  go_live(inbox_pos{4});
  push(4, {});
  push(3, {}); // late: rows that were pushed after it have arrived
  CHECK(router.calls.take().empty());
  push(6, {});
  CHECK(std::get<core::pull_inbox>(expect<core::pull_inbox>().what).after == inbox_pos{4});
}

TEST_CASE_FIXTURE(fixture, "rows that are pushed while a page is under way are not lost") {
  attach();
  caf::anon_send(it, start_streaming{});
  run();
  const auto first = expect<core::pull_inbox>();
  push(1, {row(2)});
  core::inbox_page page;
  page.rows.push_back(row(1));
  page.next = inbox_pos{1};
  answer<core::pull_inbox>(first, page);
  CHECK(box->rows() == 1);
  CHECK(std::get<core::pull_inbox>(expect<core::pull_inbox>().what).after == inbox_pos{1});
}

TEST_CASE_FIXTURE(fixture,
                  "however often a stream is begun anew, one page is under way, and the newest counts") {
  attach();
  const auto begin = [&](std::uint64_t after, std::uint64_t stream) {
    box->begin(stream);
    caf::anon_send(it, start_streaming{inbox_pos{after}, stream});
  };
  for (std::uint64_t n = 1; n <= 1'000; ++n)
    begin(n, n);
  run();
  const auto pages = [&] {
    std::vector<routed_call> asked;
    for (auto& c : router.calls.take())
      if (std::holds_alternative<core::pull_inbox>(c.what))
        asked.push_back(c);
    return asked;
  };
  auto asked = pages();
  REQUIRE(asked.size() == 1);
  SUBCASE("its page belongs to a stream that was replaced") {
    core::inbox_page page;
    page.rows.push_back(row(2));
    page.next = inbox_pos{2};
    answer<core::pull_inbox>(asked.front(), page);
  }
  SUBCASE("it is refused") {
    core::inbox_page page;
    page.error = ec::bad_cursor; // the cursor of a stream that was replaced
    answer<core::pull_inbox>(asked.front(), page);
  }
  SUBCASE("it gets no answer") {
    for (int i = 0; i < 5; ++i)
      advance(500ms);
  }
  CHECK(box->rows() == 0);
  asked = pages();
  REQUIRE(asked.size() == 1);
  CHECK(std::get<core::pull_inbox>(asked.front().what).after == inbox_pos{1'000});
  core::inbox_page page;
  page.rows.push_back(row(1'001));
  page.next = inbox_pos{1'001};
  answer<core::pull_inbox>(asked.front(), page);
  CHECK(box->rows() == 1);
  push(1'001, {row(1'002)});
  CHECK(box->rows() == 2);
  CHECK(port->closes.empty());
}

TEST_CASE_FIXTURE(
    fixture, "a new leader is told which session is here, and asked for rows from where the stream stopped") {
  go_live(inbox_pos{9});
  caf::anon_send(it, atom::rehome_v);
  run();
  bool attached = false;
  bool pulled = false;
  for (const auto& c : router.calls.take()) {
    attached = attached || std::holds_alternative<core::attach>(c.what);
    if (auto* p = std::get_if<core::pull_inbox>(&c.what))
      pulled = p->after == inbox_pos{9};
  }
  CHECK(attached);
  CHECK(pulled);
}

TEST_CASE_FIXTURE(fixture, "every announcement carries the session number of its connection, because the "
                           "order of arrival proves nothing") {
  config.attach_every = 5s;
  open();
  std::size_t attaches = 0, pulls = 0;
  const auto look = [&](const routed_call& c) {
    if (auto* a = std::get_if<core::attach>(&c.what)) {
      ++attaches;
      CHECK(a->connection == ref);
      CHECK(a->session == session_number{3});
    }
    if (auto* p = std::get_if<core::pull_inbox>(&c.what)) {
      ++pulls;
      CHECK(p->connection == ref);
      CHECK(p->session == session_number{3});
    }
  };
  const auto first = expect<core::attach>();
  look(first);
  answer<core::attach>(first, {});
  caf::anon_send(it, start_streaming{});
  for (auto waited = 0ms; waited < 10s; waited += 500ms)
    advance(500ms); // heartbeats, and pulls that nobody answers
  caf::anon_send(it, atom::rehome_v);
  run();
  for (const auto& c : router.calls.take())
    look(c);
  CHECK(attaches >= 3);
  CHECK(pulls >= 2);
}

TEST_CASE_FIXTURE(fixture, "an acknowledgement that was lost with a leader is repeated to the next one") {
  attach();
  call_batch b;
  b.calls.push_back(
      {1, answer_sink{}, core::call{core::acknowledge{user_id{1}, device_id{2}, inbox_pos{7}}}});
  caf::anon_send(it, std::move(b));
  run();
  router.calls.take();
  caf::anon_send(it, atom::rehome_v);
  run();
  core::attached state;
  state.acknowledged = inbox_pos{3};
  answer<core::attach>(expect<core::attach>(), state);
  CHECK(std::get<core::acknowledge>(expect<core::acknowledge>().what).upto == inbox_pos{7});
}

TEST_CASE_FIXTURE(fixture,
                  "what an earlier session of the device acknowledged is repeated to the next leader") {
  core::attached state;
  state.acknowledged = inbox_pos{7}; // the leader counts what it has not written yet
  attach(state);
  caf::anon_send(it, atom::rehome_v);
  run();
  state.acknowledged = inbox_pos{3};
  answer<core::attach>(expect<core::attach>(), state);
  CHECK(std::get<core::acknowledge>(expect<core::acknowledge>().what).upto == inbox_pos{7});
}

TEST_CASE_FIXTURE(fixture, "a fenced connection is closed once, with the reason") {
  go_live();
  push(0, {}, ec::fenced);
  push(0, {}, ec::fenced);
  REQUIRE(port->closes.size() == 1);
  CHECK(port->closes[0] == ec::fenced);
}

TEST_CASE_FIXTURE(fixture,
                  "live rows reach the delivery queue in order, with one notification for each push") {
  go_live();
  push(0, {row(1), row(2)});
  push(2, {row(3)});
  const auto rows = box->take(10, 1 << 20);
  REQUIRE(rows.size() == 3);
  CHECK(rows[2].row.pos == inbox_pos{3});
  CHECK(port->filled == 2);
}

TEST_CASE("a delivery queue accepts a single row of any size, and otherwise keeps its bounds") {
  delivery_queue box{10, 70'000};
  std::vector<core::inbox_row> rows;
  rows.push_back(row(1, 65'536));
  rows.push_back(row(2, 65'536));
  CHECK(box.put(rows) == 1);
  CHECK(box.take(10, 1000).size() == 1);
  CHECK(box.take(10, 1000).empty());
}

TEST_CASE(
    "the depth of all delivery queues is what they hold, also after one was destroyed with rows in it") {
  delivery_totals all;
  auto& depth = all.rows;
  delivery_queue stays{10, 70'000, &all};
  std::vector<core::inbox_row> rows{row(1), row(2), row(3)};
  {
    delivery_queue goes{2, 70'000, &all};
    CHECK(goes.put(rows) == 2);
    CHECK(stays.put(rows) == 3);
    CHECK(depth == 5);
    CHECK(stays.take(1, 1000).size() == 1);
    CHECK(depth == 4);
  }
  CHECK(depth == 2);
  CHECK(all.bytes > 0);
  CHECK(stays.take(10, 1000).size() == 2);
  CHECK(all.bytes == 0);
}

TEST_CASE("while all delivery queues together are crowded, each takes what leaves at once and no more") {
  delivery_totals all{.bytes_max = 100'000};
  delivery_queue full{10, 200'000, &all}, other{1'000, 200'000, &all};
  std::vector large{row(1, 60'000), row(2, 60'000)}, next{row(1, 60'000), row(2, 60'000)},
      rest{row(2, 60'000)};
  CHECK(full.put(large) == 2);
  CHECK(other.put(next) == 1); // a lone row always fits
  CHECK(other.take(10, 1 << 20).size() == 1);
  std::vector<core::inbox_row> small;
  for (std::uint64_t n = 3; n <= 200; ++n)
    small.push_back(row(n, 1'000));
  const auto fits = delivery_queue::crowded_bytes_max / delivery_queue::weight(small[0]);
  CHECK(other.put(small) == fits);
  full.begin(1); // its client asks anew
  CHECK(all.bytes == fits * delivery_queue::weight(row(3, 1'000)));
  CHECK(other.put(rest) == 1);
}

TEST_CASE_FIXTURE(fixture, "a client that asks anew from where to stream gets no row of the stream before") {
  attach();
  box->begin(1);
  caf::anon_send(it, start_streaming{inbox_pos::none, 1});
  run();
  answer<core::pull_inbox>(expect<core::pull_inbox>(), {});
  push(0, {row(138), row(139)});
  CHECK(box->rows() == 2);
  box->begin(2); // the gateway's thread, before the session hears of it
  CHECK(box->rows() == 0);
  push(139, {row(140)});
  CHECK(box->rows() == 0);
  caf::anon_send(it, start_streaming{inbox_pos::none, 2});
  run();
  core::inbox_page page;
  page.rows = {row(1), row(2)};
  page.next = inbox_pos{2};
  page.more = 1;
  answer<core::pull_inbox>(expect<core::pull_inbox>(), page);
  const auto first = box->take(10, 70'000);
  REQUIRE(first.size() == 2);
  CHECK(first[0].row.pos == inbox_pos{1});
  CHECK(expect<core::pull_inbox>().number != 0); // and goes on from there
}

TEST_CASE("what a delivery queue drops is no longer counted as waiting, and makes room") {
  delivery_totals all;
  auto& depth = all.rows;
  delivery_queue box{2, 70'000, &all};
  std::vector rows{row(1), row(2), row(3)};
  CHECK(box.put(rows) == 2);
  CHECK(depth == 2);
  box.begin(1);
  CHECK(depth == 0);
  std::vector late{row(3)}, next{row(1), row(2)};
  CHECK(box.put(late) == 0);
  CHECK(box.put(next, {}, 1) == 2);
  CHECK(box.take(10, 70'000).size() == 2);
  CHECK(depth == 0);
}

TEST_CASE_FIXTURE(fixture, "pushed rows carry the time of their commit, and fetched rows carry none") {
  go_live();
  const auto at = std::chrono::steady_clock::now() - 1h;
  delivery d{ref, inbox_pos{0}, {row(1)}, ec::none, at};
  delivery_batch b;
  b.deliveries.push_back(std::move(d));
  caf::anon_send(it, std::move(b));
  run();
  auto rows = box->take(10, 1 << 20);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].applied_at == at);
  std::vector<core::inbox_row> fetched{row(2)};
  CHECK(box->put(fetched) == 1);
  CHECK(box->take(10, 1 << 20).at(0).applied_at == core::moment{});
}

TEST_CASE("nodes send each other ages of rows, not times, and an impossible age is bounded") {
  const auto now = std::chrono::steady_clock::now();
  CHECK(core::age_us({}, now) == 0);
  CHECK(core::age_us(now + 1s, now) == 0);
  CHECK(core::age_us(now - 3ms, now) == 3000);
  CHECK(core::aged(3000, now) == now - 3ms);
  CHECK(core::aged(~0ULL, now) == now - 1h);
}

TEST_CASE_FIXTURE(fixture,
                  "a pull that gets no answer is repeated, long before a client's call would time out") {
  attach();
  caf::anon_send(it, start_streaming{});
  run();
  const auto lost = expect<core::pull_inbox>();
  for (auto waited = 0ms; waited < config.own_answer_within + config.sweep_every; waited += 500ms)
    advance(500ms);
  const auto again = expect<core::pull_inbox>();
  CHECK(again.number != lost.number);
  core::inbox_page page;
  page.rows.push_back(row(1));
  page.next = inbox_pos{1};
  answer<core::pull_inbox>(lost, page); // too late: it must not count twice
  CHECK(box->rows() == 0);
  answer<core::pull_inbox>(again, page);
  CHECK(box->rows() == 1);
}

TEST_CASE_FIXTURE(
    fixture,
    "a session to which nothing is pushed asks for what there is, whether it lacks anything or not") {
  config.attach_every = 5s;
  go_live(inbox_pos{9});
  const auto pulls_after = [&](std::uint8_t live) {
    advance(5s);
    core::attached state; // its inbox has passivated, because it had not heard of the session for long
    state.last = inbox_pos{9};
    state.live = live;
    answer<core::attach>(expect<core::attach>(), state);
    return std::ranges::count_if(
        router.calls.take(), [](const auto& c) { return std::holds_alternative<core::pull_inbox>(c.what); });
  };
  CHECK(pulls_after(1) == 0);
  CHECK(pulls_after(0) == 1);
}

TEST_CASE_FIXTURE(fixture, "a heartbeat that gets no answer is repeated") {
  config.attach_every = 5s;
  attach();
  const auto beats = [&] {
    std::size_t n = 0;
    for (const auto& c : router.calls.take())
      n += std::holds_alternative<core::attach>(c.what);
    return n;
  };
  CHECK(beats() == 0);
  for (auto waited = 0ms; waited < 20s; waited += 500ms)
    advance(500ms);
  CHECK(beats() >= 2);
  CHECK(port->closes.empty());
}

TEST_CASE_FIXTURE(fixture, "the gateway is told when the first attach is refused") {
  open();
  core::attached refused;
  refused.error = ec::unavailable;
  answer<core::attach>(expect<core::attach>(), refused);
  REQUIRE(port->states.size() == 1);
  CHECK(port->states[0].error == ec::unavailable);
  CHECK(port->answers.empty()); // it is no answer to a call of the gateway's
}

TEST_CASE_FIXTURE(fixture, "the first announcement carries the key of a login, later ones need none") {
  std::array<std::uint8_t, 32> key{};
  key.fill(5);
  box = std::make_shared<delivery_queue>(config.queue_rows_max, config.queue_bytes_max);
  it = spawn_session(sys, {ref, user_id{1}, device_id{2}, session_number{3}, key}, config, port, box,
                     router.handle);
  run();
  const auto login = expect<core::log_in>();
  CHECK(std::get<core::log_in>(login.what).key == key);
  caf::anon_send(it, atom::rehome_v); // before it is anybody's session
  run();
  CHECK(router.calls.take().empty());
  for (auto waited = 0ms; waited < config.own_answer_within + 1s; waited += 500ms) // for an election, perhaps
    advance(500ms);
  CHECK(port->states.empty());
  answer<core::log_in>(login, {});
  REQUIRE(port->states.size() == 1);
  CHECK(port->states[0].error == ec::none);
  caf::anon_send(it, atom::rehome_v);
  run();
  answer<core::attach>(expect<core::attach>(), {});
  CHECK(port->states.size() == 2);
}

TEST_CASE_FIXTURE(fixture,
                  "after each later attach that succeeds the gateway is told how many devices the user has") {
  attach();
  REQUIRE(port->states.size() == 1);
  core::attached refused;
  refused.error = ec::unavailable;
  caf::anon_send(it, atom::rehome_v);
  run();
  answer<core::attach>(expect<core::attach>(), refused);
  CHECK(port->states.size() == 1);
  core::attached state;
  state.devices = 2;
  caf::anon_send(it, atom::rehome_v);
  run();
  answer<core::attach>(expect<core::attach>(), state);
  REQUIRE(port->states.size() == 2);
  CHECK(port->states[1].devices == 2);
}
