#pragma once
// Text on a terminal: what may be written there, and how wide it is.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::tool {

bool is_utf8(std::string_view bytes);

/// Text from bytes that may not all be text, a sentence that names a file for example: each byte that is none
/// becomes U+FFFD.
std::string as_text(std::string_view bytes);

/// What stands at the beginning of a text that is not empty: a code point, or one byte that is none.
struct code_point {
  std::optional<char32_t> it;
  std::size_t bytes = 1;
};
code_point first_code_point(std::string_view text);

/// Whether a terminal obeys the character, or shows nothing, instead of showing it: controls, marks that change
/// the direction of text, invisible ones. The joiners of emoji and of scripts are not counted.
bool is_hidden(char32_t c);

/// The text on one line, with everything in it to be seen: a line break as ⏎, a control as ·, another hidden
/// character as <U+202E>.
std::string printable(std::string_view body);

/// The columns that the text takes: wide characters take two, and what a person takes for one character (a
/// grapheme cluster, an emoji of several people for example) is as wide as it looks.
std::size_t columns(std::string_view text);

/// The rows that the text takes on a terminal with so many columns, at least one. A wide character that does not
/// fit at the end of a row begins the next one.
std::size_t rows(std::string_view text, std::size_t width);

/// Places between what a person takes for characters (grapheme clusters), in bytes. The one before `at`, 0 if there is none;
/// the one behind it, the end if there is none; and `at` itself or, if it is within a character, the end of that.
std::size_t character_before(std::string_view text, std::size_t at);
std::size_t character_behind(std::string_view text, std::size_t at);
std::size_t whole_characters(std::string_view text, std::size_t at);

/// The longest end of the text, from a whole character on, that takes at most `columns_max`.
std::string_view end_of(std::string_view text, std::size_t columns_max);
/// The longest beginning of it.
std::string_view beginning_of(std::string_view text, std::size_t columns_max);

} // namespace parley::tool
