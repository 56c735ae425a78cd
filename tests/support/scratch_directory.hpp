#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace parley::test {

/// A temporary directory that is removed with its object.
class scratch_directory {
public:
  scratch_directory() {
    auto pattern = (std::filesystem::temp_directory_path() / "parley-test-XXXXXX").string();
    if (!::mkdtemp(pattern.data()))
      throw std::system_error{errno, std::generic_category(), "no scratch directory"};
    path_ = pattern;
  }
  ~scratch_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch_directory(const scratch_directory&) = delete;
  scratch_directory& operator=(const scratch_directory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(const char* name) const { return path_ / name; }

private:
  std::filesystem::path path_;
};

} // namespace parley::test
