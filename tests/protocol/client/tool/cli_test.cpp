// `parley` as a person and a script run it, against a node in this process, over TLS.
#include "protocol/client/tool/commands.hpp"
#include "tests/protocol/client/tool/node.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

using namespace parley;
using test::count;
using test::node;
using test::output;
using test::run;

TEST_CASE("strangers, wrong codes and wrong authorities are refused with a sentence and a status") {
  node n;
  auto o = n.parley("alice", "send --to +4922222222 hello");
  CHECK(o.status == 4);
  CHECK(o.text.find("parley register") != std::string::npos);
  o = n.parley("alice", "register --phone +4911111111 --code 123456");
  CHECK(o.status == 1); // the code of another profile
  CHECK(o.text.find("has not asked for a code") != std::string::npos);
  o = n.parley("alice", "register --phone +4911111111 --request-only");
  CHECK(o.status == 0);
  o = n.parley("alice", "register --phone +4911111111 --code 000000");
  CHECK(o.status == 1);
  CHECK(o.text.find("code is wrong") != std::string::npos);
  CHECK(o.text.find("run `parley register --profile " + n.dir +
                    "/alice --phone +4911111111 --code CODE`; for a new one") != std::string::npos);
  o = n.parley("alice", "register --phone 11 --code 123456");
  CHECK(o.status == 2);
  o = n.parley("alice", "register --phone +4911111111 --seconds 1 --code 123456", "", "node-ca.pem");
  CHECK(o.status == 3); // a certificate of an authority that was not asked for
  o = n.parley("alice", "nonsense");
  CHECK(o.status == 2);
}

