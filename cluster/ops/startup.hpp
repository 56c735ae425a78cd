#pragma once
// From the command line, the environment and a file to a node's configuration.
//
//   data_dir = "…"  in the file   =   --data-dir …   =   PARLEY_DATA_DIR=…
//
// The more specific place takes precedence: a flag, then the file that --config names, then the environment, then
// the file that PARLEY_CONFIG names. If a file and a variable disagree, a warning names both. Which settings there
// are is declared in protocol/values/settings.hpp.
#include "cluster/ops/node_config.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace parley::cluster {

/// What the command line asks for.
struct startup {
  enum class action { run, dump, rescue, print } what = action::run;
  node_config config;
  std::string dump_dir;              ///< `--dump DIR`: print every replica of that data directory, and exit
  std::uint16_t rescue_shard = 0;    ///< `--rescue-shard S`: of `config.data_dir`, and exit
  std::string text;                  ///< `print`: help, the version, the configuration, or what is wrong
  int exit_code = 0;                 ///< of `print`
  std::vector<std::string> warnings; ///< to log: environment variables that name no setting, or hide one
};

using environment_variables = std::map<std::string, std::string>;
environment_variables current_environment();

/// Reads flags, PARLEY_* variables and the file named by --config or PARLEY_CONFIG, and validates. Help is
/// broken into lines of at most `columns`.
startup read_startup(int argc, const char* const* argv, const environment_variables& env,
                     std::string_view version, std::size_t columns = 80);

} // namespace parley::cluster
