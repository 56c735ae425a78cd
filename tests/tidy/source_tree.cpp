#include "tests/tidy/source_tree.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace parley::tidy {

namespace fs = std::filesystem;

std::string to_text(const complaints& all) {
  std::string out;
  for (const auto& c : all) {
    out += "\n  " + c.path;
    if (c.line > 0)
      out += ":" + std::to_string(c.line);
    out += ": " + c.what;
  }
  return out;
}

const source_file* source_tree::find(std::string_view path) const {
  const auto i = std::ranges::lower_bound(files, path, {}, &source_file::path);
  return i != files.end() && i->path == path ? &*i : nullptr;
}

bool source_tree::holds(std::string_view path) const {
  if (find(path) != nullptr)
    return true;
  const auto inside = std::string{path} + "/";
  const auto i = std::ranges::lower_bound(files, inside, {}, &source_file::path);
  return i != files.end() && i->path.starts_with(inside);
}

std::set<std::string> source_tree::code_folders() const {
  std::set<std::string> out;
  for (const auto& f : files)
    if (is_code(f.path))
      out.insert(folder_of(f.path));
  return out;
}

source_tree tree_of(std::vector<std::pair<std::string, std::string>> files) {
  source_tree out;
  for (auto& [path, text] : files)
    out.files.push_back({std::move(path), lines_of(text)});
  std::ranges::sort(out.files, {}, &source_file::path);
  return out;
}

source_tree read_tree(const fs::path& root) {
  // Everything else at the top is a build folder, data of a cluster or an editor's.
  constexpr std::array<std::string_view, 8> folders{"actors",  "protocol", "storage", "cluster",
                                                    "scripts", "tests",    "docs",    ".ci"};
  constexpr std::array<std::string_view, 7> endings{".cpp", ".hpp", ".c", ".h", ".capnp", ".sh", ".mjs"};
  source_tree out;
  const auto take = [&](const fs::path& file) {
    std::ifstream in{file, std::ios::binary};
    if (!in)
      throw std::runtime_error{"cannot read " + file.string()};
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    out.files.push_back({fs::relative(file, root).generic_string(), lines_of(text)});
  };
  const auto is_ours = [&](const fs::path& file) {
    const auto name = file.filename().string();
    return std::ranges::any_of(endings, [&](auto e) { return name.ends_with(e); }) || name.ends_with(".md") ||
           name == "CMakeLists.txt" || name.ends_with(".supp") || name.starts_with(".clang-") ||
           name == "LICENSE" || name == ".editorconfig" || name == ".gitignore" || name == "run";
  };
  for (const auto& entry : fs::directory_iterator{root})
    if (entry.is_regular_file() && is_ours(entry.path()))
      take(entry.path());
  for (const auto folder : folders) {
    if (!fs::exists(root / folder))
      continue;
    for (auto i = fs::recursive_directory_iterator{root / folder}; i != fs::recursive_directory_iterator{};
         ++i) {
      const auto name = i->path().filename().string();
      if (i->is_directory()) {
        // Installed packages, and the byte strings of fuzzers and of the RFC: not ours to write.
        if (name == "node_modules" || name == "vectors" || name == "found")
          i.disable_recursion_pending();
      } else if (i->is_regular_file() && is_ours(i->path())) {
        take(i->path());
      }
    }
  }
  std::ranges::sort(out.files, {}, &source_file::path);
  return out;
}

std::string folder_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? "" : std::string{path.substr(0, slash)};
}

std::string name_of(std::string_view path) {
  const auto slash = path.rfind('/');
  return std::string{slash == std::string_view::npos ? path : path.substr(slash + 1)};
}

std::string stem_of(std::string_view path) {
  auto name = name_of(path);
  const auto dot = name.find('.', 1);
  return dot == std::string::npos ? name : name.substr(0, dot);
}

bool has_ending(std::string_view path, std::initializer_list<std::string_view> endings) {
  return std::ranges::any_of(endings, [&](auto e) { return path.ends_with(e); });
}

bool is_code(std::string_view path) {
  return has_ending(path, {".cpp", ".hpp", ".c", ".h"});
}

bool is_header(std::string_view path) {
  return has_ending(path, {".hpp", ".h"});
}

bool is_inside(std::string_view path, std::string_view folder) {
  return path == folder || (path.starts_with(folder) && path.substr(folder.size()).starts_with('/'));
}

std::size_t columns_of(std::string_view line) {
  return static_cast<std::size_t>(
      std::ranges::count_if(line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos)
    return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string> words_of(std::string_view text) {
  std::istringstream in{std::string{text}};
  return {std::istream_iterator<std::string>{in}, {}};
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const auto end = text.find('\n');
    out.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return out;
}

std::vector<code_span> code_spans(const source_file& page) {
  std::vector<code_span> out;
  std::string text;       // of the paragraph under way
  std::size_t begins = 0; // at this line
  bool is_fenced = false;
  const auto flush = [&] {
    std::size_t from = 0;
    for (;;) {
      const auto open = text.find('`', from);
      const auto close = open == std::string::npos ? open : text.find('`', open + 1);
      if (close == std::string::npos)
        break;
      const auto line =
          begins + static_cast<std::size_t>(std::count(text.begin(), text.begin() + open, '\n'));
      out.push_back({line, text.substr(open + 1, close - open - 1), false});
      from = close + 1;
    }
    text.clear();
  };
  for (std::size_t i = 0; i < page.lines.size(); ++i) {
    const auto& line = page.lines[i];
    if (trimmed(line).starts_with("```")) {
      flush();
      is_fenced = !is_fenced;
    } else if (is_fenced) {
      out.push_back({i + 1, line, true});
    } else if (trimmed(line).empty() || line.starts_with('|')) { // a row of a table is a paragraph
      flush();
      begins = i + 1;
      text = line;
      if (line.starts_with('|'))
        flush();
    } else {
      if (text.empty())
        begins = i + 1;
      text += line + "\n";
    }
  }
  flush();
  return out;
}

} // namespace parley::tidy
