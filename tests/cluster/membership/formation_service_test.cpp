#include "cluster/membership/formation_service.hpp"
#include "cluster/membership/peer_seeker.hpp"
#include "tests/cluster/links/link_fixture.hpp"
#include "tests/support/virtual_environment.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

using namespace parley;
using namespace parley::test;
using namespace std::chrono_literals;

namespace {

/// A node that forms: links over real TLS, a disk in memory that outlives it.
struct forming_node {
  forming_node(std::uint64_t number_of_it, std::uint16_t port, std::vector<endpoint> seeds,
               virtual_environment& disk_, std::chrono::milliseconds beside_max = 10s,
               std::chrono::milliseconds listen_first = 50ms)
      : disk{disk_}, node{[&] {
          auto c = test_links(number_of_it);
          c.listen.port = port;
          return c;
        }()} {
    const auto txn = disk.begin_write();
    const auto identity = storage::claim_identity(*txn, node.id()).value();
    REQUIRE(txn->commit() == ec::none);
    node_config c;
    c.node = node.id();
    c.peer_advertise = {"127.0.0.1", port};
    c.seeds = std::move(seeds);
    c.shards = 8;
    auto config = make_formation_config(c, identity.disk);
    config.peers_file.clear();
    config.ask_every = 50ms;
    config.beside_max = beside_max;
    config.listen_first = listen_first;
    self = config.decision.self;
    service = std::make_unique<formation_service>(config, disk);
    node.transport->on_query([this](node_id from, std::string_view q) { return service->answer(from, q); });
    REQUIRE_FALSE(node.transport->start());
    thread = std::thread{[this] {
      auto r = service->run(*node.transport, stop,
                            [this](storage::write_txn&, const founding&) { ++shards_founded; });
      std::lock_guard guard{mutex};
      result = std::move(r);
    }};
  }
  ~forming_node() {
    stop = true;
    thread.join();
    node.transport->stop();
  }
  std::optional<membership> member() {
    std::lock_guard guard{mutex};
    return result && *result ? std::optional{**result} : std::nullopt;
  }

  std::string failed() {
    std::lock_guard guard{mutex};
    return result && !*result ? result->error() : std::string{};
  }

  virtual_environment& disk;
  test_node node;
  core::node_record self;
  std::unique_ptr<formation_service> service;
  std::atomic<bool> stop{false};
  std::atomic<int> shards_founded{0};
  std::mutex mutex;
  std::optional<tl::expected<membership, std::string>> result;
  std::thread thread;
};

/// Ports that were free a moment ago.
std::vector<std::uint16_t> free_ports(std::size_t n) {
  std::vector<std::unique_ptr<test_node>> holders;
  std::vector<std::uint16_t> out;
  for (std::size_t i = 0; i < n; ++i) {
    holders.push_back(std::make_unique<test_node>(i + 1));
    REQUIRE_FALSE(holders.back()->transport->start());
    out.push_back(holders.back()->transport->port());
  }
  return out;
}

/// Structs of a later version, whose founding record has a field more.
struct newer_founding {
  static constexpr auto inside = core::nested::grows;
  founding now;
  std::uint64_t zones = 7;
  template <class F>
  auto fields(F&& f) {
    return f(now.cluster.hi, now.cluster.lo, now.shards, now.replicas, now.nodes, zones);
  }
};
struct reshaped_founding : newer_founding {
  static constexpr std::uint8_t format_version = 2;
};
template <class Founding>
struct newer_promise {
  static constexpr auto inside = core::nested::grows;
  Founding record;
  std::uint8_t forced = 0;
  template <class F>
  auto fields(F&& f) {
    return f(record, forced);
  }
};
template <class Founding>
struct newer_answer {
  core::node_record self;
  formation_answer::standing as{};
  std::uint64_t seeds_digest = 0;
  std::uint8_t wants_form = 0;
  newer_promise<Founding> what;
  std::vector<core::node_record> nodes;
  template <class F>
  auto fields(F&& f) {
    return f(self, as, seeds_digest, wants_form, what, nodes);
  }
};

std::optional<std::string> founding_row(virtual_environment& disk) {
  const auto txn = disk.begin_read();
  const auto row = txn->get(storage::table::node, "f/founding");
  return row ? std::optional{std::string{*row}} : std::nullopt;
}

} // namespace

