#include "storage/journal.hpp"

#include "storage/crc32c.hpp"
#include "storage/os.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

namespace parley::storage {
namespace {

constexpr std::uint32_t magic = 0x314a4c50;         // "PLJ1"
constexpr std::uint32_t word_magic = 0x31574c50;    // "PLW1"
constexpr std::uint32_t version_digit = 0xff000000; // of it

struct record_header {
  std::uint32_t magic = 0;
  std::uint32_t crc = 0;
  std::uint64_t salt = 0;
  std::uint64_t sequence = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t crc_before = 0;
};
struct word_block {
  std::uint32_t magic = word_magic;
  std::uint32_t crc = 0;
  std::uint64_t salt = 0;
  std::uint64_t sequence = 0;
};
static_assert(sizeof(word_block) == 24);
/// What a record keeps of its memory when it has been written, and what is copied at a time to be written past the page
/// cache.
constexpr std::size_t kept_bytes_max = 1 << 20;
static_assert(kept_bytes_max % journal::block_bytes == 0);
constexpr std::size_t unsummed_bytes = 8; // magic and the checksum itself
constexpr std::size_t header_bytes = sizeof(record_header);
static_assert(header_bytes == 32);

std::uint64_t whole_blocks(std::uint64_t n) {
  return (n + journal::block_bytes - 1) / journal::block_bytes * journal::block_bytes;
}

tl::unexpected<disk_fault> objection(ec code, const char* doing, const std::string& path, int error) {
  std::string what = std::string{"cannot "} + doing + " " + path + ": " + std::strerror(error);
  if (error == EACCES || error == EPERM)
    what += ". Run the node as the user who owns its data directory";
  return tl::make_unexpected(disk_fault{error == ENOSPC ? ec::disk_full : code, std::move(what)});
}

tl::unexpected<disk_fault> damaged(const std::string& path, const char* how) {
  constexpr auto advice =
      ". Move the data directory away and start this node with an empty one; other replicas, if "
      "there are any, fill it";
  return tl::make_unexpected(disk_fault{ec::corrupt, path + ": " + how + advice});
}

int fill_with_zeros(int fd, std::uint64_t from, std::uint64_t end) {
  static constexpr std::size_t step = 1 << 20;
  const std::string zeros(step, '\0');
  while (from < end) {
    const auto n =
        ::pwrite(fd, zeros.data(), std::min<std::uint64_t>(step, end - from), static_cast<off_t>(from));
    if (n < 0 && errno != EINTR)
      return errno;
    from += n > 0 ? static_cast<std::uint64_t>(n) : 0;
  }
  return 0;
}

/// Whether `bytes` begin with a header of this version, of a record that ends within `room`.
bool header_in(std::string_view bytes, std::uint64_t room, record_header& h) {
  if (bytes.size() < header_bytes)
    return false;
  std::memcpy(&h, bytes.data(), header_bytes);
  return h.magic == magic && h.payload_bytes <= room - header_bytes;
}

/// Whether the record with this header is what was written; `bytes` begin with it and hold all of it.
bool sum_fits(std::string_view bytes, const record_header& h) {
  return crc32c(bytes.substr(unsummed_bytes, header_bytes - unsummed_bytes + h.payload_bytes)) == h.crc;
}

} // namespace

journal_record::journal_record() : bytes_(header_bytes, '\0') {}
std::string_view journal_record::payload() const {
  return std::string_view{bytes_}.substr(header_bytes);
}
void journal_record::clear() {
  if (bytes_.capacity() > kept_bytes_max)
    bytes_ = std::string(header_bytes, '\0'); // a large turn's memory is given back
  else
    bytes_.resize(header_bytes);
}

std::string journal::path_in(const std::string& directory) {
  return directory + "/store.journal";
}

bool journal::exists(const std::string& directory) {
  struct stat has {};
  return ::stat(path_in(directory).c_str(), &has) == 0 &&
         static_cast<std::uint64_t>(has.st_size) >= bytes_min;
}

disk_fault journal::of_another_version(const std::string& path) {
  constexpr auto what =
      ": the journal was written by another version of parleyd, and it may hold what was acknowledged last, "
      "so this version has not touched it. Start the version that wrote it, let it stop cleanly, then "
      "upgrade";
  return {ec::unsupported_version, path + what};
}

tl::expected<journal, disk_fault> journal::open(const std::string& directory, std::uint64_t bytes) {
  auto path = path_in(directory);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return objection(ec::storage_failed, "open", path, errno);
  journal j{path, fd, 0};
  struct stat has {};
  if (::fstat(fd, &has) != 0)
    return objection(ec::storage_failed, "look at", path, errno);
  const auto size = static_cast<std::uint64_t>(has.st_size);
  j.bytes_ = std::max(size / block_bytes * block_bytes, whole_blocks(bytes));
  if (size < j.bytes_) {
    if (const int error = fill_with_zeros(fd, size, j.bytes_); error != 0) {
      if (error == ENOSPC && ::ftruncate(fd, has.st_size) == 0)
        return tl::make_unexpected(disk_fault{
            ec::disk_full, "the disk has no room for the journal " + path + ", which takes " +
                               std::to_string(j.bytes_ >> 20) +
                               " MiB: free space there, or enlarge the disk, then start the node again"});
      return objection(ec::storage_failed, "fill", path, error);
    }
    if (::fsync(fd) != 0)
      return objection(ec::storage_failed, "sync", path, errno);
    if (const int error = sync_directory(directory); error != 0)
      return objection(ec::storage_failed, "sync", directory, error);
  }
  j.direct_ = ::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC); // some file systems refuse
  return j;
}

