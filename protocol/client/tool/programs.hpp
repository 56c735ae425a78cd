#pragma once
// `parley NAME` runs the program `parley-NAME` if `parley` has no command of that name, as git does. So the
// programs of the test harness (`dev`, `bench`, `chaos`) are used like commands and are not part of this one.
#include <string>

namespace parley::tool {

/// Replaces this process by the program `parley-NAME`, from the directory of this program, else from PATH.
/// `arguments` is its argv: null at the end, the first is replaced. `broken_pipe`: what was to be done about
/// SIGPIPE when this program began, for a program inherits signals that are ignored. Returns only if there is
/// no such program.
void run_program(const std::string& name, char** arguments, void (*broken_pipe)(int));

/// A paragraph for `--help` that lists the programs in the directory of this one; empty if there are none.
std::string programs_help();

} // namespace parley::tool
