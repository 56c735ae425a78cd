#include "cluster/ops/startup.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

/// A file that lives as long as a test.
struct scratch_file {
  std::string path;
  explicit scratch_file(std::string_view text) {
    static int made = 0;
    path = (std::filesystem::temp_directory_path() /
            ("parley-config-" + std::to_string(::getpid()) + "-" + std::to_string(++made) + ".toml"))
               .string();
    std::ofstream{path} << text;
  }
  ~scratch_file() { std::filesystem::remove(path); }
};

startup parse(std::vector<std::string> args, const environment_variables& env = {}, bool with_needed = true) {
  if (with_needed)
    for (const char* word :
         {"--node", "2", "--data-dir", "d", "--certs-dir", "c", "--seeds", "127.0.0.1:7101"})
      args.emplace_back(word);
  std::vector<const char*> argv{"parleyd"};
  for (const auto& a : args)
    argv.push_back(a.c_str());
  return read_startup(static_cast<int>(argv.size()), argv.data(), env, "parleyd 1.2.3");
}

bool mentions(const startup& s, std::string_view words) {
  return s.what == startup::action::print && s.exit_code == 2 && s.text.find(words) != std::string::npos;
}

bool warns(const startup& s, std::string_view words) {
  return std::ranges::any_of(s.warnings,
                             [&](const std::string& w) { return w.find(words) != std::string::npos; });
}

} // namespace

TEST_CASE("an unknown key of the file is refused, with its line and a suggestion") {
  scratch_file f{"shards = 16\n[peer]\nlissten = \"127.0.0.1:1\"\n"};
  const auto s = parse({"--config", f.path});
  CHECK(mentions(s, ":3: there is no setting 'peer.lissten'; did you mean 'peer.listen'?"));
}

TEST_CASE("an unknown flag is refused with a suggestion") {
  CHECK(mentions(parse({"--data-dirr", "x"}), "did you mean --data-dir?"));
  CHECK(mentions(parse({"--zzzzzzzz=1"}), "there is no flag --zzzzzzzz (see --help)"));
}

TEST_CASE("an unknown PARLEY variable is a warning: other programs may own it") {
  const auto s = parse({}, {{"PARLEY_SHARDZ", "4"}, {"PATH", "/bin"}});
  REQUIRE(s.what == startup::action::run);
  REQUIRE(s.warnings.size() == 1);
  CHECK(s.warnings[0].find("did you mean PARLEY_SHARDS?") != std::string::npos);
}

TEST_CASE("a value that cannot be read, or is out of bounds, is refused with its place and what is wanted") {
  CHECK(mentions(parse({"--shards", "many"}),
                 "--shards: shards wants a whole number from 1 to 4096, not 'many'"));
  CHECK(mentions(parse({"--shards", "0"}), "--shards: shards wants a whole number from 1 to 4096, not '0'"));
  CHECK(mentions(parse({"--timing-election", "500"}), "wants a time with its unit"));
  CHECK(mentions(parse({"--limits-delivery-queue", "9999999999TiB"}), "wants a size with its unit"));
  CHECK(mentions(parse({"--peer-listen", "localhost"}), "wants HOST:PORT"));
  CHECK(mentions(parse({"--seeds", "a:1,b"}, {}, false),
                 "--seeds: seeds wants HOST:PORT, or [IPV6]:PORT, for each of its "
                 "items, not 'b'"));
  CHECK(mentions(parse({"--log-level", "loud"}),
                 "--log-level: log.level wants one of trace, debug, info, warn, error, not 'loud'"));
  CHECK(mentions(parse({}, {{"PARLEY_CAF_POLLING", "perhaps"}}),
                 "PARLEY_CAF_POLLING: caf.polling wants true or false, not 'perhaps'"));
  scratch_file section{"shards = 16\n[drain]\nspread = \"2h\"\n"};
  CHECK(mentions(parse({"--config", section.path}),
                 ":3: drain.spread wants a time with its unit (500ms, 30s, "
                 "5min, 1h) from 0ms to 1h, not '2h'"));
  scratch_file list{"node = [1, 2]\n"};
  CHECK(mentions(parse({"--config", list.path}), "node wants one value, not 2"));
  scratch_file number{"node = 1.5\n"};
  CHECK(mentions(parse({"--config", number.path}), ":1: node wants a whole number"));
  scratch_file broken{"node = = 1\n"};
  CHECK(mentions(parse({"--config", broken.path}), ":1: "));
  CHECK(mentions(parse({"--config", "/nowhere/at/all.toml"}), "there is no configuration file"));
}

