// `parley` in trouble: nodes that are away, older copies, gaps, pipes that are read once, paths that are no text.
#include "protocol/transport/socket.hpp"
#include "tests/protocol/client/tool/node.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

using namespace parley;
using test::count;
using test::node;
using test::run;

TEST_CASE("a message to a person whom the profile knows is kept, whether or not a node answers") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  const std::string away = "--seeds 127.0.0.1:1 --seconds 1 ";
  auto o = n.parley("alice", "send " + away + "--to +4922222222 never");
  CAPTURE(o.text);
  CHECK(o.status == 3);
  CHECK(o.text.find("Nothing was kept") != std::string::npos); // nobody knows yet which conversation it is
  REQUIRE(n.parley("alice", "send --to +4922222222 first").status == 0);
  o = n.parley("alice", "send " + away + "--to +4922222222 second");
  CHECK(o.status == 3);
  CHECK(o.text.find("It is kept, and the next command of this profile sends it.") != std::string::npos);
  CHECK(o.text.find("127.0.0.1:1") != std::string::npos); // why
  o = n.parley("alice", "send " + away + "--to +4922222222 -", "printf 'third\\nfourth\\n' |");
  CHECK(o.status == 3);
  CHECK(o.text.find("Line 1: ") != std::string::npos);
  CHECK(o.text.find("No line after it was sent.") != std::string::npos);
  REQUIRE(n.parley("bob", "sync").status == 0);
  o = n.parley("bob", "send " + away + "--to user-1 answer"); // she wrote first, and is known by her id
  CHECK(o.text.find("It is kept") != std::string::npos);

  CHECK(n.parley("alice", "sync").status == 0);
  o = n.parley("bob", "sync");
  CHECK(count(o.text, "  second\n") == 1);
  CHECK(count(o.text, "  third\n") == 1);
  CHECK(count(o.text, "fourth") == 0);
  CHECK(count(n.parley("alice", "sync").text, "  answer\n") == 1);
}

TEST_CASE("a code is sent once, also if the answer to the request was lost and the command was run again") {
  node n;
  n.with([](test::fake_cluster& cluster) { cluster.code_then_cut = 1'000'000; });
  const std::string ask = "register --phone +4911111111 --seconds 1 ";
  auto o = n.parley("alice", ask + "--request-only");
  CAPTURE(o.text);
  CHECK(o.status == 3);
  CHECK(o.text.find(". If a code comes all the same, run the command again with --code CODE.") !=
        std::string::npos);
  n.with([](test::fake_cluster& cluster) { cluster.code_then_cut = 0; });
  SUBCASE("the code has come") {
    CHECK(n.parley("alice", ask + "--code 123456").status == 0);
  }
  SUBCASE("it is asked for again") {
    CHECK(n.parley("alice", ask + "--request-only").status == 0);
    CHECK(n.parley("alice", ask + "--code 123456").status == 0);
  }
  SUBCASE("it is asked for again and typed") {
    CHECK(n.parley("alice", ask + "--code -", "echo ' 123456 ' |").status == 0);
  }
  n.with([](test::fake_cluster& cluster) { CHECK(cluster.codes_asked == 1); });
}

TEST_CASE("register says whom it tries while nobody answers, and what to look at when it gives up") {
  node n;
  const auto o =
      n.parley("alice", "register --phone +4911111111 --request-only --seconds 3 --seeds 127.0.0.1:1");
  CAPTURE(o.text);
  CHECK(o.status == 3);
  CHECK(o.text.find("Not done yet: trying 127.0.0.1:1. It gives up after 3 s.\n") != std::string::npos);
  CHECK(o.text.find("Check that the cluster is running and that --seeds names its nodes.") !=
        std::string::npos);
}

TEST_CASE("the cluster is asked once which conversation a person is in") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  for (const char* text : {"one", "two", "three"})
    REQUIRE(n.parley("alice", std::string{"send --to +4922222222 "} + text).status == 0);
  REQUIRE(n.parley("alice", "contacts --whom +4922222222 --name Bob").status == 0);
  REQUIRE(n.parley("alice", "chat --with Bob", "echo four |").status == 0);
  REQUIRE(n.parley("alice", "sync --conversation '+49 22222222'").status == 0);
  n.with([](test::fake_cluster& cluster) { CHECK(cluster.opened == 1); });
  CHECK(n.parley("bob", "sync").text.find("  four\n") != std::string::npos);
}

