#pragma once
// The command line, as the tables of the commands describe it.
//
// It is parsed here and not by a library, because words of a message are values too: a library that splits
// `[a,b]` into a list, or takes the word `sync` of a message for a command, changes what a person sends.
#include "protocol/client/tool/commands.hpp"

#include <span>

namespace parley::tool {

/// The command line cannot be understood; `what()` is a sentence for a person.
struct misused : std::runtime_error {
  misused(std::string command, const std::string& sentence)
      : std::runtime_error{sentence}, command{std::move(command)} {}
  std::string command; ///< whose help says what is accepted; empty: the program's
};

/// What is asked for.
struct request {
  enum class what : std::uint8_t { run, help, help_all, version };
  what it = what::run;
  std::vector<std::string> variables{}; ///< of the environment, that gave an option's value
  const command* chosen = nullptr;      ///< null only if the program's help or version is asked for
};

/// Reads the words behind the program's name, and sets the values of the options in the tables.
///
/// `--name VALUE` and `--name=VALUE` are the same. Options of the command and shared ones come in any order
/// behind the command's name, shared ones before it as well; `--` ends them. An option that takes several
/// values takes the words up to the next one that begins with a dash. Every other word belongs to the argument
/// that is given by its place, byte for byte; that one is told whether it stood behind `--`. The last value of an option wins. An option that is not given is
/// read from its variable, unless that is empty; `variable` looks one up.
///
/// Throws `misused`.
request read_arguments(std::span<const std::string> words, const std::vector<option>& shared,
                       const std::vector<command>& commands,
                       const std::function<const char*(const char*)>& variable);

} // namespace parley::tool
