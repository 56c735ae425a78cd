#pragma once
// Bytes in, bytes out: the one format of log entries, state rows and cursors. Integers are little-endian
// in values and big-endian in keys (`key_writer`), so that keys sort as their numbers do.
//
// What is stored or sent is put into an envelope (docs/formats.md), so that it can grow:
//
//   envelope := version u8, length varint (of the body), body
//   varint   := 7 bits a byte, the lowest first; the high bit says that more follow; never longer than needed
#include "protocol/values/types.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace parley {

static_assert(std::endian::native == std::endian::little, "values are written as the machine holds them");

/// What is written as the machine holds it. Not `bool`: not every byte is one.
template <class T>
concept plain_number = (std::is_integral_v<T> && !std::is_same_v<T, bool>) || std::is_enum_v<T>;

/// For buffers that are not a `writer`'s own: frames and rows that are built in place.
template <plain_number T>
void append_number(std::string& out, T v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

/// Appends values to a string it owns.
class writer {
public:
  writer() = default;
  explicit writer(std::size_t bytes) { out_.reserve(bytes); }

  template <plain_number T>
  writer& put(T v) {
    append_number(out_, v);
    return *this;
  }
  writer& put(conversation_id v) { return put(v.hi).put(v.lo); }
  writer& put(message_id v) { return put(v.hi).put(v.lo); }
  writer& put(client_msg_id v) { return put(v.device).put(v.counter); }
  writer& put(const body_hash& v) {
    out_.append(reinterpret_cast<const char*>(v.data()), v.size());
    return *this;
  }
  /// 32-bit length, then the bytes.
  writer& put(std::string_view v) {
    put(static_cast<std::uint32_t>(v.size()));
    out_.append(v);
    return *this;
  }
  writer& raw(std::string_view v) {
    out_.append(v);
    return *this;
  }
  /// Begins an envelope. What is written until `close(start)` is its body; envelopes nest.
  std::size_t open(std::uint8_t version) {
    put(version).put(std::uint8_t{0}); // the length: one byte, until `close` knows better
    return out_.size();
  }
  void close(std::size_t start) {
    auto bytes = static_cast<std::uint32_t>(out_.size() - start);
    std::array<char, 5> length;
    std::size_t n = 0;
    for (; bytes >= 0x80; bytes >>= 7)
      length[n++] = static_cast<char>(bytes | 0x80);
    length[n++] = static_cast<char>(bytes);
    out_.replace(start - 1, 1, length.data(), n); // in one step: a long body is moved at most once
  }

  std::size_t size() const { return out_.size(); }
  const std::string& bytes() const& { return out_; }
  std::string bytes() && { return std::move(out_); }

private:
  std::string out_;
};

/// Takes values from a view it does not own. Past the end, or after any failure, reads give zeros and
/// `ok()` is false: check it once, after the last read.
class reader {
public:
  explicit reader(std::string_view in) : in_{in} {}

  template <plain_number T>
  T get() {
    T v{};
    if (in_.size() < sizeof v) {
      fail();
      return v;
    }
    std::memcpy(&v, in_.data(), sizeof v);
    in_.remove_prefix(sizeof v);
    return v;
  }
  conversation_id get_conversation() {
    const auto hi = get<std::uint64_t>();
    return {hi, get<std::uint64_t>()};
  }
  message_id get_message_id() {
    const auto hi = get<std::uint64_t>();
    return {hi, get<std::uint64_t>()};
  }
  client_msg_id get_client_msg_id() {
    const auto device = get<device_id>();
    return {device, get<std::uint64_t>()};
  }
  body_hash get_hash() {
    body_hash h{};
    std::ranges::copy(raw(h.size()), h.begin());
    return h;
  }
  /// A view into the input: it lives as long as that does.
  std::string_view get_bytes() { return raw(get<std::uint32_t>()); }
  std::string_view raw(std::size_t n) {
    if (in_.size() < n) {
      fail();
      return {};
    }
    const auto v = in_.substr(0, n);
    in_.remove_prefix(n);
    return v;
  }
  struct envelope {
    std::uint8_t version = 0;
    std::string_view body; ///< a view into the input
  };
  envelope get_envelope() {
    envelope e;
    e.version = get<std::uint8_t>();
    e.body = raw(get_length());
    return e;
  }
  std::string_view rest() const { return in_; }
  bool ok() const { return ok_; }
  /// Everything was read, and nothing was missing.
  bool done() const { return ok_ && in_.empty(); }

private:
  std::size_t get_length() {
    std::uint64_t length = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const auto digit = get<std::uint8_t>();
      length |= static_cast<std::uint64_t>(digit & 0x7f) << shift;
      if ((digit & 0x80) != 0)
        continue;
      if (digit == 0 && shift != 0) // longer than needed: there is one way to write a number
        break;
      return static_cast<std::size_t>(length);
    }
    fail();
    return 0;
  }
  void fail() {
    ok_ = false;
    in_ = {};
  }
  std::string_view in_;
  bool ok_ = true;
};

/// Big-endian: keys sort as their numbers do.
class key_writer {
public:
  template <plain_number T>
  key_writer& put(T v) {
    using U = std::make_unsigned_t<
        typename std::conditional_t<std::is_enum_v<T>, std::underlying_type<T>, std::type_identity<T>>::type>;
    auto u = static_cast<U>(v);
    for (int shift = 8 * (static_cast<int>(sizeof u) - 1); shift >= 0; shift -= 8)
      out_.push_back(static_cast<char>((u >> shift) & 0xff));
    return *this;
  }
  key_writer& put(conversation_id v) { return put(v.hi).put(v.lo); }
  key_writer& raw(std::string_view v) {
    out_.append(v);
    return *this;
  }
  std::string bytes() && { return std::move(out_); }
  const std::string& bytes() const& { return out_; }

private:
  std::string out_;
};

class key_reader {
public:
  explicit key_reader(std::string_view in) : in_{in} {}
  template <plain_number T>
  T get() {
    if (in_.size() < sizeof(T)) {
      ok_ = false;
      in_ = {};
      return T{};
    }
    std::uint64_t u = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      u = (u << 8) | static_cast<std::uint8_t>(in_[i]);
    in_.remove_prefix(sizeof(T));
    return static_cast<T>(u);
  }
  conversation_id get_conversation() {
    const auto hi = get<std::uint64_t>();
    return {hi, get<std::uint64_t>()};
  }
  std::string_view rest() const { return in_; }
  bool ok() const { return ok_; }

private:
  std::string_view in_;
  bool ok_ = true;
};

} // namespace parley
