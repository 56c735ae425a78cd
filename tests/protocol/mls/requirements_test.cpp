// Compares the table in requirements.md with the tests beside it and the rules of the engine: neither
// may name anything that does not exist.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path tests{MLS_TESTS}, engine{MLS_ENGINE};

std::string text_of(const fs::path& file) {
  std::ifstream in{file};
  REQUIRE_MESSAGE(in, file.string());
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Returns the text of capture group `n` of each match.
std::vector<std::string> all_of(const std::string& text, const std::string& pattern, std::size_t n = 1) {
  std::vector<std::string> out;
  const std::regex re{pattern};
  for (auto i = std::sregex_iterator(text.begin(), text.end(), re); i != std::sregex_iterator{}; ++i)
    out.push_back((*i)[n]);
  return out;
}

std::string sources_in(const fs::path& folder, std::string_view ending) {
  std::string out;
  for (const auto& entry : fs::directory_iterator{folder})
    if (entry.path().filename().string().ends_with(ending))
      out += text_of(entry.path());
  return out;
}

/// A title may be written as several adjacent literals.
std::set<std::string> titles_in(const std::string& sources) {
  std::set<std::string> out;
  const std::string literal = R"("(?:[^"\\\n]|\\.)*")";
  for (const auto& literals :
       all_of(sources, R"(TEST_CASE(?:_FIXTURE)?\(\s*(?:\w+,\s*)?((?:)" + literal + R"(\s*)+)\))")) {
    std::string title;
    for (const auto& part : all_of(literals, R"re("((?:[^"\\\n]|\\.)*)")re"))
      title += part;
    out.insert(title);
  }
  return out;
}

std::vector<std::string> cells_of(const std::string& row) {
  std::vector<std::string> out;
  std::istringstream in{row.substr(1)};
  for (std::string cell; std::getline(in, cell, '|');)
    out.push_back(cell);
  return out;
}

std::vector<std::string> rows_of(const std::string& table) {
  std::vector<std::string> out;
  std::istringstream in{table};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("| ") && !line.starts_with("| section"))
      out.push_back(line);
  return out;
}

std::vector<std::string> quoted_in(const std::string& cell) {
  return all_of(cell, "`([^`]*)`");
}

/// The rules in error.hpp, without `none`.
std::vector<std::string> rules() {
  auto all = all_of(text_of(engine / "error.hpp"), R"(\n  ([a-z_0-9]+) = [1-9]\d*,)");
  REQUIRE(all.size() > 100);
  return all;
}

} // namespace

TEST_CASE("every requirement in the table is shown by a test that is there, or says why not") {
  const auto titles = titles_in(sources_in(tests, "_test.cpp"));
  REQUIRE(titles.size() > 200);
  std::set<std::string> known;
  for (const auto& r : rules())
    known.insert(r);
  const auto rows = rows_of(text_of(tests / "requirements.md"));
  REQUIRE(rows.size() > 100);
  for (const auto& row : rows) {
    CAPTURE(row);
    const auto cells = cells_of(row);
    REQUIRE(cells.size() == 4);
    CHECK(std::regex_match(cells[0], std::regex{R"( \d+(\.\d+)*(, \d+(\.\d+)*)* )"}));
    for (const auto& r : quoted_in(cells[2]))
      CHECK_MESSAGE(known.contains(r), r);
    const auto shown_by = quoted_in(cells[3]);
    CHECK(shown_by.empty() == cells[3].starts_with(" not here: "));
    for (const auto& one : shown_by)
      CHECK_MESSAGE((one.starts_with("vectors/") ? fs::exists(tests / one) : titles.contains(one)), one);
  }
}

TEST_CASE("every rule that the engine can answer is expected by a test") {
  const auto expected =
      all_of(sources_in(tests, "_test.cpp") + sources_in(tests, "_forger.hpp"), R"(rule::([a-z_0-9]+))");
  const auto used = all_of(sources_in(engine, ".cpp") + sources_in(engine, ".hpp"),
                           R"((?:refuse\(|, |: |\? )rule::([a-z_0-9]+))");
  const std::set<std::string> in_tests(expected.begin(), expected.end()), in_engine(used.begin(), used.end());
  for (const auto& r : rules()) {
    CAPTURE(r);
    CHECK((in_tests.contains(r) ||
           r == "crypto_failed")); // needs libcrypto to fail for lack of memory, which no test here can cause
    CHECK((in_engine.contains(r) || r == "store_failed")); // only the caller's store refuses with it
  }
}

TEST_CASE("every rule with a section of the RFC stands in the table") {
  const auto table = text_of(tests / "requirements.md");
  std::set<std::string> named;
  for (const auto& row : rows_of(table))
    for (const auto& r : quoted_in(cells_of(row).at(2)))
      named.insert(r);
  const std::regex re{R"(case rule::([a-z_0-9]+):\s*return \{\s*"([^"]*)\")"};
  const auto text = text_of(engine / "error.cpp");
  std::size_t seen = 0;
  for (auto i = std::sregex_iterator(text.begin(), text.end(), re); i != std::sregex_iterator{}; ++i, ++seen)
    if (!(*i)[2].str().empty())
      CHECK_MESSAGE(named.contains((*i)[1]), (*i)[1].str());
  CHECK(seen > 100);
}
