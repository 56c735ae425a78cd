#include "tests/cluster/fuzz/simulation.hpp"

#include <cstdio>

namespace parley::fuzz {

void counts::add(const counts& o) {
  commits += o.commits, acks += o.acks, refusals += o.refusals, unknown += o.unknown, reads += o.reads;
  elections += o.elections, transfers += o.transfers, installs += o.installs, seals += o.seals;
  crashes += o.crashes, lost_batches += o.lost_batches, disk_losses += o.disk_losses;
  partitions += o.partitions, resets += o.resets, pauses += o.pauses, jumps += o.jumps;
  full_disks += o.full_disks, probes += o.probes, turns += o.turns, frames += o.frames;
  outages += o.outages, rollbacks += o.rollbacks, recognised += o.recognised;
}

void simulation::note(const char* what, std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) {
  for (std::uint64_t x : {static_cast<std::uint64_t>(time.now()), hash_bytes(what), a, b, c, d})
    hash_ = mix64(hash_ ^ x) + 0x9e3779b97f4a7c15ULL;
  if (keeps_ && std::string_view{what} != "frame") {
    if (events_.size() == events_kept_max)
      events_.pop_front();
    events_.push_back({time.now(), what, a, b, c, d});
  }
  if (print_)
    std::printf("%12.3f %-14s %llu %llu %llu %llu (%04x)\n", static_cast<double>(time.now()) / one_ms, what,
                static_cast<unsigned long long>(a), static_cast<unsigned long long>(b),
                static_cast<unsigned long long>(c), static_cast<unsigned long long>(d), luck.mark());
}

void simulation::violate(std::string what) {
  if (!violation_.empty())
    return;
  violation_ = "at " + std::to_string(time.now() / one_ms) + " ms: " + std::move(what);
  if (print_)
    std::printf("%12.3f VIOLATION %s\n", static_cast<double>(time.now()) / one_ms, violation_.c_str());
}

std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t h = 0xcbf29ce484222325ULL ^ bytes.size();
  for (unsigned char c : bytes)
    h = (h ^ c) * 0x100000001b3ULL;
  return mix64(h);
}

} // namespace parley::fuzz