TEST_CASE("a command line that cannot be understood says what is accepted") {
  const std::string parley = PARLEY_TOOL;
  const auto says = [&](const std::string& arguments, const std::string& sentence) {
    const auto o = run(parley + " " + arguments);
    CAPTURE(o.text);
    CHECK(o.status == 2);
    CHECK(o.text.find(sentence) != std::string::npos);
  };
  says("", "No command was given.");
  says("nonsense", "There is no command `nonsense`, and no program `parley-nonsense`");
  says("--profile x nonsense", "There is no command `nonsense`");
  says("../nonsense", "There is no command");
  says("send --to +4922222222", "Run `parley send --help`");
  says("send --to +4922222222 --wait never x", "give one of sent, delivered, read");
  says("sync --seconds 0", "give a number from 1 to 86400");
  says("sync --seconds soon", "soon");
  says("sync --after 5", "--after goes with --conversation");
  says("register --phone +4922222222 --device-name " + std::string(1'000, 'x'),
       "--device-name is text of at most");
  says("register --phone +4922222222 --device-name \"$(printf 'Gr\\374\\337e')\"",
       "--device-name is not UTF-8");
  says("sync --read --conversation +4922222222", "Leave one of them out");
  says("register --phone +4922222222 --request-only --code 123456", "Leave one of them out");
  says("top --admin-ca /nowhere", "There is no file /nowhere.");
  CHECK(run(parley + " send --help").status == 0);
  const auto all = run(parley + " --help-all");
  CHECK(all.status == 0);
  tool::context shared;
  const auto commands = tool::all_commands(shared);
  for (const auto& c : commands)
    CHECK(count(all.text, "Usage: parley " + c.name + " ") == 1);
  CHECK(count(all.text, "Usage: parley ") == commands.size() + 1); // and the program's own
}

TEST_CASE("a word that is no command runs parley-WORD with its arguments, and its exit status is passed on") {
  test::scratch_directory scratch;
  const auto program = [](const std::filesystem::path& file, const std::string& says, int status) {
    std::ofstream{file} << "#!/bin/sh\necho " << says << " $# \"$1\" \"$2\"\nexit " << status << "\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  };
  std::filesystem::create_directory(scratch.path() / "path");
  program(scratch.path() / "path/parley-hello", "from-path", 7);
  const auto path = "PATH=" + (scratch.path() / "path").string() + ":$PATH ";

  auto o = run(path + PARLEY_TOOL + " hello 'two words' --help");
  CHECK(o.text == "from-path 2 two words --help\n");
  CHECK(o.status == 7);
  o = run(path + PARLEY_TOOL + " nobody");
  CHECK(o.status == 2);

  // Beside this program is nearer than PATH, and is listed in the help.
  std::filesystem::copy_file(PARLEY_TOOL, scratch.path() / "parley");
  program(scratch.path() / "parley-hello", "from-beside", 0);
  const auto copy = (scratch.path() / "parley").string();
  o = run(path + copy + " hello a");
  CHECK(o.text == "from-beside 1 a \n");
  CHECK(o.status == 0);
  o = run(path + copy + " --help");
  CHECK(o.status == 0);
  CHECK(o.text.find("hello.") != std::string::npos);
  CHECK(run(copy + " help hello").text == "from-beside 1 --help \n");
  CHECK(run(copy + " help nobody").status == 2);
  program(scratch.path() / "parley-send", "never", 9); // a command of ours is not replaced
  CHECK(run(copy + " send --help").text.find("Send a message") == 0);
}

TEST_CASE("two people register, write, read and see each tick") {
  node n;
  auto o = n.parley("alice", "register --phone +4911111111 --code -", "echo 123456 |");
  CAPTURE(o.text);
  REQUIRE(o.status == 0);
  const auto codes_sent = count(run("cat " + n.dir + "/console").text, "code for");
  o = n.parley("alice", "register --phone +4911111111");
  CHECK(o.status == 1);
  CHECK(o.text.find("registered already") != std::string::npos);
  CHECK(count(run("cat " + n.dir + "/console").text, "code for") == codes_sent); // no phone has rung
  o = n.parley("bob", "--json register --phone +4922222222 --code-from " + n.dir + "/console");
  CAPTURE(o.text);
  REQUIRE(o.status == 0);
  CHECK(o.text.find("\"event\":\"registered\"") != std::string::npos);

  o = n.parley("alice", "send --to +4922222222 'are you' there?");
  CHECK(o.status == 0);
  CHECK(o.text.find("✓ sent") != std::string::npos);
  o = n.parley("alice", "send --to +4922222222 --json -", "printf 'one\\ntwo\\n' |");
  CHECK(o.status == 0);
  CHECK(count(o.text, "\"event\":\"sent\"") == 2);

  o = n.parley("alice", "send --to +4922222222 '[hello,world]' sync");
  CHECK(o.status == 0);

  o = n.parley("bob", "sync --json --read");
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(o.text.find("\"body\":\"are you there?\"") != std::string::npos);
  CHECK(o.text.find("\"body\":\"[hello,world] sync\"") != std::string::npos);
  CHECK(count(o.text, "\"event\":\"message\"") == 4);
  o = n.parley("bob", "sync");
  CHECK(o.text == "Nothing new.\n");
  o = n.parley("bob", "sync --conversation +4911111111 --after 1");
  CHECK(count(o.text, "\n") == 3);
  CHECK(n.parley("bob", "sync --conversation +4911111111 --after 99").text ==
        "There is no message after number 99.\n");
  n.with([](test::fake_cluster& cluster) {
    cluster.sync_refusals = 1;
    cluster.sync_refusal = ec::no_such_conversation;
  });
  o = n.parley("bob", "sync --conversation 000000000000000a000000000000000b");
  CAPTURE(o.text);
  CHECK(o.status == 1);
  CHECK(o.text.find("nothing is shown") != std::string::npos);
  o = n.parley("alice", "--json conversations");
  CHECK(o.text.find("\"last\":4") != std::string::npos);

  SUBCASE("they talk in a chat") {
    // Bob answers when he has been shown her last word; Alice's chat ends once all she wrote was read.
    const auto seen = n.dir + "/bob.out";
    std::thread bob{[&] {
      o = n.parley("bob", "chat --with +4911111111 >" + seen,
                   "(i=0; until grep -qs ' bob$' " + seen +
                       " || [ $((i += 1)) -gt 600 ]; do sleep 0.05; done; echo yes) |");
      o.text += run("cat " + seen).text;
    }};
    const auto alice = n.parley("alice", "chat --with +4922222222 --wait read", "printf 'hello\\nbob\\n' |");
    bob.join();
    CAPTURE(alice.text);
    CAPTURE(o.text);
    CHECK(alice.status == 0);
    CHECK(o.status == 0);
    CHECK(alice.text.find("not yet end-to-end encrypted") != std::string::npos);
    CHECK(count(alice.text, "✓ ") >= 2);
    CHECK(alice.text.find("✓✓ read") != std::string::npos);
    CHECK(o.text.find("hello") != std::string::npos);
    CHECK(o.text.find("✓ ") != std::string::npos);
  }
  SUBCASE("another device of the number is shown by those that were there before") {
    o = n.parley("tablet", "register --phone +4911111111 --device-name 'a tablet' --code -", "echo 123456 |");
    REQUIRE(o.status == 0);
    o = n.parley("alice", "sync --json");
    CAPTURE(o.text);
    CHECK(o.text.find("\"event\":\"device-added\"") != std::string::npos);
    CHECK(o.text.find("\"name\":\"a tablet\"") != std::string::npos);
    o = n.parley("third", "register --phone +4911111111 --device-name watch --code -", "echo 123456 |");
    REQUIRE(o.status == 0);
    o = n.parley("alice", "sync");
    CHECK(count(o.text, "a device was added to your number") == 1); // each once
    CHECK(o.text.find("watch") != std::string::npos);
    CHECK(o.text.find("Nothing new") == std::string::npos);
    o = n.parley("tablet", "chat --with +4922222222", "</dev/null");
    CHECK(o.text.find("watch") != std::string::npos);
    // What it shows of people who wrote before it was there is a name that it takes.
    CHECK(n.parley("third", "conversations").text.find("  user-2  ") != std::string::npos);
    CHECK(n.parley("third", "contacts").text == "user-2                    user 2\n");
    CHECK(n.parley("third", "send --to user-2 hello").status == 0);
  }
  SUBCASE("a profile in use is not shared") {
    client::sqlite_store taken{n.dir + "/alice"};
    o = n.parley("alice", "sync");
    CHECK(o.status == 4);
    CHECK(o.text.find("in use") != std::string::npos);
    CHECK(o.text.find("(process " + std::to_string(::getpid()) + ")") != std::string::npos);
    CHECK(o.text.find("--wait-for-profile") != std::string::npos);
    o = n.parley("alice", "conversations --wait-for-profile 1");
    CHECK(o.status == 4);
  }
  SUBCASE("or is waited for") {
    std::optional<client::sqlite_store> taken{std::in_place, n.dir + "/alice"};
    std::thread other{[&] { o = n.parley("alice", "send --to +4922222222 --wait-for-profile 60 waited"); }};
    // Long enough for the command to meet the lock; if it is slower, the test still holds.
    std::this_thread::sleep_for(std::chrono::milliseconds{300});
    taken.reset();
    other.join();
    CAPTURE(o.text);
    CHECK(o.status == 0);
  }
}

TEST_CASE("what sync cannot write is not acknowledged, and the next sync shows it once") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  REQUIRE(n.parley("alice", "send --to +4922222222 -", "printf 'one\\ntwo\\n' |").status == 0);
  std::string where;
  SUBCASE("to a full disk") {
    where = ">/dev/full";
  }
  SUBCASE("to a pipe that nobody reads") {
    where = "| true";
  }
  SUBCASE("to a closed descriptor") {
    where = ">&-";
  }
  for (const std::string json : {"", "--json "}) {
    const auto errors = " 2>" + n.dir + "/err; echo $? >" + n.dir + "/status; ";
    const auto sync = n.command("bob", "sync " + json);
    const auto o = run(where.starts_with('|') ? "{ " + sync + errors + "} " + where : sync + where + errors);
    CAPTURE(o.text);
    CHECK(run("cat " + n.dir + "/status").text == "4\n");
    CHECK(run("cat " + n.dir + "/err").text.find("Standard output cannot be written to") !=
          std::string::npos);
    CHECK(n.acks == 0);
  }
  auto o = n.parley("bob", "sync");
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(count(o.text, "  one\n") == 1);
  CHECK(count(o.text, "  two\n") == 1);
  CHECK(n.parley("bob", "sync").text == "Nothing new.\n");
}

TEST_CASE("no command ends with 0 if its output could not be written") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  for (const char* command : {"send --to +4922222222 hello", "conversations",
                              "sync --conversation +4922222222", "--help", "send --help", "--help-all"}) {
    CAPTURE(command);
    CHECK(n.parley("alice", std::string{command} + " 2>/dev/null >/dev/full").status == 4);
  }
  // A chat ends, because its person sees nothing; what was typed is sent.
  CHECK(n.parley("bob", "chat --with +4911111111 >/dev/full", "echo hi |").status == 4);
}

