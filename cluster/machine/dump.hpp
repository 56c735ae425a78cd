#pragma once
// The replicas of a stopped node as JSON lines, one flat object each: for the chaos checker, and for people.
// It never contains the body of a message, only its SHA-256.
//
//   {"shard":3,"generation":2,"life":"live","applied_index":99,"applied_commands":0,"last_index":101,
//    "state_hash":"<64 hex>"}
//   {"shard":3,"conversation":"<32 hex>","seq":5,"msg_id":"<32 hex>","sender":"7","device":"9",
//    "client_counter":4,"body_sha256":"<64 hex>","at":1730000000000}
//   {"shard":3,"conversation":"<32 hex>","user":"7","delivered":5,"read":4}
//
// `state_hash` covers every row of the shard's state, without its slot: replicas of one generation with the
// same applied index and commands have the same hash. `applied_commands` is not 0 if the replica halted
// within the next entry: so many of its commands are applied. Replicas may have stopped at different indexes,
// and a log may reach beyond what was applied (`last_index`): what is committed and not applied yet is applied
// at the next start.
// A replica without state ("waiting", "tombstone") has a line with its life, and no index or hash.
#include "storage/disk_fault.hpp"

#include <tl/expected.hpp>

#include <cstdint>
#include <cstdio>
#include <string>

namespace parley::cluster {

struct dump_totals {
  std::size_t replicas = 0; ///< with state
  std::uint64_t messages = 0;
};

/// Holds the lock of the directory meanwhile, so it fails if the node runs. Changes nothing.
/// A replica with a damaged record gets no line with a hash; the others are dumped, and the failure names it.
tl::expected<dump_totals, storage::disk_fault> dump_node(const std::string& data_dir, std::FILE* out);

} // namespace parley::cluster
