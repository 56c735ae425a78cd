#include "cluster/node/rescue_shard.hpp"

#include "cluster/membership/founding.hpp"
#include "cluster/replication/rescue.hpp"
#include "storage/data_directory.hpp"
#include "storage/journaled_environment.hpp"
#include "tests/support/scratch_directory.hpp"

#include <doctest/doctest.h>

#include <cstdio>

using namespace parley;
using namespace parley::cluster;

namespace {

constexpr shard_id shard{3};

struct stopped_node {
  test::scratch_directory dir;
  std::string data = dir.file("data");
  member self;

  stopped_node() {
    REQUIRE(storage::data_directory::lock(data));
    const auto env = storage::journaled_environment::open(data, {}, {}).value();
    auto txn = env->begin_write();
    const auto id = storage::claim_identity(*txn, node_id{1}).value();
    self = {id.node, id.disk};
    replication::found(*txn, shard, {self, {node_id{2}, disk_id{20}}, {node_id{3}, disk_id{30}}}, self);
    founding f;
    f.shards = 5;
    txn->put(storage::table::node, founding_key, core::encode(f));
    REQUIRE(txn->commit() == ec::none);
  }
  std::optional<std::string> rescue(const std::string& typed) {
    auto* in = std::tmpfile();
    auto* out = std::tmpfile();
    REQUIRE(in);
    REQUIRE(out);
    std::fputs(typed.c_str(), in);
    std::rewind(in);
    const auto why = rescue_shard(data, shard, in, out);
    std::rewind(out);
    said.clear();
    for (int c = 0; (c = std::fgetc(out)) != EOF;)
      said += static_cast<char>(c);
    std::fclose(in);
    std::fclose(out);
    return why;
  }
  /// The commands that wait to be applied.
  std::vector<core::command> commands() {
    std::vector<core::command> out;
    const auto env = storage::journaled_environment::open(data, {}, {}).value();
    env->begin_read()->ascend(storage::table::log, {}, {}, [&](std::string_view, std::string_view row) {
      reader in{row_payload(row)};
      out.push_back(core::decode<core::command>(in.get_bytes()).value());
      return storage::scan::more;
    });
    return out;
  }
  std::size_t members() {
    const auto env = storage::journaled_environment::open(data, {}, {}).value();
    const auto record = decode_record(*env->begin_read()->get(storage::table::node, record_key(shard)));
    return record.it->members.size();
  }
  std::string said;
};

} // namespace

TEST_CASE_FIXTURE(stopped_node,
                  "a shard is rescued only if the operator types the sentence that was asked for") {
  for (const auto* typed : {"", "yes\n", "rescue shard 4\n", "rescue shard 3 \n"}) {
    CAPTURE(typed);
    CHECK(rescue(typed) == "nothing was changed");
    CHECK(members() == 3);
  }
  CHECK(said.find("Its members are 1 (this node) 2 3") != std::string::npos);
  CHECK(said.find("lost\nfor good") != std::string::npos);
  CHECK_FALSE(rescue("rescue shard 3\n"));
  CHECK(members() == 1);
  REQUIRE(commands().size() == 1);
  CHECK(std::get<core::count_rescue>(commands()[0]).shards == 5);
  CHECK(rescue("rescue shard 3\n")->find("only member already") != std::string::npos);
}

TEST_CASE_FIXTURE(stopped_node,
                  "of a fenced directory it is said why it is, and nothing is rescued until the operator has "
                  "typed that it is to be used") {
  const auto is_fenced = [&] { return !storage::read_fence(data)->why.empty(); };
  REQUIRE(storage::write_fence(data, {"it is an older copy", storage::fence::then::begin_anew}));
  for (const auto* typed : {"", "rescue shard 3\n", "use this directory\n"}) {
    CAPTURE(typed);
    CHECK(rescue(typed) == "nothing was changed");
    CHECK(members() == 3);
    CHECK(is_fenced());
  }
  CHECK(said.find("it is an older copy") != std::string::npos);
  CHECK(said.find("no other node") != std::string::npos);
  CHECK_FALSE(rescue("use this directory\nrescue shard 3\n"));
  CHECK(members() == 1);
  CHECK_FALSE(is_fenced());
}

TEST_CASE_FIXTURE(stopped_node, "a running node's directory, and what is none, are refused") {
  const auto running = storage::data_directory::lock(data);
  CHECK(rescue("rescue shard 3\n")->find("is in use by process") != std::string::npos);
  CHECK(rescue_shard(dir.file("nowhere"), shard, stdin, stdout)->find("no data directory") !=
        std::string::npos);
}