TEST_CASE("a chat reads no more of a pipe than it may keep while the cluster is away") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  REQUIRE(n.parley("alice", "send --to +4922222222 zero").status == 0);
  n.refuse(std::vector<ec>(100'000, ec::overloaded));
  const auto chat = n.command("alice", "--json chat --with +4922222222");
  const auto o = run("seq 1 500 | env " + chat.substr(0, chat.find(' ')) + " timeout -s KILL 4 " +
                     chat.substr(chat.find(' ') + 1));
  CHECK(count(o.text, "\"event\":\"kept\"") > 1);
  CHECK(count(o.text, "\"event\":\"kept\"") <= 64 + 1); // and that of the history
  CHECK(count(o.text, "\"counter\":0,\"seq\":1,\"body\":\"zero\"") == 1);
  n.refuse({});
  CHECK(n.parley("alice", "sync").status == 0);
  CHECK(n.parley("bob", "sync").text.find(" 1\n") != std::string::npos);
}

TEST_CASE("messages that cannot be fetched are reported") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  REQUIRE(n.parley("alice", "send --to +4922222222 -", "printf 'one\\ntwo\\nthree\\n' |").status == 0);
  n.with([](test::fake_cluster& cluster) {
    cluster.lost_seqs = {1, 2};
    cluster.sync_refusals = 1'000;
    cluster.sync_refusal = ec::not_a_member;
  });
  SUBCASE("to a person") {
    const auto o = n.parley("bob", "sync");
    CAPTURE(o.text);
    CHECK(o.status == 0);
    CHECK(o.text.find("  three\n") != std::string::npos);
    CHECK(o.text.find("The messages 1 to 2 of a conversation could not be fetched") != std::string::npos);
  }
  SUBCASE("to a program") {
    const auto o = n.parley("bob", "sync --json");
    CAPTURE(o.text);
    CHECK(o.text.find("\"event\":\"gap\",\"text\":\"The messages 1 to 2 ") != std::string::npos);
  }
}

TEST_CASE("older copies, of a profile and of the cluster, are reported with what was lost") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  REQUIRE(n.parley("alice", "send --to +4922222222 kept").status == 0);
  REQUIRE(n.parley("bob", "sync").status == 0);
  std::string json;
  SUBCASE("to a person") {}
  SUBCASE("to a program") {
    json = "--json ";
  }
  const auto profiles = n.dir + "/bob";
  REQUIRE(run("cp -a " + profiles + " " + profiles + ".old").status == 0);
  auto copy = std::make_shared<test::fake_cluster::disks>();
  n.with([copy](test::fake_cluster& cluster) { *copy = cluster.copy(); });
  REQUIRE(n.parley("alice", "send --to +4922222222 'later words'").status == 0);
  REQUIRE(n.parley("bob", "sync").status == 0);

  REQUIRE(run("mv " + profiles + " " + profiles + ".new && cp -a " + profiles + ".old " + profiles).status ==
          0);
  auto o = n.parley("bob", json + "sync");
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(count(o.text, (json.empty() ? "parley: " : "{\"event\":\"old-copy\",\"text\":\"") +
                          std::string{"This profile was put back from an older copy."}) == 1);
  CHECK(o.text.find("later words") != std::string::npos); // fetched again

  n.with([copy](test::fake_cluster& cluster) {
    cluster.cut_all();
    cluster.put_back(*copy);
  });
  REQUIRE(n.parley("alice", "send --to +4922222222 new").status == 0);
  o = n.parley("bob", json + "sync");
  CHECK(o.status == 0);
  CHECK(count(o.text, (json.empty() ? "parley: " : "{\"event\":\"lost\",\"text\":\"") +
                          std::string{"The cluster was put back to an older copy and has lost message 2 of a "
                                      "conversation: "} +
                          (json.empty() ? "\"later words\"." : "\\\"later words\\\".")) == 1);
  CHECK(o.text.find(json.empty() ? "  new\n" : "\"body\":\"new\"") != std::string::npos);
  CHECK(n.parley("bob", json + "sync").text.find("older copy") == std::string::npos); // once
}

TEST_CASE("send --wait ends as fenced if the device connects elsewhere meanwhile") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  test::output o;
  const auto seen = n.dir + "/alice.out";
  std::thread alice{[&] { o = n.parley("alice", "send --wait read --to +4922222222 hello >" + seen); }};
  while (run("cat " + seen).text.find("sent") == std::string::npos)
    std::this_thread::yield();
  n.with([](test::fake_cluster& cluster) { cluster.close_all(ec::fenced, 0); });
  alice.join();
  const auto said = run("cat " + seen).text;
  CAPTURE(said);
  CHECK(o.status == 5);
  CHECK(said.find(describe(ec::fenced).sentence) != std::string::npos);
}

TEST_CASE("a program that is run as a command has the signals as parley was started with them") {
  test::scratch_directory scratch;
  std::ofstream{scratch.path() / "parley-signals"} << "#!/bin/sh\ngrep SigIgn /proc/$$/status\n";
  std::filesystem::permissions(scratch.path() / "parley-signals", std::filesystem::perms::owner_all);
  const auto ignored = [&](const std::string& how) {
    const auto o = run("PATH=" + scratch.path().string() + ":$PATH env " + how + " " PARLEY_TOOL " signals");
    CAPTURE(o.text);
    REQUIRE(o.status == 0);
    return (std::stoull(o.text.substr(o.text.find('\t')), nullptr, 16) >> (SIGPIPE - 1) & 1) != 0;
  };
  CHECK_FALSE(ignored("--default-signal=PIPE"));
  CHECK(ignored("--ignore-signal=PIPE"));
}

