#include "storage/lmdb_checkpoint.hpp"

#include "protocol/values/codec.hpp"
#include "storage/bytes.hpp"
#include "storage/crc32c.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace parley::storage {
namespace {

// In a meta page: the page's header, magic, version, address, size of the map, two tables of 48 bytes each (LMDB's own list of
// free pages, then the table of tables), number of the last page, number of the commit.
constexpr std::size_t magic_at = 16, version_at = magic_at + 4;
constexpr std::size_t tables_at = version_at + 4 + 8 + 8, table_bytes = 48, root_at = 40;
constexpr std::size_t main_root_at = tables_at + table_bytes + root_at;
constexpr std::size_t last_page_at = tables_at + 2 * table_bytes, commit_at = last_page_at + 8;
constexpr std::size_t meta_bytes = commit_at + 8;
static_assert(meta_bytes == 152);
constexpr std::uint32_t lmdb_magic = 0xBEEFC0DE, lmdb_version = 1;
constexpr std::uint64_t no_page = ~std::uint64_t{0};
constexpr std::size_t metas_at = 2 * sizeof(std::uint32_t), name_bytes = metas_at + 2 * meta_bytes;
constexpr std::size_t owner_at = 256, owner_bytes = 24; // in the first page
constexpr std::uint32_t owner_magic = 0x64694c50;       // "PLid"
constexpr std::uint32_t lmdb_page_bytes_max = 1 << 16;

int read_at(int file, std::uint64_t at, std::string& to) {
  for (std::size_t got = 0; got < to.size();) {
    const auto n = ::pread(file, to.data() + got, to.size() - got, static_cast<off_t>(at + got));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? errno : EIO;
    got += static_cast<std::size_t>(n);
  }
  return 0;
}

int write_at(int file, std::uint64_t at, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? errno : EIO;
    at += static_cast<std::uint64_t>(n);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

int write_metas(int file, std::uint32_t page_bytes, std::string_view first, std::string_view second) {
  const int error = write_at(file, 0, first);
  return error != 0 ? error : write_at(file, page_bytes, second);
}

/// Of the page where the table of tables begins, which each commit writes anew. 0, or an errno.
int sum_root(int file, std::uint32_t page_bytes, std::string_view first, std::string_view second,
             std::uint32_t& sum) {
  const auto newer = number_at<std::uint64_t>(first, commit_at) < number_at<std::uint64_t>(second, commit_at)
                         ? second
                         : first;
  const auto root = number_at<std::uint64_t>(newer, main_root_at);
  sum = 0;
  if (root == no_page)
    return 0;
  std::string page(page_bytes, '\0');
  if (const int error = read_at(file, root * page_bytes, page); error != 0)
    return error;
  sum = crc32c(page);
  return 0;
}

bool belongs_to(int file, std::uint64_t salt) {
  std::string owner(owner_bytes, '\0');
  return read_at(file, owner_at, owner) == 0 && number_at<std::uint32_t>(owner, 0) == owner_magic &&
         (number_at<std::uint64_t>(owner, 8) == salt || number_at<std::uint64_t>(owner, 16) == salt);
}

} // namespace

int belong_to(int file, std::uint64_t salt, std::uint64_t or_to) {
  std::string owner;
  append_number(owner, owner_magic);
  append_number(owner, std::uint32_t{0});
  append_number(owner, salt);
  append_number(owner, or_to);
  return write_at(file, owner_at, owner);
}

tl::expected<std::string, int> name_commit(int file, std::uint64_t page_bytes) {
  std::string first(meta_bytes, '\0'), second(meta_bytes, '\0');
  if (const int error = read_at(file, 0, first); error != 0)
    return tl::make_unexpected(error);
  if (const int error = read_at(file, page_bytes, second); error != 0)
    return tl::make_unexpected(error);
  for (const auto* meta : {&first, &second})
    if (number_at<std::uint32_t>(*meta, magic_at) != lmdb_magic ||
        number_at<std::uint32_t>(*meta, version_at) != lmdb_version)
      return tl::make_unexpected(EIO); // another layout, or a file that somebody else has written to
  const auto size = static_cast<std::uint32_t>(page_bytes);
  std::uint32_t sum = 0;
  if (const int error = sum_root(file, size, first, second, sum); error != 0)
    return tl::make_unexpected(error);
  std::string name;
  append_number(name, size);
  append_number(name, sum);
  return name + first + second;
}

disk_fault not_of_the_journal(const std::string& file) {
  return {ec::corrupt,
          file + " is missing or empty, or it is not the file that the journal was written beside, as an "
                 "older copy is not. Restore it, or start this node with an empty data directory; "
                 "other replicas, if there are any, fill it"};
}

std::optional<disk_fault> return_to_commit(const std::string& file, std::uint64_t salt,
                                           std::string_view name) {
  const auto failed = [&](const char* doing, int error) {
    return disk_fault{error == ENOSPC ? ec::disk_full : ec::storage_failed,
                      std::string{"cannot "} + doing + " " + file + ": " + std::strerror(error) +
                          ". Check the disk, and that the node runs as the user who owns its data directory"};
  };
  const auto size = name.size() == name_bytes ? number_at<std::uint32_t>(name, 0) : 0;
  if (size < meta_bytes || size > lmdb_page_bytes_max)
    return not_of_the_journal(file);
  const auto first = name.substr(metas_at, meta_bytes), second = name.substr(metas_at + meta_bytes);
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT ? not_of_the_journal(file) : failed("open", errno);
  std::optional<disk_fault> fault;
  std::uint32_t sum = 0;
  if (!belongs_to(fd, salt) || sum_root(fd, size, first, second, sum) != 0 ||
      sum != number_at<std::uint32_t>(name, sizeof sum))
    fault = not_of_the_journal(file);
  else if (const int error = write_metas(fd, size, first, second); error != 0)
    fault = failed("write to", error);
  ::close(fd);
  return fault;
}

} // namespace parley::storage
