#include "tests/tidy/readme_rules.hpp"

#include <algorithm>
#include <cctype>

namespace parley::tidy {

namespace {

bool is_source(std::string_view path) {
  return is_code(path) || has_ending(path, {".capnp", ".sh", ".mjs"});
}

/// "a/{b,c}.x" → "a/b.x", "a/c.x".
std::vector<std::string> without_braces(const std::string& path) {
  const auto open = path.find('{');
  const auto close = path.find('}', open);
  if (open == std::string::npos || close == std::string::npos)
    return {path};
  std::vector<std::string> out;
  for (auto at = open + 1; at <= close;) {
    const auto end = std::min(path.find(',', at), close);
    for (auto& each :
         without_braces(path.substr(0, open) + path.substr(at, end - at) + path.substr(close + 1)))
      out.push_back(std::move(each));
    at = end + 1;
  }
  return out;
}

/// Whether the tree has a file of this name, a folder, or a file whose name goes on with an ending. A star stands
/// for the rest of a name.
bool is_there(const source_tree& tree, const std::string& path) {
  if (const auto star = path.find('*'); star != std::string::npos)
    return std::ranges::any_of(tree.files, [&](const auto& f) {
      return f.path.starts_with(path.substr(0, star)) && f.path.ends_with(path.substr(star + 1));
    });
  if (tree.holds(path))
    return true;
  return std::ranges::any_of(tree.files, [&](const auto& f) {
    return f.path.size() > path.size() && f.path.starts_with(path) && f.path[path.size()] == '.';
  });
}

/// Whether some file's path ends in this one.
bool is_an_end(const source_tree& tree, const std::string& path) {
  return std::ranges::any_of(tree.files,
                             [&](const auto& f) { return f.path.ends_with("/" + path) || f.path == path; });
}

/// The words of a span that may be a path: "src/a.cpp:12," → "src/a.cpp".
std::vector<std::string> candidates_of(const code_span& span) {
  std::vector<std::string> out;
  for (auto word : words_of(span.text)) {
    while (!word.empty() && std::string_view{",.;:)…"}.find(word.back()) != std::string_view::npos)
      word.pop_back();
    while (!word.empty() && word.back() == '/')
      word.pop_back();
    if (const auto colon = word.find(':'); colon != std::string::npos)
      word.resize(colon);
    const bool is_plain = std::ranges::all_of(word, [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
             std::string_view{"_-./{},*"}.find(c) != std::string_view::npos;
    });
    if (is_plain && !word.empty() && word.front() != '/' && word.front() != '-')
      out.push_back(word);
  }
  return out;
}

} // namespace

complaints unnamed_files(const source_tree& tree) {
  complaints out;
  std::set<std::string> folders;
  for (const auto& f : tree.files)
    if (is_source(f.path))
      folders.insert(folder_of(f.path));
  for (const auto& folder : folders) {
    const auto* readme = tree.find(folder + "/README.md");
    if (readme == nullptr) {
      out.push_back({folder, 0, "has no README.md"});
      continue;
    }
    std::set<std::string> named;
    for (const auto& span : code_spans(*readme))
      for (std::size_t at = 0; at < span.text.size();) {
        auto end = at;
        while (end < span.text.size() && (std::isalnum(static_cast<unsigned char>(span.text[end])) != 0 ||
                                          span.text[end] == '_' || (span.text[end] == '-' && end > at)))
          ++end;
        named.insert(span.text.substr(at, end - at));
        at = end + 1;
      }
    std::set<std::string> missing;
    for (const auto& f : tree.files)
      if (is_source(f.path) && folder_of(f.path) == folder && !named.contains(stem_of(f.path)))
        missing.insert(stem_of(f.path));
    for (const auto& stem : missing)
      out.push_back({readme->path, 0, "does not name `" + stem + "`"});
  }
  return out;
}

complaints missing_paths(const source_tree& tree) {
  complaints out;
  std::set<std::string> top;
  for (const auto& f : tree.files)
    if (const auto slash = f.path.find('/'); slash != std::string::npos)
      top.insert(f.path.substr(0, slash));
  for (const auto& page : tree.files) {
    if (!has_ending(page.path, {".md"}) || page.path == "CHANGELOG.md" ||
        is_inside(page.path, "docs/decisions"))
      continue;
    const auto here = folder_of(page.path);
    for (const auto& span : code_spans(page))
      for (const auto& word : candidates_of(span))
        for (const auto& path : without_braces(word)) {
          const auto slash = path.find('/');
          const auto first = path.substr(0, slash);
          const auto beside = here.empty() ? path : here + "/" + path;
          bool is_good = true;
          if (slash != std::string::npos && top.contains(first))
            is_good = is_there(tree, path) || is_there(tree, beside);
          else if (slash != std::string::npos && tree.holds(here + "/" + first))
            is_good = is_there(tree, beside);
          else if (!span.is_fenced && is_source(path) && path.find('*') == std::string::npos &&
                   path.front() != '.')
            is_good = is_an_end(tree, path);
          if (!is_good)
            out.push_back({page.path, span.line, "names `" + path + "`, which is not there"});
        }
  }
  return out;
}

complaints broken_links(const source_tree& tree) {
  complaints out;
  for (const auto& page : tree.files) {
    if (!has_ending(page.path, {".md"}))
      continue;
    for (std::size_t i = 0; i < page.lines.size(); ++i) {
      std::string_view line = page.lines[i];
      for (auto at = line.find("]("); at != std::string_view::npos; at = line.find("](", at + 1)) {
        auto target = line.substr(at + 2, line.find(')', at) - at - 2);
        target = target.substr(0, target.find('#'));
        if (target.empty() || target.find("://") != std::string_view::npos)
          continue;
        const auto path = std::filesystem::path{folder_of(page.path)} / target;
        if (!tree.holds(path.lexically_normal().generic_string()))
          out.push_back({page.path, i + 1, "links to " + std::string{target} + ", which is not there"});
      }
    }
  }
  return out;
}

complaints unlisted_decisions(const source_tree& tree) {
  constexpr std::string_view folder = "docs/decisions";
  const auto* list = tree.find("docs/decisions/README.md");
  complaints out;
  for (const auto& page : tree.files) {
    if (folder_of(page.path) != folder || &page == list)
      continue;
    const auto link = "](" + name_of(page.path) + ")";
    if (list == nullptr ||
        std::ranges::none_of(list->lines, [&](const auto& l) { return l.find(link) != std::string::npos; }))
      out.push_back({page.path, 0, "is not in the list of docs/decisions/README.md"});
  }
  return out;
}

} // namespace parley::tidy
