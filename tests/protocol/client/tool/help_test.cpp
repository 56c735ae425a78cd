// The help of all commands: that it is there, in sentences, and fits.
#include "protocol/client/tool/help.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

using namespace parley::tool;

namespace {

/// Bytes are not columns: what continues a character is not counted.
std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);)
    longest = std::max(longest, static_cast<std::size_t>(std::ranges::count_if(line, [](char c) {
                         return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
                       })));
  return longest;
}

} // namespace

TEST_CASE("every option says in whole sentences what it controls, and what its value is") {
  context shared;
  auto commands = all_commands(shared);
  commands.push_back({.name = "shared", .options = shared_options(shared)});
  for (const auto& c : commands)
    for (const auto& o : c.options) {
      CAPTURE(c.name);
      CAPTURE(o.name);
      CHECK(o.help.ends_with('.'));
      CHECK(o.unit.empty() == std::holds_alternative<bool*>(o.value));
      CHECK((o.name.starts_with("--") || o.required));
      CHECK((std::holds_alternative<int*>(o.value) ? o.bounds.has_value() : true));
    }
}

TEST_CASE("the help of a command shows each option with its default, its bounds and its choices, and fits") {
  context shared;
  const auto options = shared_options(shared);
  for (const auto& c : all_commands(shared)) {
    CAPTURE(c.name);
    const auto text = help(c, options, 80);
    for (const auto& o : c.options)
      CHECK(text.find("\n  " + (o.name.starts_with('-') ? o.name : o.unit)) != std::string::npos);
    CHECK(text.find("Usage: parley " + c.name) != std::string::npos);
    CHECK(c.details.find("\n  parley " + c.name) != std::string::npos);           // an example teaches
    const auto about = help({c.name, c.summary, "", c.options, {}}, options, 80); // examples are not broken
    CHECK(longest_line(about) <= 80);
  }
  const auto text = help(send_command(shared), options, 10'000);
  CHECK(text.find("One of: sent, delivered, read. The default is sent.") != std::string::npos);
  CHECK(text.find("From 1 to 86400. The default is 30.") != std::string::npos);
  CHECK(text.find("--to WHOM TEXT... [OPTIONS]") != std::string::npos);
}

TEST_CASE("the help of the program lists the commands, the programs beside it and the exit statuses") {
  context shared;
  const auto text = help(all_commands(shared), shared_options(shared), "Programs: hello.\n", 80);
  for (const auto& c : all_commands(shared))
    CHECK(text.find("\n  " + c.name + " ") != std::string::npos);
  CHECK(text.find("Programs: hello.") != std::string::npos);
  CHECK(text.find("PARLEY_PROFILE") != std::string::npos);
  CHECK(text.find("\n  5  ") != std::string::npos);
}
