#include "storage/lmdb_checkpoint.hpp"

#include "protocol/values/codec.hpp"
#include "storage/crc32c.hpp"
#include "storage/os.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

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
constexpr std::size_t owner_at = 256, owner_bytes = 24; // in the first page
constexpr std::uint32_t owner_magic = 0x64694c50;       // "PLid"
constexpr std::uint32_t lmdb_page_bytes_max = 1 << 16;

/// What a name says.
struct named {
  std::uint32_t page_bytes = 0;
  std::uint32_t root_sum = 0;
  std::string first, second; ///< meta pages
};

std::optional<named> decode(std::string_view name) {
  reader in{name};
  named n;
  n.page_bytes = in.get<std::uint32_t>();
  n.root_sum = in.get<std::uint32_t>();
  if (in.rest().size() != 2 * meta_bytes || n.page_bytes < meta_bytes || n.page_bytes > lmdb_page_bytes_max)
    return std::nullopt;
  n.first = in.rest().substr(0, meta_bytes);
  n.second = in.rest().substr(meta_bytes);
  return n;
}

template <class number>
number number_at(std::string_view bytes, std::size_t at) {
  return reader{bytes.substr(at)}.get<number>();
}

/// Of the page where the table of tables begins, which each commit writes anew; 0 if there is none.
tl::expected<std::uint32_t, int> sum_root(int file, const named& n) {
  const auto commit_of = [](std::string_view meta) { return number_at<std::uint64_t>(meta, commit_at); };
  const auto root =
      number_at<std::uint64_t>(commit_of(n.first) < commit_of(n.second) ? n.second : n.first, main_root_at);
  if (root == no_page)
    return 0;
  std::string page(n.page_bytes, '\0');
  if (const int error = read_at(file, root * n.page_bytes, page); error != 0)
    return tl::make_unexpected(error);
  return crc32c(page);
}

bool belongs_to(int file, std::uint64_t salt) {
  std::string owner(owner_bytes, '\0');
  if (read_at(file, owner_at, owner) != 0)
    return false;
  reader in{owner};
  return in.get<std::uint32_t>() == owner_magic && in.get<std::uint32_t>() == 0 &&
         (in.get<std::uint64_t>() == salt || in.get<std::uint64_t>() == salt);
}

int write_metas(int file, const named& n) {
  const int error = write_at(file, 0, n.first);
  return error != 0 ? error : write_at(file, n.page_bytes, n.second);
}

} // namespace

int belong_to(int file, std::uint64_t salt, std::uint64_t or_to) {
  writer w{owner_bytes};
  w.put(owner_magic).put(std::uint32_t{0}).put(salt).put(or_to);
  return write_at(file, owner_at, std::move(w).bytes());
}

tl::expected<std::string, int> name_commit(int file, std::uint64_t page_bytes) {
  named n{static_cast<std::uint32_t>(page_bytes), 0, std::string(meta_bytes, '\0'),
          std::string(meta_bytes, '\0')};
  if (const int error = read_at(file, 0, n.first); error != 0)
    return tl::make_unexpected(error);
  if (const int error = read_at(file, page_bytes, n.second); error != 0)
    return tl::make_unexpected(error);
  for (const auto* meta : {&n.first, &n.second})
    if (number_at<std::uint32_t>(*meta, magic_at) != lmdb_magic ||
        number_at<std::uint32_t>(*meta, version_at) != lmdb_version)
      return tl::make_unexpected(EIO); // another layout, or a file that somebody else has written to
  const auto sum = sum_root(file, n);
  if (!sum)
    return tl::make_unexpected(sum.error());
  std::string name;
  append_number(name, n.page_bytes);
  append_number(name, *sum);
  return name + n.first + n.second;
}

disk_fault not_of_the_journal(const std::string& file) {
  return {ec::corrupt,
          file +
              " is missing or empty, or it is not the file that the journal was written beside, as an "
              "older copy is not. " +
              std::string{restore_advice}};
}

std::optional<disk_fault> return_to_commit(const std::string& file, std::uint64_t salt,
                                           std::string_view name) {
  const auto wanted = decode(name);
  if (!wanted)
    return not_of_the_journal(file);
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT ? not_of_the_journal(file) : cannot("open", file, errno);
  std::optional<disk_fault> fault;
  if (!belongs_to(fd, salt) || sum_root(fd, *wanted) != wanted->root_sum)
    fault = not_of_the_journal(file);
  else if (const int error = write_metas(fd, *wanted); error != 0)
    fault = cannot("write to", file, error);
  ::close(fd);
  return fault;
}

} // namespace parley::storage
