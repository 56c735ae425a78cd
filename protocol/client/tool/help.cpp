#include "protocol/client/tool/help.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

namespace parley::tool {
namespace {

/// Words of `text`, broken at `width` and indented; a line that begins with a space is kept as it is.
std::string wrapped(const std::string& text, std::size_t indent, std::size_t width) {
  std::string out;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == ' ') {
      out += line.empty() ? "\n" : std::string(indent, ' ') + line + "\n";
      continue;
    }
    std::istringstream words{line};
    std::size_t used = 0;
    for (std::string word; words >> word;) {
      // Bytes, not columns: a line with a few longer characters breaks a little early.
      if (used > 0 && used + 1 + word.size() > width) {
        out += '\n';
        used = 0;
      }
      out += used == 0 ? std::string(indent, ' ') : " ";
      used += (used == 0 ? indent : 1) + word.size();
      out += word;
    }
    out += '\n';
  }
  return out;
}

/// The default as a person would type it; empty if there is none to show.
std::string default_text(const option& o) {
  return std::visit(
      [](auto* value) -> std::string {
        using type = std::remove_pointer_t<decltype(value)>;
        if constexpr (std::is_same_v<type, bool> || std::is_same_v<type, std::vector<std::string>>)
          return {};
        else
          return fmt::format("{}", *value);
      },
      o.value);
}

bool is_flag(const option& o) {
  return std::holds_alternative<bool*>(o.value);
}
bool is_by_place(const option& o) {
  return o.name.front() != '-';
}
bool takes_several(const option& o) {
  return std::holds_alternative<std::vector<std::string>*>(o.value);
}

std::string usage_of(const option& o) {
  const auto unit = o.unit + (takes_several(o) ? "..." : "");
  return is_by_place(o) ? unit : is_flag(o) ? o.name : o.name + " " + unit;
}

/// What the table knows besides the sentences: bounds, default, variable.
std::string facts(const option& o) {
  std::string out;
  if (!o.choices.empty())
    out += fmt::format(" One of: {}.", fmt::join(o.choices, ", "));
  if (o.bounds)
    out += fmt::format(" From {} to {}.", o.bounds->first, o.bounds->second);
  if (o.required)
    out += " Required.";
  else if (const auto value = default_text(o); !value.empty())
    out += fmt::format(" The default is {}.", value);
  if (!o.environment.empty())
    out += fmt::format(" Can also be set by the variable {}.", o.environment);
  return out;
}

std::string list(const std::vector<option>& options, std::size_t width) {
  std::string out;
  for (const auto& o : options)
    out += "  " + usage_of(o) + "\n" + wrapped(o.help + facts(o), 6, width);
  return out;
}

constexpr auto examples = R"(Examples:
  parley register --profile alice --phone +491700000001 --seeds 127.0.0.1:7001,127.0.0.1:7002 --ca certs/client-ca.pem
  parley send --profile alice --to +491700000002 "Are you there?"
  parley chat --profile alice --with +491700000002
  parley conversations --profile alice
  parley sync --profile bob --json
  parley help send

Exit status:
  0  The command did what it was asked to do.
  1  The cluster refused, and would refuse again: the command, or a message that it sent for an earlier one.
  2  The command line could not be understood.
  3  There was no answer in time. A message is kept, and the next command sends it, unless the command says otherwise.
  4  The profile, a file, the terminal or standard output failed.
  5  This device connected from another program, so this session ended.
)";

} // namespace

std::string help(const command& of, const std::vector<option>& shared, std::size_t width) {
  std::string usage = "Usage: parley " + of.name;
  for (const auto& o : of.options)
    if (o.required)
      usage += " " + usage_of(o);
  auto out = wrapped(of.summary + ".", 0, width) + "\n" + usage + " [OPTIONS]\n\nOptions:\n" +
             list(of.options, width);
  std::string names;
  for (const auto& o : shared)
    names += (names.empty() ? "" : ", ") + o.name;
  out += "\n" + wrapped(fmt::format("These options go with every command, see `parley --help`: {}.", names),
                        0, width);
  if (!of.details.empty())
    out += "\n" + wrapped(of.details, 0, width);
  return out;
}

std::string help(const std::vector<command>& commands, const std::vector<option>& shared,
                 const std::string& programs, std::size_t width) {
  std::string out = "Parley: chats, and scripts for chats.\n\n"
                    "Usage: parley COMMAND [OPTIONS]\n\nCommands (`parley COMMAND --help` describes one, "
                    "`parley --help-all` all of them):\n";
  std::size_t longest = 0;
  for (const auto& c : commands)
    longest = std::max(longest, c.name.size());
  for (const auto& c : commands)
    out += fmt::format("  {:<{}}  {}\n", c.name, longest, c.summary);
  out += "\nOptions that go with every command:\n" + list(shared, width);
  if (!programs.empty())
    out += "\n" + wrapped(programs, 0, width);
  return out + "\n" + examples;
}

std::size_t help_width() {
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col == 0)
    return 80;
  return std::clamp<std::size_t>(window.ws_col, 40, 100);
}

} // namespace parley::tool
