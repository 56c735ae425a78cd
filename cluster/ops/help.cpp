#include "cluster/ops/help.hpp"

#include "cluster/ops/setting_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

namespace parley::cluster {
namespace {

constexpr std::string_view about =
    "Start as many nodes as you like with the same list of seeds; one node is a cluster too. On their first "
    "start they find each other, make sure that no seed holds a cluster already, and form one. From then on "
    "the data directory knows its cluster: start the node again with the same command.";

// Commands are never broken into lines other than these.
constexpr auto examples = R"(
One node, to try it:
  scripts/make_certs.sh certs 1
  parleyd --node 1 --data-dir data/1 --certs-dir certs --seeds 127.0.0.1:7100

The first of three nodes on one machine (2 and 3 have their own ports):
  scripts/make_certs.sh certs 1 2 3
  parleyd --node 1 --data-dir data/1 --certs-dir certs \
          --peer-listen 127.0.0.1:7101 --client-listen 127.0.0.1:7001 \
          --admin-listen 127.0.0.1:7201 \
          --seeds 127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103

A node that other machines reach at 192.0.2.1, with a file of settings:
  parleyd --config /etc/parley/node.toml --peer-listen 0.0.0.0:7100 \
          --peer-advertise 192.0.2.1:7100 --client-listen 0.0.0.0:7000 \
          --client-advertise 192.0.2.1:7000

The settings that a node would run with, as a file:
  parleyd --config /etc/parley/node.toml --print-config

What a stopped node has stored, one JSON object per line:
  parleyd --dump data/1
)";

constexpr std::string_view places =
    "Each setting can be given in three places. A flag takes precedence over the file that --config "
    "names, and that over an environment variable:";

constexpr auto three_places = R"(
  --peer-listen 127.0.0.1:7101
  PARLEY_PEER_LISTEN=127.0.0.1:7101
  [peer]
  listen = "127.0.0.1:7101"        # in the file named by --config (TOML)
)";

constexpr std::string_view ending =
    "Times and sizes are written with their unit: 500ms, 30s, 5min, 1h; 512KiB, 256MiB, 1TiB. On SIGTERM the "
    "node drains: it hands its leaderships over to other nodes, asks its clients to reconnect to them, and "
    "exits with 0. A second SIGTERM ends it at once; no stored message is lost by it.";

struct program_flag {
  std::string_view flag, help;
};
constexpr program_flag program_flags[] = {
    {"--config FILE", "Reads settings from this TOML file. The environment variable PARLEY_CONFIG names one "
                      "too, over which the other variables take precedence."},
    {"--print-config",
     "Prints every setting that the node would run with, as a file for --config, and exits."},
    {"--dump DIR", "Prints every replica stored in the data directory DIR of a stopped node, "
                   "one JSON object per line, and exits."},
    {"--rescue-shard S",
     "The last resort for shard S if no majority of its members can be started again: shows what the "
     "stopped node of --data-dir has, what may be lost, and asks before the shard goes on with "
     "that node alone. Then exits."},
    {"--version", "Prints the version and exits."},
    {"--help", "Prints this text and exits."},
};

constexpr std::string_view indent = "      ";

/// Columns that a terminal needs: the continuation bytes of UTF-8 take none.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & '\xc0') != '\x80'; }));
}

/// Breaks `text` between words into lines that begin with `prefix`.
std::string wrapped(std::string_view text, std::size_t columns, std::string_view prefix) {
  std::string out;
  std::string line{prefix};
  bool is_new = true;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, end);
    if (!is_new && width(line) + 1 + width(word) > columns) {
      out += line + '\n';
      line = prefix;
      is_new = true;
    }
    if (!is_new)
      line += ' ';
    line += word;
    is_new = false;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out + line + '\n';
}

std::string remark(const setting_entry& s) {
  std::string out;
  if (!s.standard.empty())
    out += fmt::format("Default: {}.", s.standard);
  else
    out += "Required.";
  if (!s.within.empty())
    out += fmt::format(" Allowed: {}.", s.within);
  return out;
}

std::string quoted(const std::string& text) {
  std::string out{'"'};
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    out += c;
  }
  return out + '"';
}

std::string file_value(const setting_entry& s, const node_config& config) {
  auto values = s.get(config);
  if (s.quoted)
    std::transform(values.begin(), values.end(), values.begin(), quoted);
  return s.list ? fmt::format("[{}]", fmt::join(values, ", ")) : values.front();
}

} // namespace

std::string help_text(std::size_t columns) {
  columns = std::clamp<std::size_t>(columns, 60, 120);
  std::string out = "parleyd: one node of a Parley cluster.\n\n";
  out += wrapped(about, columns, "");
  out += examples;
  out += '\n' + wrapped(places, columns, "") + (three_places + 1) + '\n' + wrapped(ending, columns, "");
  out += "\nThe program\n";
  for (const auto& f : program_flags)
    out += fmt::format("  {}\n{}", f.flag, wrapped(f.help, columns, indent));
  std::optional<settings::topic> under;
  for (const auto& s : setting_table()) {
    if (under != s.about)
      out += fmt::format("\n{}\n", title(s.about));
    under = s.about;
    out += fmt::format("  {}{}{}\n", s.flag(), s.needs_value ? " " : "", s.needs_value ? s.looks_like : "");
    out += wrapped(s.help + ' ' + remark(s), columns, indent);
  }
  return out;
}

std::string config_text(const node_config& config) {
  std::string top, sections, section;
  for (const auto& s : setting_table()) {
    const auto dot = s.key.find('.');
    const auto name = dot == std::string::npos ? std::string{} : s.key.substr(0, dot);
    auto& out = name.empty() ? top : sections;
    if (!name.empty() && name != section)
      out += fmt::format("\n[{}]\n", name);
    if (!name.empty())
      section = name;
    out += wrapped(s.help + ' ' + remark(s), 100, "# ");
    out +=
        fmt::format("{} = {}\n", s.key.substr(dot == std::string::npos ? 0 : dot + 1), file_value(s, config));
  }
  return top + sections; // in TOML, keys without a section come first
}

} // namespace parley::cluster