TEST_CASE("what arrives while another command runs is shown by the next sync") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  REQUIRE(n.parley("alice", "send --to +4922222222 first").status == 0);
  // Live, because it waits for marks: Alice's message arrives, too.
  n.parley("bob", "send --to +4911111111 --wait delivered --seconds 1 second");
  const auto o = n.parley("bob", "sync");
  CAPTURE(o.text);
  CHECK(count(o.text, "  first\n") == 1);
  CHECK(n.parley("bob", "sync").text == "Nothing new.\n");
}

TEST_CASE("a chat from a pipe says which lines were refused, and does not end with 0") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  SUBCASE("by the cluster") {
    n.refuse({ec::none, ec::not_a_member});
    const auto o = n.parley("alice", "chat --with +4922222222", "printf 'one\\ntwo\\nthree\\n' |");
    CAPTURE(o.text);
    CHECK(o.status == 1);
    CHECK(o.text.find("Line 2 was refused") != std::string::npos);
    CHECK(count(o.text, "✓ sent       ") == 2);
  }
  SUBCASE("for their size; the ticks of the others, and of the history, stay") {
    REQUIRE(n.parley("alice", "send --to +4922222222 before").status == 0);
    const auto o =
        n.parley("alice", "--json chat --with +4922222222 --wait delivered",
                 "(head -c 70000 /dev/zero | tr '\\0' x; echo; echo two; "
                 "until grep -qs sent " +
                     n.dir + "/seen; do " + "sleep 0.05; " + "(NO_COLOR=1 " PARLEY_TOOL " --profile " +
                     n.dir + "/bob --seeds 127.0.0.1:" + std::to_string(n.port) + " --ca " + n.dir +
                     "/certs/client-ca.pem sync && echo sent) >" + n.dir + "/seen 2>&1; done) |");
    CAPTURE(o.text);
    CHECK(o.status == 1);
    CHECK(o.text.find("Line 1 was refused") != std::string::npos);
    CHECK(count(o.text, "\"event\":\"sent\"") == 1);
    CHECK(count(o.text, "\"event\":\"delivered\"") == 1);
  }
}

