#include "tests/tidy/include_rules.hpp"

#include <algorithm>
#include <functional>
#include <map>

namespace parley::tidy {

std::vector<include_line> includes_of(const source_file& file) {
  std::vector<include_line> out;
  for (std::size_t i = 0; i < file.lines.size(); ++i) {
    auto text = trimmed(file.lines[i]);
    if (!text.starts_with('#'))
      continue;
    text = trimmed(text.substr(1));
    if (!text.starts_with("include \""))
      continue;
    text = text.substr(9);
    out.push_back({i + 1, std::string{text.substr(0, text.find('"'))}});
  }
  return out;
}

std::string resolve_include(const source_tree& tree, const source_file& from, std::string_view path) {
  std::string whole{path};
  if (whole.ends_with(".capnp.h"))
    whole.resize(whole.size() - 2);
  if (tree.find(whole) != nullptr)
    return whole;
  const auto beside = folder_of(from.path) + "/" + whole;
  return tree.find(beside) != nullptr ? beside : "";
}

namespace {

/// From "Includes: " to its full stop, which is not one within backticks or brackets.
std::optional<std::string> paragraph_of_includes(const source_file& readme) {
  constexpr std::string_view opening = "Includes: ";
  for (std::size_t i = 0; i < readme.lines.size(); ++i) {
    if (!readme.lines[i].starts_with(opening))
      continue;
    std::string text = readme.lines[i].substr(opening.size());
    for (auto j = i + 1; j < readme.lines.size() && !trimmed(readme.lines[j]).empty(); ++j)
      text += " " + readme.lines[j];
    bool in_code = false, in_brackets = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
      const char c = text[at];
      if (c == '`')
        in_code = !in_code;
      else if (c == '(' || c == ')')
        in_brackets = c == '(';
      else if (c == '.' && !in_code && !in_brackets)
        return text.substr(0, at);
    }
    return text;
  }
  return std::nullopt;
}

} // namespace

std::optional<std::vector<permission>> permissions_of(const source_file& readme) {
  const auto text = paragraph_of_includes(readme);
  if (!text)
    return std::nullopt;
  std::vector<permission> out;
  bool in_brackets = false;
  for (std::size_t at = 0; at < text->size(); ++at) {
    const char c = (*text)[at];
    if (c == '(' || c == ')') {
      in_brackets = c == '(';
    } else if (c == '`') {
      const auto end = std::min(text->find('`', at + 1), text->size());
      const auto name = text->substr(at + 1, end - at - 1);
      if (!in_brackets)
        out.push_back({name, {}});
      else if (!out.empty())
        out.back().only.push_back(name);
      at = end;
    }
  }
  return out;
}

complaints missing_includes(const source_tree& tree) {
  complaints out;
  for (const auto& f : tree.files)
    if (is_code(f.path))
      for (const auto& i : includes_of(f))
        if (resolve_include(tree, f, i.path).empty())
          out.push_back({f.path, i.line, "includes \"" + i.path + "\", which is no file of the tree"});
  return out;
}

complaints forbidden_arrows(const source_tree& tree) {
  complaints out;
  for (const auto& folder : tree.code_folders()) {
    const auto* readme = tree.find(folder + "/README.md");
    const auto allowed = readme != nullptr ? permissions_of(*readme) : std::nullopt;
    if (!allowed) {
      out.push_back(
          {folder + "/README.md", 0, "has to say what its folder includes: \"Includes: `folder`, …\""});
      continue;
    }
    std::vector<bool> is_used(allowed->size());
    for (const auto& f : tree.files) {
      if (!is_code(f.path) || folder_of(f.path) != folder)
        continue;
      for (const auto& i : includes_of(f)) {
        const auto target = folder_of(resolve_include(tree, f, i.path));
        if (target.empty() || target == folder)
          continue;
        const auto p = std::ranges::find(*allowed, target, &permission::folder);
        const bool named = p != allowed->end() &&
                           (p->only.empty() || std::ranges::find(p->only, stem_of(f.path)) != p->only.end());
        if (named)
          is_used[static_cast<std::size_t>(p - allowed->begin())] = true;
        else
          out.push_back({f.path, i.line,
                         "includes \"" + i.path + "\", but " + readme->path + " does not allow `" + target +
                             "`" + (p == allowed->end() ? "" : " to this file")});
      }
    }
    for (std::size_t n = 0; n < is_used.size(); ++n)
      if (!is_used[n])
        out.push_back(
            {readme->path, 0, "allows `" + (*allowed)[n].folder + "`, which nothing in the folder includes"});
  }
  return out;
}

complaints shipped_tests(const source_tree& tree) {
  complaints out;
  for (const auto& f : tree.files)
    if (is_code(f.path) && !is_inside(f.path, "tests"))
      for (const auto& i : includes_of(f))
        if (is_inside(resolve_include(tree, f, i.path), "tests"))
          out.push_back({f.path, i.line, "is shipped and includes \"" + i.path + "\""});
  return out;
}

complaints folder_cycles(const source_tree& tree, const std::set<std::string>& apart) {
  std::map<std::string, std::map<std::string, std::string>> arrows; // from, to, an include as the example
  for (const auto& f : tree.files)
    if (is_code(f.path) && !apart.contains(f.path))
      for (const auto& i : includes_of(f)) {
        const auto target = resolve_include(tree, f, i.path);
        const auto to = folder_of(target);
        if (apart.contains(target))
          continue;
        if (!to.empty() && to != folder_of(f.path))
          arrows[folder_of(f.path)].emplace(to, f.path + ":" + std::to_string(i.line));
      }
  complaints out;
  std::vector<std::string> way;
  std::set<std::string> done;
  const std::function<void(const std::string&)> walk = [&](const std::string& folder) {
    if (const auto start = std::ranges::find(way, folder); start != way.end()) {
      std::string what = "the folders include each other:";
      for (auto i = start; i != way.end(); ++i) {
        const auto& to = i + 1 == way.end() ? folder : *(i + 1);
        what += " " + *i + " → " + to + " (" + arrows[*i][to] + ")";
      }
      out.push_back({folder, 0, what});
      return;
    }
    if (done.contains(folder))
      return;
    way.push_back(folder);
    for (const auto& [to, example] : arrows[folder])
      walk(to);
    way.pop_back();
    done.insert(folder);
  };
  std::vector<std::string> starts;
  for (const auto& [from, to] : arrows)
    starts.push_back(from);
  for (const auto& from : starts)
    walk(from);
  return out;
}

} // namespace parley::tidy
