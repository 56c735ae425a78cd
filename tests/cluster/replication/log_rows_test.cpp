// Rows of the log whose headers another version wrote, records without what they need, and bodies of messages
// that are shorter or longer.
#include "cluster/replication/entry_log.hpp"
#include "cluster/replication/peer_bodies.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::cluster;

namespace {

constexpr row_header header{shard_id{7}, generation{2}, entry_kind::commands, 5, 3};
constexpr std::string_view payload = "what the entry holds";

/// A row whose header has the first `fields` of its fields, and then `more`.
std::string row_of(std::size_t fields, std::string_view more = {}) {
  writer w;
  const auto start = w.open(1);
  std::size_t n = 0;
  auto h = header;
  h.fields([&](const auto&... xs) {
    ((n++ < fields ? void(w.put(xs)) : void()), ...);
    return true;
  });
  w.raw(more).close(start);
  w.raw(payload);
  return std::move(w).bytes();
}

} // namespace

TEST_CASE("a row of the log with a shorter header, as an older program wrote it, is read") {
  const auto row = row_of(4);
  const auto h = get_row_header(row, core::reading::whole);
  REQUIRE(h.it);
  CHECK(h.it->index == header.index);
  CHECK(h.it->term == row_header{}.term);
  CHECK(row_payload(row) == payload);
  CHECK(shard_of_row(row) == header.shard);

  entry_log log;
  log.clear(5);
  log.append_stored(*h.it, 1, row, true);
  CHECK(row_payload(log.at(5).row) == payload);
}

TEST_CASE("an entry that leaves memory takes none, and the bound counts what a row has allocated beyond its "
          "bytes") {
  entry_log log;
  log.clear(1);
  for (int i = 0; i < 4; ++i) {
    auto row = begin_row(50'000);
    row.append(std::string(10'000, 'x'));
    log.append(shard_id{7}, generation{2}, entry_kind::commands, 3, std::move(row));
    log.written(log.last(), log.last());
  }
  CHECK(log.cached_bytes() >= 200'000);
  log.evict(log.last(), 60'000);
  CHECK(log.cached_bytes() <= 60'000);
  CHECK(log.at(3).row.empty());
  CHECK(log.at(3).row.capacity() < 100);
  CHECK(log.at(4).row.size() > 10'000);
  log.evict(log.last(), 0);
  CHECK(log.cached_bytes() == 0);
  log.trim(log.last(), [](std::uint64_t) {});
  CHECK(log.cached_bytes() == 0);
}

TEST_CASE("an entry leaves memory when it is old, though its shard goes on being written") {
  entry_log log;
  log.clear(1);
  const auto append = [&] {
    auto row = begin_row(100);
    row.append("x");
    log.append(shard_id{7}, generation{2}, entry_kind::commands, 3, std::move(row));
    log.written(log.last(), log.last());
  };
  append();
  append();
  log.age(log.last());
  CHECK_FALSE(log.at(1).row.empty());
  append();
  log.age(1); // the second is not applied yet
  CHECK(log.at(1).row.empty());
  CHECK_FALSE(log.at(2).row.empty());
  append();
  log.age(log.last());
  CHECK(log.at(3).row.empty());
  CHECK_FALSE(log.at(4).row.empty());
  log.truncate(3, [](std::uint64_t) {});
  append();
  log.age(log.last()); // another entry, and a young one
  CHECK_FALSE(log.at(3).row.empty());
}

TEST_CASE("a row of the log with a longer header is newer for a replica, and read by who only looks on") {
  const auto row = row_of(5, "new");
  CHECK(get_row_header(row, core::reading::whole).why == core::format_fault::newer);
  const auto h = get_row_header(row, core::reading::known);
  REQUIRE(h.it);
  CHECK(h.it->term == header.term);
  CHECK(row_payload(row) == payload);
}

TEST_CASE("a row of the log whose header has no kind, or ends early, is damaged") {
  CHECK(get_row_header(row_of(2), core::reading::whole).why == core::format_fault::damaged);
  CHECK(get_row_header(row_of(5).substr(0, 20), core::reading::whole).why == core::format_fault::damaged);
  CHECK(get_row_header({}, core::reading::whole).why == core::format_fault::damaged);
  CHECK(row_payload("x").empty());
}

TEST_CASE("a header that is filled in later leaves what the row holds as it is") {
  auto row = begin_row();
  row.append(payload);
  put_row_header(row, header);
  CHECK(row_payload(row) == payload);
  CHECK(get_row_header(row, core::reading::whole).it->index == header.index);
}

TEST_CASE("a record without what the life of its replica needs is damaged") {
  const std::vector<member> members{{node_id{1}, disk_id{2}}};
  const succession told{generation{1}, 5, 1, members, members};
  replica_record r;
  r.gen = generation{2};
  r.members = members;
  const auto fault_of = [](const replica_record& record) { return decode_record(encode(record)).why; };
  CHECK(fault_of(r) == core::format_fault::none);
  r.as = replica_record::life::waiting;
  CHECK(fault_of(r) == core::format_fault::damaged);
  r.origin = told;
  CHECK(fault_of(r) == core::format_fault::none);
  r.as = replica_record::life::sealed;
  CHECK(fault_of(r) == core::format_fault::damaged);
  r.ending = told;
  CHECK(fault_of(r) == core::format_fault::none);
  r.ending->next.clear(); // nobody to ask
  CHECK(fault_of(r) == core::format_fault::damaged);
  r.ending = told;
  r.first_index = 0; // the log has no entry 0
  CHECK(fault_of(r) == core::format_fault::damaged);
}

TEST_CASE(
    "a body of a shorter message leaves the other fields at their defaults, and one that tears is refused") {
  std::string whole;
  put_body(whole, transfer_ack_body{9, 4, transfer_verdict::finished});
  const auto shorter = get_body<transfer_ack_body>(std::string_view{whole}.substr(0, 12));
  REQUIRE(shorter);
  CHECK(shorter->next == 4);
  CHECK(shorter->what == transfer_verdict::go_on);
  CHECK_FALSE(get_body<transfer_ack_body>(std::string_view{whole}.substr(0, 11)));
  CHECK(get_body<transfer_ack_body>(whole + "appended")->what == transfer_verdict::finished);
}