TEST_CASE("a final refusal that comes later is told by the command that hears of it, every one, and once") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  REQUIRE(n.parley("alice", "send --to +4922222222 zero").status == 0);
  n.refuse(std::vector<ec>(1'000, ec::overloaded));
  auto o = n.parley("alice", "send --seconds 1 --to +4922222222 first and more");
  CAPTURE(o.text);
  CHECK(o.status == 3);
  CHECK(o.text.find("is kept") != std::string::npos);
  SUBCASE("while the command runs") {
    for (const char* command :
         {"sync", "conversations", "send --to +4922222222 next", "chat --with +4922222222"}) {
      CAPTURE(command);
      n.refuse({ec::not_a_member});
      o = n.parley("alice", command, "true |");
      CHECK(o.status == 1);
      CHECK(o.text.find("The earlier message \"first and more\" was refused") != std::string::npos);
      CHECK(n.parley("alice", "sync").status == 0);
      n.refuse(std::vector<ec>(1'000, ec::overloaded));
      CHECK(n.parley("alice", "send --seconds 1 --to +4922222222 first and more").status == 3);
    }
  }
  SUBCASE("in a command that did not live to tell") {
    {
      client::sqlite_store store{n.dir + "/alice"};
      REQUIRE(store.waiting().size() == 1);
      const auto waiting = store.waiting()[0];
      const auto second = store.enqueue(waiting.conversation, "second");
      store.failed(waiting.counter, ec::too_large);
      store.failed(second.counter, ec::not_a_member);
    }
    n.refuse({});
    o = n.parley("alice", "send --to +4922222222 third");
    CHECK(o.status == 1);
    CHECK(o.text.find("\"first and more\" was refused") != std::string::npos);
    CHECK(o.text.find("\"second\" was refused") != std::string::npos);
    CHECK(o.text.find("✓ sent") != std::string::npos);
    CHECK(n.parley("alice", "sync").status == 0);
  }
  SUBCASE("and what still waits is said, or waited for") {
    o = n.parley("alice", "sync --seconds 1");
    CHECK(o.status == 0);
    CHECK(o.text.find("1 message of this profile still waits to be stored") != std::string::npos);
    n.refuse({});
    CHECK(n.parley("alice", "conversations").status == 0);
    CHECK(n.parley("bob", "sync").text.find("first and more") != std::string::npos);
  }
}

TEST_CASE("a chat begins with the newest lines, however long the conversation is") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  REQUIRE(n.parley("alice", "send --to +4922222222 first").status == 0);
  {
    client::sqlite_store store{n.dir + "/bob"};
    const auto talk = client::parse_conversation("00000000000000010000000000000002");
    std::vector<client::message> all;
    for (std::uint64_t seq = 1; seq <= 100'010; ++seq) {
      client::message m;
      m.conversation = *talk;
      m.seq = seq_no{seq};
      m.sender = user_id{1};
      m.client_id = {device_id{77}, seq};
      m.body = "line " + std::to_string(seq);
      all.push_back(std::move(m));
    }
    client::applied_batch batch;
    for (const auto& m : all)
      batch.messages.push_back(&m);
    batch.positions.emplace_back(*talk, seq_no{100'010});
    store.apply(batch);
  }
  const auto o = n.parley("bob", "chat --lines 2 --with +4911111111", "true |");
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(o.text.find("line 100009\n") != std::string::npos);
  CHECK(o.text.find("line 100010\n") != std::string::npos);
  CHECK(count(o.text, "line ") == 2);
}

TEST_CASE("an empty message is refused, and empty lines are skipped") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  for (const char* empty : {"''", "-- ''", "\"$NOTHING\""}) {
    const auto o = n.parley("alice", std::string{"send --to +4922222222 "} + empty);
    CHECK(o.status == 2);
    CHECK(o.text.find("The message is empty") != std::string::npos);
  }
  CHECK(n.parley("alice", "send --to +4922222222 -", "printf '\\none\\n\\n\\ntwo\\n\\n' |").status == 0);
  CHECK(n.parley("alice", "chat --with +4922222222", "printf '\\nthree\\n\\n' |").status == 0);
  const auto o = n.parley("bob", "sync --json");
  CAPTURE(o.text);
  CHECK(count(o.text, "\"event\":\"message\"") == 3);
}

TEST_CASE("behind -- a dash is a text, and without it stands for standard input") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  CHECK(n.parley("alice", "send --to +4922222222 -- -", "echo unread |").status == 0);
  CHECK(n.parley("alice", "send --to +4922222222 -", "echo read |").status == 0);
  const auto o = n.parley("bob", "sync --json");
  CAPTURE(o.text);
  CHECK(count(o.text, "\"body\":\"-\"") == 1);
  CHECK(count(o.text, "\"body\":\"read\"") == 1);
  CHECK(count(o.text, "\"event\":\"message\"") == 2);
}

TEST_CASE("the limit of send counts for each line of a pipe, and not for the time between them") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  auto o = n.parley("alice", "send --seconds 1 --to +4922222222 -",
                    "(echo one; sleep 1.3; echo two; sleep 1.3; echo three) |");
  CAPTURE(o.text);
  CHECK(o.status == 0);
  CHECK(count(o.text, "sent ") == 3);
  // A line without an answer ends it, and says which one it was.
  n.refuse([] {
    std::vector<ec> all(1'000, ec::overloaded);
    all.front() = ec::none;
    return all;
  }());
  o = n.parley("alice", "send --seconds 1 --to +4922222222 -", "(echo four; echo five; echo six) |");
  CHECK(o.status == 3);
  CHECK(o.text.find("Line 2: ") != std::string::npos);
  CHECK(o.text.find("No line after it was sent.") != std::string::npos);
  n.refuse({ec::none, ec::not_a_member});
  o = n.parley("alice", "send --to +4922222222 -", "(echo; echo seven; echo eight) |");
  CHECK(o.status == 1);
  CHECK(o.text.find("Line 2 was refused. The lines before it were sent, and none after it: ") !=
        std::string::npos);
}

TEST_CASE("people are shown by the number that was used, or by the name that they were given") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "'0049 2222-2222'"); // as people write it
  REQUIRE(n.parley("alice", "send --to '+49 (22) 22/22.22' hello").status == 0);
  CHECK(n.parley("alice", "sync --conversation +4922222222").text.find("you to +4922222222     1  hello\n") !=
        std::string::npos);

  auto o = n.parley("bob", "sync");
  CAPTURE(o.text);
  CHECK(o.text.find(" user-1     1  hello\n") != std::string::npos); // nobody told her number
  CHECK(n.parley("bob", "contacts").text.find("user-1") == 0);
  CHECK(n.parley("bob", "contacts --whom user-1 --name Alice").text.find("Alice") == 0);
  o = n.parley("bob", "conversations");
  CHECK(o.text.find("  Alice  (1 unread)  ") != std::string::npos);
  CHECK(o.text.find(" Alice: hello\n") != std::string::npos);
  o = n.parley("bob", "chat --with Alice", "echo 'hello back' |");
  CHECK(o.status == 0);
  CHECK(o.text.find(" Alice: hello\n") != std::string::npos);
  o = n.parley("bob", "conversations --json");
  CHECK(o.text.find("\"name\":\"Alice\"") != std::string::npos);
  CHECK(o.text.find("\"unread\":0") != std::string::npos);
  CHECK(o.text.find("\"last_from\":\"you\"") != std::string::npos);
  CHECK(o.text.find("\"last_body\":\"hello back\"") != std::string::npos);
  CHECK(n.parley("bob", "send --to Alice again").status == 0);

  o = n.parley("alice", "--json sync");
  CHECK(o.text.find("\"from\":\"+4922222222\"") != std::string::npos);
  CHECK(n.parley("alice", "contacts").text.find("+4922222222") != std::string::npos);
  CHECK(n.parley("alice", "contacts --whom +4922222222 --name 'Bob  \u202e'").status == 2);
  CHECK(n.parley("alice", "contacts --whom +4922222222 --name 'Bob Bobson'").status == 0);
  for (const char* taken : {"you", "+4933333333", "00000000000000010000000000000002", "42", "''", "' x'"})
    CHECK(n.parley("alice", std::string{"contacts --whom +4944444444 --name "} + taken).status == 2);
  CHECK(n.parley("alice", "contacts --whom +4944444444 --name 'Bob Bobson'").status == 2);
  CHECK(n.parley("alice", "contacts --whom 'Bob Bobson' --forget").text ==
        "user-2                    user 2\n"); // there is a conversation
  CHECK(n.parley("alice", "contacts").text == "user-2                    user 2\n");
  CHECK(n.parley("alice", "contacts --whom +4955555555 --name Eve").text.find("Eve     +4955555555\n") !=
        std::string::npos);
  CHECK(n.parley("alice", "contacts --json").text.find("\"user\":\"0\"") == std::string::npos);
  for (const char* own : {"send --to +4911111111 x", "chat --with '+49 1111 1111'"}) {
    o = n.parley("alice", own, "true |");
    CAPTURE(o.text);
    CHECK(o.status == 2);
    CHECK(o.text.find("parley: ") == 0); // nothing else was shown before
    CHECK(o.text.find("is your own number") != std::string::npos);
  }
  o = n.parley("alice", "send --to Nobody x");
  CHECK(o.status == 2);
  CHECK(o.text.find("parley contacts") != std::string::npos);
}