TEST_CASE("settings that contradict each other are refused") {
  CHECK(mentions(parse({}, {}, false), "node: "));
  CHECK(mentions(parse({"--replicas", "2"}), "replicas: "));
  CHECK(mentions(parse({"--timing-raft-heartbeat", "400ms"}), "timing.raft_heartbeat: "));
  CHECK(mentions(parse({"--timing-link-heartbeat", "2s"}), "timing.link_heartbeat: "));
  CHECK(mentions(parse({"--limits-map", "256MiB"}), "limits.disk_reserve: "));
  CHECK(mentions(parse({"--peer-listen", "0.0.0.0:7101"}), "peer.advertise: "));
  CHECK(mentions(parse({"--client-listen", "127.0.0.1:0"}), "client.listen: "));
  CHECK(mentions(parse({"--code-sender", "pigeon"}), "code.sender: "));
  auto c = parse({}).config;
  c.seeds = {{"a", 1}, {"b", 1}, {"a", 1}};
  CHECK(validate(c)->find("a:1 is listed twice") != std::string::npos);
}

TEST_CASE("a flag beats the environment, the environment beats the file, the file beats the default") {
  scratch_file f{"shards = 8\nreplicas = 5\nkj.threads = 2\nseeds = [\"a:1\", \"[::1]:2\"]\n"
                 "[timing]\nelection = \"750ms\"\n[caf]\npolling = false\n"};
  const environment_variables env{
      {"PARLEY_CONFIG", f.path}, {"PARLEY_REPLICAS", "1"}, {"PARLEY_SHARDS", "9"}};
  const auto s = parse({"--shards=10"}, env);
  REQUIRE(s.what == startup::action::run);
  CHECK(s.config.shards == 10);
  CHECK(s.config.replicas == 1);
  CHECK(s.config.kj_threads == 2);
  CHECK(s.config.election_timeout == 750ms);
  CHECK(s.config.caf_polling == false);
  CHECK(s.config.caf_workers == node_config{}.caf_workers);
  CHECK(s.config.seeds == std::vector<endpoint>{{"127.0.0.1", 7101}}); // the flag's list replaces the file's
  CHECK(s.config.peer_advertise == s.config.peer_listen);
  CHECK(s.config.peer_cert() == "c/node-2/node.pem");
}

TEST_CASE("a file that the command line names beats the environment, and a warning names both") {
  scratch_file f{"seeds = [\"a:1\", \"127.0.0.1:7100\"]\nshards = 8\n[drain]\nspread = \"2s\"\n"};
  const environment_variables env{{"PARLEY_SEEDS", "127.0.0.1:7001,127.0.0.1:7002"},
                                  {"PARLEY_SHARDS", "8"},
                                  {"PARLEY_DRAIN_SPREAD", "3s"}};
  const std::vector<std::string> base{"--node", "1", "--data-dir", "d", "--certs-dir", "c"};
  auto with_file = base;
  with_file.insert(with_file.end(), {"--config", f.path});
  auto s = parse(with_file, env, false);
  REQUIRE(s.what == startup::action::run);
  CHECK(s.config.seeds == std::vector<endpoint>{{"a", 1}, {"127.0.0.1", 7100}});
  CHECK(s.config.drain_spread == 2s);
  REQUIRE(s.warnings.size() == 2); // not of shards: both say the same
  CHECK(
      warns(s, "seeds is given by PARLEY_SEEDS and by " + f.path + ":1; " + f.path + ":1 takes precedence"));
  CHECK(warns(s, "by PARLEY_DRAIN_SPREAD and by "));

  // A file that the environment names is no more specific than its other variables.
  auto all = env;
  all["PARLEY_CONFIG"] = f.path;
  s = parse(base, all, false);
  CHECK(s.config.drain_spread == 3s);
  REQUIRE(s.warnings.size() == 3);
  CHECK(warns(s, "PARLEY_SEEDS takes precedence"));
}

