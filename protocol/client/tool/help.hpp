#pragma once
// What `--help` prints: made of the tables that the commands declare.
#include "protocol/client/tool/commands.hpp"

namespace parley::tool {

/// The help of one command; `shared` are the options that go with every command. Lines are broken at `width`.
std::string help(const command& of, const std::vector<option>& shared, std::size_t width);
/// The help of the program. `programs`: a paragraph about those beside it, or nothing.
std::string help(const std::vector<command>& commands, const std::vector<option>& shared,
                 const std::string& programs, std::size_t width);
/// The columns of the terminal, at most 100 so that lines stay readable; 80 if there is no terminal.
std::size_t help_width();

} // namespace parley::tool
