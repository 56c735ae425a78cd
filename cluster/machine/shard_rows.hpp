#pragma once
// Every row of a shard's state, on one page. Keys stand behind the shard and slot prefix
// (storage::shard_view); numbers in keys are big-endian, in values little-endian. A stored format: values
// stand in envelopes and grow as docs/formats.md says, where letters and numbers of keys are reserved, too.
//
//   key                            value                what for
//   ───────────────────────────────────────────────────────────────────────────────────────────────────────────
//   c <conversation> 0             conversation_head    last seq, members and where their fan-out has got
//   c <conversation> 1 <device>    core::sender_head    that device's dedup window: size, highest, evicted
//   c <conversation> 2 <user>      core::progress       that member's delivered/read watermark
//   c <conversation> 3 <dev><row>  core::remembered_ids accepted ids; their counters name the row
//   K                              core::code_meter     how many codes it has issued lately, and where the search
//                                                       for forgotten numbers goes on
//   m <conversation> <seq>         core::message        the log. Apart from `c`, which stays small and warm
//   n <node>                       core::node_record    meta shard only
//   O                              debt_end             debts: the next number, if no row is left to tell
//   o <number>                     core::owed           debts: what other shards have not confirmed
//   R                              rescue_count         how often it went on with one survivor; absent: never
//   R <shard>                      renewal              another one did: whose streams are owed to it again
//   V                              shard_format         what its commands and rows may contain; absent: 1
//   p <phone>                      core::phone_claim    at the phone's shard
//   u <user> 0                     inbox_head           last position, devices' cursors and begins
//   u <user> 1                     account              phone, devices and their keys
//   u <user> 2 <conversation>      inbox_stream         what the inbox has of it; also the list of conversations
//   u <user> 3 <conversation><u2>  inbox_mark           the watermark of u2 as this inbox knows it, and its row
//   i <user> <pos>                 core::news           one inbox row
//
// An appended message writes five rows: head, sender head, remembered ids, log row and debt row. The first
// two share a page, and the debt rows of a batch share another.
#include "actors/core/code_meter.hpp"
#include "actors/core/commands.hpp"
#include "actors/core/dedup_window.hpp"
#include "actors/core/inbox_cover.hpp"
#include "actors/core/phone_claim.hpp"
#include "actors/core/watermarks.hpp"

#include <array>
#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace parley::cluster::rows {

// --- keys --------------------------------------------------------------------------------------------------

/// A key in a fixed buffer: the hot path builds a dozen per message, so none of them is allocated.
class row_key {
public:
  static constexpr std::size_t bytes_max = 64;

  explicit row_key(char kind) { bytes_[size_++] = kind; }
  template <plain_number T>
  row_key& put(T v) {
    auto u = static_cast<std::uint64_t>(v);
    assert(size_ + sizeof v <= bytes_max);
    for (auto i = sizeof v; i-- > 0;)
      bytes_[size_++] = static_cast<char>((u >> (8 * i)) & 0xff);
    return *this;
  }
  row_key& put(conversation_id c) { return put(c.hi).put(c.lo); }
  row_key& raw(std::string_view v) {
    assert(size_ + v.size() <= bytes_max);
    for (char c : v)
      bytes_[size_++] = c;
    return *this;
  }
  operator std::string_view() const { return {bytes_.data(), size_}; }
  /// The first key behind all that begin with this one: the end of a range. A kind is a letter,
  /// so there is one.
  row_key past() const {
    auto k = *this;
    while (static_cast<unsigned char>(k.bytes_[k.size_ - 1]) == 0xff)
      --k.size_;
    ++k.bytes_[k.size_ - 1];
    return k;
  }

private:
  std::array<char, bytes_max> bytes_;
  std::size_t size_ = 0;
};

