#pragma once
// `parley NAME` for a NAME that is no command of ours runs the program `parley-NAME`, as git does: first beside this
// program, then on PATH. So the harness (`dev`, `bench`, `chaos`) is used like a command and not shipped with it.
#include <string>

namespace parley::tool {

/// Replaces this process by `parley-<name>`, called with `arguments` (its argv, null at the end; the first is
/// replaced). Returns only if there is no such program.
void run_program(const std::string& name, char** arguments);

/// A paragraph for `--help` that lists the programs beside this one; empty if there are none.
std::string programs_help();

} // namespace parley::tool
