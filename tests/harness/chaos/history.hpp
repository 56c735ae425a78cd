#pragma once
// What the clients of a chaos run observed. It is written outside the servers and read by the checker.
//
// There is one fixed-size record per event, ordered by time: all writes are serialized, so file
// order is time order.
#include "protocol/values/types.hpp"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

namespace parley::chaos {

/// A timeout is `info` (the outcome is unknown). `fail` is used only if the error promises "not stored".
enum class phase : std::uint8_t { invoke, ok, fail, info };

/// Lists which fields of an event are used; all others are zero.
enum class action : std::uint8_t {
  member,  ///< ok: `reader` belongs to `conversation`. Precedes its first send.
  connect, ///< ok: `process` is one life of `reader`'s device `sender`. Precedes all its other events.
  send, ///< invoke: conversation, sender, counter, hash. ok: also seq, msg, node. fail, info: as for invoke.
  push, ///< ok: one message over a live connection; covers (prev, seq] of the reader's stream.
  resync,      ///< ok: the connection was told to resync: its next push may begin anywhere it has covered.
  inbox_begin, ///< ok: a sync of the inbox begins at the position that the device had reached.
  inbox,       ///< ok: one message of the sync's pages; covers (prev, seq].
  applied,     ///< ok: the device's store has kept the message for the first time: rule 8 over all
               ///< lives of the device.
  read, ///< invoke: a sync of `conversation` after `prev`. ok: it reached the end. info: it was interrupted.
  read_item,   ///< ok: one message of the sync.
  caught_up,   ///< ok: from now on every inbox must have everything that was acknowledged.
  kill,        ///< ok: node `node` was killed, and its process has ended.
  pause,       ///< ok: node `node` was stopped (SIGSTOP), and the kernel confirmed it.
  disk_loss,   ///< ok: the disk of `node` was wiped while the other nodes were whole.
  client_kill, ///< ok: `process` ended while sending; its sends without an answer get an `info`.
  healed,      ///< ok: every node runs and answers.
};

struct event {
  std::int64_t t_mono_ns = 0;
  std::uint32_t process = 0; ///< one life of one client, numbered from 0
  phase is{};
  action f{};
  std::uint16_t unused = 0;
  node_id node{};
  conversation_id conversation;
  device_id sender{}; ///< with `counter`: the client_msg_id
  std::uint64_t counter = 0;
  user_id reader{};
  seq_no prev{};
  seq_no seq{};
  message_id msg;
  body_hash hash{};
};
static_assert(sizeof(event) == 128 && std::is_trivially_copyable_v<event>);

/// One line about a shard in a replica's offline dump.
struct replica_head {
  std::uint16_t shard = 0;
  std::uint32_t gen = 0;
  std::uint64_t applied_index = 0;
  std::string state_hash;
  std::uint32_t applied_commands = 0; ///< of the next entry: the replica halted in it
};
/// One line about a message in a replica's offline dump.
struct replica_message {
  std::uint16_t shard = 0;
  conversation_id conversation;
  seq_no seq{};
  message_id msg;
  device_id sender{};
  std::uint64_t counter = 0;
  body_hash hash{};
};

struct file_closer {
  void operator()(std::FILE* f) const { std::fclose(f); }
};
using file = std::unique_ptr<std::FILE, file_closer>;

/// Appends events to a file. A failed write is remembered, and reported by `flush`.
class history_writer {
public:
  explicit history_writer(const std::string& path);
  bool put(const event& e);
  bool flush();

private:
  file out_;
  bool ok_ = false;
};

/// Reads the events back. `next` returns nothing at the end; `ok` distinguishes an end from a broken file.
class history_reader {
public:
  explicit history_reader(const std::string& path);
  std::optional<event> next();
  bool ok() const { return ok_; }

private:
  file in_;
  bool ok_ = false;
};

/// Parses one line of `parleyd --dump`: a replica with state, a message, or another kind of line that a
/// dump contains (watermarks, a replica without state). Returns false if it is not a line of a dump.
bool parse_dump_line(std::string_view line, std::optional<replica_head>& head,
                     std::optional<replica_message>& message);

} // namespace parley::chaos