journal::journal(journal&& other) noexcept {
  *this = std::move(other);
}
journal& journal::operator=(journal&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(direct_, other.direct_);
  std::swap(buffer_, other.buffer_);
  std::swap(buffer_bytes_, other.buffer_bytes_);
  std::swap(bytes_, other.bytes_);
  std::swap(at_, other.at_);
  std::swap(last_, other.last_);
  std::swap(last_crc_, other.last_crc_);
  std::swap(word_at_, other.word_at_);
  return *this;
}
journal::~journal() {
  if (direct_ >= 0)
    ::close(direct_);
  if (fd_ >= 0)
    ::close(fd_);
}

bool journal::holds_a_record() const {
  std::string start(header_bytes, '\0');
  const auto read = [&] {
    return ::pread(fd_, start.data(), start.size(), words_bytes) == static_cast<ssize_t>(start.size());
  };
  record_header h;
  if (!read() || !header_in(start, bytes_ - words_bytes, h))
    return false;
  start.resize(header_bytes + h.payload_bytes);
  return read() && sum_fits(start, h);
}

tl::expected<std::uint64_t, disk_fault>
journal::read(journal_mark after, const std::function<record_fault(std::string_view)>& take) const {
  std::string file(bytes_, '\0');
  for (std::size_t got = 0; got < file.size();) {
    const auto n = ::pread(fd_, file.data() + got, file.size() - got, static_cast<off_t>(got));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return objection(ec::storage_failed, "read", path_, n < 0 ? errno : EIO);
    got += static_cast<std::size_t>(n);
  }
  record_header h;
  const auto whole_at = [&](std::uint64_t at) {
    const auto from = std::string_view{file}.substr(at);
    return header_in(from, from.size(), h) && h.salt == after.salt && h.sequence > after.sequence &&
           sum_fits(from, h);
  };
  // Whether it was torn is not asked: how that version sums its records is not known here.
  const auto other_version_at = [&](std::uint64_t at) {
    std::memcpy(&h, file.data() + at, header_bytes);
    return h.magic != magic && (h.magic | version_digit) == (magic | version_digit) && h.salt == after.salt &&
           h.sequence > after.sequence;
  };
  std::optional<std::uint64_t> returned;
  for (std::uint64_t at = 0; at < words_bytes; at += block_bytes) {
    if (const auto word = word_in({file.data() + at, block_bytes}, after.salt))
      returned = std::max(returned.value_or(0), *word);
  }
  auto last = after.sequence;
  std::optional<std::uint32_t> crc_before;
  std::uint64_t at = words_bytes;
  while (whole_at(at) && h.sequence == last + 1) {
    if (crc_before && h.crc_before != *crc_before)
      return damaged(path_, "a record does not follow the one before it");
    crc_before = h.crc;
    switch (take({file.data() + at + header_bytes, h.payload_bytes})) {
    case record_fault::none:
      break;
    case record_fault::newer:
      return tl::make_unexpected(of_another_version(path_));
    case record_fault::damaged:
      return damaged(path_, "a record that is whole cannot be understood");
    }
    last = h.sequence;
    at += whole_blocks(header_bytes + h.payload_bytes);
  }
  for (; at < file.size(); at += block_bytes) {
    if (other_version_at(at))
      return tl::make_unexpected(of_another_version(path_));
    if (whole_at(at) && h.sequence > last)
      return damaged(path_, "a record is damaged, and whole ones follow it");
  }
  if (!returned)
    return damaged(path_,
                   "it is not the journal that the tables name: it was erased, or replaced by an older one");
  if (*returned > last)
    return damaged(path_, "the last records are damaged or missing, and they had been acknowledged");
  return last;
}

