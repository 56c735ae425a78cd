#include "protocol/client/tool/line_editor.hpp"

#include "protocol/client/tool/terminal_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace parley::tool {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t';
}

} // namespace

typed_row row_of(const typed_line& line, std::size_t columns_max) {
  const auto at = whole_characters(line.text, line.cursor);
  const auto before = printable(line.text.substr(0, at)), behind = printable(line.text.substr(at));
  const auto context = std::min(columns(behind), columns_max / 4);
  const auto shown = end_of(before, columns_max - context);
  return {std::string{shown}, std::string{beginning_of(behind, columns_max - columns(shown))}};
}

/// What a terminal sends for a key, behind the escape.
struct line_editor::binding {
  std::string_view sequence;
  void (line_editor::*does)();
};

std::optional<input_line> line_editor::take() {
  if (lines_.empty())
    return std::nullopt;
  auto line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

void line_editor::offer(std::string text) {
  if (text_.empty() && text.size() <= line_bytes_max)
    show(std::move(text));
}

// --- keys --------------------------------------------------------------------------------------------------

void line_editor::key(char c) {
  if (escaped_)
    after_escape(c);
  else if (c == '\x1b')
    escaped_ = true;
  else if (pasting_)
    pasted(c);
  else if (static_cast<unsigned char>(c) < 0x20 || c == '\x7f')
    control(c);
  else
    add(c);
}

/// ESC and one character, or ESC, then [ or O, then up to a letter or ~. What is not in the table is ignored.
void line_editor::after_escape(char c) {
  static constexpr auto bindings = std::to_array<binding>({
      {"[D", &line_editor::left},
      {"OD", &line_editor::left},
      {"[C", &line_editor::right},
      {"OC", &line_editor::right},
      {"[A", &line_editor::earlier},
      {"OA", &line_editor::earlier},
      {"[B", &line_editor::later},
      {"OB", &line_editor::later},
      {"[H", &line_editor::home},
      {"OH", &line_editor::home},
      {"[1~", &line_editor::home},
      {"[7~", &line_editor::home},
      {"[F", &line_editor::end},
      {"OF", &line_editor::end},
      {"[4~", &line_editor::end},
      {"[8~", &line_editor::end},
      {"[3~", &line_editor::remove},
      {"b", &line_editor::word_left}, // Alt, then Ctrl and Alt with an arrow
      {"[1;5D", &line_editor::word_left},
      {"[1;3D", &line_editor::word_left},
      {"f", &line_editor::word_right},
      {"[1;5C", &line_editor::word_right},
      {"[1;3C", &line_editor::word_right},
      {"\x7f", &line_editor::remove_word}, // Alt with Backspace
  });
  constexpr std::size_t longest = 32;
  const auto byte = static_cast<unsigned char>(c);
  if (byte < 0x20 || byte >= 0x80) { // no sequence has it: a person pressed Esc, and then another key
    escape_.clear();
    escaped_ = c == '\x1b';
    if (!escaped_)
      key(c);
    return;
  }
  escape_ += c;
  const bool introduced = escape_.front() == '[' || escape_.front() == 'O';
  if (introduced && (escape_.size() == 1 || !(c >= '@' && c <= '~')) && escape_.size() < longest)
    return;
  escaped_ = false;
  const auto sequence = std::exchange(escape_, {});
  if (sequence == "[200~")
    pasting_ = true;
  else if (sequence == "[201~")
    pasting_ = false;
  if (pasting_)
    return; // what is pasted moves nothing
  for (const auto& b : bindings)
    if (b.sequence == sequence)
      (this->*b.does)();
}

void line_editor::pasted(char c) {
  if (c == '\r')
    add('\n');
  else if (c == '\t' || static_cast<unsigned char>(c) >= 0x20)
    add(c);
  else if (c == '\n' && !after_cr_)
    add('\n');
  after_cr_ = c == '\r';
}

void line_editor::control(char c) {
  switch (c) {
  case '\r':
  case '\n':
    return end_line();
  case '\x7f':
  case '\b':
    return take_back();
  case '\x01': // Ctrl-A
    return home();
  case '\x04': // Ctrl-D
    ended_ |= text_.empty();
    return;
  case '\x05': // Ctrl-E
    return end();
  case '\x0b': // Ctrl-K
    return remove_end();
  case '\x15': // Ctrl-U
    return remove_begin();
  case '\x17': // Ctrl-W
    return remove_word();
  case '\t':
    return add(' ');
  default:
    return;
  }
}

// --- the line ----------------------------------------------------------------------------------------------

void line_editor::add(char c) {
  if (text_.size() >= line_bytes_max) {
    too_long_ = true;
    return;
  }
  text_.insert(cursor_, 1, c);
  ++cursor_;
}

void line_editor::left() {
  cursor_ = character_before(text_, cursor_);
}

void line_editor::right() {
  cursor_ = character_behind(text_, cursor_);
}

std::size_t line_editor::word_before() const {
  auto at = cursor_;
  while (at > 0 && is_blank(text_[at - 1]))
    --at;
  while (at > 0 && !is_blank(text_[at - 1]))
    --at;
  return at;
}

std::size_t line_editor::word_behind() const {
  auto at = cursor_;
  while (at < text_.size() && is_blank(text_[at]))
    ++at;
  while (at < text_.size() && !is_blank(text_[at]))
    ++at;
  return at;
}

void line_editor::erase(std::size_t from, std::size_t to) {
  if (too_long_)
    return;
  text_.erase(from, to - from);
  cursor_ = from;
}

void line_editor::take_back() {
  erase(character_before(text_, cursor_), cursor_);
}

void line_editor::remove() {
  erase(cursor_, character_behind(text_, cursor_));
}

void line_editor::remove_word() {
  erase(word_before(), cursor_);
}

void line_editor::remove_begin() {
  if (too_long_)
    show({});
  else
    erase(0, cursor_);
}

void line_editor::remove_end() {
  erase(cursor_, text_.size());
}

void line_editor::show(std::string text) {
  text_ = std::move(text);
  cursor_ = text_.size();
  too_long_ = false;
}

// --- lines that were ended ---------------------------------------------------------------------------------

void line_editor::earlier() {
  if (too_long_ || shown_ == 0)
    return;
  if (shown_ == kept_.size())
    draft_ = text_;
  show(kept_[--shown_]);
}

void line_editor::later() {
  if (too_long_ || shown_ == kept_.size())
    return;
  ++shown_;
  show(shown_ == kept_.size() ? std::exchange(draft_, {}) : kept_[shown_]);
}

void line_editor::end_line() {
  if (too_long_) {
    lines_.emplace_back(tl::unexpected{client::refuse(ec::too_large)});
  } else if (!is_utf8(text_)) { // the terminal uses another encoding, or half of a character was erased
    lines_.emplace_back(tl::unexpected{client::refuse(ec::bad_text)});
  } else {
    keep(text_);
    lines_.emplace_back(std::move(text_));
  }
  show({});
  draft_.clear();
  shown_ = kept_.size();
}

void line_editor::keep(const std::string& text) {
  if (std::all_of(text.begin(), text.end(), is_blank) || (!kept_.empty() && kept_.back() == text))
    return;
  kept_.push_back(text);
  kept_bytes_ += text.size();
  while (kept_.size() > kept_lines_max || kept_bytes_ > kept_bytes_max) {
    kept_bytes_ -= kept_.front().size();
    kept_.pop_front();
  }
}

} // namespace parley::tool
