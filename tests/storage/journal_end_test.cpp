// The end of the journal: what was acknowledged is not taken for a torn write.
#include "storage/journal_rows.hpp"
#include "tests/storage/journal_fixture.hpp"

#include <optional>

using namespace parley;
using namespace parley::storage;
using namespace parley::test;

namespace {

/// Behind that of the first row.
constexpr auto unpublished_record = first_record + journal::block_bytes;

/// A node that was killed when it had acknowledged `a`, `b` and `c` since the last publish.
struct killed {
  scratch_directory dir, image;
  std::unique_ptr<journaled_environment> env = open_journaled(dir.path());
  killed() {
    put_row(*env, "published", "0");
    REQUIRE(env->publish(environment::publishing::now) == ec::none);
    for (const char* key : {"a", "b", "c"})
      put_row(*env, key, "1");
    copy_disk(dir, image);
  }
  std::string journal() const { return image.file("store.journal"); }
  /// `none`: it opens.
  std::optional<disk_fault> fault() const {
    auto opened = journaled_environment::open(image.path(), small_config(), small_journal());
    return opened ? std::nullopt : std::optional{opened.error()};
  }
  bool is_refused() const {
    const auto f = fault();
    return f && f->code == ec::corrupt && f->what.find("start this node with an empty") != std::string::npos;
  }
};

} // namespace

TEST_CASE_FIXTURE(killed,
                  "whichever bit of an acknowledged record is flipped, it is not taken for a torn one") {
  const auto untouched = [&] { copy_disk(dir, image); };
  const auto all = contents(journal());
  constexpr std::size_t used = 80; // of a record, at least: header, operation, key, value
  for (std::uint64_t record = 0; record < 3; ++record)
    for (std::size_t bit = 0; bit < 8 * used; bit += record == 1 ? 3 : 7) {
      CAPTURE(record);
      CAPTURE(bit);
      const auto at = unpublished_record + record * journal::block_bytes + bit / 8;
      const auto flipped = static_cast<char>(all[at] ^ (1 << bit % 8));
      if (all.compare(at, std::string::npos, std::string(all.size() - at, '\0')) == 0)
        continue;
      scribble(journal(), at, {&flipped, 1});
      const auto f = fault();
      if (record < 2)
        CHECK((f || rows(*open_journaled(image.path())).size() == 4)); // refused, or nothing was lost
      else if (!f) // nothing was written after the last one, so it may be torn; what came before it stays
        CHECK(rows(*open_journaled(image.path())).size() >= 3);
      untouched();
    }
}

TEST_CASE_FIXTURE(killed,
                  "a journal whose end was zeroed is refused, and not only what is left of it taken") {
  for (const std::uint64_t records : {1, 2}) {
    const auto from = unpublished_record + records * journal::block_bytes;
    scribble(journal(), from, std::string(64 << 10, '\0'));
    if (records == 1)
      CHECK(is_refused());
    else
      CHECK(rows(*open_journaled(image.path())).size() == 3); // the last record alone may have been torn
    copy_disk(dir, image);
  }
}

TEST_CASE_FIXTURE(killed, "a journal that was zeroed as a whole, or cut off, is refused") {
  const auto bytes = std::filesystem::file_size(journal());
  SUBCASE("zeroed") {
    scribble(journal(), 0, std::string(bytes, '\0'));
  }
  SUBCASE("its words zeroed") {
    scribble(journal(), 0, std::string(journal::words_bytes, '\0'));
  }
  SUBCASE("cut off behind the first record") {
    std::filesystem::resize_file(journal(), first_record + journal::block_bytes);
  }
  SUBCASE("cut off and filled up") {
    std::filesystem::resize_file(journal(), first_record + journal::block_bytes);
    std::filesystem::resize_file(journal(), bytes);
  }
  CHECK(is_refused());
}

TEST_CASE_FIXTURE(killed,
                  "an older journal in the place of the journal is refused, of this run or of another") {
  scratch_directory older;
  copy_disk(dir, older);
  SUBCASE("of this run") {
    put_row(*env, "d", "1");
    checkpoint(*env);
    for (const char* key : {"e", "f", "g"})
      put_row(*env, key, "1");
    copy_disk(dir, image);
    std::filesystem::copy_file(older.file("store.mdb"), image.file("store.mdb"),
                               std::filesystem::copy_options::overwrite_existing);
    CHECK(is_refused()); // older tables, and a journal that names others
    copy_disk(dir, image);
    CHECK(rows(*open_journaled(image.path())).size() == 8);
    return;
  }
  SUBCASE("of the life before, whose pages are all there still") {
    env.reset();
    env = open_journaled(dir.path());
    copy_disk(dir, image);
    std::filesystem::copy_file(older.file("store.journal"), image.file("store.journal"),
                               std::filesystem::copy_options::overwrite_existing);
  }
  SUBCASE("of another") {
    env.reset();
    env = open_journaled(dir.path());
    copy_disk(dir, image);
    std::filesystem::copy_file(older.file("store.journal"), image.file("store.journal"),
                               std::filesystem::copy_options::overwrite_existing);
  }
  CHECK(is_refused());
}

TEST_CASE_FIXTURE(killed, "a torn word costs nothing: the other one is there") {
  for (const std::uint64_t block : {0, 1}) {
    scribble(journal(), block * journal::block_bytes + 8, "torn");
    CHECK(rows(*open_journaled(image.path())).size() == 4);
    copy_disk(dir, image);
  }
}

TEST_CASE_FIXTURE(killed,
                  "older tables that have the commit which the journal names are as good as the newest") {
  scratch_directory older;
  copy_disk(dir, older);
  put_row(*env, "d", "1");
  REQUIRE(env->publish(environment::publishing::now) == ec::none);
  put_row(*env, "e", "1");
  copy_disk(dir, image);
  std::filesystem::copy_file(older.file("store.mdb"), image.file("store.mdb"),
                             std::filesystem::copy_options::overwrite_existing);
  CHECK(rows(*open_journaled(image.path())).size() == 6);
}

TEST_CASE("a process that dies while it opens its journal, again and again, is still opened by the next") {
  scratch_directory dir;
  put_and_stop(dir.path(), "a", "1");
  SUBCASE("after a clean stop") {}
  SUBCASE("after a kill") {
    put_row(*open_journaled(dir.path()), "a", "2");
  }
  const auto words = journal::checkpoint_in(dir.path());
  REQUIRE(words.has_value());
  const auto mark = *words ? (*words)->returned : *decode_mark(*get(*open(dir), table::node, mark_key));
  for (std::uint64_t salt = 1; salt <= 5; ++salt) { // the tables do not name the new journal yet
    auto file = journal::open(dir.path(), small_journal().bytes);
    REQUIRE(file.has_value());
    REQUIRE(file->begin({salt, mark.sequence}, mark) == 0);
  }
  CHECK(rows(*open_journaled(dir.path())).size() == 1);
}
