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

constexpr std::uint32_t magic = 0x324a4c50;         // "PLJ2"
constexpr std::uint32_t magic_before = 0x314a4c50;  // "PLJ1"
constexpr std::uint32_t version_digit = 0xff000000; // of it

struct record_header {
  std::uint32_t magic = 0;
  std::uint32_t crc = 0;
  std::uint64_t salt = 0;
  std::uint64_t sequence = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t crc_before = 0;
};
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

tl::unexpected<disk_fault> objection(const char* doing, const std::string& path, int error) {
  return tl::make_unexpected(cannot(doing, path, error));
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
  for (; from < end; from += step) {
    const auto n = std::min<std::uint64_t>(step, end - from);
    if (const int error = write_at(fd, from, std::string_view{zeros}.substr(0, n)); error != 0)
      return error;
  }
  return 0;
}

/// Whether `bytes` begin with a header of this version, of a record that ends within `room`.
bool header_in(std::string_view bytes, std::uint64_t room, record_header& h) {
  if (bytes.size() < header_bytes)
    return false;
  std::memcpy(&h, bytes.data(), header_bytes);
  return (h.magic == magic || h.magic == magic_before) && h.payload_bytes <= room - header_bytes;
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
    return objection("open", path, errno);
  journal j{path, fd, 0};
  struct stat has {};
  if (::fstat(fd, &has) != 0)
    return objection("look at", path, errno);
  const auto size = static_cast<std::uint64_t>(has.st_size);
  j.bytes_ = std::max(size / block_bytes * block_bytes, whole_blocks(bytes));
  if (size < j.bytes_) {
    if (const int error = fill_with_zeros(fd, size, j.bytes_); error != 0) {
      if (error == ENOSPC && ::ftruncate(fd, has.st_size) == 0)
        return tl::make_unexpected(disk_fault{
            ec::disk_full, "the disk has no room for the journal " + path + ", which takes " +
                               std::to_string(j.bytes_ >> 20) +
                               " MiB: free space there, or enlarge the disk, then start the node again"});
      return objection("fill", path, error);
    }
    if (::fsync(fd) != 0)
      return objection("sync", path, errno);
    if (const int error = sync_directory(directory); error != 0)
      return objection("sync", directory, error);
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
  std::swap(naming_, other.naming_);
  std::swap(naming_words_, other.naming_words_);
  std::swap(number_, other.number_);
  std::swap(tail_, other.tail_);
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
  const auto read = [&] { return read_at(fd_, words_bytes, start) == 0; };
  record_header h;
  if (!read() || !header_in(start, bytes_ - words_bytes, h))
    return false;
  start.resize(header_bytes + h.payload_bytes);
  return read() && sum_fits(start, h);
}

tl::expected<std::optional<journal_word>, disk_fault> journal::checkpoint_in(const std::string& directory) {
  const auto path = path_in(directory);
  if (!exists(directory))
    return std::nullopt;
  journal j{path, ::open(path.c_str(), O_RDONLY | O_CLOEXEC), 0};
  if (j.fd_ < 0)
    return objection("open", path, errno);
  std::string blocks;
  if (const int error = j.read_words(blocks); error != 0)
    return objection("read", path, error);
  if (hold_another_version(blocks))
    return tl::make_unexpected(of_another_version(path));
  const auto words = decode_words(blocks);
  const auto* word = deciding(words);
  return word ? std::optional{*word} : std::nullopt;
}

tl::expected<std::uint64_t, disk_fault>
journal::read(std::uint64_t salt, journal_place from,
              const std::function<record_fault(std::string_view)>& take) const {
  std::string file(bytes_, '\0');
  if (const int error = read_at(fd_, 0, file); error != 0)
    return objection("read", path_, error);
  auto last = from.sequence;
  record_header h;
  const auto whole_at = [&](std::uint64_t at) {
    if (at >= file.size())
      return false;
    const auto bytes = std::string_view{file}.substr(at);
    return header_in(bytes, bytes.size(), h) && h.salt == salt && h.sequence > last && sum_fits(bytes, h);
  };
  const auto next_at = [&](std::uint64_t at) { return whole_at(at) && h.sequence == last + 1; };
  // Whether it was torn is not asked: how that version sums its records is not known here.
  const auto other_version_at = [&](std::uint64_t at) {
    std::memcpy(&h, file.data() + at, header_bytes);
    return h.magic != magic && h.magic != magic_before &&
           (h.magic | version_digit) == (magic | version_digit) && h.salt == salt && h.sequence > last;
  };
  std::optional<std::uint64_t> returned;
  for (const auto& word : decode_words({file.data(), words_bytes}))
    if (word && word->returned.salt == salt)
      returned = std::max(returned.value_or(0), word->returned.sequence);
  std::optional<std::uint32_t> crc_before;
  auto at = from.at;
  while (next_at(at) || next_at(at = words_bytes)) {
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
  for (at = words_bytes; at < file.size(); at += block_bytes) {
    if (other_version_at(at))
      return tl::make_unexpected(of_another_version(path_));
    if (whole_at(at))
      return damaged(path_, "a record is damaged, and whole ones follow it");
  }
  if (!returned)
    return damaged(path_,
                   "it is not the journal that the tables name: it was erased, or replaced by an older one");
  if (*returned > last)
    return damaged(path_, "the last records are damaged or missing, and they had been acknowledged");
  return last;
}

int journal::read_words(std::string& blocks) const {
  blocks.assign(words_bytes, '\0');
  return read_at(fd_, 0, blocks);
}

int journal::begin(journal_mark mark, journal_mark named) {
  std::string blocks;
  if (const int error = read_words(blocks); error != 0)
    return error;
  const auto words = decode_words(blocks);
  const auto* needed = deciding(words); // not over the word that is needed until then
  if (!needed)
    for (const auto& w : words)
      if (w && w->returned.salt == named.salt &&
          (!needed || w->returned.sequence > needed->returned.sequence))
        needed = &*w;
  word_at_ = needed && words[0] && needed == &*words[0] ? 1 : 0;
  naming_ = std::nullopt;
  for (const auto& w : words)
    if (w && w->names)
      number_ = std::max(number_, w->names->number);
  return write_words_of(mark, 1);
}

void journal::name(journal_place from, std::string tables) {
  naming_ = journal_word::checkpoint{0, from, std::move(tables)};
  naming_words_ = 0;
}

int journal::restart(journal_mark mark, std::string tables) {
  name({mark.sequence, words_bytes}, std::move(tables));
  if (mark.salt != last_.salt)
    last_crc_ = 0;
  last_ = mark;
  if (const int error = write_names(); error != 0)
    return error;
  at_ = words_bytes;
  return 0;
}

int journal::write_names() {
  return is_named() ? 0 : write_words_of(last_, both - naming_words_);
}

int journal::close() {
  naming_ = std::nullopt;
  naming_words_ = 0;
  return write_words_of(last_, both);
}

int journal::write_words_of(journal_mark returned, int count) {
  for (; count > 0; --count) { // each is synced before the other block is written
    if (const int error = write_word(returned); error != 0)
      return error;
    if (::fdatasync(fd_) != 0)
      return errno;
    word_is_durable();
  }
  return 0;
}

void journal::word_is_durable() {
  if (naming_ && !is_named() && ++naming_words_ == both)
    tail_ = naming_->from;
}

std::uint64_t journal::bytes_used() const {
  if (last_.sequence == tail_.sequence)
    return 0;
  return at_ > tail_.at ? at_ - tail_.at : bytes() - (tail_.at - at_);
}

std::optional<std::uint64_t> journal::room_for(std::uint64_t bytes) const {
  const bool empty = last_.sequence == tail_.sequence;
  if (!empty && at_ <= tail_.at) // the records that are needed go round the end
    return bytes <= tail_.at - at_ ? std::optional{at_} : std::nullopt;
  if (bytes <= bytes_ - at_)
    return at_;
  return bytes <= (empty ? bytes_ : tail_.at) - words_bytes ? std::optional{words_bytes} : std::nullopt;
}

bool journal::has_room_for(const journal_record& r) const {
  return r.payload_bytes() <= UINT32_MAX && room_for(whole_blocks(r.bytes_.size()));
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
    if (const int error = storage::write_at(fd, at, piece); error != 0)
      return error;
    at += piece.size();
    bytes.remove_prefix(piece.size());
  }
  return 0;
}

int journal::write_word(journal_mark returned) {
  if (naming_)
    naming_->number = ++number_;
  const auto at = word_at_;
  word_at_ = static_cast<std::uint8_t>(1 - at);
  return write_at(at * block_bytes, encode(returned, naming_));
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
  const auto at = room_for(bytes.size());
  if (!at)
    return ENOSPC; // the caller has not asked
  if (const int error = write_word(last_); error != 0)
    return error;
  if (const int error = write_at(*at, bytes); error != 0)
    return error;
  if (::fdatasync(fd_) != 0)
    return errno;
  at_ = *at + bytes.size();
  word_is_durable();
  last_.sequence = h.sequence;
  last_crc_ = h.crc;
  return 0;
}

} // namespace parley::storage
