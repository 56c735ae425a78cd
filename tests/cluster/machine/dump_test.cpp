#include "actors/core/calls.hpp"
#include "cluster/machine/dump.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "cluster/replication/replica_record.hpp"
#include "storage/data_directory.hpp"
#include "tests/harness/chaos/history.hpp"
#include "tests/storage/scratch.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

using namespace parley;
using namespace parley::cluster;
using parley::test::scratch_directory;
using parley::test::small_config;

namespace {

constexpr shard_id shard{3};
constexpr user_id alice{10}, bob{20};
constexpr device_id phone{~0ull};
const auto room = core::direct_conversation(alice, bob);

core::command submitted(std::uint64_t counter, const std::string& body) {
  core::append_message a;
  a.what.conversation = room;
  a.what.from = alice;
  a.what.id = {phone, counter};
  a.what.hash = {1};
  a.what.at = unix_ms{2000};
  a.what.body = body;
  return a;
}

/// A stopped node's directory, with one replica that applied `commands` in `slot`.
void leave_node(const std::string& path, std::uint8_t slot, const std::vector<core::command>& commands,
                std::uint32_t applied_commands = 0) {
  REQUIRE(storage::data_directory::lock(path).has_value());
  auto env = storage::lmdb_environment::open(path, small_config());
  REQUIRE(env.has_value());
  auto txn = (*env)->begin_write();
  REQUIRE(storage::claim_identity(*txn, node_id{1}).has_value());
  replica_record record;
  record.gen = generation{2};
  record.slot = slot;
  record.members = {{node_id{1}, disk_id{1}}};
  record.applied_commands = applied_commands;
  shard_machine machine;
  storage::shard_txn state{*txn, shard, slot};
  for (const auto& c : commands)
    CHECK_FALSE(machine.apply(state, {shard, record.gen, 1, ++record.applied_index},
                              core::encode_for(core::format_number::newest, c), 0));
  txn->put(storage::table::node, record_key(shard), encode(record));
  // In the log, and not applied.
  auto row = begin_row();
  put_row_header(row, {shard, record.gen, entry_kind::commands, record.applied_index + 1, 1});
  txn->append(storage::table::log, log_key(1), row);
  // The other slot holds what an abandoned transfer left: no part of the state.
  storage::shard_txn{*txn, shard, static_cast<std::uint8_t>(1 - slot)}.put("m-leftover", "x");
  REQUIRE(txn->commit() == ec::none);
}

struct dumped {
  tl::expected<dump_totals, storage::disk_fault> result;
  std::string text;
  std::vector<chaos::replica_head> heads;
  std::vector<chaos::replica_message> messages;
};

dumped dump(const std::string& path) {
  char* bytes = nullptr;
  std::size_t size = 0;
  auto* out = ::open_memstream(&bytes, &size);
  auto result = dump_node(path, out);
  std::fclose(out);
  dumped d{std::move(result), {bytes, size}, {}, {}};
  std::free(bytes);
  std::istringstream in{d.text};
  for (std::string line; std::getline(in, line);) {
    std::optional<chaos::replica_head> head;
    std::optional<chaos::replica_message> m;
    if (!chaos::parse_dump_line(line, head, m))
      continue;
    if (head)
      d.heads.push_back(*head);
    if (m)
      d.messages.push_back(*m);
  }
  return d;
}

const std::vector<core::command> story = {core::open_direct{room, alice, bob, unix_ms{1000}},
                                          submitted(1, "a secret body"), submitted(2, "another"),
                                          core::raise_watermarks{{{room, bob, seq_no{2}, seq_no{1}}}}};

} // namespace

TEST_CASE("a folder that is no data directory, or one that is in use, is refused with a sentence") {
  scratch_directory dir;
  CHECK(dump(dir.path()).result.error().code == ec::bad_config);
  leave_node(dir.file("node"), 0, story);
  const auto user = storage::data_directory::lock(dir.file("node"));
  const auto refused = dump(dir.file("node"));
  CHECK(refused.result.error().what.find("in use by process") != std::string::npos);
  CHECK(refused.text.empty());
}

