#include "storage/journal_words.hpp"

#include "protocol/values/codec.hpp"
#include "storage/bytes.hpp"
#include "storage/crc32c.hpp"

#include <cassert>
#include <cstring>

namespace parley::storage {
namespace {

constexpr std::uint32_t magic_alone = 0x31574c50;  // "PLW1"
constexpr std::uint32_t magic_naming = 0x32574c50; // "PLW2"
constexpr std::size_t word_sum_ends_at = 8;        // magic and the checksum itself
constexpr std::size_t alone_bytes = 24, naming_bytes = 52;

constexpr std::uint32_t word_version_digit = 0xff000000; // of a magic number

std::optional<journal_word> decode_word(std::string_view block) {
  const auto magic = number_at<std::uint32_t>(block, 0);
  auto used = alone_bytes;
  if (magic == magic_naming) {
    const auto name = number_at<std::uint32_t>(block, naming_bytes - sizeof(std::uint32_t));
    if (name > tables_name_bytes_max)
      return std::nullopt;
    used = naming_bytes + name;
  } else if (magic != magic_alone) {
    return std::nullopt;
  }
  if (crc32c(block.substr(word_sum_ends_at, used - word_sum_ends_at)) !=
      number_at<std::uint32_t>(block, sizeof magic))
    return std::nullopt;
  journal_word w{{number_at<std::uint64_t>(block, 8), number_at<std::uint64_t>(block, 16)}, std::nullopt};
  if (magic == magic_naming)
    w.names =
        journal_word::checkpoint{number_at<std::uint64_t>(block, 24),
                                 {number_at<std::uint64_t>(block, 32), number_at<std::uint64_t>(block, 40)},
                                 std::string{block.substr(naming_bytes, used - naming_bytes)}};
  return w;
}

} // namespace

std::string encode(const journal_word& w) {
  std::string out;
  out.reserve(word_block_bytes);
  append_number(out, w.names ? magic_naming : magic_alone);
  append_number(out, std::uint32_t{0});
  append_number(out, w.returned.salt);
  append_number(out, w.returned.sequence);
  if (w.names) {
    assert(w.names->tables.size() <= tables_name_bytes_max);
    append_number(out, w.names->number);
    append_number(out, w.names->from.sequence);
    append_number(out, w.names->from.at);
    append_number(out, static_cast<std::uint32_t>(w.names->tables.size()));
    out += w.names->tables;
  }
  const std::uint32_t sum = crc32c(std::string_view{out}.substr(word_sum_ends_at));
  std::memcpy(out.data() + sizeof magic_alone, &sum, sizeof sum);
  out.resize(word_block_bytes, '\0');
  return out;
}

journal_words decode_words(std::string_view blocks) {
  journal_words words;
  for (std::size_t i = 0; i < words.size() && blocks.size() >= (i + 1) * word_block_bytes; ++i)
    words[i] = decode_word(blocks.substr(i * word_block_bytes, word_block_bytes));
  return words;
}

bool hold_another_version(std::string_view blocks) {
  for (; blocks.size() >= word_block_bytes; blocks.remove_prefix(word_block_bytes)) {
    const auto magic = number_at<std::uint32_t>(blocks, 0);
    if (magic != magic_alone && magic != magic_naming &&
        (magic | word_version_digit) == (magic_alone | word_version_digit))
      return true;
  }
  return false;
}

const journal_word* deciding(const journal_words& words) {
  const journal_word* found = nullptr;
  for (const auto& w : words)
    if (w && w->names && (!found || w->names->number > found->names->number))
      found = &*w;
  return found;
}

} // namespace parley::storage
