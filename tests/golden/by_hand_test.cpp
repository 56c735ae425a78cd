// The bytes of what is written by hand, without `core::encode`: messages of replicas, the journal, the layout
// file, what clients carry, and the payloads of a batch on CAF's wire. The name of this file sorts before
// golden_test.cpp, whose last case looks for files that nobody compared.
#include "cluster/links/link_messages.hpp"
#include "cluster/replication/peer_bodies.hpp"
#include "cluster/replication/peer_frames.hpp"
#include "protocol/gateway/tokens.hpp"
#include "storage/data_directory.hpp"
#include "storage/journal.hpp"
#include "storage/journal_rows.hpp"
#include "tests/golden/golden_files.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/virtual_environment.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using namespace parley;
using namespace parley::cluster;
using namespace parley::storage;
using test::compare;

namespace {

std::string content_of(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  REQUIRE(in);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}
void write_file(const std::string& file, std::string_view bytes) {
  std::ofstream out{file, std::ios::binary};
  out << bytes;
  REQUIRE(out);
}

// --- messages of replicas ----------------------------------------------------------------------------------

/// Any number of fields may be missing at the end of a body, and more may follow.
template <class Body>
std::string by_the_rules(const Body& b) {
  const auto bytes_of = [](const Body& x) {
    std::string out;
    put_body(out, x);
    return out;
  };
  const auto whole = bytes_of(b);
  const auto appended = whole + "appended"; // bodies refer to the bytes they were read from
  const auto longer = get_body<Body>(appended);
  REQUIRE(longer);
  CHECK(bytes_of(*longer) == whole);
  CHECK(get_body<Body>(std::string_view{}));
  std::size_t read = 0;
  for (std::size_t n = 0; n < whole.size(); ++n)
    if (const auto shorter = get_body<Body>(std::string_view{whole}.substr(0, n))) {
      CHECK(bytes_of(*shorter).substr(0, n) == whole.substr(0, n));
      CHECK(bytes_of(*shorter).size() == bytes_of(Body{}).size());
      ++read;
    }
  CHECK(read == Body{}.fields([](const auto&... fields) { return sizeof...(fields); })); // cut before each
  CHECK_FALSE(get_body<Body>(std::string_view{whole}.substr(0, 1)));
  return whole;
}

struct sample {
  std::string name; ///< empty: no program sends it
  std::string body;
};

/// A new type of message does not compile before it has a sample here.
sample sample_of(message_type t) {
  const raft_body raft{5, 6, 7, 8, 9, 10, raft_body::granted, 11};
  switch (t) {
  case message_type::append: {
    auto body = by_the_rules(append_body{5, 6, 7, 8, 2});
    put_body(body, append_entry{entry_kind::commands, 9, "commands"});
    put_body(body, append_entry{entry_kind::seal, 10, "a seal"});
    body += by_the_rules(append_tail{11});
    return {"append", body};
  }
  case message_type::append_result:
    return {"append_result", by_the_rules(raft)};
  case message_type::vote:
    return {"vote", by_the_rules(raft)};
  case message_type::vote_result:
    return {"vote_result", by_the_rules(raft)};
  case message_type::install:
    return {};
  case message_type::timeout_now:
    return {"timeout_now", by_the_rules(raft)};
  case message_type::read_ask:
    return {"read_ask", by_the_rules(read_body{5, 6})};
  case message_type::read_answer:
    return {"read_answer", by_the_rules(read_body{5, 6})};
  case message_type::transfer_begin:
    return {"transfer_begin", by_the_rules(transfer_begin_body{5, 6, 7})};
  case message_type::transfer_chunk: {
    std::string row; // u16 length of the key, u32 length of the value
    append_number(row, std::uint16_t{3});
    append_number(row, std::uint32_t{5});
    row.append("key").append("value");
    return {"transfer_chunk", by_the_rules(transfer_chunk_body{5, 6, 1, 7, row})};
  }
  case message_type::transfer_ack:
    return {"transfer_ack", by_the_rules(transfer_ack_body{5, 6, transfer_verdict::finished})};
  case message_type::transfer_stop:
    return {"transfer_stop", by_the_rules(transfer_stop_body{5})};
  case message_type::fetch:
    return {"fetch", {}};
  case message_type::sealed:
    return {"sealed", core::encode(succession{generation{1},
                                              2,
                                              3,
                                              {{node_id{4}, disk_id{5}}},
                                              {{node_id{6}, disk_id{7}}, {node_id{8}, disk_id{9}}}})};
  case message_type::confirmed:
    return {"confirmed", {}};
  case message_type::position:
    return {"position", by_the_rules(position_body{5, 6, 1})};
  }
  return {};
}

std::string frame_of(const std::vector<std::pair<message_header, std::string>>& messages) {
  frame_batcher out{4096};
  for (const auto& [header, body] : messages) {
    out.start(node_id{1}, frame_batcher::leaves::early, header).append(body);
    out.finish();
  }
  std::vector<frame> frames;
  out.take(frame_batcher::leaves::early, frames);
  REQUIRE(frames.size() == 1);
  return frames[0].bytes;
}

message_header header_of(message_type t) {
  return {t, shard_id{1}, generation{2}, 3, 4};
}

} // namespace

