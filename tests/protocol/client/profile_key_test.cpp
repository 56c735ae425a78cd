// The database of a profile is encrypted, and its key is a file of its own.
#include "protocol/client/sqlite_store.hpp"
#include "tests/protocol/client/scratch.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

using namespace parley;
using namespace parley::client;
using test::scratch;

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

TEST_CASE("a database without its key is refused with the file that is wanted, and no other key is made") {
  scratch s;
  sqlite_store{s.dir}.enqueue(talk, "hello");
  fs::rename(s.dir / "key", s.dir / "elsewhere");
  CHECK(says(refusal(s.dir), "is missing"));
  CHECK_FALSE(fs::exists(s.dir / "key"));
  CHECK(refusal(s.dir, s.dir / "elsewhere").empty());
}

TEST_CASE("a key that does not fit, or is no key, is refused with a sentence") {
  scratch s;
  sqlite_store{s.dir}.enqueue(talk, "hello");
  write(s.dir / "key", std::string(32, 'x'));
  CHECK(says(refusal(s.dir), "does not fit"));
  for (const std::size_t size : {0, 31, 33}) {
    write(s.dir / "key", std::string(size, 'x'));
    CHECK(says(refusal(s.dir), "not a profile's key"));
  }
}

TEST_CASE("a profile that an older parley left unencrypted is refused with a sentence") {
  scratch s;
  write(s.dir / "parley.db", std::string{"SQLite format 3\0", 16} + std::string(4080, 0));
  CHECK(says(refusal(s.dir), "older parley"));
  CHECK_FALSE(fs::exists(s.dir / "key"));
  write(s.dir / "key", std::string(32, 'x'));
  CHECK(says(refusal(s.dir), "older parley"));
}

TEST_CASE("what a process left that died while it made the profile does not stand in the way") {
  scratch s;
  write(s.dir / "key.new", "half a k");
  write(s.dir / "parley.db", "");
  CHECK(refusal(s.dir).empty());
  CHECK(content(s.dir / "key").size() == 32);
  CHECK_FALSE(fs::exists(s.dir / "key.new"));
}

TEST_CASE("neither the database nor its log shows what was written, and each profile has a key of its own") {
  scratch s, other;
  const std::string words = "words that nobody else may read";
  sqlite_store store{s.dir};
  store.enqueue(talk, words);
  CHECK(content(s.dir / "parley.db-wal").size() > 4096);
  for (const auto& file : fs::directory_iterator{s.dir})
    CHECK_FALSE(says(content(file.path()), words));
  CHECK_FALSE(says(content(s.dir / "parley.db"), "SQLite"));
  sqlite_store{other.dir};
  CHECK(content(s.dir / "key") != content(other.dir / "key"));
  CHECK((fs::status(s.dir / "key").permissions() & (fs::perms::group_all | fs::perms::others_all)) ==
        fs::perms::none);
}

TEST_CASE("a program may keep the key itself") {
  scratch s;
  const auto key = mls::secret{mls::view_of(std::string(32, 'k'))};
  { sqlite_store{s.dir, key}.enqueue(talk, "hello"); }
  CHECK_FALSE(fs::exists(s.dir / "key"));
  CHECK(sqlite_store{s.dir, key}.waiting().size() == 1);
  CHECK_THROWS_AS((sqlite_store{s.dir, mls::secret{mls::view_of(std::string(32, 'q'))}}), store_error);
}
