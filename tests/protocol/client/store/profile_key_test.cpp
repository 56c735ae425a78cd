// The database of a profile is encrypted, and its key is a file of its own.
#include "protocol/client/store/sqlite_store.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <fstream>
#include <sstream>

using namespace parley;
using namespace parley::client;
using test::scratch_directory;

namespace {

namespace fs = std::filesystem;
constexpr conversation_id talk{1, 2};

std::string content(const fs::path& file) {
  std::ostringstream out;
  out << std::ifstream{file, std::ios::binary}.rdbuf();
  return out.str();
}
void write(const fs::path& file, std::string_view what) {
  std::ofstream{file, std::ios::binary} << what;
}
std::string refusal(const fs::path& directory, const fs::path& key_file = {}) {
  try {
    sqlite_store{directory, key_file};
  } catch (const store_error& e) {
    return e.what();
  }
  return "";
}
bool says(const std::string& sentence, std::string_view what) {
  return sentence.find(what) != std::string::npos;
}

} // namespace

TEST_CASE(
    "a database without its key is refused with the name of the key's file, and no other key is created") {
  scratch_directory s;
  sqlite_store{s.path()}.enqueue(talk, "hello");
  fs::rename(s.path() / "key", s.path() / "elsewhere");
  CHECK(says(refusal(s.path()), "is missing"));
  CHECK_FALSE(fs::exists(s.path() / "key"));
  CHECK(refusal(s.path(), s.path() / "elsewhere").empty());
}

TEST_CASE("a key that does not fit, or is no key, is refused with a sentence") {
  scratch_directory s;
  sqlite_store{s.path()}.enqueue(talk, "hello");
  write(s.path() / "key", std::string(32, 'x'));
  CHECK(says(refusal(s.path()), "does not fit"));
  for (const std::size_t size : {0, 31, 33}) {
    write(s.path() / "key", std::string(size, 'x'));
    CHECK(says(refusal(s.path()), "not a profile's key"));
  }
}

TEST_CASE("a database with a byte that was flipped is called damaged, wherever it is, with what one can do") {
  scratch_directory s;
  {
    sqlite_store store{s.path()};
    for (int n = 0; n < 20; ++n)
      store.enqueue(talk, std::string(2'000, 'x'));
  }
  const auto file = s.path() / "parley.db";
  const auto whole = content(file);
  std::size_t told = 0;
  for (std::size_t at = 100; at < whole.size(); at += 4'096) { // each page once
    auto flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    write(file, flipped);
    std::string why;
    try {
      sqlite_store store{s.path()};
      (void)store.waiting();
    } catch (const store_error& e) {
      why = e.what();
    }
    if (why.empty()) // a page that nobody read
      continue;
    ++told;
    CAPTURE(why);
    CHECK(says(why, "damaged"));
    CHECK(says(why, "restore the whole profile from a copy, or register this device anew"));
    CHECK(says(why, "is not lost"));
    CHECK_FALSE(says(why, "has room"));
  }
  CHECK(told > 10);
}

TEST_CASE("a profile that an older parley left unencrypted is refused with a sentence") {
  scratch_directory s;
  write(s.path() / "parley.db", std::string{"SQLite format 3\0", 16} + std::string(4080, 0));
  CHECK(says(refusal(s.path()), "older parley"));
  CHECK_FALSE(fs::exists(s.path() / "key"));
  write(s.path() / "key", std::string(32, 'x'));
  CHECK(says(refusal(s.path()), "older parley"));
}

TEST_CASE("what a process that died while it created the profile left behind does not block a new attempt") {
  scratch_directory s;
  write(s.path() / "key.new", "half a k");
  write(s.path() / "parley.db", "");
  CHECK(refusal(s.path()).empty());
  CHECK(content(s.path() / "key").size() == 32);
  CHECK_FALSE(fs::exists(s.path() / "key.new"));
}

TEST_CASE("neither the database nor its log shows what was written, and each profile has a key of its own") {
  scratch_directory s, other;
  const std::string words = "words that nobody else may read";
  sqlite_store store{s.path()};
  store.enqueue(talk, words);
  CHECK(content(s.path() / "parley.db-wal").size() > 4096);
  for (const auto& file : fs::directory_iterator{s.path()})
    CHECK_FALSE(says(content(file.path()), words));
  CHECK_FALSE(says(content(s.path() / "parley.db"), "SQLite"));
  sqlite_store{other.path()};
  CHECK(content(s.path() / "key") != content(other.path() / "key"));
  CHECK((fs::status(s.path() / "key").permissions() & (fs::perms::group_all | fs::perms::others_all)) ==
        fs::perms::none);
}

TEST_CASE("a program may keep the key itself") {
  scratch_directory s;
  const auto key = mls::secret{mls::view_of(std::string(32, 'k'))};
  { sqlite_store{s.path(), key}.enqueue(talk, "hello"); }
  CHECK_FALSE(fs::exists(s.path() / "key"));
  CHECK(sqlite_store{s.path(), key}.waiting().size() == 1);
  CHECK_THROWS_AS((sqlite_store{s.path(), mls::secret{mls::view_of(std::string(32, 'q'))}}), store_error);
}

TEST_CASE("a disk without room is called one, whatever SQLite calls it") {
  constexpr int full = 13, io = 10, shared_memory_size = 10 | 19 << 8, cannot_open = 14, constraint = 19;
  CHECK(failure_words(full, 0, false, "other") == "its disk is full");
  CHECK(failure_words(io, ENOSPC, false, "other") == "its disk is full");
  CHECK(failure_words(io, EDQUOT, false, "other") == "its disk is full");
  CHECK(failure_words(shared_memory_size, 0, true, "other") == "its disk is full");
  CHECK(failure_words(cannot_open, 0, true, "other") == "its disk is full");
  CHECK(failure_words(io, EIO, false, "other") == "other");
  CHECK(failure_words(constraint, 0, true, "other") == "other");
}
