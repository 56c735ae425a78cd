#include "tests/golden/golden_files.hpp"

#include "tests/golden/samples.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace parley::test {

const std::string& golden_folder() {
  static const std::string folder = std::string{PARLEY_SOURCE_DIR} + "/tests/golden/";
  return folder;
}

std::set<std::string>& compared_files() {
  static std::set<std::string> names;
  return names;
}

std::string golden(const std::string& name, const std::string& now) {
  compared_files().insert(name + ".hex");
  const auto file = golden_folder() + name + ".hex";
  const auto* wish = std::getenv("PARLEY_GOLDEN");
  if (wish && std::string_view{wish} == "write" && !std::filesystem::exists(file))
    std::ofstream{file} << to_hex(now);
  std::ifstream in{file};
  INFO("no readable golden file ", file,
       "; if the struct is new, run this test once with PARLEY_GOLDEN=write");
  REQUIRE(in);
  std::ostringstream text;
  text << in.rdbuf();
  const auto bytes = from_hex(text.str());
  REQUIRE(bytes);
  return *bytes;
}

std::string compare(const std::string& name, const std::string& now) {
  CAPTURE(name);
  const auto then = golden(name, now);
  CHECK(to_hex(now) == to_hex(then));
  return then;
}

} // namespace parley::test
