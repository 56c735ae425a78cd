// `parley`: reads the command line, runs the command, and turns failures into sentences and exit statuses.
#include "protocol/client/tool/arguments.hpp"
#include "protocol/client/tool/help.hpp"
#include "protocol/client/tool/programs.hpp"
#include "protocol/values/standard_descriptors.hpp"
#include "protocol/values/version.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

using namespace parley::tool;

int complain(const misused& e) {
  std::fprintf(stderr, "parley: %s\nRun `parley%s --help` to see what is accepted.\n",
               printable(as_text(e.what())).c_str(), (e.command.empty() ? "" : " " + e.command).c_str());
  return static_cast<int>(status::usage);
}

int failed(status code, const char* sentence) {
  std::fprintf(stderr, "parley: %s\n", printable(as_text(sentence)).c_str());
  return static_cast<int>(code);
}

} // namespace

int main(int argc, char** argv) {
  if (!parley::occupy_standard_descriptors())
    return 1;
  const auto broken_pipe = std::signal(SIGPIPE, SIG_IGN);
  context shared;
  const auto options = shared_options(shared);
  const auto commands = all_commands(shared);

  // `parley help NAME` of a program is `parley NAME --help`.
  if (argc > 2 && std::string_view{argv[1]} == "help" && argv[2][0] != '-' &&
      std::ranges::none_of(commands, [&](const command& c) { return c.name == argv[2]; })) {
    std::string asks = "--help";
    std::array<char*, 3> words{argv[2], asks.data(), nullptr};
    run_program(argv[2], words.data(), broken_pipe);
  }

  // As git does: `parley NAME …` runs the program `parley-NAME`, if no command has that name.
  if (argc > 1 && argv[1][0] != '-' &&
      std::ranges::none_of(commands, [&](const command& c) { return c.name == argv[1]; }))
    run_program(argv[1], argv + 1, broken_pipe);

  std::vector<std::string> variables; ///< that gave a value
  const auto ended = [&](status code, const std::string& sentence) {
    return failed(code, (sentence + shared.unseen(code, variables)).c_str());
  };
  try {
    const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    const auto asked =
        read_arguments(words, options, commands, [](const char* name) { return std::getenv(name); });
    if (asked.chosen && asked.chosen->uses_profile) // or they gave nothing that it can have failed for
      variables = asked.variables;
    std::string text;
    switch (asked.it) {
    case request::what::run:
      asked.chosen->run();
      break;
    case request::what::version:
      text = fmt::format("parley {}\n", parley::program_version);
      break;
    case request::what::help:
      text = asked.chosen ? help(*asked.chosen, options, help_width())
                          : help(commands, options, programs_help(), help_width());
      break;
    case request::what::help_all:
      text = help(commands, options, programs_help(), help_width());
      for (const auto& c : commands)
        text += "\n\n" + help(c, options, help_width());
      break;
    }
    shared.out.put(text);
    if (shared.out.failed())
      throw stop{status::local, shared.out.why()};
    return static_cast<int>(status::done);
  } catch (const misused& e) {
    return complain(e);
  } catch (const stop& e) {
    return ended(e.code, e.what());
  } catch (const kj::Exception& e) {
    return ended(status::unreachable, e.getDescription().cStr());
  } catch (const std::exception& e) {
    return ended(status::local, e.what());
  }
}
