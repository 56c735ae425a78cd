#pragma once
// The words at the beginning of the journal: up to which record writes had returned, and which commit of the tables is on the
// disk for certain. Internal to storage/.
//
//   u32 magic "PLW2", u32 crc (of all that follows, to the end of the name), u64 salt, u64 sequence,
//   u64 number (rises with each word), u64 sequence of the tables' last record, u64 place of the record after it,
//   u32 bytes of the name, name
//
// Without the fields from the number on and with the magic number "PLW1": the tables can be opened as they are. So they are
// while a journal is opened, after a clean stop, and in the words of earlier programs.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::storage {

struct journal_mark {
  std::uint64_t salt = 0;
  std::uint64_t sequence = 0;
};

/// Where reading begins: the record after `sequence` is at `at`, or at the beginning of the journal if it had no room there.
struct journal_place {
  std::uint64_t sequence = 0;
  std::uint64_t at = 0;
};

struct journal_word {
  struct checkpoint {
    std::uint64_t number = 0; ///< of the word
    journal_place from;       ///< what these tables lack begins here
    std::string tables;       ///< the name of a commit, as `lmdb_environment` gives it
  };
  journal_mark returned;
  std::optional<checkpoint> names;
};
using journal_words = std::array<std::optional<journal_word>, 2>;

inline constexpr std::size_t word_block_bytes = 4096;
inline constexpr std::size_t tables_name_bytes_max = 3'072;

/// A block. The name has at most `tables_name_bytes_max`.
std::string encode(journal_mark returned, const std::optional<journal_word::checkpoint>& names);
/// Of the two blocks; `none`: it is no word.
journal_words decode_words(std::string_view blocks);
/// Whether one is of a version that is not known here. What it says of the tables is unknown, too.
bool hold_another_version(std::string_view blocks);
/// The one that says what to do with the tables: that with the highest number, if any names a commit.
const journal_word* deciding(const journal_words& words);

} // namespace parley::storage
