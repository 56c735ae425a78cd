#pragma once
// The bodies of messages between peers (peer_frames.hpp): their fields one after the other. They need no
// envelope, because the message around them has a length.
//
// A later version appends fields. A reader leaves fields that the sender does not know at their defaults, and
// skips those that it does not know itself. The entries of an `append` and the rows of a chunk never change;
// the commands and rows in them have envelopes of their own. `sealed` holds a `succession` in its envelope,
// which has to be known as a whole, because it becomes part of the receiver's record. `fetch` and `confirmed`
// have no body.
#include "cluster/replication/peer_frames.hpp"
#include "cluster/replication/replica_record.hpp"

#include <optional>

namespace parley::cluster {

/// Of `append`. The entries stand behind the fields up to `entries`, and later fields behind the entries.
struct append_body {
  std::uint64_t term = 0;
  std::uint64_t previous = 0;
  std::uint64_t previous_term = 0;
  std::uint64_t commit = 0;
  std::uint32_t entries = 0;
  template <class F>
  auto fields(F&& f) {
    return f(term, previous, previous_term, commit, entries);
  }
};
struct append_entry {
  entry_kind kind{};
  std::uint64_t term = 0;
  std::string_view payload; ///< a view into the message
  template <class F>
  auto fields(F&& f) {
    return f(kind, term, payload);
  }
};

/// Of `append`, behind the entries.
struct append_tail {
  std::uint64_t stored = 0; ///< the last entry that is on the leader's own disk
  template <class F>
  auto fields(F&& f) {
    return f(stored);
  }
};

/// Of `append_result`, `vote`, `vote_result` and `timeout_now`. A result that refuses says in `log_index` and
/// `log_term` which of the sender's entries may be the last that it has in common with the leader; term 0: unknown.
struct raft_body {
  static constexpr std::uint8_t pre_vote = 1, disrupt = 2, granted = 4;
  /// Of results: the sender's disk has no room for proposals.
  static constexpr std::uint8_t no_room = 8;
  /// Of results: a row of the sender's state does not match its checksum.
  static constexpr std::uint8_t damaged = 16;
  std::uint64_t term = 0;
  std::uint64_t log_index = 0;
  std::uint64_t log_term = 0;
  std::uint64_t rejected = 0;
  std::uint16_t features = 0;
  std::uint16_t capacity = 0;
  std::uint8_t flags = 0;
  std::uint32_t sync_ms = 0; ///< of results: how long the sender's syncs take (`disk_pace`); 0: not known
  template <class F>
  auto fields(F&& f) {
    return f(term, log_index, log_term, rejected, features, capacity, flags, sync_ms);
  }
};

/// Of `position`: what the sender knows that the receiver has stored.
struct position_body {
  std::uint64_t term = 0; ///< the receiver was in it, or voted in it
  std::uint64_t index =
      0; ///< in that term it said that it has stored entries up to this one; 0: none, or to others
  std::uint8_t asks = 0; ///< 1: the receiver is to say what it knows, too
  template <class F>
  auto fields(F&& f) {
    return f(term, index, asks);
  }
};

/// Of `read_ask` and `read_answer`.
struct read_body {
  std::uint64_t term = 0;
  std::uint64_t round = 0;
  template <class F>
  auto fields(F&& f) {
    return f(term, round);
  }
};

struct transfer_begin_body {
  std::uint64_t id = 0;
  std::uint64_t index = 0; ///< the state is as of this entry
  std::uint64_t term = 0;
  template <class F>
  auto fields(F&& f) {
    return f(id, index, term);
  }
};
struct transfer_chunk_body {
  std::uint64_t id = 0;
  std::uint32_t chunk = 0; ///< 0, 1, 2 …
  std::uint8_t last = 0;
  std::uint64_t term = 0; ///< of the leader that sends it; 0 to a successor
  std::string_view rows;  ///< a view into the message
  template <class F>
  auto fields(F&& f) {
    return f(id, chunk, last, term, rows);
  }
};
/// On the wire: never renumber.
enum class transfer_verdict : std::uint8_t { go_on = 0, stop = 1, finished = 2 };
struct transfer_ack_body {
  std::uint64_t id = 0;
  std::uint32_t next = 0;
  transfer_verdict what{};
  template <class F>
  auto fields(F&& f) {
    return f(id, next, what);
  }
};
struct transfer_stop_body {
  std::uint64_t id = 0;
  template <class F>
  auto fields(F&& f) {
    return f(id);
  }
};

namespace detail {

struct body_saver {
  std::string& out;
  template <class... Ts>
  bool operator()(const Ts&... xs) {
    (save(xs), ...);
    return true;
  }
  template <plain_number T>
  void save(T x) {
    append_number(out, x);
  }
  void save(std::string_view x) {
    append_number(out, static_cast<std::uint32_t>(x.size()));
    out.append(x);
  }
};
struct body_loader {
  reader& in;
  bool may_end_early = true; ///< between two fields
  template <class... Ts>
  bool operator()(Ts&... xs) {
    ((may_end_early && in.rest().empty() ? void() : load(xs)), ...);
    return in.ok();
  }
  template <plain_number T>
  void load(T& x) {
    x = in.get<T>();
  }
  void load(std::string_view& x) { x = in.get_bytes(); }
};

} // namespace detail

template <class Body>
void put_body(std::string& out, const Body& body) {
  auto copy = body; // `fields` serves both ways
  copy.fields(detail::body_saver{out});
}
/// The next fields of `in`, which may hold more. It fails if `in` ends within one.
template <class Body>
Body get_body(reader& in) {
  Body body;
  body.fields(detail::body_loader{in});
  return body;
}
/// `none`: the body ends within a field.
template <class Body>
std::optional<Body> get_body(std::string_view bytes) {
  reader in{bytes};
  auto body = get_body<Body>(in);
  return in.ok() ? std::optional{body} : std::nullopt;
}

/// An entry is whole or not readable.
inline append_entry get_entry(reader& in) {
  append_entry e;
  e.fields(detail::body_loader{in, false});
  return e;
}

} // namespace parley::cluster
