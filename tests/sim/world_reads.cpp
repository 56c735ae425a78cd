// Disks that cannot be read, as part of `--disks`: a node's process ends at some read, because a page of its data file cannot
// be read. Either the disk can be read again at the next start, perhaps not at once; or it is replaced, and then the node had
// all that its shards need, as with a disk that is lost.
#include "tests/sim/world.hpp"

namespace parley::sim {

const std::vector<world::fault>& world::all_read_faults() {
  static const std::vector<fault> all{{"read-error", 1, &world::fail_read}};
  return all;
}

void world::draw_reads() {
  auto& r = reads_;
  r.luck = fuzz::chance{options_.seed ^ 0x72656164'73000000ULL};
  if (r.luck.percent(67) && !options_.without.contains("read-error"))
    r.every = r.luck.between(one_second, 8 * one_second);
  profile_.node.reads_fail = r.every != 0;
}

void world::fail_read() {
  if (reads_.luck.percent(40))
    return when_whole(40, [this](sim_node& node) {
      reads_.replaced = node.id();
      node.fail_read(static_cast<std::uint64_t>(reads_.luck.between(1, 300)));
    });
  nodes_[reads_.luck.below(nodes_.size())]->fail_read(
      static_cast<std::uint64_t>(reads_.luck.between(1, 2000)));
}

/// The node has stopped because of it.
void world::unread(sim_node& node) {
  ++judge_.count.read_errors;
  if (storming_ && reads_.luck.percent(30)) // at the start, too
    node.fail_read(static_cast<std::uint64_t>(reads_.luck.between(1, 200)));
  else if (std::exchange(reads_.replaced, node_id::none) == node.id() && disks_.ill == node.id())
    return begin_with_empty_disk(node);
  sim_.time.in(reads_.luck.between(20 * one_ms, profile_.down_max), [&node] { node.start(); });
}

} // namespace parley::sim