TEST_CASE("the authority's certificate may come from a pipe, and is kept in the profile") {
  node n;
  const auto o =
      n.parley("alice", "register --phone +4911111111 --code-from " + n.dir + "/console --ca /dev/stdin",
               "cat " + n.dir + "/certs/client-ca.pem |");
  CAPTURE(o.text);
  REQUIRE(o.status == 0);
  CHECK(run("cmp " + n.dir + "/certs/client-ca.pem " + n.dir + "/alice/ca.pem").status == 0);
  CHECK(run(std::string{PARLEY_TOOL} + " --profile " + n.dir + "/alice sync").status == 0);
}

TEST_CASE("a key that does not fit is refused with a sentence, and nothing else is written") {
  node n;
  n.enter("alice", "+4911111111");
  std::ofstream{n.dir + "/alice/key", std::ios::binary} << std::string(32, 'x');
  const auto o = n.parley("alice", "contacts");
  CAPTURE(o.text);
  CHECK(o.status == 4);
  CHECK(o.text.find("parley: The key does not fit ") == 0);
  CHECK(count(o.text, "\n") == 1);
}

TEST_CASE("a path that is no text is shown as far as it is, and one that cannot be looked at is no absence") {
  node n;
  auto o = n.parley("al\xffice", "sync");
  CAPTURE(o.text);
  CHECK(o.status == 4);
  CHECK(o.text.find("There is no registered profile in " + n.dir + "/al�ice, so nothing was done") !=
        std::string::npos);
  REQUIRE(run("ln -s loop " + n.dir + "/loop").status == 0);
  for (const char* command : {"sync", "register --phone +4911111111 --code -"}) {
    o = run(std::string{PARLEY_TOOL} + " --profile " + n.dir + "/loop " + command);
    CAPTURE(o.text);
    CHECK(o.status == 4);
    CHECK(o.text.find(n.dir + "/loop cannot be looked at: Too many levels of symbolic links.") !=
          std::string::npos);
  }
}

TEST_CASE("a message that is not UTF-8 is refused, and so is such a line, with no line after it") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  auto o = n.parley("alice", "send --to +4922222222 \"$(printf 'Gr\\374\\337e')\"");
  CAPTURE(o.text);
  CHECK(o.status == 2);
  CHECK(o.text.find("The message is not UTF-8, so nothing was sent") != std::string::npos);
  o = n.parley("alice", "send --to +4922222222 -", "printf 'one\\nGr\\374\\337e\\nthree\\n' |");
  CAPTURE(o.text);
  CHECK(o.status == 1);
  CHECK(
      o.text.find("Line 2 was refused. The lines before it were sent, and none after it: It is not UTF-8") !=
      std::string::npos);
  CHECK(o.text.find("nothing was done") == std::string::npos);
  o = n.parley("bob", "sync");
  CHECK(o.text.find("one") != std::string::npos);
  CHECK(o.text.find("no text") == std::string::npos);
  CHECK(o.text.find("three") == std::string::npos);
}

TEST_CASE("numbers that `top` writes as JSON are whole, and are null where a page has none") {
  const auto listening = transport::listen_on(*transport::resolve({"127.0.0.1", 0}), 8);
  REQUIRE(listening);
  const auto port = transport::local_port(listening->get());
  std::thread admin{[&] {
    for (unsigned n = 0; n < 2; ++n) {
      pollfd p{listening->get(), POLLIN, 0}; // it does not block
      ::poll(&p, 1, -1);
      const kj::AutoCloseFd fd{::accept(listening->get(), nullptr, nullptr)};
      char asked[1024];
      if (::read(fd.get(), asked, sizeof asked) <= 0)
        return;
      const std::string page = "HTTP/1.0 200 OK\r\n\r\nparley_ready 1\nparley_sessions 12345\n"
                               "parley_link_up inf\nparley_delivery_queue_rows nan\n";
      if (::write(fd.get(), page.data(), page.size()) < 0)
        return;
    }
  }};
  const auto o = run(std::string{PARLEY_TOOL} +
                     " top --json --times 1 --every 0.1 --admin 127.0.0.1:" + std::to_string(port));
  admin.join();
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(o.text.find("\"sessions\":12345,") != std::string::npos);
  CHECK(o.text.find("\"peers_up\":null,") != std::string::npos);
  CHECK(o.text.find("\"delivery_queue_rows\":null,") != std::string::npos);
}
