// Every setting, one after the other: each place it can be given, its bounds, its unit, its texts.
#include "cluster/ops/help.hpp"
#include "cluster/ops/quantities.hpp"
#include "cluster/ops/setting_table.hpp"
#include "cluster/ops/startup.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <unistd.h>

using namespace parley;
using namespace parley::cluster;
using namespace std::chrono_literals;

namespace {

using args = std::vector<std::string>;

startup start(args flags, const environment_variables& env = {}) {
  for (const char* word : {"--node=2", "--data-dir=d", "--certs-dir=c", "--seeds=127.0.0.1:7101"}) {
    const std::string name{word, std::string_view{word}.find('=')};
    if (std::none_of(flags.begin(), flags.end(), [&](const auto& f) { return f.starts_with(name + "="); }))
      flags.emplace_back(word);
  }
  std::vector<const char*> argv{"parleyd"};
  for (const auto& f : flags)
    argv.push_back(f.c_str());
  return read_startup(static_cast<int>(argv.size()), argv.data(), env, "1");
}

/// Without the four that have no default.
startup start_bare(const args& flags, const environment_variables& env) {
  std::vector<const char*> argv{"parleyd"};
  for (const auto& f : flags)
    argv.push_back(f.c_str());
  return read_startup(static_cast<int>(argv.size()), argv.data(), env, "1");
}

/// A value of each setting that is allowed and not its default.
const std::map<std::string, std::string>& other_values() {
  static const std::map<std::string, std::string> all{
      {"node", "7"},
      {"data_dir", "elsewhere"},
      {"certs_dir", "keys"},
      {"seeds", "a:1,[::1]:2"},
      {"form", "true"},
      {"peer.listen", "127.0.0.1:9000"},
      {"peer.advertise", "n:9001"},
      {"client.listen", "127.0.0.1:9002"},
      {"client.advertise", "n:9003"},
      {"admin.listen", "127.0.0.1:9004"},
      {"shards", "65"},
      {"replicas", "5"},
      {"kj.threads", "2"},
      {"caf.workers", "3"},
      {"caf.policy", "sharing"},
      {"caf.polling", "true"},
      {"threads.batch", "false"},
      {"timing.election", "750ms"},
      {"timing.raft_heartbeat", "90ms"},
      {"timing.link_heartbeat", "400ms"},
      {"timing.link_timeout", "3s"},
      {"timing.row_check", "12h"},
      {"timing.login", "6s"},
      {"timing.write", "11s"},
      {"timing.resume", "6min"},
      {"timing.call", "6s"},
      {"timing.passivate", "61s"},
      {"limits.connections", "15001"},
      {"limits.connections_before_login", "1001"},
      {"limits.delivery_queue_rows", "257"},
      {"limits.delivery_queue", "513KiB"},
      {"limits.user_sends_per_second", "201"},
      {"limits.user_sends_burst", "401"},
      {"limits.conversation_sends_per_second", "501"},
      {"limits.conversation_sends_burst", "1001"},
      {"limits.codes_per_address", "31"},
      {"limits.codes_per_hour", "5001"},
      {"limits.disk_reserve", "257MiB"},
      {"limits.map", "2TiB"},
      {"code.sender", "https://hook"},
      {"code.authorization_file", "/run/secrets/sms"},
      {"code.life", "11min"},
      {"log.level", "warn"},
      {"log.format", "json"},
      {"drain.spread", "31s"},
      {"drain.deadline", "11s"},
  };
  return all;
}

/// What differs between two configurations, by key.
std::set<std::string> differences(const node_config& a, const node_config& b) {
  std::set<std::string> out;
  for (const auto& s : setting_table())
    if (s.get(a) != s.get(b))
      out.insert(s.key);
  return out;
}

struct scratch_file {
  std::string path;
  explicit scratch_file(std::string_view text) {
    static int made = 0;
    path = (std::filesystem::temp_directory_path() /
            ("parley-settings-" + std::to_string(::getpid()) + "-" + std::to_string(++made) + ".toml"))
               .string();
    std::ofstream{path} << text;
  }
  ~scratch_file() { std::filesystem::remove(path); }
};

std::size_t width(std::string_view line) {
  return static_cast<std::size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (c & '\xc0') != '\x80'; }));
}

} // namespace

