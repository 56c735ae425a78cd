// What a replica does that meets what it cannot take: it halts alone.
#include "cluster/replication/peer_bodies.hpp"
#include "cluster/replication/peer_frames.hpp"
#include "tests/cluster/replication/replication_fixture.hpp"

using namespace parley;
using namespace parley::cluster;
using namespace parley::test;
using namespace std::chrono_literals;

TEST_CASE_FIXTURE(three_nodes,
                  "a replica that cannot apply a command halts alone, and later continues where it stopped") {
  build({s0, s1});
  commit("a");
  settle(s1);
  REQUIRE(until([&] { return same(1); }));
  auto& l = settle();
  auto& old =
      *std::find_if(nodes.begin(), nodes.end(), [&](auto& n) { return n.second.get() != &l; })->second;
  old.machine->unknown = {"new"};
  const auto before = propose(l, "b"); // of one entry: the replica stops in the middle of it
  const auto unknown = propose(l, "new");
  const auto behind = propose(l, "c");
  REQUIRE(until([&] { return l.machine->answered.contains(behind); }));
  CHECK(l.machine->answered.contains(before));
  CHECK(l.machine->answered.contains(unknown));
  REQUIRE(until([&] { return old.engine->status(s0)->as == replica_status::role::halted; }));
  CHECK(old.engine->status(s0)->halted_because.find("newer version") != std::string::npos);
  REQUIRE(old.halts.size() == 1);
  CHECK(old.halts[0].at.shard == s0);
  CHECK(old.rows(s0) == std::vector<std::string>{"a", "b"});
  CHECK(old.engine->status(s1)->as != replica_status::role::halted);
  CHECK_FALSE(old.leads[s0].takes_part);
  CHECK(old.leads[s0].leader == l.who.node); // known last
  CHECK(old.leads[s1].takes_part);
  CHECK(l.leads[s0].takes_part);

  commit("d"); // the shard goes on without it, and so do the node's other shards
  commit("other", s1);
  CHECK(until([&] { return same(1, s1); }));
  CHECK(old.rows(s0) == std::vector<std::string>{"a", "b"});

  crash(old); // the same program meets the same command
  start(old);
  old.machine->unknown = {"new"};
  REQUIRE(until([&] { return old.engine->status(s0)->as == replica_status::role::halted; }));
  CHECK(old.rows(s0) == std::vector<std::string>{"a", "b"});

  crash(old); // a newer one knows it
  start(old);
  CHECK(until([&] { return same(5); }));
  CHECK(old.rows(s0) == std::vector<std::string>{"a", "b", "new", "c", "d"});
}

TEST_CASE_FIXTURE(three_nodes,
                  "an entry that is damaged in its middle is applied up to there, exactly once") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  auto& l = settle();
  auto& n =
      *std::find_if(nodes.begin(), nodes.end(), [&](auto& each) { return each.second.get() != &l; })->second;
  n.machine->unknown = {"b"}; // so the entry is in its log and not applied
  propose(l, "b");
  propose(l, "c");
  const auto last = propose(l, "d");
  REQUIRE(until([&] { return l.machine->answered.contains(last); }));
  REQUIRE(until([&] { return n.engine->status(s0)->as == replica_status::role::halted; }));
  crash(n);
  const auto change = [&](char by) { // the length of "d" claims another byte
    auto txn = n.env.begin_write();
    for (auto [key, row] : n.env.dump(storage::table::log)) {
      if (!row.ends_with('d'))
        continue;
      row[row.size() - 1 - sizeof(std::uint32_t)] += by;
      txn->put(storage::table::log, key, row);
    }
    REQUIRE(txn->commit() == ec::none);
  };
  change(1);
  for (int life = 0; life < 2; ++life) {
    CAPTURE(life);
    start(n);
    REQUIRE(until([&] { return n.engine->status(s0)->as == replica_status::role::halted; }));
    CHECK(n.engine->status(s0)->halted_because.find("damaged") != std::string::npos);
    CHECK(n.rows(s0) == std::vector<std::string>{"a", "b", "c"});
    const auto record = decode_record(*n.env.begin_read()->get(storage::table::node, record_key(s0)));
    REQUIRE(record.it);
    CHECK(record.it->applied_commands == 2);
    crash(n);
  }
  change(-1);
  start(n);
  CHECK(until([&] { return same(4); }));
  CHECK(n.rows(s0) == std::vector<std::string>{"a", "b", "c", "d"});
}

