#include "protocol/client/store/profile_key.hpp"

#include "protocol/client/store/store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

namespace parley::client {
namespace {

namespace fs = std::filesystem;

/// Closes what was opened; throws where it could not be.
class open_file {
public:
  open_file(const fs::path& file, int how) : file_{file}, it_{::open(file.c_str(), how | O_CLOEXEC, 0600)} {
    if (it_ < 0)
      fail("opened");
  }
  ~open_file() { ::close(it_); }
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;

  std::size_t read(std::span<std::uint8_t> out) const {
    const auto n = ::read(it_, out.data(), out.size());
    if (n < 0)
      fail("read");
    return static_cast<std::size_t>(n);
  }
  void write(mls::bytes_view in) const {
    if (::write(it_, in.data(), in.size()) != static_cast<ssize_t>(in.size()))
      fail("written");
  }
  void sync() const {
    if (::fsync(it_) != 0)
      fail("written");
  }

private:
  [[noreturn]] void fail(const char* what) const {
    throw store_error{fmt::format("The file {} cannot be {}: {}. Nothing was changed in the profile: check "
                                  "who owns the file and whether the disk has room.",
                                  file_.string(), what, std::strerror(errno))};
  }
  fs::path file_;
  int it_;
};

mls::secret make_key_file(const fs::path& key_file) {
  auto key = mls::secret::zeros(database_key_bytes);
  if (RAND_bytes(key.mutable_view().data(), static_cast<int>(key.size())) != 1)
    throw store_error{
        "The operating system gave no random numbers for a key, so no profile was created: try again."};
  auto written = key_file;
  written += ".new";
  {
    open_file out{written, O_WRONLY | O_CREAT | O_TRUNC};
    out.write(key.view());
    out.sync();
  }
  std::error_code failed;
  fs::rename(written, key_file, failed);
  if (failed)
    throw store_error{fmt::format("The profile's key cannot be written to {}: {}. No profile was created: "
                                  "check who owns the directory and whether the disk has room.",
                                  key_file.string(), failed.message())};
  const auto directory = key_file.parent_path();
  open_file{directory.empty() ? "." : directory, O_RDONLY | O_DIRECTORY}.sync();
  return key;
}

} // namespace

mls::secret key_from_file(const fs::path& key_file, const fs::path& database_file) {
  std::error_code none;
  if (!fs::exists(key_file, none)) {
    refuse_unencrypted(database_file);
    if (fs::exists(database_file, none) && fs::file_size(database_file, none) > 0)
      throw store_error{fmt::format("The key of {} is missing: put it back into {}, "
                                    "or name the file that has it with --key-file.",
                                    database_file.string(), key_file.string())};
    return make_key_file(key_file);
  }
  auto key = mls::secret::zeros(database_key_bytes + 1);
  if (open_file{key_file, O_RDONLY}.read(key.mutable_view()) != database_key_bytes)
    throw store_error{fmt::format("{} is not a profile's key, which has {} bytes: "
                                  "restore it from a copy, or name another file with --key-file.",
                                  key_file.string(), database_key_bytes)};
  return mls::secret{key.view().first(database_key_bytes)};
}

void refuse_unencrypted(const fs::path& database_file) {
  constexpr std::string_view says = "SQLite format 3";
  std::string begins(says.size(), 0);
  std::ifstream{database_file, std::ios::binary}.read(begins.data(), says.size());
  if (begins == says)
    throw store_error{fmt::format("{} is of an older parley, which did not encrypt it: register again with "
                                  "another --profile, or go on with that parley.",
                                  database_file.string())};
}

} // namespace parley::client