TEST_CASE("a directory that is no profile, and a profile that is not there, are left as they are") {
  node n;
  const auto there = n.dir + "/mine";
  std::filesystem::create_directory(there);
  std::ofstream{there + "/letter"} << "dear";
  std::filesystem::permissions(there, std::filesystem::perms{0755});
  auto o = n.parley("mine", "register --phone +4911111111 --code 123456");
  CHECK(o.status == 4);
  CHECK(o.text.find("holds other files (letter)") != std::string::npos);
  CHECK(std::filesystem::status(there).permissions() == std::filesystem::perms{0755});
  CHECK(run("ls -A " + there).text == "letter\n");
  o = n.parley("mine/letter", "sync");
  CHECK(o.status == 4);
  CHECK(o.text.find("is a file") != std::string::npos);
  o = n.parley("mistyped", "sync");
  CHECK(o.status == 4);
  CHECK(o.text.find("parley register --profile " + n.dir + "/mistyped --phone") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(n.dir + "/mistyped"));
  std::filesystem::create_directory(n.dir + "/empty");
  CHECK(n.parley("empty", "register --phone +4911111111 --code -", "echo 123456 |").status == 0);
  for (const char* more : {"a", "notes", "zzz"})
    std::ofstream{n.dir + "/empty/" + more} << "x"; // a profile stays one
  CHECK(n.parley("empty", "sync").status == 0);
}