TEST_CASE("a variable that was set for another program is named, and an empty one is none") {
  const std::vector<std::string> base{"--node", "1", "--data-dir", "d", "--certs-dir", "c"};
  auto s = parse(base, {{"PARLEY_SEEDS", "127.0.0.1:7001"}, {"PARLEY_SHARDS", ""}}, false);
  REQUIRE(s.what == startup::action::run);
  REQUIRE(s.warnings.size() == 1);
  CHECK(warns(s, "PARLEY_SEEDS"));
  CHECK(warns(s, "give the nodes' addresses with --seeds"));
  CHECK(mentions(parse(base, {{"PARLEY_SEEDS", "a:1,a:1"}}, false),
                 "(the environment variable PARLEY_SEEDS gives it)"));
  s = parse({},
            {{"PARLEY_KEY_FILE", "k"}, {"PARLEY_PROFILE", "p"}, {"PARLEY_CA", "c"}, {"PARLEY_ADMIN", "a:1"}});
  CHECK(s.warnings.empty());
}

TEST_CASE("a list reads the same from flag, environment and file") {
  const std::vector<endpoint> want{{"a", 1}, {"::1", 2}};
  std::vector<std::string> base{"--node", "1", "--data-dir", "d", "--certs-dir", "c"};
  auto flag = base;
  flag.insert(flag.end(), {"--seeds", "a:1,[::1]:2"});
  CHECK(parse(flag, {}, false).config.seeds == want);
  flag.back() = " a:1 ,\t[::1]:2, ";
  CHECK(parse(flag, {}, false).config.seeds == want);
  CHECK(parse(base, {{"PARLEY_SEEDS", "a:1,[::1]:2"}}, false).config.seeds == want);
  scratch_file f{"seeds = [\"a:1\", \"[::1]:2\"]\n"};
  CHECK(parse(base, {{"PARLEY_CONFIG", f.path}}, false).config.seeds == want);
}

TEST_CASE("version, dump and form are asked for by their flags") {
  CHECK(parse({"--version"}, {}, false).text == "parleyd 1.2.3\n");
  const auto dump = parse({"--dump", "data/1"}, {}, false);
  CHECK(dump.what == startup::action::dump);
  CHECK(dump.dump_dir == "data/1");
  const auto rescue = parse({"--rescue-shard", "7", "--data-dir", "data/1"}, {}, false);
  CHECK(rescue.what == startup::action::rescue);
  CHECK(rescue.rescue_shard == 7);
  CHECK(rescue.config.data_dir == "data/1");
  CHECK(parse({"--rescue-shard", "7"}, {}, false).exit_code == 2);
  for (const auto* none : {"99999", "seven", "-1"})
    CHECK(parse({"--rescue-shard", none, "--data-dir", "data/1"}, {}, false).text ==
          "parleyd: --rescue-shard needs the number of a shard, as log lines name it: 0 to 65535\n");
  CHECK(parse({"--form"}).config.form);
  CHECK_FALSE(parse({}).config.form);
}

TEST_CASE("the defaults can be run with once identity and place are given") {
  CHECK(parse({}).what == startup::action::run);
}

TEST_CASE("the configuration that is printed can be read again, and gives the same settings") {
  const auto printed = parse({"--print-config", "--drain-spread", "90s", "--limits-map", "1536MiB",
                              "--code-sender", "https://x/a\"b\\c", "--caf-polling", "true"});
  REQUIRE(printed.what == startup::action::print);
  REQUIRE(printed.exit_code == 0);
  CHECK(printed.text.find("\nspread = \"90s\"\n") != std::string::npos);
  scratch_file f{printed.text};
  const auto again = parse({"--print-config", "--config", f.path}, {}, false);
  CHECK(again.text == printed.text);
  CHECK(parse({"--config", f.path}, {}, false).config.code_sender == "https://x/a\"b\\c");
}

TEST_CASE("a configuration file that cannot even be looked at is refused with the reason") {
  const auto loop = std::filesystem::temp_directory_path() / ("parley-loop-" + std::to_string(::getpid()));
  std::filesystem::create_symlink(loop, loop);
  const auto s = parse({"--config", loop.string()});
  std::filesystem::remove(loop);
  CHECK(mentions(s, "cannot be read: "));
}