TEST_CASE("a node whose founding record cannot be read answers nothing: it must not seem empty") {
  virtual_environment disk;
  {
    auto txn = disk.begin_write();
    txn->put(storage::table::node, "f/founding", core::encode(newer_founding{}));
    REQUIRE(txn->commit() == ec::none);
  }
  formation_service_config config;
  config.decision.self.id = node_id{1};
  formation_service service{config, disk};
  const core::node_record asker{node_id{2}, disk_id{2}, {}, {}};
  const auto question = core::encode(formation_question{formation_question::kind::standing, asker});
  CHECK(service.answer(node_id{2}, question).empty());
  virtual_environment empty;
  CHECK_FALSE(formation_service{config, empty}.answer(node_id{2}, question).empty());
}

TEST_CASE_TEMPLATE(
    "a founding record that a newer version wrote is not taken over, and the operator learns why", Founding,
    newer_founding, reshaped_founding) {
  const auto ports = free_ports(2);
  auto c = test_links(1);
  c.listen.port = ports[0];
  test_node seed{c};
  newer_answer<Founding> answer;
  answer.self = {node_id{1}, disk_id{1}, "127.0.0.1:" + std::to_string(ports[0]), {}};
  answer.as = formation_answer::standing::member;
  answer.what.record.now.cluster = storage::random_cluster_id();
  answer.what.record.now.nodes = answer.nodes = {answer.self};
  seed.transport->on_query([&](node_id, std::string_view) { return core::encode(answer); });
  REQUIRE_FALSE(seed.transport->start());
  virtual_environment disk;
  {
    forming_node newcomer{2, ports[1], {{"127.0.0.1", ports[0]}}, disk};
    CHECK(eventually([&] {
      return newcomer.service->waits_for().find("newer version") != std::string::npos || founding_row(disk);
    }));
    CHECK_FALSE(newcomer.member());
  }
  CHECK_FALSE(founding_row(disk));
  seed.transport->stop();
}

TEST_CASE("three seeds found one cluster over the network, a fourth joins, and a lost disk comes back as a "
          "new one") {
  const auto ports = free_ports(4);
  const std::vector<endpoint> seeds{
      {"127.0.0.1", ports[0]}, {"127.0.0.1", ports[1]}, {"127.0.0.1", ports[2]}};
  std::vector<std::unique_ptr<virtual_environment>> disks;
  for (int i = 0; i < 4; ++i)
    disks.push_back(std::make_unique<virtual_environment>());
  std::vector<std::unique_ptr<forming_node>> nodes(4);
  const auto start = [&](std::size_t i) {
    nodes[i] = std::make_unique<forming_node>(i + 1, ports[i], seeds, *disks[i]);
  };

  start(1);
  start(2);
  CHECK_FALSE(eventually([&] { return nodes[1]->member() || nodes[2]->member(); }, 500ms));
  start(0);
  for (std::size_t i = 0; i < 3; ++i)
    REQUIRE(eventually([&] { return nodes[i]->member().has_value(); }));
  const auto cluster = nodes[0]->member()->cluster;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(nodes[i]->member()->cluster.cluster == cluster.cluster);
    CHECK(nodes[i]->member()->cluster.nodes.size() == 3);
    CHECK(nodes[i]->shards_founded == 1);
  }
  CHECK(cluster.shards == 8);

  // The list that the meta shard would keep.
  std::mutex m;
  auto listed = cluster.nodes;
  const auto serve = [&](formation_service& s) {
    s.serve(
        [&] {
          std::lock_guard guard{m};
          return listed;
        },
        [&](const core::node_record& n) {
          std::lock_guard guard{m};
          std::erase_if(listed, [&](const auto& o) { return o.id == n.id; });
          listed.push_back(n);
        });
  };
  for (std::size_t i = 0; i < 3; ++i)
    serve(*nodes[i]->service);

  start(3);
  REQUIRE(eventually([&] { return nodes[3]->member().has_value(); }));
  CHECK(nodes[3]->member()->cluster.cluster == cluster.cluster);
  CHECK(nodes[3]->member()->nodes.size() == 4);
  CHECK(nodes[3]->shards_founded == 0);

  // With its state a node is back at once, though nobody answers.
  nodes[1].reset();
  nodes[2].reset();
  nodes[0].reset();
  start(0);
  CHECK(eventually([&] { return nodes[0]->member().has_value(); }));
  serve(*nodes[0]->service);

  disks[1]->wipe();
  start(1);
  REQUIRE(eventually([&] { return nodes[1]->member().has_value(); }));
  CHECK(nodes[1]->member()->cluster.cluster == cluster.cluster);
  CHECK(nodes[1]->shards_founded == 0);
  CHECK(lists(nodes[1]->member()->nodes, nodes[1]->self));
  CHECK_FALSE(lists(cluster.nodes, nodes[1]->self));
}

