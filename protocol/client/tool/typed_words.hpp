#pragma once
// What a person who talks may type instead of a message: a word behind a slash.
#include <string>
#include <string_view>

namespace parley::tool {

struct typed_words {
  enum class kind : std::uint8_t {
    message, ///< `text` is to be sent
    quit,
    help,
    unknown ///< it begins with a slash, and is neither a command nor meant to be sent as far as one can tell
  };
  kind what = kind::message;
  std::string text;
};

/// Two slashes at the beginning are one that is sent.
inline typed_words meaning_of(std::string_view line) {
  using kind = typed_words::kind;
  if (!line.starts_with('/'))
    return {kind::message, std::string{line}};
  if (line.starts_with("//"))
    return {kind::message, std::string{line.substr(1)}};
  const auto end = line.find_last_not_of(" \n\t");
  const auto word = line.substr(0, end + 1);
  return {word == "/quit" ? kind::quit : word == "/help" ? kind::help : kind::unknown, {}};
}

} // namespace parley::tool
