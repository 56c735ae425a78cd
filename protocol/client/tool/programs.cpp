#include "protocol/client/tool/programs.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

namespace parley::tool {
namespace {

constexpr std::string_view prefix = "parley-";

std::filesystem::path own_directory() {
  std::error_code failed;
  return std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
}

bool is_program(const std::filesystem::path& file) {
  std::error_code failed;
  return std::filesystem::is_regular_file(file, failed) && ::access(file.c_str(), X_OK) == 0;
}

} // namespace

void run_program(const std::string& name, char** arguments, void (*broken_pipe)(int)) {
  if (name.find('/') != std::string::npos)
    return;
  auto program = std::string{prefix} + name;
  const auto ours = std::signal(SIGPIPE, broken_pipe);
  auto* const kept = std::exchange(arguments[0], program.data());
  if (const auto beside = own_directory() / program; is_program(beside))
    ::execv(beside.c_str(), arguments);
  ::execvp(program.c_str(), arguments);
  arguments[0] = kept; // there is none: the caller's command line and signals are as they were
  std::signal(SIGPIPE, ours);
}

std::string programs_help() {
  std::vector<std::string> names;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator{own_directory(), failed}) {
    const auto file = entry.path().filename().string();
    if (file.starts_with(prefix) && is_program(entry.path()))
      names.push_back(file.substr(prefix.size()));
  }
  if (names.empty())
    return {};
  std::ranges::sort(names);
  return fmt::format(
      "Programs in the directory of parley are run like commands, for example `parley {}`: {}.\n",
      names.front(), fmt::join(names, ", "));
}

} // namespace parley::tool
