#pragma once
// The command lines of the programs beside `parley`: what cannot be understood is named as `parley` names it, and
// ends with the same status.
#include "protocol/values/suggest.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

namespace parley::harness {

inline constexpr int misused_status = 2;

/// What was typed and is not known, as a sentence; empty if the trouble is another one.
inline std::string unknown_word(CLI::App& app, int argc, char** argv) {
  const auto ending = [](const std::string& word, const std::vector<std::string>& known) {
    const auto near = suggest(word, known);
    return near ? "; did you mean `" + *near + "`?" : std::string{"."};
  };
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  auto* of = &app;
  std::vector<std::string> commands;
  for (const auto* sub : app.get_subcommands([](CLI::App*) { return true; }))
    commands.push_back(sub->get_name());
  if (!commands.empty() && !words.empty() && !words.front().starts_with('-')) {
    if (std::ranges::count(commands, words.front()) == 0)
      return "There is no command `" + words.front() + "`" + ending(words.front(), commands);
    of = app.get_subcommand(words.front());
  }
  std::vector<std::string> options;
  for (const auto* from : {&app, of})
    for (const auto* option : from->get_options())
      for (const auto& name : option->get_lnames())
        options.push_back("--" + name);
  const auto left = app.remaining(true);
  for (const auto& word : words) { // in the order in which they were typed
    if (std::ranges::count(left, word) == 0)
      continue;
    const auto name = word.substr(0, word.find('='));
    return word.starts_with('-') ? "There is no option " + name + ending(name, options)
                                 : "\"" + word + "\" is one word too many.";
  }
  if (words.empty() && !commands.empty()) {
    std::string all;
    for (const auto& name : commands)
      all += (all.empty() ? "" : ", ") + name;
    return "No command was given: give one of " + all + ".";
  }
  return {};
}

/// Reads the command line into `app`. Returns the exit status if the program is to end now: 0 after the help,
/// `misused_status` after a sentence on standard error.
inline std::optional<int> read_command_line(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0)
      return app.exit(e);
    auto sentence = unknown_word(app, argc, argv);
    if (sentence.empty())
      sentence = e.what();
    if (!sentence.ends_with('.') && !sentence.ends_with('?'))
      sentence += '.';
    std::cerr << app.get_name() << ": " << sentence << "\nRun `" << app.get_name()
              << " --help` to see what is accepted." << std::endl;
    return misused_status;
  }
}

} // namespace parley::harness
