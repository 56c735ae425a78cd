// The command line of `parley`: the only file that knows the library that parses it.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/help.hpp"
#include "protocol/client/tool/programs.hpp"
#include "protocol/values/standard_descriptors.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

namespace {

using namespace parley::tool;

/// "out of range" and "none of these", as sentences that say what is accepted.
CLI::Validator within(const option& o) {
  return {[bounds = *o.bounds, unit = o.unit](std::string& text) -> std::string {
            double value = 0;
            if (!CLI::detail::lexical_cast(text, value))
              return fmt::format("\"{}\" is not a number.", text);
            if (value < bounds.first || value > bounds.second)
              return fmt::format("{} is out of range: give a number from {} to {}.", text, bounds.first,
                                 bounds.second);
            return {};
          },
          ""};
}

CLI::Validator one_of(const option& o) {
  return {[choices = o.choices](std::string& text) -> std::string {
            if (std::ranges::count(choices, text) > 0)
              return {};
            return fmt::format("\"{}\" is not known: give one of {}.", text, fmt::join(choices, ", "));
          },
          ""};
}

CLI::Validator is_file() {
  return {[](std::string& text) -> std::string {
            return std::filesystem::is_regular_file(text) ? std::string{}
                                                          : fmt::format("There is no file {}.", text);
          },
          ""};
}

void declare(CLI::App& app, const option& o) {
  auto* it = std::visit(
      [&](auto* value) {
        if constexpr (std::is_same_v<decltype(value), bool*>)
          return app.add_flag(o.name, *value);
        else
          return app.add_option(o.name, *value);
      },
      o.value);
  it->required(o.required);
  if (o.bounds)
    it->check(within(o));
  if (!o.choices.empty())
    it->check(one_of(o));
  if (o.existing_file)
    it->check(is_file());
  if (!o.environment.empty())
    it->envname(o.environment);
}

int complain(std::string sentence, const std::string& command) {
  if (!sentence.ends_with('.'))
    sentence += '.';
  std::fprintf(stderr, "parley: %s\nRun `parley%s --help` to see what is accepted.\n", sentence.c_str(),
               (command.empty() ? "" : " " + command).c_str());
  return static_cast<int>(status::usage);
}

/// Why the command line cannot be understood.
int explain(const CLI::App& app, const CLI::ParseError& error) {
  const auto chosen = app.get_subcommands();
  if (!chosen.empty())
    return complain(error.what(), chosen.front()->get_name());
  const auto words = app.remaining();
  const auto word = std::ranges::find_if(words, [](const std::string& w) { return !w.starts_with('-'); });
  if (word != words.end())
    return complain(
        fmt::format("There is no command `{0}`, and no program `parley-{0}` beside this one or on PATH.",
                    *word),
        "");
  if (error.get_name() == "RequiredError")
    return complain("No command was given.", "");
  return complain(error.what(), "");
}

int failed(status code, const char* sentence) {
  std::fprintf(stderr, "parley: %s\n", sentence);
  return static_cast<int>(code);
}

} // namespace

int main(int argc, char** argv) {
  if (!parley::occupy_standard_descriptors())
    return 1;
  std::signal(SIGPIPE, SIG_IGN);
  context shared;
  const auto options = shared_options(shared);
  const auto commands = all_commands(shared);

  // As git does: `parley NAME …` runs the program `parley-NAME`, if no command has that name.
  if (argc > 1 && argv[1][0] != '-' &&
      std::ranges::none_of(commands, [&](const command& c) { return c.name == argv[1]; }))
    run_program(argv[1], argv + 1);

  CLI::App app;
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all");
  for (const auto& o : options)
    declare(app, o);
  for (const auto& c : commands) {
    auto* sub = app.add_subcommand(c.name);
    sub->fallthrough(); // the shared options may come behind the command's name
    for (const auto& o : c.options)
      declare(*sub, o);
  }

  const auto chosen = [&] {
    const auto subs = app.get_subcommands();
    return std::ranges::find_if(
        commands, [&](const command& c) { return !subs.empty() && c.name == subs.front()->get_name(); });
  };
  try {
    app.parse(argc, argv);
    chosen()->run();
    return static_cast<int>(status::done);
  } catch (const CLI::CallForHelp&) {
    const auto about = chosen();
    const auto text = about == commands.end() ? help(commands, options, programs_help(), help_width())
                                              : help(*about, options, help_width());
    std::fputs(text.c_str(), stdout);
    return static_cast<int>(status::done);
  } catch (const CLI::CallForAllHelp&) {
    auto text = help(commands, options, programs_help(), help_width());
    for (const auto& c : commands)
      text += "\n\n" + help(c, options, help_width());
    std::fputs(text.c_str(), stdout);
    return static_cast<int>(status::done);
  } catch (const CLI::ParseError& e) {
    return explain(app, e);
  } catch (const stop& e) {
    return failed(e.code, e.what());
  } catch (const kj::Exception& e) {
    return failed(status::unreachable, e.getDescription().cStr());
  } catch (const std::exception& e) {
    return failed(status::local, e.what());
  }
}