TEST_CASE("every message of replicas is written as it was, and read with fields less or more") {
  for (int n = 0; n < 256; ++n) {
    const auto type = static_cast<message_type>(n);
    if (!is_known(type))
      continue;
    const auto [name, body] = sample_of(type);
    if (name.empty())
      continue;
    const auto then = compare("raft." + name, frame_of({{header_of(type), body}}));
    frame_reader in{then};
    message_view m;
    REQUIRE(in.next(m));
    CHECK(m.header.type == type);
    CHECK(m.header.shard == shard_id{1});
    CHECK(m.header.gen == generation{2});
    CHECK(m.header.from == 3);
    CHECK(m.header.to == 4);
    CHECK(m.body == body);
    CHECK_FALSE(in.next(m));
    CHECK(in.refused() == 0);
  }
}

TEST_CASE("a frame with several messages is written as it was") {
  const auto then = compare("raft.frame", frame_of({{header_of(message_type::fetch), {}},
                                                    {header_of(message_type::read_ask), "a body"},
                                                    {header_of(message_type::confirmed), {}}}));
  frame_reader in{then};
  message_view m;
  std::vector<message_type> types;
  while (in.next(m))
    types.push_back(m.header.type);
  CHECK(types ==
        std::vector<message_type>{message_type::fetch, message_type::read_ask, message_type::confirmed});
}

TEST_CASE("the entries of an append are read as they were written") {
  const auto [name, body] = sample_of(message_type::append);
  reader in{body};
  CHECK(get_body<append_body>(in).entries == 2);
  const auto first = get_entry(in), second = get_entry(in);
  CHECK(first.kind == entry_kind::commands);
  CHECK(first.term == 9);
  CHECK(first.payload == "commands");
  CHECK(second.kind == entry_kind::seal);
  CHECK(second.term == 10);
  CHECK(second.payload == "a seal");
  CHECK(get_body<append_tail>(in).stored == 11);
  CHECK(in.done());
}

TEST_CASE("an entry that is cut anywhere, even between its fields or before the first, is not readable") {
  std::string whole;
  put_body(whole, append_entry{entry_kind::seal, 10, "a seal"});
  for (std::size_t n = 0; n < whole.size(); ++n) {
    reader in{std::string_view{whole}.substr(0, n)};
    get_entry(in);
    CHECK_FALSE(in.ok());
  }
}

// --- payloads on CAF's wire --------------------------------------------------------------------------------

TEST_CASE("the payloads of a batch stand behind its envelope as they did") {
  caf::actor_system_config config;
  caf::actor_system system{config};
  link_batch batch{1, 2, 3, {{lane::raft, "a frame"}, {lane::calls, "calls"}}};
  std::vector<char> written;
  caf::binary_serializer sink{system, written};
  REQUIRE_FALSE(sink(batch));
  const auto then = compare("link.link_batch_with_payloads", {written.data(), written.size()});
  caf::binary_deserializer source{system, then.data(), then.size()};
  link_batch read;
  REQUIRE_FALSE(source(read));
  CHECK(read.number == 2);
  REQUIRE(read.payloads.size() == 2);
  CHECK(read.payloads[0].on == lane::raft);
  CHECK(read.payloads[0].bytes == "a frame");
  CHECK(read.payloads[1].on == lane::calls);
  CHECK(read.payloads[1].bytes == "calls");
}

// --- the data directory ------------------------------------------------------------------------------------

namespace {

using table_rows = std::map<std::string, std::string>;

struct op_sample {
  std::string name;
  std::string bytes;
  table_rows leaves; ///< of a, b, c and d
};

/// A new operation does not compile before it has a sample here.
op_sample sample_of(journal_op what) {
  op_sample s;
  switch (what) {
  case journal_op::put:
    note_put(s.bytes, table::state, "b", "new");
    return {"put", s.bytes, {{"a", "1"}, {"b", "new"}, {"c", "3"}, {"d", "4"}}};
  case journal_op::append:
    note_append(s.bytes, table::state, "e", "5");
    return {"append", s.bytes, {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}}};
  case journal_op::erase:
    note_erase(s.bytes, table::state, "b");
    return {"erase", s.bytes, {{"a", "1"}, {"c", "3"}, {"d", "4"}}};
  case journal_op::erase_range:
    note_erase_range(s.bytes, table::state, "b", "d", 9);
    return {"erase_range", s.bytes, {{"a", "1"}, {"d", "4"}}};
  }
  return s;
}

} // namespace

