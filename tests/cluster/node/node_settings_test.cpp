// What an operator may set, every part of a node can run with; and parts alone run with what a node runs with.
#include "cluster/node/node_settings.hpp"

#include "cluster/links/links.hpp"
#include "cluster/ops/setting_table.hpp"

#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include <sstream>

using namespace parley;
using namespace parley::cluster;

namespace {

node_config whole() {
  node_config c;
  c.node = node_id{1};
  c.data_dir = "d";
  c.certs_dir = "c";
  c.seeds = {{"127.0.0.1", 7100}};
  c.peer_advertise = c.peer_listen;
  c.client_advertise = c.client_listen;
  return c;
}

founding some_cluster() {
  founding f;
  f.cluster = {1, 2};
  return f;
}

} // namespace

TEST_CASE("every part of a node can run with each setting at either of its bounds") {
  std::size_t tried = 0;
  for (const auto& s : setting_table()) {
    std::istringstream words{s.within};
    std::string from, least, to, most;
    words >> from >> least >> to >> most;
    for (const auto& bound : {from == "at" ? to : least, most}) {
      if (bound.empty() || (from != "from" && from != "at"))
        continue;
      CAPTURE(s.key);
      CAPTURE(bound);
      auto c = whole();
      REQUIRE_FALSE(s.set(c, {bound}));
      if (validate(c)) // a rule between two settings refuses it while the other has its default
        continue;
      ++tried;
      const auto problem = validate_parts(c, some_cluster());
      CHECK_MESSAGE(!problem, problem.value_or(""));
    }
  }
  CHECK(tried > 40);
}