TEST_CASE("a node that is its only seed and lost its disk joins the cluster that looks for it, and founds no "
          "other") {
  const auto ports = free_ports(2);
  const std::vector<endpoint> seeds{{"127.0.0.1", ports[0]}};
  virtual_environment first_disk, second_disk;
  auto first = std::make_unique<forming_node>(1, ports[0], seeds, first_disk);
  REQUIRE(eventually([&] { return first->member().has_value(); }));
  const auto cluster = first->member()->cluster.cluster;
  std::mutex m;
  auto listed = first->member()->nodes;
  const auto nodes = [&] {
    std::lock_guard guard{m};
    return listed;
  };
  const auto serve = [&](formation_service& s) {
    s.serve(nodes, [&](const core::node_record& n) {
      std::lock_guard guard{m};
      std::erase_if(listed, [&](const auto& o) { return o.id == n.id; });
      listed.push_back(n);
    });
  };
  serve(*first->service);
  forming_node second{2, ports[1], seeds, second_disk};
  REQUIRE(eventually([&] { return second.member().has_value(); }));
  serve(*second.service);

  first.reset();
  first_disk.wipe();
  peer_seeker_config seeking;
  seeking.self = second.self;
  seeking.cluster = cluster;
  seeking.look_every = 50ms;
  const peer_seeker seeker{seeking, *second.node.transport, nodes, [](const auto&) {}};
  forming_node again{1, ports[0], seeds, first_disk, 10s, 60s};
  REQUIRE(eventually([&] { return again.member().has_value(); }));
  CHECK(again.member()->cluster.cluster == cluster);
  CHECK(again.shards_founded == 0);
}

TEST_CASE("a process that is started beside its node is not listed at its own address, and is told why") {
  const auto ports = free_ports(3);
  const std::vector<endpoint> seeds{{"127.0.0.1", ports[0]}};
  virtual_environment disk, copied;
  forming_node seed{1, ports[0], seeds, disk};
  REQUIRE(eventually([&] { return seed.member().has_value(); }));
  std::atomic<bool> runs{true};
  std::atomic<int> admitted{0};
  std::mutex m;
  auto listed = seed.member()->nodes;
  seed.service->serve(
      [&] {
        std::lock_guard guard{m};
        return listed;
      },
      [&](const core::node_record& n) {
        ++admitted;
        std::lock_guard guard{m};
        listed.push_back(n);
      },
      [&](node_id) {
        return formation_service::wholeness{{}, runs};
      });
  {
    forming_node beside{2, ports[1], seeds, copied, 200ms};
    CHECK(eventually(
        [&] { return beside.failed().find("another process of this node") != std::string::npos; }));
    CHECK(beside.service->runs_beside_another());
  }
  CHECK(admitted == 0);
  runs = false; // it has ended
  forming_node again{2, ports[2], seeds, copied, 200ms};
  CHECK(eventually([&] { return again.member().has_value(); }));
  CHECK(admitted > 0);
  CHECK_FALSE(again.service->runs_beside_another());
}