inline row_key conversation_rows(conversation_id c) {
  return row_key{'c'}.put(c);
}
inline row_key head_key(conversation_id c) {
  return row_key{'c'}.put(c).put(std::uint8_t{0});
}
inline row_key sender_key(conversation_id c, device_id d) {
  return row_key{'c'}.put(c).put(std::uint8_t{1}).put(d);
}
inline row_key progress_rows(conversation_id c) {
  return row_key{'c'}.put(c).put(std::uint8_t{2});
}
inline row_key progress_key(conversation_id c, user_id u) {
  return progress_rows(c).put(u);
}
/// `row`: core::row_of a counter.
inline row_key remembered_key(conversation_id c, device_id d, std::uint8_t row) {
  return row_key{'c'}.put(c).put(std::uint8_t{3}).put(d).put(row);
}
inline row_key message_rows(conversation_id c) {
  return row_key{'m'}.put(c);
}
inline row_key message_key(conversation_id c, seq_no s) {
  return row_key{'m'}.put(c).put(s);
}
inline row_key node_key(node_id n) {
  return row_key{'n'}.put(n);
}
inline row_key format_key() {
  return row_key{'V'};
}
inline row_key rescue_key() {
  return row_key{'R'};
}
inline row_key renewal_key(shard_id of) {
  return row_key{'R'}.put(of);
}
inline row_key code_meter_key() {
  return row_key{'K'};
}
inline row_key debt_end_key() {
  return row_key{'O'};
}
inline row_key debt_key(std::uint64_t number) {
  return row_key{'o'}.put(number);
}
inline row_key phone_rows() {
  return row_key{'p'};
}
/// `phone` was checked against limits::phone_bytes_max.
inline row_key phone_key(std::string_view phone) {
  return row_key{'p'}.raw(phone);
}
inline row_key inbox_head_key(user_id u) {
  return row_key{'u'}.put(u).put(std::uint8_t{0});
}
inline row_key account_key(user_id u) {
  return row_key{'u'}.put(u).put(std::uint8_t{1});
}
inline row_key stream_rows(user_id u) {
  return row_key{'u'}.put(u).put(std::uint8_t{2});
}
inline row_key stream_key(user_id u, conversation_id c) {
  return stream_rows(u).put(c);
}
inline row_key mark_key(user_id u, conversation_id c, user_id of) {
  return row_key{'u'}.put(u).put(std::uint8_t{3}).put(c).put(of);
}
inline row_key inbox_rows(user_id u) {
  return row_key{'i'}.put(u);
}
/// How the keys of all that is stored of a user begin, and of a conversation.
inline std::array<row_key, 2> rows_of(user_id u) {
  return {row_key{'u'}.put(u), inbox_rows(u)};
}
inline std::array<row_key, 2> rows_of(conversation_id c) {
  return {conversation_rows(c), message_rows(c)};
}
inline row_key inbox_key(user_id u, inbox_pos p) {
  return row_key{'i'}.put(u).put(p);
}

// --- keys, read again: each takes keys of the one kind that it names ---------------------------------------

struct message_place {
  conversation_id conversation;
  seq_no seq{};
};
/// Of `message_key`.
inline message_place parse_message_key(std::string_view key) {
  key_reader in{key.substr(1)};
  const auto c = in.get_conversation();
  return {c, in.get<seq_no>()};
}
/// Of `progress_key`: the member.
inline user_id parse_progress_key(std::string_view key) {
  return key_reader{key.substr(1 + 16 + 1)}.get<user_id>();
}
/// Of `debt_key`.
inline std::uint64_t parse_debt_key(std::string_view key) {
  return key_reader{key.substr(1)}.get<std::uint64_t>();
}
/// Of `stream_key`: the conversation behind the user.
inline conversation_id parse_stream_key(std::string_view key) {
  return key_reader{key.substr(1 + 8 + 1)}.get_conversation();
}
/// Of `phone_key`.
inline std::string_view parse_phone_key(std::string_view key) {
  return key.substr(1);
}
/// Of `inbox_key`: the position behind the user.
inline inbox_pos parse_inbox_key(std::string_view key) {
  return key_reader{key.substr(1 + 8)}.get<inbox_pos>();
}
/// Of any key that begins with `c`: the conversation whose row it is.
inline conversation_id parse_conversation_key(std::string_view key) {
  return key_reader{key.substr(1)}.get_conversation();
}

// --- values ------------------------------------------------------------------------------------------------

struct conversation_member {
  user_id user{};
  std::uint64_t membership = 0;
  seq_no fan_out_head{};   ///< the last seq of this member's stream: the `prev` of the next
  std::uint8_t copies = 0; ///< 1: its own messages belong to its stream
  template <class F>
  auto fields(F&& f) {
    return f(user, membership, fan_out_head, copies);
  }
};

struct conversation_head {
  enum class kind : std::uint8_t {
    direct = 1, ///< members stand here. (A group's will have rows of their own.)
  };
  kind what = kind::direct;
  seq_no last{};
  unix_ms last_at{};                        ///< times of a conversation never go back
  std::vector<conversation_member> members; ///< ascending by user
  template <class F>
  auto fields(F&& f) {
    return f(what, last, last_at, members);
  }

  conversation_member* find(user_id u) {
    for (auto& m : members)
      if (m.user == u)
        return &m;
    return nullptr;
  }
  const conversation_member* find(user_id u) const { return const_cast<conversation_head*>(this)->find(u); }
};

struct device_cursor {
  device_id device{};
  inbox_pos acknowledged{};
  template <class F>
  auto fields(F&& f) {
    return f(device, acknowledged);
  }
};