TEST_CASE("every operation of the journal is written as it was, and does what it did") {
  for (int n = 0; n < 256; ++n) {
    const auto what = static_cast<journal_op>(n);
    if (!is_known(what))
      continue;
    const auto [name, bytes, leaves] = sample_of(what);
    const auto then = compare("journal." + name, bytes);
    test::virtual_environment disk;
    auto txn = disk.begin_write();
    for (const auto& [key, value] : table_rows{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}})
      txn->put(table::state, key, value);
    CHECK(redo(*txn, then) == record_fault::none);
    REQUIRE(txn->commit() == ec::none);
    CHECK(disk.dump(table::state) == leaves);
    test::virtual_environment empty;
    for (std::size_t cut = 1; cut < then.size(); ++cut) {
      auto torn = empty.begin_write();
      CHECK(redo(*torn, std::string_view{then}.substr(0, cut)) == record_fault::damaged);
    }
  }
}

TEST_CASE("every table has the number that records of the journal call it by") {
  const std::vector<table> by_number{table::node, table::log, table::state};
  REQUIRE(by_number.size() == table_count);
  for (std::size_t n = 0; n < table_count; ++n) {
    std::string bytes;
    note_erase(bytes, by_number[n], "k");
    CHECK(bytes.substr(0, 2) == std::string{'\3', static_cast<char>(n)});
  }
}

TEST_CASE("records and words of the journal and the mark of the last one are written as they were, and the "
          "first ones read") {
  const journal_mark mark{0x0807060504030201, 41};
  const auto row = compare("journal.mark", encode(mark));
  const auto back = decode_mark(row);
  REQUIRE(back);
  CHECK(back->salt == mark.salt);
  CHECK(back->sequence == mark.sequence);

  test::scratch_directory dir;
  constexpr std::size_t bytes = journal::bytes_min;
  constexpr std::string_view payload = "what the record holds", tables = "the name of a commit";
  constexpr journal_place from{41, journal::words_bytes};
  std::string record_then, naming_then, alone_then;
  {
    auto file = journal::open(dir.path(), bytes);
    REQUIRE(file.has_value());
    REQUIRE(file->restart(mark, std::string{tables}) == 0);
    journal_record record;
    record.bytes().append(payload);
    REQUIRE(file->append(record) == 0);
    const auto all = content_of(dir.file("store.journal"));
    CHECK(all.size() == bytes);
    CHECK(all.find_last_not_of('\0') == journal::words_bytes + 32 + payload.size() - 1);
    record_then = compare("journal.record.version-2", all.substr(journal::words_bytes, 32 + payload.size()));
    naming_then = compare("journal.word.version-2", all.substr(0, 52 + tables.size()));
    REQUIRE(file->close() == 0);
    alone_then = compare("journal.word.clean", content_of(dir.file("store.journal")).substr(0, 24));
  }
  const auto read = [&](std::string block, const std::string& record, const std::string& word) {
    block.resize(journal::words_bytes);
    block += record;
    block.resize(bytes);
    write_file(dir.file("store.journal"), block);
    CAPTURE(word);
    const auto file = journal::open(dir.path(), bytes);
    REQUIRE(file.has_value());
    std::string found;
    const auto last = file->read(mark.salt, from, [&](std::string_view p) {
      found = p;
      return record_fault::none;
    });
    REQUIRE(last.has_value());
    CHECK(*last == mark.sequence + 1);
    CHECK(found == payload);
  };
  read(naming_then, record_then, "of this version");
  const auto named = journal::checkpoint_in(dir.path());
  REQUIRE(named.has_value());
  REQUIRE(named->has_value());
  CHECK((*named)->names->tables == tables);
  CHECK((*named)->names->from.sequence == from.sequence);
  CHECK((*named)->names->from.at == from.at);
  // A node of the first version that was killed: its tables are opened as they are.
  read(test::golden("journal.word", {}), test::golden("journal.record", {}), "of the first version");
  CHECK_FALSE(journal::checkpoint_in(dir.path())->has_value());
  CHECK(decode_words(alone_then + std::string(journal::words_bytes, '\0'))[0]->returned.sequence == 42);
}

TEST_CASE("the layout file of a data directory is written as it was, and found by the next start") {
  test::scratch_directory made, kept;
  REQUIRE(data_directory::lock(made.path()).has_value());
  const auto then = compare("storage.layout", content_of(made.file("layout")));
  write_file(kept.file("layout"), then);
  CHECK(data_directory::lock_existing(kept.path()).has_value());
}

// --- what clients carry ------------------------------------------------------------------------------------

TEST_CASE("a cursor and a token that a client carries are written as they were") {
  constexpr cluster_id ours{1, 2};
  constexpr unix_ms noon{1'700'000'000'000};
  const auto cursor = compare("client.cursor", gateway::encode_cursor(ours, user_id{3}, inbox_pos{4}));
  CHECK(gateway::decode_cursor(ours, user_id{3}, cursor) == inbox_pos{4});
  const auto token =
      compare("client.token", gateway::encode_token(ours, {user_id{3}, device_id{4}, inbox_pos{5}, noon}));
  const auto read = gateway::decode_token(ours, token, noon, std::chrono::minutes{5});
  REQUIRE(read.has_value());
  CHECK(read->user == user_id{3});
  CHECK(read->device == device_id{4});
  CHECK(read->position == inbox_pos{5});
  CHECK(read->issued == noon);
}
