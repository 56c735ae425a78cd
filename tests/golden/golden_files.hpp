#pragma once
// The golden files, and which of them this run has compared.
#include <set>
#include <string>

namespace parley::test {

/// Where they are; ends in a slash.
const std::string& golden_folder();
/// The names of the files that `golden` was asked for.
std::set<std::string>& compared_files();
/// The bytes of a golden file. With PARLEY_GOLDEN=write, a missing file is written first.
std::string golden(const std::string& name, const std::string& now);
/// Compares `now` with the golden file, whose bytes it returns.
std::string compare(const std::string& name, const std::string& now);

} // namespace parley::test
