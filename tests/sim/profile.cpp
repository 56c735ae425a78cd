#include "tests/sim/world.hpp"

#include <algorithm>

namespace parley::sim {

using std::chrono::milliseconds;

namespace {

/// Above these, a call is refused as `overloaded`, and whoever made it tries again, after two seconds at most. A
/// calm is long enough for what a storm leaves behind them.
void draw_limits(fuzz::chance& luck, node_profile& n) {
  const auto draw = [&](std::size_t& limit, std::int64_t least, std::int64_t most) {
    const auto drawn = static_cast<std::size_t>(luck.between(least, most));
    if (luck.percent(35))
      limit = drawn;
  };
  draw(n.store.proposals_max, 12, 40);
  draw(n.shard.resident.waiting_calls_max, 8, 24);
  draw(n.router.forwarded_max, 16, 64);
  draw(n.router.hosted_max, 16, 64);
  draw(n.router.parked_max, 2, 16);
  draw(n.router.kept.answers_max, 1, 8);
  draw(n.session.calls_max, 8, 24);
}

} // namespace

profile draw_profile(fuzz::chance& luck) {
  profile p;
  p.nodes = luck.percent(70) ? 3 : 5;
  p.replicas = luck.percent(90) ? 3 : 1;
  p.shards = static_cast<std::uint16_t>(luck.between(2, 6));
  p.users = static_cast<std::size_t>(luck.between(3, 9));
  p.conversations = static_cast<std::size_t>(luck.between(3, 8));
  p.send_every = luck.between(30, luck.percent(50) ? 100 : 400) * one_ms;
  p.fault_every = luck.between(150, luck.percent(50) ? 600 : 2000) * one_ms;
  p.down_max = luck.percent(60) ? 500 * one_ms : 4 * one_second;
  p.body_bytes_max = luck.percent(80) ? 200 : static_cast<std::size_t>(luck.between(200, 20'000));

  p.network.latency_max = luck.between(1, luck.percent(70) ? 4 : 25) * one_ms;
  p.network.latency_spike_max = luck.between(20, 400) * one_ms;
  p.network.spike_one_in = static_cast<std::uint64_t>(luck.between(15, 200));
  p.network.late_frames_cross_over = luck.percent(50);
  p.network.window_bytes_max = 64 << 20; // what a link holds is the fuzzer's subject
  p.network.idle_bytes_max = 64 << 20;

  auto& n = p.node;
  n.shuffles = luck.percent(50);
  n.disk.sync_max = luck.between(1, luck.percent(70) ? 5 : 30) * one_ms;
  n.disk.slow_sync_max = luck.between(20, 300) * one_ms;
  n.disk.slow_one_in = static_cast<std::uint64_t>(luck.between(20, 200));
  n.disk.crash_in_sync_one_in = luck.percent(65) ? static_cast<std::uint64_t>(luck.between(100, 2000)) : 0;

  n.router.shards = p.shards;
  n.router.park_for = milliseconds{luck.between(200, 2000)};
  n.router.answer_within = milliseconds{luck.between(1000, luck.percent(50) ? 3000 : 10'000)};
  n.router.hosted_within = n.router.answer_within;
  n.router.rehome_within = milliseconds{luck.between(100, 1000)};
  n.router.announce_every = milliseconds{luck.between(500, 5000)};
  n.router.missed_max = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 3 : 1000));
  n.router.payload_bytes_max = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 4 : 256)) << 10;

  n.shard.resident.sweep_every = milliseconds{luck.between(100, 1000)};
  n.shard.resident.passivate_after = milliseconds{luck.between(1000, luck.percent(50) ? 3000 : 60'000)};
  n.shard.resident.conversation_burst_max = luck.percent(70) ? 1000 : luck.between(2, 20);
  n.shard.resident.conversation_refill_every = milliseconds{luck.between(5, 30)}; // or a calm is too short
  auto& ledger = n.shard.fan_out.ledger;
  ledger.shards = p.shards;
  ledger.debts_max = static_cast<std::size_t>(luck.between(2, luck.percent(50) ? 6 : 4096));
  ledger.ahead_max = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 4 : 1024));
  ledger.parts_max = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 4 : 256));
  ledger.parts_bytes_max =
      luck.percent(50) ? static_cast<std::size_t>(luck.between(300, 2000)) : ledger.parts_bytes_max;
  ledger.under_way_parts_max = std::max<std::size_t>(
      ledger.parts_max, static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 4 : 1024)));
  ledger.stalled_after = milliseconds{luck.between(200, 2000)};
  ledger.probes_max =
      std::min(ledger.debts_max - 1, static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 2 : 64)));
  n.shard.fan_out.answer_within = milliseconds{luck.between(300, 2000)};

  n.session.queue_rows_max = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 4 : 256));
  n.session.pull_rows = static_cast<std::uint32_t>(luck.between(1, luck.percent(50) ? 4 : 128));
  n.session.answer_within = milliseconds{luck.between(1000, luck.percent(50) ? 3000 : 10'000)};
  n.session.attach_every = milliseconds{luck.between(10'000, 30'000)};

  n.store.merge_within = milliseconds{luck.between(1, 100)};
  auto& e = n.store.replication;
  e.election_timeout = milliseconds{luck.between(200, 600)};
  e.heartbeat_every = e.election_timeout / luck.between(3, 6);
  e.votes_after = milliseconds{luck.percent(50) ? 0 : 1000};
  e.read_round_timeout = milliseconds{luck.between(200, 1500)};
  e.snapshot_retry_after = milliseconds{luck.between(200, 2000)};
  e.log_entries_kept = static_cast<std::size_t>(luck.between(2, luck.percent(50) ? 20 : 300));
  e.snapshot_chunk_bytes = static_cast<std::size_t>(luck.between(300, luck.percent(50) ? 1000 : 100'000));
  e.apply_entries_max = static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 10 : 4096));
  e.transfer_chunks_max = static_cast<std::uint32_t>(luck.between(1, 4));
  e.trim_rows_max = static_cast<std::size_t>(luck.between(4, luck.percent(50) ? 12 : 400));

  auto& c = p.client;
  c.latency_max = luck.between(1, luck.percent(70) ? 3 : 60) * one_ms;
  c.rows_at_once = static_cast<std::size_t>(luck.between(1, 32));
  c.rows_window = static_cast<std::size_t>(luck.between(1, 64));
  c.sends_window = static_cast<std::size_t>(luck.percent(50) ? 1 : luck.between(2, 8));
  c.ack_delay_max = luck.between(1, 500) * one_ms;
  c.page_rows = static_cast<std::uint32_t>(luck.between(1, luck.percent(50) ? 5 : 100));
  // A link holds at least the largest command of a fan-out and the largest page, or these would never pass.
  const auto rows = std::max(c.page_rows, n.session.pull_rows);
  const auto least =
      std::max(ledger.parts_bytes_max, p.body_bytes_max + 1000) + rows * (p.body_bytes_max + 300) + 4096;
  n.calls_window_bytes = least * static_cast<std::size_t>(luck.between(1, luck.percent(50) ? 2 : 20));
  draw_limits(luck, n);
  return p;
}

} // namespace parley::sim
