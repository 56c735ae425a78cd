#include "tests/tidy/dead_rules.hpp"

#include "tests/tidy/include_rules.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

namespace parley::tidy {

namespace {

struct token {
  std::string text; ///< an identifier, a number, "::", "->" or one other character
  std::size_t line = 0;
  bool at_margin = false; ///< its line begins in the first column
  bool in_directive = false;
};

bool is_word_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

bool is_identifier(const token& t) {
  return is_word_char(t.text.front()) && std::isdigit(static_cast<unsigned char>(t.text.front())) == 0;
}

/// Reads tokens; comments and what stands within quotes are left out.
class reader {
public:
  explicit reader(const source_file& file) {
    for (const auto& line : file.lines)
      text_ += line + "\n";
  }

  std::vector<token> all() {
    while (at_ < text_.size())
      step();
    return std::move(out_);
  }

private:
  void step() {
    const char c = text_[at_];
    if (c == '\n') {
      is_directive_ = is_directive_ && at_ > 0 && text_[at_ - 1] == '\\';
      ++line_;
      ++at_;
      at_margin_ = at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) == 0;
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      ++at_;
    } else if (text_.compare(at_, 2, "//") == 0) {
      skip_to(text_.find('\n', at_));
    } else if (text_.compare(at_, 2, "/*") == 0) {
      skip_to(end_after("*/", at_ + 2));
    } else if (text_.compare(at_, 2, "R\"") == 0) {
      const auto open = text_.find('(', at_);
      skip_to(end_after(")" + text_.substr(at_ + 2, open - at_ - 2) + "\"", at_));
    } else if (c == '"' || c == '\'') {
      skip_quoted(c);
    } else {
      take();
    }
  }

  void take() {
    auto end = at_ + 1;
    if (is_word_char(text_[at_])) {
      const bool is_number = std::isdigit(static_cast<unsigned char>(text_[at_])) != 0;
      while (end < text_.size() &&
             (is_word_char(text_[end]) || (is_number && text_[end] == '\'' && is_word_char(text_[end + 1]))))
        ++end;
    } else if (text_.compare(at_, 2, "::") == 0 || text_.compare(at_, 2, "->") == 0) {
      ++end;
    } else if (text_[at_] == '#') {
      is_directive_ = true;
    }
    out_.push_back({text_.substr(at_, end - at_), line_, at_margin_, is_directive_});
    at_ = end;
  }

  void skip_quoted(char quote) {
    auto end = at_ + 1;
    while (end < text_.size() && text_[end] != quote && text_[end] != '\n')
      end += text_[end] == '\\' ? 2 : 1;
    at_ = end < text_.size() && text_[end] == quote ? end + 1 : std::min(end, text_.size());
  }

  std::size_t end_after(const std::string& what, std::size_t from) const {
    const auto found = text_.find(what, from);
    return found == std::string::npos ? text_.size() : found + what.size();
  }

  void skip_to(std::size_t end) {
    end = std::min(end, text_.size());
    line_ += static_cast<std::size_t>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                                 text_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
  }

  std::string text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  bool at_margin_ = true;
  bool is_directive_ = false;
  std::vector<token> out_;
};

/// The end of "<…>" that begins at `at`; `at` itself if it is a comparison.
std::size_t end_of_angles(const std::vector<token>& tokens, std::size_t at) {
  int depth = 0;
  for (auto i = at; i < tokens.size(); ++i) {
    if (tokens[i].text == "<")
      ++depth;
    else if (tokens[i].text == ">" && --depth == 0)
      return i;
    else if (tokens[i].text == ";" || tokens[i].text == "{")
      break;
  }
  return at;
}

bool is_one_of(const std::string& text, std::initializer_list<std::string_view> all) {
  return std::ranges::find(all, text) != all.end();
}

/// Whether the declaration whose "(" is at `at` ends in `override`: then a base class calls it.
bool is_override(const std::vector<token>& tokens, std::size_t at) {
  for (auto i = at; i < tokens.size() && !is_one_of(tokens[i].text, {";", "{", "}"}); ++i)
    if (tokens[i].text == "override")
      return true;
  return false;
}

/// The tokens of a header that declare a name: outside of function bodies, parameters and template parameters.
std::vector<token> declared_in(const std::vector<token>& tokens) {
  std::vector<token> out;
  int brackets = 0;
  std::vector<bool> scopes; // of the braces around: does this one hold declarations?
  bool is_scope = false;    // would a brace that opens now?
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto& t = tokens[i];
    if (t.in_directive)
      continue;
    if (t.text == "(" || t.text == "[") {
      ++brackets;
      if (t.text == "(")
        is_scope = false;
    } else if (t.text == ")" || t.text == "]") {
      --brackets;
    } else if (t.text == "{") {
      scopes.push_back(is_scope);
      is_scope = false;
    } else if (t.text == "}") {
      if (!scopes.empty())
        scopes.pop_back();
      is_scope = false;
    } else if (t.text == ";") {
      is_scope = false;
    } else if (t.text == "<") {
      i = end_of_angles(tokens, i);
    } else if (is_one_of(t.text, {"namespace", "struct", "class", "union", "enum", "extern"})) {
      is_scope = brackets == 0;
    } else if (is_identifier(t) && brackets == 0 && std::ranges::all_of(scopes, [](bool b) { return b; }) &&
               i > 0 && i + 1 < tokens.size() &&
               !is_one_of(tokens[i - 1].text, {"::", ".", "->", ":", "public", "namespace", "~"}) &&
               is_one_of(tokens[i + 1].text, {"(", ";", "=", "{", ",", "}", "["})) {
      if (tokens[i + 1].text != "(" || !is_override(tokens, i + 1))
        out.push_back(t);
    }
  }
  return out;
}

