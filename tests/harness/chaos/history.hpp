#pragma once
// What the clients of a chaos run saw, written outside the servers, and read again by the checker.
//
// One fixed-size record per event, in the order of time: one thread writes, so file order is time order.
#include "protocol/values/types.hpp"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

namespace parley::chaos {

/// A timeout is `info` (maybe); `fail` only where the error promises "not stored".
enum class phase : std::uint8_t { invoke, ok, fail, info };

/// Which fields of an event count is said here; the others are zero.
enum class action : std::uint8_t {
  member,  ///< ok: `reader` belongs to `conversation`. Before its first send.
  connect, ///< ok: `process` is one life of `reader`'s device `sender`. Before anything else of it.
  send,    ///< invoke: conversation, sender, counter, hash. ok: and seq, msg, node. fail, info: as invoke.
  push,    ///< ok: one message over a live connection; covers (prev, seq] of the reader's stream.
  resync,  ///< ok: the connection was told to start over: its next push may begin anywhere it has covered.
  inbox_begin, ///< ok: a sync of the inbox begins at the place the device had reached.
  inbox,       ///< ok: one message of its pages; covers (prev, seq].
  applied,   ///< ok: the device's store has kept it, for the first time: rule 8 over all lives of the device.
  read,      ///< invoke: a sync of `conversation` after `prev`. ok: it reached its end. info: it broke off.
  read_item, ///< ok: one message of it.
  caught_up, ///< ok: by now every inbox must have everything that was acknowledged.
  kill,      ///< ok: node `node` was killed, and seen to be gone.
  pause,     ///< ok: node `node` was stopped (SIGSTOP), and seen to be.
  disk_loss, ///< ok: the disk of `node` was wiped while the others were whole.
  client_kill, ///< ok: `process` ended mid-send; its sends without an answer get an `info`.
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

/// One line of a replica's offline dump about a shard.
struct replica_head {
  std::uint16_t shard = 0;
  std::uint32_t gen = 0;
  std::uint64_t applied_index = 0;
  std::string state_hash;
};
/// One line of a replica's offline dump about a message.
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

/// Appends events to a file. A failed write is remembered, and told by `flush`.
class history_writer {
public:
  explicit history_writer(const std::string& path);
  bool put(const event& e);
  bool flush();

private:
  file out_;
  bool ok_ = false;
};

/// Reads them back. `next` gives nothing at the end; `ok` tells an end from a broken file.
class history_reader {
public:
  explicit history_reader(const std::string& path);
  std::optional<event> next();
  bool ok() const { return ok_; }

private:
  file in_;
  bool ok_ = false;
};

/// One line of `parleyd --dump`: a replica with state, a message, or something else that a dump holds
/// (watermarks, a replica without state). False: no line of a dump.
bool parse_dump_line(std::string_view line, std::optional<replica_head>& head,
                     std::optional<replica_message>& message);

} // namespace parley::chaos
