#include "storage/journal_words.hpp"

#include "protocol/values/codec.hpp"
#include "storage/crc32c.hpp"

#include <cassert>
#include <cstring>
#include <utility>

namespace parley::storage {
namespace {

constexpr std::uint32_t magic_alone = 0x31574c50;  // "PLW1"
constexpr std::uint32_t magic_naming = 0x32574c50; // "PLW2"
constexpr std::size_t word_sum_ends_at = 8;        // magic and the checksum itself

constexpr std::uint32_t word_version_digit = 0xff000000; // of a magic number

std::optional<journal_word> decode_word(std::string_view block) {
  reader in{block};
  const auto magic = in.get<std::uint32_t>(), sum = in.get<std::uint32_t>();
  if (magic != magic_alone && magic != magic_naming)
    return std::nullopt;
  journal_word w;
  w.returned.salt = in.get<std::uint64_t>();
  w.returned.sequence = in.get<std::uint64_t>();
  if (magic == magic_naming) {
    journal_word::checkpoint names;
    names.number = in.get<std::uint64_t>();
    names.from.sequence = in.get<std::uint64_t>();
    names.from.at = in.get<std::uint64_t>();
    names.tables = in.get_bytes();
    if (!in.ok() || names.tables.size() > tables_name_bytes_max)
      return std::nullopt;
    w.names = std::move(names);
  }
  block.remove_suffix(in.rest().size());
  return crc32c(block.substr(word_sum_ends_at)) == sum ? std::optional{std::move(w)} : std::nullopt;
}

} // namespace

std::string encode(journal_mark returned, const std::optional<journal_word::checkpoint>& names) {
  writer w{word_block_bytes};
  w.put(names ? magic_naming : magic_alone).put(std::uint32_t{0}).put(returned.salt).put(returned.sequence);
  if (names) {
    assert(names->tables.size() <= tables_name_bytes_max);
    w.put(names->number).put(names->from.sequence).put(names->from.at).put(std::string_view{names->tables});
  }
  auto out = std::move(w).bytes();
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
    const auto magic = reader{blocks}.get<std::uint32_t>();
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