TEST_CASE_FIXTURE(three_nodes,
                  "a leader that cannot apply a command lets another one lead, and confirms nothing") {
  commit("a");
  auto& l = settle();
  l.machine->unknown = {"new"};
  const auto t = propose(l, "new");
  REQUIRE(until([&] { return l.refused.contains(t); }));
  CHECK(l.refused[t] == ec::timed_out); // it is stored: another replica applies it
  CHECK(l.engine->status(s0)->as == replica_status::role::halted);
  CHECK(l.leads[s0].leader == node_id::none);
  CHECK_FALSE(l.leads[s0].ready);
  CHECK_FALSE(l.leads[s0].takes_part);
  REQUIRE(until([&] { return leader() && leader() != &l; }));
  commit("b");
  CHECK(leader()->rows(s0) == std::vector<std::string>{"a", "new", "b"});
  CHECK(l.rows(s0) == std::vector<std::string>{"a"});
}

TEST_CASE_FIXTURE(three_nodes,
                  "a replica that halted before a seal keeps its log, which the seal counts on") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  auto& l = settle();
  std::vector<test_node*> old;
  for (auto& [id, n] : nodes)
    if (n.get() != &l)
      old.push_back(n.get());
  for (auto* n : old)
    n->machine->unknown = {"new"};
  propose(l, "new");
  l.engine->seal(s0, members, 1000);
  const auto halted = [&](test_node* n) { return n->engine->status(s0)->as == replica_status::role::halted; };
  REQUIRE(until([&] { return l.seals.size() == 1 && halted(old[0]) && halted(old[1]); }));
  until([] { return false; }, 5'000); // the sealed leader announces what comes next, again and again
  for (auto* n : old) {
    CHECK(halted(n));
    CHECK(n->rows(s0) == std::vector<std::string>{"a"});
  }

  for (auto* n : old) { // a program that knows the command applies up to the seal, and goes on
    crash(*n);
    start(*n);
  }
  commit("b");
  CHECK(until([&] { return same(3); }));
  CHECK(old[0]->rows(s0) == std::vector<std::string>{"a", "new", "b"});
}

namespace {

/// A row of the replica's log that a newer version wrote: the replica halts when the node starts.
void put_newer_row(storage::write_txn& txn, generation gen) {
  auto row = begin_row();
  put_row_header(row, {s0, gen, entry_kind::commands, 2, 1});
  row[0] = 2;
  txn.append(storage::table::log, log_key(1), row);
}

std::string record_of(test_node& n) {
  return std::string{*n.env.begin_read()->get(storage::table::node, record_key(s0))};
}

} // namespace

