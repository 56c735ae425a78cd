#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

namespace parley::test {

/// A directory that goes with its object.
struct scratch {
  std::filesystem::path dir;
  scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "parley-store-XXXXXX").string();
    dir = ::mkdtemp(name.data());
  }
  ~scratch() { std::filesystem::remove_all(dir); }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
};

} // namespace parley::test
