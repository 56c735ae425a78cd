#pragma once
// The redo journal: commits that the tables on the disk do not have for certain, in one file that is written round and round.
//
// A record is one or more commits, whole or absent, and begins at a block's start:
//
//   u32 magic, u32 crc (of all that follows), u64 salt, u64 sequence, u32 payload bytes, u32 crc of the record before
//   (0: it is the first since the journal was opened), payload, zeros to the block's end
//
// The first two blocks are words (journal_words.hpp): up to which record writes had returned, and where reading begins. Each
// record is written together with a word about the one before it, in the two blocks in turn, so that a crash in the middle
// leaves one of them. Records follow each other; one that does not fit before the end of the file is the first behind the
// words. None is written over one that the tables, as both words name them, lack.
//
// The magic number is "PLJ" and the version's digit. In every version, the magic number, the salt and the
// sequence are in these places, so that each program knows the records of another one and refuses to start
// over them: what they hold was acknowledged. (A clean stop leaves nothing in the journal that the tables do
// not contain.) Records of version 1 are read as those of version 2: their journal began anew with each publish, and their
// words name no commit.
//
// `sequence` rises by one per record and never falls. `salt` is random and new at each opening: bytes of an
// earlier run, or of a message that looks like a record, do not have it and are ignored. The tables name the
// last record that they contain (`journal_mark`); after a crash the records after it are read, up to the
// first one that is not whole. That record was torn by the crash and never acknowledged, unless a later record is
// whole, or a word says that its write had returned: then the file is damaged, because a record is written only after
// the one before it was synced. A file without a word of this journal is damaged, too: it was zeroed, or is an older one. So
// only damage to the very last record before a crash can look like a torn one.
//
// Why not LMDB alone: its commit syncs twice and writes every page that a row touched. Measured on the
// reference machine with three writers: 1.9 ms for eight scattered pages and the meta page, 0.5 ms for a
// block of a file whose blocks exist already.
#include "storage/disk_fault.hpp"
#include "storage/journal_words.hpp"

#include <tl/expected.hpp>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace parley::storage {

/// Why a record that is whole was not taken.
enum class record_fault : std::uint8_t {
  none,
  damaged,
  newer ///< it holds what only a newer version of this program writes
};

/// What the next record will be, built by its writer behind a place for the header.
class journal_record {
public:
  journal_record();
  std::string& bytes() { return bytes_; }
  std::string_view payload() const;
  std::size_t payload_bytes() const { return payload().size(); }
  bool empty() const { return payload_bytes() == 0; }
  void clear();

private:
  friend class journal;
  std::string bytes_;
};

/// Owns:   the file `<directory>/store.journal`.
/// Thread: one.
class journal {
public:
  static constexpr std::size_t block_bytes = word_block_bytes;
  static constexpr std::uint64_t words_bytes = 2 * block_bytes;
  static constexpr std::uint64_t bytes_min = words_bytes + 4 * block_bytes; ///< of the file

  /// Creates the file, filled with zeros, if it is missing: a sync is cheap only where the blocks exist.
  static tl::expected<journal, disk_fault> open(const std::string& directory, std::uint64_t bytes);
  static std::string path_in(const std::string& directory);
  /// False also for a file that is shorter than any journal: what it held is gone.
  static bool exists(const std::string& directory);
  /// Whether it begins with a record that is whole, of whichever LMDB file.
  bool holds_a_record() const;
  /// What the operator is told if only another version of this program can read the journal at `path`.
  static disk_fault of_another_version(const std::string& path);

  journal(journal&& other) noexcept;
  journal& operator=(journal&& other) noexcept;
  ~journal();

  /// Of the journal in `directory`: which commit its tables are to be returned to before they are opened. `none`: they can be
  /// opened as they are, or there is no journal. Errors: `unsupported_version` if only another version of this program knows.
  static tl::expected<std::optional<journal_word>, disk_fault> checkpoint_in(const std::string& directory);

  /// Calls `take` with each payload of the journal with that salt from there on, in order, and returns the sequence of the last
  /// one.
  /// Errors: `corrupt` if a record is damaged or `take` found that it is; `unsupported_version` if one is of
  /// another version or `take` found it to be newer.
  tl::expected<std::uint64_t, disk_fault>
  read(std::uint64_t salt, journal_place from,
       const std::function<record_fault(std::string_view)>& take) const;

  /// Makes a word of the journal that begins after `mark` durable, beside the one that decides about the tables until they
  /// name this journal (`named`). 0, or an errno.
  int begin(journal_mark mark, journal_mark named);
  /// To be called when the commit of the tables with that name contains everything up to `mark`, and is on the disk: makes both
  /// words name it; the next record is the first in the file. 0, or an errno.
  int restart(journal_mark mark, std::string tables);
  /// To be called when the commit with that name contains everything before `from`, and is on the disk: the next words name it.
  void name(journal_place from, std::string tables);
  /// Whether both words do. What is older is needed no more: neither the commit that was named before, nor its records.
  bool is_named() const { return naming_words_ == both; }
  /// Writes words until they do. 0, or an errno.
  int write_names();
  /// Makes words durable that name no commit: all is in the tables, which are on the disk. 0, or an errno.
  int close();

  bool has_room_for(const journal_record& r) const;
  /// The record is durable (fdatasync) when this returns 0. Any other result is an errno, and
  /// the outcome is unknown.
  int append(journal_record& r);
  /// Where the next record will be.
  journal_place here() const { return {last_.sequence, at_}; }
  std::uint64_t bytes() const { return bytes_ - words_bytes; } ///< for records
  std::uint64_t bytes_used() const;                            ///< by those that may be needed
  journal_mark last() const { return last_; }

private:
  static constexpr int both = 2;
  journal(std::string path, int fd, std::uint64_t bytes) : path_{std::move(path)}, fd_{fd}, bytes_{bytes} {}
  struct release {
    void operator()(char* p) const { std::free(p); }
  };
  char* aligned(std::size_t bytes);
  int write_at(std::uint64_t at, std::string_view bytes);
  int read_words(std::string& blocks) const;
  int write_word(journal_mark returned);
  int write_words_of(journal_mark returned, int count);
  void word_is_durable();
  std::optional<std::uint64_t> room_for(std::uint64_t bytes) const;

  std::string path_;
  int fd_ = -1;
  int direct_ = -1; ///< bypasses the page cache where the file system can: a sync takes a tenth less
  std::unique_ptr<char, release> buffer_; ///< for `direct_`: aligned to blocks
  std::size_t buffer_bytes_ = 0;
  std::uint64_t bytes_ = 0;        ///< size of the file
  std::uint64_t at_ = words_bytes; ///< where the next record is written
  journal_mark last_;
  std::uint32_t last_crc_ = 0;                     ///< of the last record; 0: none since it was opened
  std::uint8_t word_at_ = 0;                       ///< the block of the next word
  std::optional<journal_word::checkpoint> naming_; ///< by the next words
  std::uint64_t number_ = 0;                       ///< of the last word
  int naming_words_ = 0;                           ///< that are durable
  journal_place tail_{0, words_bytes};             ///< the first record that may be needed
};

} // namespace parley::storage