/// A device that was added later never gets the rows up to there.
struct device_begin {
  device_id device{};
  inbox_pos begin{};
  template <class F>
  auto fields(F&& f) {
    return f(device, begin);
  }
};

struct inbox_head {
  inbox_pos last{};
  inbox_pos dropped{}; ///< rows at or below it are erased
  std::vector<device_cursor> devices;
  std::optional<conversation_id>
      copies_next;                  ///< from it on, conversations do not know of the second device yet
  std::vector<device_begin> begins; ///< none: from the first row on, or an older program added it
  template <class F>
  auto fields(F&& f) {
    return f(last, dropped, devices, copies_next, begins);
  }

  device_cursor* find(device_id d) {
    for (auto& x : devices)
      if (x.device == d)
        return &x;
    return nullptr;
  }
  inbox_pos begin_of(device_id d) const {
    for (const auto& x : begins)
      if (x.device == d)
        return x.begin;
    return inbox_pos::none;
  }
};

struct inbox_stream {
  std::uint64_t membership = 0;
  seq_no covered{};
  std::vector<user_id> members; ///< empty until the opening arrived
  template <class F>
  auto fields(F&& f) {
    return f(membership, covered, members);
  }
};

struct inbox_mark {
  inbox_pos pos{}; ///< of its row, if that is not erased yet
  core::progress is;
  template <class F>
  auto fields(F&& f) {
    return f(pos, is);
  }
};

struct account {
  std::string phone;
  std::vector<core::device_record> devices;
  template <class F>
  auto fields(F&& f) {
    return f(phone, devices);
  }
};

/// The shard's format (actors/core/format_number.hpp).
struct shard_format {
  core::format_number number = core::format_number::oldest;
  template <class F>
  auto fields(F&& f) {
    return f(number);
  }
};

/// See actors/core/rescue_numbers.hpp.
struct rescue_count {
  std::uint64_t count = 0;
  template <class F>
  auto fields(F&& f) {
    return f(count);
  }
};

/// After the rescue of another shard.
struct renewal {
  std::uint64_t rescues = 0;                               ///< of that shard
  std::optional<conversation_id> next = conversation_id{}; ///< to be looked at; none: all were
  std::uint64_t ahead = 0;                        ///< commands whose debts nobody has looked for since
  std::uint64_t first_debt = 0, end_of_debts = 0; ///< of the last command that owed anything
  template <class F>
  auto fields(F&& f) {
    return f(rescues, next, ahead, first_debt, end_of_debts);
  }
};

/// The next debt's number, where no debt is left to tell it.
struct debt_end {
  std::uint64_t next = 1;
  template <class F>
  auto fields(F&& f) {
    return f(next);
  }
};

/// All rows that are one struct: what is not listed here can be neither written nor read, and each has its
/// golden bytes.
using values = std::tuple<conversation_head, core::sender_head, core::progress, core::remembered_ids,
                          core::node_record, debt_end, shard_format, core::phone_claim, inbox_head, account,
                          inbox_stream, inbox_mark, core::code_meter, rescue_count, renewal>;

template <class T, class Values = values>
inline constexpr bool is_row = false;
template <class T, class... Rows>
inline constexpr bool
    is_row<T, std::tuple<Rows...>> = (std::is_same_v<T, Rows> || ...) || std::is_same_v<T, core::owed>;

/// A row as it is written in a shard of format `f`.
template <class T>
std::string pack(core::format_number f, const T& row) {
  static_assert(is_row<T>);
  return core::encode_for(f, row);
}
/// `read` is for answers, `read_whole` for what is applied or written back.
template <class T>
std::optional<T> read(std::string_view value) {
  static_assert(is_row<T>);
  return core::decode<T>(value);
}
template <class T>
core::decoded<T> read_whole(std::string_view value) {
  static_assert(is_row<T>);
  return core::decode_whole<T>(value);
}

// The rows that hold a body end with it: in front of it stand the other fields, in an envelope that can grow.

/// Conversation, seq and id are not in the value: the key has them.
std::string pack_message(core::format_number f, const core::message& x);
core::decoded<core::message> unpack_message(conversation_id c, seq_no seq, std::string_view v,
                                            core::reading how);
/// An inbox row; a message's id is left out, as it follows from conversation and seq.
std::string pack_news(core::format_number f, const core::news& x);
core::decoded<core::news> unpack_news(std::string_view v, core::reading how);

/// What an acknowledgement needs of an inbox row, without copying the body.
struct news_glance {
  bool is_message = false;
  conversation_id conversation;
  seq_no seq{};
  user_id from{};
};
/// Of a row that is known as a whole: what the acknowledgement leads to is written.
core::decoded<news_glance> glance(std::string_view v);

} // namespace parley::cluster::rows