TEST_CASE("this test knows a value for each setting, and no others") {
  std::set<std::string> keys;
  for (const auto& s : setting_table())
    CHECK(keys.insert(s.key).second);
  for (const auto& [key, value] : other_values())
    CHECK_MESSAGE(keys.erase(key) == 1, key);
  CHECK(keys.empty());
}

TEST_CASE("each setting can be given by flag, variable and file, and changes its own field only") {
  const auto usual = start({}).config;
  for (const auto& s : setting_table()) {
    CAPTURE(s.key);
    const auto& text = other_values().at(s.key);
    // An advertised address follows the one that is listened at, unless it is given itself.
    std::set<std::string> want{s.key};
    if (s.key == "peer.listen" || s.key == "client.listen")
      want.insert(s.key.substr(0, s.key.find('.')) + ".advertise");

    const auto by_flag = start({s.flag() + (s.needs_value ? "=" + text : "")});
    REQUIRE_MESSAGE(by_flag.what == startup::action::run, by_flag.text);
    CHECK(differences(usual, by_flag.config) == want);

    environment_variables env{{"PARLEY_NODE", "2"},
                              {"PARLEY_DATA_DIR", "d"},
                              {"PARLEY_CERTS_DIR", "c"},
                              {"PARLEY_SEEDS", "127.0.0.1:7101"}};
    auto file_env = env;
    env[s.variable()] = text;
    const auto by_variable = start_bare({}, env);
    REQUIRE_MESSAGE(by_variable.what == startup::action::run, by_variable.text);
    for (const auto& w : by_variable.warnings) // this node's own address is none of these seeds
      CHECK_MESSAGE(w.starts_with("the seeds are those of the environment variable"), w);
    CHECK(differences(by_flag.config, by_variable.config).empty());

    std::string value = s.list ? "[\"a:1\", \"[::1]:2\"]" : s.quoted ? '"' + text + '"' : text;
    scratch_file f{s.key + " = " + value + "\n"};
    file_env.erase(s.variable());
    const auto by_file = start_bare({"--config", f.path}, file_env);
    REQUIRE_MESSAGE(by_file.what == startup::action::run, by_file.text);
    CHECK(differences(by_flag.config, by_file.config).empty());
  }
}

TEST_CASE("a bounded setting accepts its bounds as they are printed, and nothing beyond them") {
  std::size_t bounded = 0;
  for (const auto& s : setting_table()) {
    std::istringstream words{s.within};
    std::string from, least, to, most;
    words >> from >> least >> to >> most;
    if (from != "from" && from != "at")
      continue;
    ++bounded;
    CAPTURE(s.key);
    if (from == "at") {
      least = to;
      most.clear();
    }
    node_config c;
    REQUIRE_FALSE(s.set(c, {least}));
    CHECK(s.in_bounds(c));
    if (!most.empty()) {
      REQUIRE_FALSE(s.set(c, {most}));
      CHECK(s.in_bounds(c));
    }
    // One step further on either side, in the smallest unit there is.
    const auto step = [&](const std::string& bound, int by) -> std::optional<std::string> {
      if (s.looks_like == "TIME")
        return std::to_string(parse_duration(bound)->count() + by) + "ms";
      if (s.looks_like == "SIZE")
        return *parse_size(bound) == 0 && by < 0
                   ? std::nullopt
                   : std::optional{std::to_string(*parse_size(bound) + by) + "B"};
      return std::to_string(std::stoll(bound) + by);
    };
    for (const auto& beyond : {step(least, -1), most.empty() ? std::nullopt : step(most, 1)}) {
      if (!beyond)
        continue;
      CAPTURE(*beyond);
      node_config d;
      CHECK((s.set(d, {*beyond}).has_value() || !s.in_bounds(d)));
      const auto refused = start({s.flag() + "=" + *beyond});
      CHECK(refused.what == startup::action::print);
      CHECK(refused.text.find(s.flag() + ": " + s.key + " wants " + s.wants) != std::string::npos);
    }
  }
  CHECK(bounded > 25);
}

