// The rules on the tree as it is.
#include "tests/tidy/commit_rules.hpp"
#include "tests/tidy/dead_rules.hpp"
#include "tests/tidy/include_rules.hpp"
#include "tests/tidy/readme_rules.hpp"
#include "tests/tidy/text_rules.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <string_view>

using namespace parley::tidy;

namespace {

const source_tree& whole_tree() {
  static const auto tree = read_tree(PARLEY_SOURCE_DIR);
  return tree;
}

void expect_none(const complaints& found) {
  CHECK_MESSAGE(found.empty(), to_text(found));
}

/// What git says, or nothing if there is no git, or no history that it may read.
std::optional<std::string> git(const std::string& arguments) {
  const auto command = "git -C '" PARLEY_SOURCE_DIR "' " + arguments + " 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe{popen(command.c_str(), "r"), pclose};
  if (!pipe)
    return std::nullopt;
  std::string out;
  std::array<char, 4096> buffer{};
  while (const auto n = std::fread(buffer.data(), 1, buffer.size(), pipe.get()))
    out.append(buffer.data(), n);
  return out.empty() ? std::nullopt : std::optional{out};
}

} // namespace

TEST_CASE("the tree was read: it has folders, sources and pages") {
  CHECK(whole_tree().find("actors/interfaces.hpp") != nullptr);
  CHECK(whole_tree().find("README.md") != nullptr);
  CHECK(whole_tree().code_folders().size() > 20);
}

TEST_CASE("every include names a file of the tree") {
  expect_none(missing_includes(whole_tree()));
}

TEST_CASE("no include goes beyond what the README of its folder allows") {
  expect_none(forbidden_arrows(whole_tree()));
}

TEST_CASE("nothing that is shipped includes a test") {
  expect_none(shipped_tests(whole_tree()));
}

TEST_CASE("no folders include each other") {
  expect_none(
      folder_cycles(whole_tree(), {// Below all structs of actors/core; above, and below, all of the client.
                                   "actors/core/archive.hpp", "protocol/client/client.hpp",
                                   "protocol/client/blocking.hpp", "protocol/client/values.hpp"}));
}

TEST_CASE("every declaration is used") {
  const std::set<std::string> allowed{// The standard library asks for it.
                                      "value_type",
                                      // Whole lists of libraft's numbers.
                                      "RAFT_CORE_UNAVAILABLE", "RAFT_CORE_FOLLOWER",
                                      "raft_core_message_type"};
  expect_none(dead_declarations(whole_tree(), allowed));
}

TEST_CASE("every source is compiled, every header is included") {
  expect_none(unbuilt_files(whole_tree()));
  expect_none(unused_headers(whole_tree()));
}

TEST_CASE("the simulator knows every planted bug by its name, and no other") {
  std::set<std::string> planted, known;
  constexpr std::string_view asks = "planted(\"";
  for (const auto& file : whole_tree().files) {
    const bool is_list = file.path == "tests/sim/plants.cpp";
    const bool is_shipped = is_code(file.path) && !is_inside(file.path, "tests");
    for (const auto& line : file.lines) {
      if (is_list && trimmed(line).starts_with('"'))
        known.insert(std::string{trimmed(line).substr(1, trimmed(line).rfind('"') - 1)});
      for (auto at = line.find(asks); is_shipped && at != line.npos; at = line.find(asks, at + 1))
        planted.insert(line.substr(at + asks.size(), line.find('"', at + asks.size()) - at - asks.size()));
    }
  }
  CHECK(planted.size() > 40);
  CHECK(known == planted);
}

TEST_CASE("no file is too long") {
  expect_none(long_files(whole_tree()));
}

TEST_CASE("no line ends in white space") {
  expect_none(trailing_space(whole_tree()));
}

TEST_CASE("no rule and no comment is torn") {
  expect_none(torn_rules(whole_tree()));
  expect_none(torn_comments(whole_tree()));
}

TEST_CASE("no prose of a page is too wide") {
  expect_none(wide_markdown(whole_tree()));
}

TEST_CASE("every README names the files of its folder") {
  expect_none(unnamed_files(whole_tree()));
}

TEST_CASE("every path that a page names is there, and every link leads somewhere") {
  expect_none(missing_paths(whole_tree()));
  expect_none(broken_links(whole_tree()));
}

TEST_CASE("the list of decisions is complete") {
  expect_none(unlisted_decisions(whole_tree()));
}

TEST_CASE("every commit's subject has an area and fits a line") {
  const auto log = git("log --no-merges --format='%h %s'");
  if (!log) {
    MESSAGE("skipped: there is no history of git here");
    return;
  }
  // The rule is as old as this commit; those before it have no areas.
  constexpr std::string_view first = "cluster: six folders";
  complaints found;
  for (const auto& line : lines_of(*log)) {
    const auto subject = line.substr(line.find(' ') + 1);
    if (subject.starts_with(first)) {
      expect_none(found);
      return;
    }
    if (const auto why = objection_to_subject(subject))
      found.push_back({line, 0, *why});
  }
  MESSAGE("skipped: the history here does not reach back to where the rule begins");
}
