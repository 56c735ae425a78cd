// `parley chat` at a terminal: signals, stopping, pasting, resizing.
#include "tests/protocol/client/tool/node.hpp"
#include "tests/protocol/client/tool/terminal.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

using namespace parley;
using test::node;
using test::terminal;

namespace {

/// A port that takes connections and never says a word.
struct silent_port {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::uint16_t port = 0;
  silent_port() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(fd, 8) == 0);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
  }
  ~silent_port() { ::close(fd); }
};

/// The number behind "pid " on the screen.
std::string pid_on(const terminal& t) {
  const auto at = t.screen.rfind("pid ") + 4;
  return t.screen.substr(at, t.screen.find('.', at) - at);
}

struct pair_of_people : node {
  pair_of_people() {
    enter("alice", "+4911111111");
    enter("bob", "+4922222222");
  }
  std::string chat(const std::string& more = "") const {
    return command("alice", "chat --with +4922222222 " + more);
  }
};

} // namespace

TEST_CASE("a chat dies of a signal at once in each of its phases, and leaves the terminal as it was") {
  pair_of_people n;
  const silent_port nobody;
  terminal t;
  struct way {
    std::string key;    ///< typed, or
    std::string signal; ///< sent
    int status;
  };
  unsigned number = 0;
  for (const auto& [key, signal, status] : {way{"\x03", "", 130}, way{"\x1c", "", 131}, way{"", "TERM", 143},
                                            way{"", "HUP", 129}, way{"", "INT", 130}}) {
    for (const std::string phase : {"connecting", "talking", "ending"}) {
      CAPTURE(key + signal);
      CAPTURE(phase);
      n.refuse(std::vector<ec>(phase == "ending" ? 10'000 : 0, ec::overloaded));
      t.type("ulimit -c 0; " + std::string{"sh -c 'echo \"pid $$.\"; exec env "} +
             n.chat(phase == "connecting" ? "--seeds 127.0.0.1:" + std::to_string(nobody.port) : "") + "'\n");
      REQUIRE(t.shows("pid "));
      REQUIRE(t.sends_lines(false));
      if (phase != "connecting")
        REQUIRE(t.shows("connected to node"));
      if (phase == "ending") {
        const auto text = "kept " + std::to_string(++number);
        t.type(text + "\r");
        REQUIRE(t.shows("·  " + text));
        t.type("\x04");
      }
      if (key.empty())
        ::kill(std::stoi(pid_on(t)), signal == "TERM" ? SIGTERM : signal == "HUP" ? SIGHUP : SIGINT);
      else
        t.type(key);
      REQUIRE(t.sends_lines(true));
      CHECK(t.shows("\x1b[?2004l"));
      t.type("echo status=$?.\n");
      CHECK(t.shows("status=" + std::to_string(status) + "."));
    }
  }
  // What was typed in the ending phase was not lost.
  n.refuse({});
  CHECK(n.parley("alice", "sync").status == 0);
  CHECK(test::count(n.parley("bob", "sync").text, "  kept ") == 5);
}

TEST_CASE("a chat that is stopped gives the terminal back, and takes it again when it goes on") {
  pair_of_people n;
  terminal t;
  t.type(n.chat() + "\n");
  REQUIRE(t.shows("connected to node"));
  REQUIRE(t.sends_lines(false));
  t.type("typed bef");
  REQUIRE(t.shows("typed bef"));
  t.type("\x1a");
  REQUIRE(t.sends_lines(true));
  t.type("echo the shell $((40+2))\n");
  REQUIRE(t.shows("the shell 42"));
  t.type("fg\n");
  REQUIRE(t.sends_lines(false));
  REQUIRE(t.shows("> typed bef")); // drawn again
  t.type("ore\r");
  REQUIRE(t.shows("typed before"));
  t.type("\x04");
  REQUIRE(t.sends_lines(true));
  CHECK(n.parley("bob", "sync").text.find("  typed before\n") != std::string::npos);
}

TEST_CASE("a chat that is put into the background waits for the terminal") {
  pair_of_people n;
  terminal t;
  t.type(n.chat() + "\n");
  REQUIRE(t.shows("connected to node"));
  t.type("\x1a");
  REQUIRE(t.sends_lines(true));
  t.type("bg\n");
  t.type("echo the shell $((40+2))\n");
  REQUIRE(t.shows("the shell 42"));
  REQUIRE(t.sends_lines(true));
  t.type("fg\n");
  REQUIRE(t.sends_lines(false));
  t.type("here again\r\x04");
  REQUIRE(t.sends_lines(true));
  CHECK(n.parley("bob", "sync").text.find("  here again\n") != std::string::npos);
}

TEST_CASE("pasted text is one message, and an emoji of several people arrives whole") {
  pair_of_people n;
  const std::string family = "👨‍👩‍👧‍👦";
  terminal t;
  t.type(n.chat() + "\n");
  REQUIRE(t.shows("\x1b[?2004h")); // text that is pasted shall come in brackets
  REQUIRE(t.shows("connected to node"));
  t.type("\x1b[200~one\rtwo\r\nthree\x1b[201~\r");
  REQUIRE(t.shows("one⏎two⏎three"));
  t.type(family + family + "\x7f\r");
  t.type("\r  \r"); // nothing is typed, so nothing is sent
  t.type("\x04");
  REQUIRE(t.sends_lines(true));
  const auto o = n.parley("bob", "sync --json");
  CAPTURE(o.text);
  CHECK(test::count(o.text, "\"event\":\"message\"") == 2);
  CHECK(o.text.find("\"body\":\"one\\ntwo\\nthree\"") != std::string::npos);
  CHECK(o.text.find("\"body\":\"" + family + "\"") != std::string::npos);
}

TEST_CASE("what is pasted is drawn as it comes, and not once for each of its characters") {
  pair_of_people n;
  const std::string text(20'000, 'x');
  terminal t;
  t.type(n.chat() + "\n");
  REQUIRE(t.shows("connected to node"));
  REQUIRE(t.sends_lines(false));
  const auto before = test::count(t.screen, "\r> ");
  t.type("\x1b[200~" + text + "\x1b[201~.\r");
  REQUIRE(t.shows("xxx.\r"));
  CHECK(test::count(t.screen, "\r> ") - before < 2'000);
  t.type("\x04");
  REQUIRE(t.sends_lines(true));
  CHECK(n.parley("bob", "sync").text.find(text + ".\n") != std::string::npos);
}

TEST_CASE("a line is edited with keys, and what was typed comes back") {
  pair_of_people n;
  terminal t;
  t.type(n.chat() + "\n");
  REQUIRE(t.shows("connected to node"));
  REQUIRE(t.sends_lines(false));
  t.type("ho the\x1b[1;5D\x1b[D\x1b[Dell\x1b[Fre\r"); // a word and two characters back, then to the end
  CHECK(t.shows("·  hello there"));
  t.type("\x1b[A!\r");
  CHECK(t.shows("·  hello there!"));
  t.type("/quit\r");
  REQUIRE(t.sends_lines(true));
  const auto got = n.parley("bob", "sync").text;
  CAPTURE(got);
  CHECK(got.find("  hello there\n") != std::string::npos);
  CHECK(got.find("  hello there!\n") != std::string::npos);
  CHECK(got.find("quit") == std::string::npos);
}

TEST_CASE("a word behind a slash is asked about before it is sent, and two slashes are one that is sent") {
  pair_of_people n;
  terminal t;
  t.type(n.chat() + "\n");
  REQUIRE(t.shows("connected to node"));
  REQUIRE(t.sends_lines(false));
  t.type("/qit\r");
  CHECK(t.shows("\"/qit\" is no command"));
  CHECK(t.shows("> //qit"));
  t.type("\x15/etc/hosts\r");
  REQUIRE(t.shows("> //etc/hosts"));
  t.type("\r");
  CHECK(t.shows("·  /etc/hosts"));
  t.type("//help\r/help\r");
  CHECK(t.shows("//x sends /x"));
  t.type("/quit\r");
  REQUIRE(t.sends_lines(true));
  const auto o = n.parley("bob", "sync --json");
  CAPTURE(o.text);
  CHECK(test::count(o.text, "\"event\":\"message\"") == 2);
  CHECK(o.text.find("\"body\":\"/etc/hosts\"") != std::string::npos);
  CHECK(o.text.find("\"body\":\"/help\"") != std::string::npos);
  CHECK(n.parley("alice", "chat --with +4922222222", "echo /quit |").status == 0); // a program's line is sent
  CHECK(n.parley("bob", "sync").text.find("  /quit\n") != std::string::npos);
}

TEST_CASE("the line that is being typed is drawn again when the terminal changes its size") {
  pair_of_people n;
  terminal t;
  t.type(n.chat() + "\n");
  REQUIRE(t.shows("connected to node"));
  t.type("0123456789abcdefghij");
  REQUIRE(t.shows("> 0123456789abcdefghij"));
  t.resize(14);
  CHECK(t.shows("> abcdefghij")); // what fits
  t.resize(80);
  CHECK(t.shows("> 0123456789abcdefghij"));
}

TEST_CASE("a chat whose output is no terminal, or a dumb one, leaves the keys to the terminal") {
  pair_of_people n;
  terminal t;
  std::string how;
  SUBCASE("a pipe") {
    how = n.chat() + " | cat";
  }
  SUBCASE("a dumb terminal") {
    how = "TERM=dumb " + n.chat();
  }
  SUBCASE("a terminal that shows JSON") {
    how = n.chat("--json");
  }
  t.type(how + "\n");
  REQUIRE(t.shows("connected to node"));
  CHECK(t.sends_lines(true));
  t.type("a line\n");
  CHECK(t.shows("sent"));
  t.type("\x04");
  t.type("echo the shell $((40+2))\n");
  CHECK(t.shows("the shell 42"));
}

TEST_CASE("whoever ended register at its prompt and runs it again types the code that came, or has another "
          "one sent") {
  test::node n;
  terminal t;
  const auto register_again = "env " + n.command("alice", "register --phone +4911111111") + "\n";
  t.type(register_again);
  REQUIRE(t.shows("A code was sent to +4911111111; it is good for"));
  t.type("\x03"); // Ctrl-C
  REQUIRE(t.shows("$ "));
  t.type(register_again);
  REQUIRE(t.shows("A code was sent to +4911111111 before."));
  std::size_t codes = 0;
  SUBCASE("it has come") {
    codes = 1;
  }
  SUBCASE("it has not") {
    codes = 2;
    t.type("\n");
    REQUIRE(t.shows("A code was sent to +4911111111; it is good for"));
  }
  t.type("123456\n");
  CHECK(t.shows("is registered"));
  n.with([&](test::fake_cluster& cluster) { CHECK(cluster.codes_asked == codes); });
}

TEST_CASE("while a chat has the profile open, it sends what other commands want sent") {
  pair_of_people n;
  n.enter("carol", "+4933333333");
  terminal t;
  t.type("sh -c 'echo \"pid $$.\"; exec env " + n.chat() + "'\n");
  REQUIRE(t.shows("connected to node"));
  t.type("ha"); // half a line must not be disturbed
  REQUIRE(t.shows("> ha"));
  auto o = n.parley("alice", "send --to +4922222222 '[from, a script]'");
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(o.text.find("✓ sent") != std::string::npos);
  CHECK(t.shows("[from, a script]"));
  CHECK(t.shows("> ha"));
  o = n.parley("alice", "--json send --to '+49 33333333' -", "printf 'one\n\ntwo\n' |");
  CHECK(o.status == 0);
  CHECK(test::count(o.text, "\"event\":\"sent\"") == 2);
  CHECK(n.parley("alice", "send --to nobody x").status == 2);
  o = n.parley("alice", "send --to +4922222222 -", "(echo ok; head -c 70000 /dev/zero | tr '\\0' x) |");
  CHECK(o.status == 1);
  CHECK(o.text.find("Line 2 was refused. The lines before it were sent") != std::string::npos);
  n.refuse(std::vector<ec>(10'000, ec::overloaded));
  o = n.parley("alice", "send --seconds 1 --to +4922222222 later");
  CHECK(o.status == 3);
  CHECK(o.text.find("keeps it and goes on trying") != std::string::npos);
  n.refuse({});
  CHECK(t.shows("later"));

  o = n.parley("alice", "sync");
  CHECK(o.status == 4);
  CHECK(o.text.find("(process " + pid_on(t) + ")") != std::string::npos);
  ::kill(std::stoi(pid_on(t)), SIGKILL); // its socket stays, and nobody listens there
  o = n.parley("alice", "send --wait-for-profile 10 --to +4922222222 alone");
  CHECK(o.status == 0);
  CHECK(n.parley("bob", "sync").text.find("  [from, a script]\n") != std::string::npos);
  CHECK(n.parley("carol", "sync").text.find("  two\n") != std::string::npos);
}

TEST_CASE("what a chat has not read is not called kept, and what it has read is kept if nobody answers") {
  pair_of_people n;
  terminal t;
  t.type("sh -c 'echo \"pid $$.\"; exec env " + n.chat() + "'\n");
  t.type("ha"); // what is typed is read when errands are
  REQUIRE(t.shows("> ha"));
  SUBCASE("a chat that is stopped reads nothing") {
    t.type("\x1a");
    REQUIRE(t.sends_lines(true));
    const auto o = n.parley("alice", "send --seconds 1 --to +4922222222 unread");
    CAPTURE(o.text);
    CHECK(o.status == 3);
    CHECK(o.text.find("keeps it") == std::string::npos);
    CHECK(o.text.find("before you send it again") != std::string::npos);
  }
  SUBCASE("a chat that has no connection keeps what is for a person that it knows, and says so") {
    n.with([&n](test::fake_cluster& cluster) {
      cluster.login_refusal = cluster.resume_refusal = ec::unavailable;
      cluster.cut_all();
    });
    REQUIRE(t.shows("not connected"));
    auto o = n.parley("alice", "send --seconds 1 --to +4922222222 known");
    CAPTURE(o.text);
    CHECK(o.status == 3);
    CHECK(o.text.find("keeps it and goes on trying") != std::string::npos);
    CHECK(t.shows("known"));
    o = n.parley("alice", "send --seconds 1 --to +4933333333 unknown");
    CHECK(o.status == 3);
    CHECK(o.text.find("keeps it") == std::string::npos);
    n.with([](test::fake_cluster& cluster) { cluster.login_refusal = cluster.resume_refusal = ec::none; });
    REQUIRE(t.shows("connected to node"));
    t.type("\x15\x04");
    REQUIRE(t.sends_lines(true));
    CHECK(n.parley("bob", "sync").text.find("  known\n") != std::string::npos);
  }
}

TEST_CASE("what was typed into a chat that ends is not run by the shell") {
  pair_of_people n;
  const silent_port nobody;
  terminal t;
  std::string seconds = "60";
  SUBCASE("by a signal") {}
  SUBCASE("by a failure") {
    seconds = "1";
  }
  t.type("sh -c 'echo \"pid $$.\"; exec env " +
         n.chat("--seeds 127.0.0.1:" + std::to_string(nobody.port) + " --seconds " + seconds) + "'\n");
  REQUIRE(t.shows("pid "));
  REQUIRE(t.sends_lines(false));
  t.type("echo should not run $((40+2))\r");
  if (seconds != "1")
    ::kill(std::stoi(pid_on(t)), SIGTERM);
  REQUIRE(t.sends_lines(true));
  t.type("echo the shell $((50+2))\n");
  REQUIRE(t.shows("the shell 52"));
  CHECK(t.screen.find("should not run 42") == std::string::npos);
}