TEST_CASE("validate checks the bounds of a configuration that was not read from text") {
  auto c = start({}).config;
  REQUIRE_FALSE(validate(c));
  c.kj_threads = 65;
  CHECK(*validate(c) == "kj.threads: it wants a whole number from 1 to 64, not 65");
  c = start({}).config;
  c.log_format = "xml";
  CHECK(*validate(c) == "log.format: it wants one of text, json, not xml");
}

TEST_CASE("a wrong unit, or none, is refused") {
  for (const auto& s : setting_table()) {
    if (s.looks_like != "TIME" && s.looks_like != "SIZE")
      continue;
    CAPTURE(s.key);
    node_config c;
    for (const char* wrong : {"500", "5 s", "1.5h", "ms", "", "5m", "5KB", "-1s"})
      CHECK(s.set(c, {wrong}).has_value());
    CHECK(s.set(c, {s.looks_like == "TIME" ? "5MiB" : "5min"}).has_value());
  }
}

TEST_CASE("times and sizes are written in the largest unit that leaves a whole number") {
  CHECK(duration_text(0ms) == "0ms");
  CHECK(duration_text(1500ms) == "1500ms");
  CHECK(duration_text(90s) == "90s");
  CHECK(duration_text(5min) == "5min");
  CHECK(duration_text(24h) == "24h");
  CHECK(size_text(0) == "0B");
  CHECK(size_text(1023) == "1023B");
  CHECK(size_text(512 << 10) == "512KiB");
  CHECK(size_text(3ULL << 40) == "3TiB");
  CHECK(*parse_duration("0") == 0ms);
  CHECK_FALSE(parse_size("9223372036854775807TiB"));
}

TEST_CASE("help is made of whole sentences, names every setting, and fits its terminal") {
  for (const std::size_t columns : {std::size_t{80}, std::size_t{120}}) {
    CAPTURE(columns);
    const auto help = help_text(columns);
    std::istringstream in{help};
    for (std::string line; std::getline(in, line);)
      CHECK_MESSAGE(width(line) <= columns, line);
    for (const auto& s : setting_table())
      CHECK_MESSAGE(help.find("\n  " + s.flag() + (s.needs_value ? " " + s.looks_like : "") + "\n") !=
                        std::string::npos,
                    s.key);
    auto flat = help; // without line breaks inside a text
    for (auto at = flat.find("\n      "); at != std::string::npos; at = flat.find("\n      ", at))
      flat.replace(at, 7, " ");
    for (const char* word : {"PARLEY_PEER_LISTEN", "make_certs.sh", "SIGTERM", "--print-config", "--dump DIR",
                             "Default: 64 shards. Allowed: from 1 to 4096."})
      CHECK_MESSAGE(flat.find(word) != std::string::npos, word);
  }
  for (const auto& s : setting_table()) {
    CAPTURE(s.key);
    CHECK(std::isupper(static_cast<unsigned char>(s.help.front())));
    CHECK(s.help.back() == '.');
    CHECK(std::count(s.help.begin(), s.help.end(), ' ') >= 5);
    CHECK(!title(s.about).empty());
  }
}

TEST_CASE("the settings of a topic are listed together") {
  std::set<settings::topic> seen;
  std::optional<settings::topic> last;
  for (const auto& s : setting_table()) {
    if (s.about != last)
      CHECK_MESSAGE(seen.insert(s.about).second, s.key);
    last = s.about;
  }
  CHECK(seen.size() == 8);
}

TEST_CASE("the table in the README agrees with the declarations") {
  std::vector<std::string> want, have;
  for (const auto& s : setting_table())
    want.push_back("| `" + s.key + "` | " + (s.standard.empty() ? "required" : s.standard) + " | " +
                   (s.within.empty() ? s.wants : s.within) + " |");
  std::ifstream in{std::string{PARLEY_SOURCE_DIR} + "/cluster/ops/README.md"};
  bool here = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## "))
      here = line == "## Settings";
    if (here && line.starts_with("| `"))
      have.push_back(line);
  }
  for (std::size_t i = 0; i < std::max(want.size(), have.size()); ++i)
    CHECK((i < have.size() ? have[i] : "no line") == (i < want.size() ? want[i] : "no line"));
}