TEST_CASE("what is said of a message that is not stored is the last reason") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  n.refuse(std::vector<ec>(1'000, ec::disk_full));
  const std::string reason{describe(ec::disk_full).sentence};
  auto o = n.parley("alice", "send --seconds 1 --to +4922222222 hello");
  CAPTURE(o.text);
  CHECK(o.status == 3);
  CHECK(o.text.find(reason) != std::string::npos);
  o = n.parley("alice", "chat --seconds 1 --with +4922222222", "true |");
  CHECK(o.status == 3);
  CHECK(o.text.find(reason) != std::string::npos);
  o = n.parley("alice", "sync --seconds 1");
  CHECK(o.status == 0);
  CHECK(o.text.find(reason) != std::string::npos);
}

TEST_CASE("a node that is not trusted, or does not answer, is named with the reason") {
  node n;
  n.enter("alice", "+4911111111");
  auto o = n.parley("alice", "sync --seconds 1", "", "node-ca.pem");
  CAPTURE(o.text);
  CHECK(o.status == 3);
  CHECK(o.text.find("127.0.0.1:" + std::to_string(n.port) + ": connection closed: handshake-failed: ") !=
        std::string::npos);
  CHECK(o.text.find("certificate. Check that --ca names") != std::string::npos);
  CHECK(o.text.find("--seeds") == std::string::npos);
}

TEST_CASE("input that cannot be read is not the end of it") {
  node n;
  n.enter("alice", "+4911111111");
  n.enter("bob", "+4922222222");
  for (const char* from : {"</", "<&-"})
    for (const char* command : {"send --to +4922222222 -", "chat --with +4922222222"}) {
      const auto o = n.parley("alice", std::string{command} + " " + from);
      CAPTURE(o.text);
      CHECK(o.status == 4);
      CHECK(o.text.find("Standard input cannot be read") != std::string::npos);
    }
  CHECK(n.parley("alice", "send --to +4922222222 - </dev/null").status == 0);
}

TEST_CASE("a variable that a failure may come from is named, with what the profile says instead") {
  node n;
  n.enter("alice", "+4911111111");
  const auto own = "127.0.0.1:" + std::to_string(n.port);
  auto o =
      run("PARLEY_SEEDS=127.0.0.1:1 PARLEY_PROFILE=" + n.dir + "/alice " + PARLEY_TOOL + " sync --seconds 1");
  CAPTURE(o.text);
  CHECK(o.status == 3);
  CHECK(
      o.text.find("The variable PARLEY_SEEDS gave the nodes (127.0.0.1:1); the profile was registered with " +
                  own) != std::string::npos);
  o = run("PARLEY_PROFILE=" + n.dir + "/nobody " + PARLEY_TOOL + " sync");
  CHECK(o.status == 4);
  CHECK(o.text.find("The variable PARLEY_PROFILE gave the profile (" + n.dir + "/nobody)") !=
        std::string::npos);
  n.enter("bob", "+4922222222");
  o = run("PARLEY_SEEDS=" + own + " PARLEY_PROFILE=" + n.dir + "/alice " + PARLEY_TOOL +
          " send --wait read --seconds 1 --to +4922222222 hello");
  CHECK(o.status == 3);
  CHECK(o.text.find("PARLEY_SEEDS") == std::string::npos); // the node was reached
  o = run(std::string{"PARLEY_SEEDS=127.0.0.1:1 "} + PARLEY_TOOL +
          " top --times 1 --every 0.1 --admin 127.0.0.1:1");
  CHECK(o.status == 3);
  CHECK(o.text.find("--admin") != std::string::npos);
  CHECK(o.text.find("PARLEY_SEEDS") == std::string::npos); // it connects to none of them
  CHECK(run("PARLEY_SEEDS= PARLEY_PROFILE=" + n.dir + "/alice " + PARLEY_TOOL + " sync").status == 0);
}