std::optional<std::uint64_t> journal::word_in(std::string_view block, std::uint64_t salt) {
  word_block w;
  std::memcpy(&w, block.data(), sizeof w);
  if (w.magic != word_magic || w.salt != salt ||
      crc32c(block.substr(unsummed_bytes, sizeof w - unsummed_bytes)) != w.crc)
    return std::nullopt;
  return w.sequence;
}

int journal::begin(journal_mark mark, journal_mark named) {
  std::string words(words_bytes, '\0');
  if (::pread(fd_, words.data(), words.size(), 0) != static_cast<ssize_t>(words.size()))
    return EIO;
  const auto first = word_in({words.data(), block_bytes}, named.salt);
  const auto second = word_in({words.data() + block_bytes, block_bytes}, named.salt);
  word_at_ = first && (!second || *first > *second) ? 1 : 0; // not over the word that is needed until then
  if (const int error = write_word(mark); error != 0)
    return error;
  if (::fdatasync(fd_) != 0)
    return errno;
  return 0;
}

void journal::rewind(journal_mark mark) {
  if (mark.salt != last_.salt)
    last_crc_ = 0;
  last_ = mark;
  at_ = words_bytes;
}

bool journal::has_room_for(const journal_record& r) const {
  return whole_blocks(r.bytes_.size()) <= bytes_ - at_ && r.payload_bytes() <= UINT32_MAX;
}

char* journal::aligned(std::size_t bytes) {
  if (buffer_bytes_ < bytes) {
    buffer_bytes_ = std::min(std::max(bytes, 2 * buffer_bytes_), kept_bytes_max);
    buffer_.reset(static_cast<char*>(std::aligned_alloc(block_bytes, buffer_bytes_)));
    if (!buffer_)
      throw std::bad_alloc{};
  }
  return buffer_.get();
}

int journal::write_at(std::uint64_t at, std::string_view bytes) {
  const int fd = direct_ >= 0 ? direct_ : fd_;
  while (!bytes.empty()) {
    auto piece = bytes;
    if (direct_ >= 0) {
      piece = bytes.substr(0, kept_bytes_max);
      auto* copy = aligned(piece.size());
      std::memcpy(copy, piece.data(), piece.size());
      piece = {copy, piece.size()};
    }
    for (std::size_t put = 0; put < piece.size();) {
      const auto n = ::pwrite(fd, piece.data() + put, piece.size() - put, static_cast<off_t>(at + put));
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return errno;
      put += static_cast<std::size_t>(n);
    }
    at += piece.size();
    bytes.remove_prefix(piece.size());
  }
  return 0;
}

int journal::write_word(journal_mark returned) {
  word_block w;
  w.salt = returned.salt;
  w.sequence = returned.sequence;
  std::string bytes(block_bytes, '\0');
  std::memcpy(bytes.data(), &w, sizeof w);
  w.crc = crc32c(std::string_view{bytes}.substr(unsummed_bytes, sizeof w - unsummed_bytes));
  std::memcpy(bytes.data() + offsetof(word_block, crc), &w.crc, sizeof w.crc);
  const auto at = word_at_;
  word_at_ = static_cast<std::uint8_t>(1 - at);
  return write_at(at * block_bytes, bytes);
}

int journal::append(journal_record& r) {
  record_header h;
  h.magic = magic;
  h.salt = last_.salt;
  h.sequence = last_.sequence + 1;
  h.payload_bytes = static_cast<std::uint32_t>(r.payload_bytes());
  h.crc_before = last_crc_;
  auto& bytes = r.bytes_;
  std::memcpy(bytes.data(), &h, header_bytes);
  h.crc = crc32c(std::string_view{bytes}.substr(unsummed_bytes));
  std::memcpy(bytes.data() + offsetof(record_header, crc), &h.crc, sizeof h.crc);
  bytes.resize(whole_blocks(bytes.size()), '\0');
  if (const int error = write_word(last_); error != 0)
    return error;
  if (const int error = write_at(at_, bytes); error != 0)
    return error;
  if (::fdatasync(fd_) != 0)
    return errno;
  at_ += bytes.size();
  last_.sequence = h.sequence;
  last_crc_ = h.crc;
  return 0;
}

} // namespace parley::storage