TEST_CASE_FIXTURE(three_nodes, "a replica that waits for its state and halted takes none") {
  commit("a");
  auto& l = settle();
  auto& n = add(on(4));
  const std::vector<member> next{on(1), on(2), on(4)};
  l.engine->seal(s0, next, 1000);
  REQUIRE(until([&] { return l.seals.size() == 1; }));
  std::string record;
  {
    replica_record r;
    r.as = replica_record::life::waiting;
    r.gen = generation{2};
    r.members = next;
    r.origin = succession{generation{1}, l.engine->status(s0)->applied_index, 1, members, next};
    record = encode(r);
    auto txn = n.env.begin_write();
    txn->put(storage::table::node, record_key(s0), record);
    put_newer_row(*txn, r.gen);
    REQUIRE(txn->commit() == ec::none);
  }
  start(n);
  until([] { return false; }, 10'000); // the leader of the next generation tries to send it the state
  CHECK(n.engine->status(s0)->as == replica_status::role::halted);
  CHECK(record_of(n) == record);
  CHECK(n.env.rows(storage::table::state) == 0);
  REQUIRE(n.halts.size() == 1);
  CHECK(n.halts[0].at.shard == s0);
}

TEST_CASE_FIXTURE(test_cluster, "a sealed replica that halted is not buried: it keeps its record and rows") {
  auto& n = add(on(3));
  std::string record;
  {
    replica_record r;
    r.as = replica_record::life::sealed;
    r.gen = generation{1};
    r.members = {on(1), on(2), on(3)};
    r.ending = succession{generation{1}, 5, 1, r.members, {on(1), on(2)}};
    record = encode(r);
    auto txn = n.env.begin_write();
    txn->put(storage::table::node, record_key(s0), record);
    put_newer_row(*txn, r.gen);
    storage::shard_txn{*txn, s0, 0}.put("1", "a");
    REQUIRE(txn->commit() == ec::none);
  }
  start(n);
  for (const auto from : {node_id{1}, node_id{2}}) { // both successors have the state
    frame_batcher out{1024};
    out.start(n.who.node, frame_batcher::leaves::early, {message_type::confirmed, s0, generation{2}, 0, 0});
    out.finish();
    std::vector<frame> frames;
    out.take(frame_batcher::leaves::early, frames);
    n.engine->receive(from, frames.at(0).bytes, mono_ms{now});
  }
  until([] { return false; }, 1'000);
  CHECK(n.engine->status(s0)->as == replica_status::role::halted);
  CHECK(record_of(n) == record);
  CHECK(n.env.rows(storage::table::state) == 1);
}

TEST_CASE_FIXTURE(three_nodes, "a record that cannot be read halts its replica and is left as it is") {
  build({s0, s1});
  commit("a");
  commit("b", s1);
  REQUIRE(until([&] { return same(1) && same(1, s1); }));
  auto& n = at(2);
  crash(n);
  std::string row;
  {
    auto txn = n.env.begin_write();
    row = std::string{*txn->get(storage::table::node, record_key(s0))};
    SUBCASE("of a higher version") {
      row[0] = 2;
    }
    SUBCASE("damaged") {
      row.resize(row.size() - 1);
    }
    txn->put(storage::table::node, record_key(s0), row);
    REQUIRE(txn->commit() == ec::none);
  }
  start(n);
  CHECK(n.engine->status(s0)->as == replica_status::role::halted);
  commit("c");
  commit("d", s1);
  CHECK(until([&] { return same(2, s1); }));
  REQUIRE(n.halts.size() == 1);
  auto txn = n.env.begin_read();
  CHECK(*txn->get(storage::table::node, record_key(s0)) == row);
}

TEST_CASE_FIXTURE(three_nodes,
                  "a row of the log whose header has a field more halts its replica as newer, and stays") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  auto& n = at(2);
  crash(n);
  auto txn = n.env.begin_write();
  for (auto [key, row] : n.env.dump(storage::table::log)) {
    const auto header = row.size() - row_payload(row).size();
    ++row[1]; // the length of the header's fields
    row.insert(header, "n");
    txn->put(storage::table::log, key, row);
  }
  REQUIRE(txn->commit() == ec::none);
  const auto log = n.env.dump(storage::table::log);
  start(n);
  REQUIRE(n.engine->status(s0)->as == replica_status::role::halted);
  CHECK(n.engine->status(s0)->halted_because.find("newer version") != std::string::npos);
  CHECK(n.engine->status(s0)->halted_because.find("damaged") == std::string::npos);
  commit("b");
  CHECK(n.env.dump(storage::table::log) == log);
}

TEST_CASE_FIXTURE(
    three_nodes,
    "messages of an unknown kind or version are refused and counted, and the others are handled") {
  settle();
  auto& n = at(1);
  const auto frame = [](std::uint8_t version, std::uint8_t type) {
    std::string out;
    append_number(out, std::uint32_t{0x31465250});
    append_number(out, std::uint32_t{25});
    append_number(out, version);
    append_number(out, type);
    return out.append(23, '\0');
  };
  n.engine->receive(node_id{2}, frame(1, 99), mono_ms{now});
  n.engine->receive(node_id{2}, frame(2, 1), mono_ms{now});
  n.engine->receive(node_id{2}, "no frame", mono_ms{now});
  step();
  CHECK(n.refused_messages == 3);
  commit("a");
  CHECK(n.refused_messages == 3);
}

TEST_CASE_FIXTURE(three_nodes, "what cannot be read of a transfer of state is counted, and changes nothing") {
  commit("a");
  REQUIRE(until([&] { return same(1); }));
  auto& n = at(1);
  const auto receive = [&](message_type type, std::string_view body) {
    frame_batcher out{1024};
    const auto to = raft_id(s0, generation{1}, n.who), from = raft_id(s0, generation{1}, on(2));
    out.start(n.who.node, frame_batcher::leaves::early, {type, s0, generation{1}, from, to}).append(body);
    out.finish();
    std::vector<frame> frames;
    out.take(frame_batcher::leaves::early, frames);
    n.engine->receive(node_id{2}, frames.at(0).bytes, mono_ms{now});
    step();
    return std::exchange(n.refused_messages, 0);
  };
  for (const auto type : {message_type::transfer_begin, message_type::transfer_chunk,
                          message_type::transfer_ack, message_type::transfer_stop}) {
    CAPTURE(static_cast<int>(type));
    CHECK(receive(type, "abc") == 1);                // ends within its first field
    CHECK(receive(type, {}) == 1);                   // names no transfer
    CHECK(receive(type, std::string(8, '\0')) == 1); // neither does this
  }
  std::string body;
  put_body(body, transfer_begin_body{7, 0, 1});
  CHECK(receive(message_type::transfer_begin, body) == 1); // of no entry
  body.clear();
  put_body(body, transfer_ack_body{7, 1, static_cast<transfer_verdict>(3)});
  CHECK(receive(message_type::transfer_ack, body) == 1); // a verdict that this program does not know
  std::string long_key;                                  // of a row; no table takes it
  append_number(long_key, static_cast<std::uint16_t>(storage::shard_view::key_bytes_max + 1));
  append_number(long_key, std::uint32_t{0});
  long_key.append(storage::shard_view::key_bytes_max + 1, 'k');
  const auto term = n.engine->status(s0)->term;
  for (const std::string_view rows : {std::string_view{"no rows"}, std::string_view{long_key}}) {
    body.clear();
    put_body(body, transfer_begin_body{7, 1'000'000, term});
    CHECK(receive(message_type::transfer_begin, body) == 0);
    body.clear();
    put_body(body, transfer_chunk_body{7, 0, 1, term, rows});
    CHECK(receive(message_type::transfer_chunk, body) == 1);
    step(); // the other slot is clean again
  }
  CHECK(receive(message_type::install, {}) == 1); // which no program sends
  CHECK(n.rows(s0) == std::vector<std::string>{"a"});
  commit("b");
  CHECK(until([&] { return same(2); }));
  CHECK(n.refused_messages == 0);
}

TEST_CASE_FIXTURE(three_nodes,
                  "a node whose log or records are damaged says of which shards, in which file, and stops") {
  build({s0, s1});
  for (const auto shard : {s0, s1})
    for (const auto* row : {"a", "b", "c"})
      commit(row, shard);
  auto& n = at(1);
  REQUIRE(until([&] { return n.rows(s0).size() == 3 && n.rows(s1).size() == 3; }));
  config.data_file = "/data/1/store.mdb";
  /// The keys of the shard's rows in the log.
  const auto rows = [&](shard_id shard) {
    std::vector<std::string> keys;
    for (const auto& [key, row] : n.env.dump(storage::table::log))
      if (shard_of_row(row) == shard)
        keys.push_back(key);
    REQUIRE(keys.size() >= 3);
    return keys;
  };
  const auto says = [&](std::initializer_list<std::string_view> words) {
    const auto fault = load(n);
    REQUIRE(fault);
    CHECK(fault->code == ec::corrupt);
    for (const auto w : words)
      CHECK_MESSAGE(fault->what.find(w) != std::string::npos, fault->what, " lacks ", w);
  };
  const auto of_one = rows(s1), of_other = rows(s0);
  n.engine.reset();
  SUBCASE("a row within a log") {
    REQUIRE(n.env.corrupt(storage::table::log, of_one[1]));
    says({"/data/1/store.mdb", "the replica of shard 1, its log has a hole"});
  }
  SUBCASE("the last row of a log: its shard would seem to have stored less") {
    REQUIRE(n.env.corrupt(storage::table::log, of_one.back()));
    says({"/data/1/store.mdb", "a row of a shard's log fails its checksum"});
  }
  SUBCASE("a record") {
    REQUIRE(n.env.corrupt(storage::table::node, record_key(s1)));
    says({"/data/1/store.mdb", "the record of the replica of shard 1 fails its checksum"});
  }
  SUBCASE("a row of a shard without a record") {
    auto txn = n.env.begin_write();
    txn->erase(storage::table::node, record_key(s0));
    REQUIRE(txn->commit() == ec::none);
    says({"a row of the log is of shard 0, of which there is no replica here"});
  }
}
