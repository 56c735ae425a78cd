#include "protocol/client/tool/terminal_text.hpp"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <vector>

namespace parley::tool {
namespace {

constexpr char32_t joiner = 0x200d, non_joiner = 0x200c, as_emoji = 0xfe0f;

bool is_tag(char32_t c) {
  return c >= 0xe0020 && c <= 0xe007f;
}

/// The code point at the beginning of `text`, and how many bytes it takes. Bytes that are no text are one
/// code point each, outside of Unicode.
struct point {
  char32_t it = 0;
  std::size_t bytes = 0;
};
constexpr char32_t no_text = 0x110000;

point first_of(std::string_view text) {
  utf8proc_int32_t c = 0;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                  static_cast<utf8proc_ssize_t>(text.size()), &c);
  return n <= 0 ? point{no_text, 1} : point{static_cast<char32_t>(c), static_cast<std::size_t>(n)};
}

/// A grapheme cluster: what a person takes for one character.
struct cluster {
  std::size_t at = 0;
  std::vector<point> points;
};

/// The first cluster of `text` from `at` on.
cluster cluster_at(std::string_view text, std::size_t at) {
  cluster out{at, {}};
  utf8proc_int32_t state = 0;
  for (auto next = at; next < text.size();) {
    const auto p = first_of(text.substr(next));
    if (!out.points.empty()) {
      const auto before = out.points.back().it;
      if (p.it == no_text || before == no_text ||
          utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(before),
                                           static_cast<utf8proc_int32_t>(p.it), &state))
        break;
    }
    out.points.push_back(p);
    next += p.bytes;
  }
  return out;
}

std::size_t bytes_of(const cluster& c) {
  std::size_t n = 0;
  for (const auto& p : c.points)
    n += p.bytes;
  return n;
}

std::size_t columns_of(const cluster& c) {
  std::size_t sum = 0, widest = 0;
  bool emoji = false;
  for (const auto& p : c.points) {
    const auto width =
        p.it == no_text
            ? 1U
            : static_cast<unsigned>(std::max(0, utf8proc_charwidth(static_cast<utf8proc_int32_t>(p.it))));
    // Newer than the tables: where emoji are, it is one.
    const auto w = width == 0 && p.it >= 0x1f000 && p.it < 0x20000 ? 2U : width;
    sum += w;
    widest = std::max<std::size_t>(widest, w);
    emoji |= p.it == joiner || p.it == as_emoji || (p.it >= 0x1f1e6 && p.it <= 0x1f1ff) ||
             (p.it >= 0x1f3fb && p.it <= 0x1f3ff) || is_tag(p.it);
  }
  if (emoji && c.points.size() > 1) // joined, coloured, or a flag of two letters
    return std::max<std::size_t>(widest, 2);
  return sum;
}

template <class F>
void each_cluster(std::string_view text, F&& f) {
  for (std::size_t at = 0; at < text.size();) {
    const auto c = cluster_at(text, at);
    f(c);
    at += bytes_of(c);
  }
}

} // namespace

code_point first_code_point(std::string_view text) {
  const auto p = first_of(text);
  return {p.it == no_text ? std::nullopt : std::optional{p.it}, p.bytes};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto p = first_of(text);
    if (p.it == no_text)
      return false;
    text.remove_prefix(p.bytes);
  }
  return true;
}

std::string as_text(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const auto p = first_of(bytes);
    out += p.it == no_text ? std::string_view{"\ufffd"} : bytes.substr(0, p.bytes);
    bytes.remove_prefix(p.bytes);
  }
  return out;
}