TEST_CASE("the failure names the shard of a damaged record, and no hash of that shard is printed") {
  scratch_directory dir;
  leave_node(dir.file("node"), 0, story);
  {
    std::fstream f{dir.file("node/store.mdb"), std::ios::in | std::ios::out | std::ios::binary};
    std::string bytes{std::istreambuf_iterator<char>{f}, {}};
    f.clear();
    for (auto at = bytes.find("a secret body"); at != std::string::npos;
         at = bytes.find("a secret body", at + 1)) {
      f.seekp(static_cast<std::streamoff>(at));
      f.put('A');
    }
  }
  const auto d = dump(dir.file("node"));
  REQUIRE_FALSE(d.result.has_value());
  CHECK(d.result.error().code == ec::corrupt);
  CHECK(d.result.error().what.find("shard 3") != std::string::npos);
  CHECK(d.heads.empty());
}

TEST_CASE("a dump lists each message, watermark and replica in lines that the checker reads, and no body") {
  scratch_directory dir;
  leave_node(dir.file("node"), 0, story);
  const auto d = dump(dir.file("node"));
  REQUIRE(d.result.has_value());
  CHECK(d.result->replicas == 1);
  CHECK(d.result->messages == 2);
  REQUIRE(d.heads.size() == 1);
  CHECK(d.heads[0].shard == 3);
  CHECK(d.heads[0].gen == 2);
  CHECK(d.heads[0].applied_index == 1 + story.size());
  CHECK(d.heads[0].state_hash.size() == 64);
  CHECK(d.text.find("\"last_index\":" + std::to_string(2 + story.size())) != std::string::npos);
  REQUIRE(d.messages.size() == 2);
  CHECK(d.messages[0].conversation == room);
  CHECK(d.messages[0].seq == seq_no{1});
  CHECK(d.messages[1].seq == seq_no{2});
  CHECK(d.messages[0].msg == derive_message_id(room, seq_no{1}));
  CHECK(d.messages[0].sender == phone);
  CHECK(d.messages[0].counter == 1);
  // printf 'a secret body' | sha256sum
  CHECK(d.messages[0].hash[0] == 0x77);
  CHECK(d.text.find(R"("user":"20","delivered":2,"read":1})") != std::string::npos);
  CHECK(d.text.find("secret") == std::string::npos);
  CHECK(dump(dir.file("node")).text == d.text); // it changed nothing
}

TEST_CASE(
    "replicas that applied the same entries have the same hash, whatever their slot; others have another") {
  scratch_directory dir;
  leave_node(dir.file("a"), 0, story);
  leave_node(dir.file("b"), 1, story);
  auto longer = story;
  longer.push_back(submitted(3, "more"));
  leave_node(dir.file("c"), 0, longer);
  auto other = story;
  other[2] = submitted(2, "a different word");
  leave_node(dir.file("d"), 0, other);
  const auto hash = [&](const char* node) { return dump(dir.file(node)).heads.at(0).state_hash; };
  CHECK(hash("a") == hash("b"));
  CHECK(hash("c") != hash("a"));
  CHECK(hash("d") != hash("a"));
}

TEST_CASE("a replica that halted within an entry says how many of its commands are applied") {
  scratch_directory dir;
  leave_node(dir.file("a"), 0, story);
  leave_node(dir.file("b"), 0, story, 3);
  CHECK(dump(dir.file("a")).heads.at(0).applied_commands == 0);
  CHECK(dump(dir.file("b")).heads.at(0).applied_commands == 3);
}

TEST_CASE("a replica without state is listed as such, and not taken for one that has some") {
  scratch_directory dir;
  leave_node(dir.file("node"), 0, story);
  {
    auto env = storage::lmdb_environment::open(dir.file("node"), small_config());
    auto txn = (*env)->begin_write();
    replica_record tombstone;
    tombstone.as = replica_record::life::tombstone;
    tombstone.gen = generation{4};
    txn->put(storage::table::node, record_key(shard_id{9}), encode(tombstone));
    REQUIRE(txn->commit() == ec::none);
  }
  const auto d = dump(dir.file("node"));
  CHECK(d.result.has_value());
  CHECK(d.heads.size() == 1);
  CHECK(d.text.find(R"({"shard":9,"generation":4,"life":"tombstone"})") != std::string::npos);
}