TEST_CASE("clients get no more file descriptors than leave enough for links, files and the admin port") {
  auto c = whole();
  c.connections_max = 15'000;
  c.kj_threads = 2;
  CHECK(!fit_connections(c, 40'000));
  CHECK(c.connections_max == 15'000);
  const auto said = fit_connections(c, 20'000);
  REQUIRE(said);
  for (const auto* words : {"20000", "15000", "limits.connections", "ulimit -n", "LimitNOFILE="})
    CHECK_MESSAGE(said->find(words) != std::string::npos, *said);
  CHECK(c.connections_max * 2 + 256 <= 20'000);
  CHECK(c.connections_max * 2 + 512 > 20'000);
  CHECK(!fit_connections(c, 20'000)); // it fits now
  CHECK(fit_connections(c, 200));     // fewer than the node itself needs: half of them
  CHECK(c.connections_max == 50);
}

TEST_CASE("a setting that a part cannot run with is refused with its name") {
  auto c = whole();
  c.call_timeout = std::chrono::hours{1}; // out of bounds, so that only `validate` would have seen it
  REQUIRE(validate_parts(c, some_cluster()));
  CHECK(validate_parts(c, some_cluster())->find("sessions of clients") != std::string::npos);
  CHECK(validate_parts(whole(), founding{})->find("gateway") != std::string::npos);
  c = whole();
  c.node = node_id::none;
  CHECK(validate_parts(c, some_cluster())->find("router") != std::string::npos);
}

TEST_CASE("one address may take a part of the room before login, whatever room the operator gives") {
  auto c = whole();
  for (const std::uint32_t room : {1'000U, 100'000U, 10U, 8U}) {
    c.connections_before_login_max = room;
    const auto g = gateway_settings(c, some_cluster());
    CHECK(g.pre_login_max == room);
    CHECK(g.pre_login_per_address_max == room / 8);
    CHECK_FALSE(gateway::validate(g));
  }
  auto g = gateway_settings(whole(), some_cluster());
  g.pre_login_per_address_max = g.pre_login_max; // one address could keep everybody else out
  REQUIRE(gateway::validate(g));
  CHECK(gateway::validate(g)->field == "pre_login_per_address_max");
}

TEST_CASE("what clients have under way fits into what the store takes, however many event loops there are") {
  auto c = whole();
  c.call_timeout = std::chrono::seconds{7};
  for (const std::uint32_t loops : {1U, 4U, 64U}) {
    c.kj_threads = loops;
    const auto g = gateway_settings(c, some_cluster());
    CHECK(g.sends_bytes_of_all_max * loops < for_messages(store_settings(c, disk_id{1}).proposals_bytes_max));
    CHECK(g.sends_bytes_of_all_max > body_bytes_max + 1'024); // one of any size
    CHECK(g.sends_held_bytes_of_all_max >= g.sends_bytes_of_all_max);
    CHECK(g.page_wait_max == c.call_timeout);
  }
}

TEST_CASE("who sends all that a user may is not one who seldom sends, and takes turns") {
  auto c = whole();
  for (const std::uint32_t rate : {1U, 2U, 20U, 60U, 100'000U}) {
    c.user_sends_per_second = rate;
    const auto g = gateway_settings(c, some_cluster());
    CHECK(g.sends_seldom_max <= std::max(1U, rate * 4 / 5));
    CHECK(g.sends_seldom_max <= gateway::gateway_config{}.sends_seldom_max);
    CHECK_FALSE(gateway::validate(g));
  }
}

TEST_CASE("codes leave the machine encrypted, and the provider's secret comes from a file") {
  auto c = whole();
  CHECK_FALSE(webhook_settings(c)->has_value()); // the console
  for (const auto* good : {"https://sms.example/send", "https://10.0.0.1:8443/", "http://127.0.0.1:9000/sms",
                           "http://127.9.9.9/", "http://[::1]:9000/", "http://localhost/sms"}) {
    c.code_sender = good;
    REQUIRE(webhook_settings(c));
    CHECK((*webhook_settings(c))->url == good);
  }
  for (const auto* bad :
       {"http://sms.example/send", "http://10.0.0.1/", "http://localhost.example/",
        "http://localhost@sms.example/", "http://127.0.0.1.example/", "https://me:secret@sms.example/",
        "ftp://127.0.0.1/", "http://[2001:db8::1]/", "https://"}) {
    CAPTURE(bad);
    c.code_sender = bad;
    const auto w = webhook_settings(c);
    REQUIRE_FALSE(w);
    CHECK(w.error().starts_with("code.sender: "));
    CHECK(w.error().find("secret@") == std::string::npos);
  }
  c.code_sender = "https://sms.example/send";
  test::scratch_directory scratch;
  c.code_authorization_file = scratch.path().string() + "/secret";
  CHECK_FALSE(webhook_settings(c)); // there is none
  const auto with = [&](const std::string& text) {
    std::ofstream{c.code_authorization_file} << text;
    return webhook_settings(c);
  };
  CHECK((*with("Bearer s3cret\n"))->authorization == "Bearer s3cret");
  for (const std::string& bad : {std::string{}, std::string{"\n\n"},
                                 std::string{"Bearer s3cret\nX-Evil: 1\n"}, std::string(5'000, 's')}) {
    const auto w = with(bad);
    REQUIRE_FALSE(w);
    CHECK(w.error().find("s3cret") == std::string::npos);
  }
}

TEST_CASE(
    "whoever asks for a code is told what became of it before the login deadline closes the connection") {
  auto c = whole();
  c.code_sender = "https://sms.example/send";
  for (const int ms : {100, 5'000, 3'600'000}) {
    const std::chrono::milliseconds deadline{ms};
    c.login_deadline = deadline;
    const auto w = webhook_settings(c);
    CHECK((*w)->deadline < deadline);
    CHECK_FALSE(validate(**w));
  }
}

TEST_CASE("a code counts as lost only after a node had the time to issue it, to hand it over and to say so") {
  auto c = whole();
  c.code_sender = "https://sms.example/send";
  constexpr std::chrono::milliseconds saying_so{500};
  CHECK(c.call_timeout + (*webhook_settings(c))->deadline + saying_so < core::limits{}.code_sending_max);
}

TEST_CASE("a part that is set up alone runs with what a node gives it by default") {
  const auto c = whole();
  const auto f = some_cluster();

  const auto shard = shard_settings(c, f);
  CHECK(shard.resident.passivate_after == resident_config{}.passivate_after);
  CHECK(shard.resident.code_valid == resident_config{}.code_valid);
  CHECK(shard.resident.conversation_burst_max == resident_config{}.conversation_burst_max);
  CHECK(shard.resident.conversation_refill_every == resident_config{}.conversation_refill_every);

  const auto session = session_settings(c);
  CHECK(session.queue_rows_max == session_config{}.queue_rows_max);
  CHECK(session.queue_bytes_max == session_config{}.queue_bytes_max);
  CHECK(session.answer_within == session_config{}.answer_within);
  CHECK(session.sends_burst_max == session_config{}.sends_burst_max);
  CHECK(session.sends_refill_every == session_config{}.sends_refill_every);

  const auto gateway = gateway_settings(c, f);
  const gateway::gateway_config alone;
  CHECK(gateway.listen == alone.listen);
  CHECK(gateway.login_deadline == alone.login_deadline);
  CHECK(gateway.stream.write_deadline == alone.stream.write_deadline);
  CHECK(gateway.connections_max == alone.connections_max);
  CHECK(gateway.pre_login_max == alone.pre_login_max);
  CHECK(gateway.pre_login_per_address_max == alone.pre_login_per_address_max);
  CHECK(gateway.codes_burst == alone.codes_burst);
  CHECK(gateway.registrations_burst == alone.registrations_burst);
  CHECK(gateway.codes_per_hour == alone.codes_per_hour);
  CHECK(gateway.resume_valid_for == alone.resume_valid_for);
  CHECK(gateway.drain_spread == alone.drain_spread);

  const auto store = store_settings(c, disk_id{1});
  CHECK(store.replication.election_timeout == replication_config{}.election_timeout);
  CHECK(store.replication.heartbeat_every == replication_config{}.heartbeat_every);

  const auto disk = storage_settings(c);
  CHECK(disk.reserve_bytes == storage::lmdb_config{}.reserve_bytes);
  CHECK(disk.map_bytes_max == storage::lmdb_config{}.map_bytes_max);

  const auto links = make_links_config(c);
  CHECK(links.sign_of_life == links_config{}.sign_of_life);
  CHECK(links.silence_max == links_config{}.silence_max);
  CHECK(links.caf_heartbeat == links_config{}.caf_heartbeat);
  CHECK(links.caf_timeout == links_config{}.caf_timeout);
}