bool is_hidden(char32_t c) {
  if (c == joiner || c == non_joiner)
    return false;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_CC:
  case UTF8PROC_CATEGORY_CS:
  case UTF8PROC_CATEGORY_ZL:
  case UTF8PROC_CATEGORY_ZP:
    return true;
  case UTF8PROC_CATEGORY_CF: // but for the signs of Arabic, Syriac and Kaithi that are drawn
    return !((c >= 0x600 && c <= 0x605) || c == 0x6dd || c == 0x70f || c == 0x890 || c == 0x891 ||
             c == 0x8e2 || c == 0x110bd || c == 0x110cd);
  default: // letters and marks that are drawn as nothing
    return c == 0x34f || c == 0x115f || c == 0x1160 || c == 0x17b4 || c == 0x17b5 || c == 0x2065 ||
           c == 0x3164 || c == 0xffa0 || (c >= 0xfff0 && c <= 0xfff8) || (c & 0xfffe) == 0xfffe;
  }
}

std::string printable(std::string_view body) {
  if (!is_utf8(body))
    return fmt::format("({} bytes that are no text)", body.size());
  constexpr std::size_t marks_max = 8; // more of them cover the lines above and below
  std::string out;
  each_cluster(body, [&](const cluster& c) {
    const auto first = c.points.front().it;
    if (first == '\n' || first == '\r') {
      out += "⏎"; // "\r\n" is one cluster
      return;
    }
    if (utf8proc_category(static_cast<utf8proc_int32_t>(first)) == UTF8PROC_CATEGORY_CC) {
      out += first == '\t' ? " " : "·"; // it is a cluster of its own
      return;
    }
    auto at = c.at;
    std::size_t marks = 0;
    for (const auto& p : c.points) {
      // A joiner with nothing to join, and letters of a flag without the flag, would be invisible.
      const bool alone =
          &p == &c.points.front() && (p.it == joiner || p.it == non_joiner || p.it == as_emoji);
      const bool in_flag = is_tag(p.it) && first == 0x1f3f4;
      const bool is_mark = utf8proc_charwidth(static_cast<utf8proc_int32_t>(p.it)) == 0 && p.it != joiner &&
                           p.it != as_emoji && !in_flag;
      marks += is_mark ? 1 : 0;
      if (alone || (is_hidden(p.it) && !in_flag) || (is_mark && marks > marks_max))
        out += fmt::format("<U+{:04X}>", static_cast<std::uint32_t>(p.it));
      else
        out += body.substr(at, p.bytes);
      at += p.bytes;
    }
  });
  return out;
}

std::size_t columns(std::string_view text) {
  std::size_t n = 0;
  each_cluster(text, [&](const cluster& c) { n += columns_of(c); });
  return n;
}

std::size_t rows(std::string_view text, std::size_t width) {
  std::size_t n = 1, used = 0;
  each_cluster(text, [&](const cluster& c) {
    const auto w = columns_of(c);
    if (used + w > width && used > 0) {
      ++n;
      used = 0;
    }
    used += w;
  });
  return n;
}

std::size_t character_before(std::string_view text, std::size_t at) {
  std::size_t begin = 0;
  for (std::size_t next = 0; next < at && next < text.size();) {
    begin = next;
    next += bytes_of(cluster_at(text, next));
  }
  return begin;
}

std::size_t character_behind(std::string_view text, std::size_t at) {
  return at < text.size() ? whole_characters(text, at + 1) : text.size();
}

std::size_t whole_characters(std::string_view text, std::size_t at) {
  std::size_t end = 0;
  while (end < at && end < text.size())
    end += bytes_of(cluster_at(text, end));
  return end;
}

std::string_view end_of(std::string_view text, std::size_t columns_max) {
  auto left = columns(text);
  auto at = std::size_t{0};
  while (left > columns_max) {
    const auto c = cluster_at(text, at);
    left -= columns_of(c);
    at += bytes_of(c);
  }
  return text.substr(at);
}

std::string_view beginning_of(std::string_view text, std::size_t columns_max) {
  std::size_t at = 0;
  for (std::size_t used = 0; at < text.size();) {
    const auto c = cluster_at(text, at);
    used += columns_of(c);
    if (used > columns_max)
      break;
    at += bytes_of(c);
  }
  return text.substr(0, at);
}

} // namespace parley::tool