/// Whether `tokens[i]` names a function in its definition: the first "(" of a line at the margin of a source file
/// follows, and nothing is assigned.
bool is_definition(const std::vector<token>& tokens, std::size_t i) {
  if (!tokens[i].at_margin || tokens[i].in_directive || i + 1 >= tokens.size() || tokens[i + 1].text != "(")
    return false;
  for (auto j = i; j-- > 0 && tokens[j].line == tokens[i].line;)
    if (is_one_of(tokens[j].text, {"(", "=", ".", "->", ";"}))
      return false;
  return true;
}

} // namespace

complaints dead_declarations(const source_tree& tree, const std::set<std::string>& allowed) {
  struct declaration {
    std::string path;
    std::size_t line = 0;
  };
  std::map<std::string, std::size_t> mentions;
  std::map<std::string, declaration> declared;
  for (const auto& f : tree.files) {
    if (!is_code(f.path))
      continue;
    const auto tokens = reader{f}.all();
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (is_identifier(tokens[i]) && (is_header(f.path) || !is_definition(tokens, i)))
        ++mentions[tokens[i].text];
    if (is_header(f.path))
      for (const auto& t : declared_in(tokens))
        declared.try_emplace(t.text, declaration{f.path, t.line});
  }
  complaints out;
  for (const auto& [name, where] : declared)
    if (mentions[name] == 1 && !allowed.contains(name))
      out.push_back({where.path, where.line, "declares " + name + ", which nothing uses"});
  std::ranges::sort(out, {}, [](const complaint& c) { return std::pair{c.path, c.line}; });
  return out;
}

complaints unbuilt_files(const source_tree& tree) {
  std::set<std::string> built;
  for (const auto& f : tree.files) {
    if (name_of(f.path) != "CMakeLists.txt")
      continue;
    const auto folder = folder_of(f.path);
    for (auto line : f.lines) {
      line.resize(std::min(line.find('#'), line.size()));
      std::ranges::replace_if(
          line, [](char c) { return c == '(' || c == ')' || c == '"'; }, ' ');
      for (const auto& word : words_of(line)) {
        constexpr std::string_view root = "${PROJECT_SOURCE_DIR}/";
        const auto path = word.starts_with(root) ? word.substr(root.size())
                          : folder.empty()       ? word
                                                 : folder + "/" + word;
        built.insert(std::filesystem::path{path}.lexically_normal().generic_string());
      }
    }
  }
  complaints out;
  for (const auto& f : tree.files)
    if (has_ending(f.path, {".cpp", ".c"}) && !built.contains(f.path))
      out.push_back({f.path, 0, "is named by no CMakeLists.txt"});
  return out;
}

complaints unused_headers(const source_tree& tree) {
  std::set<std::string> used;
  for (const auto& f : tree.files)
    if (is_code(f.path))
      for (const auto& i : includes_of(f)) {
        const auto target = resolve_include(tree, f, i.path);
        const bool is_own = folder_of(target) == folder_of(f.path) && stem_of(target) == stem_of(f.path);
        if (!is_own)
          used.insert(target);
      }
  complaints out;
  for (const auto& f : tree.files)
    if (is_header(f.path) && !used.contains(f.path))
      out.push_back({f.path, 0, "is included by no other file than its own source"});
  return out;
}

} // namespace parley::tidy
