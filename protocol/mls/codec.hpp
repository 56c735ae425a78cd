#pragma once
// The TLS presentation language with MLS's variable-size vectors (RFC 9420, section 2.1). Integers are
// big-endian. The length of a vector precedes it in one, two or four bytes, and only the shortest
// encoding of the length is legal.
//
// Each struct T of the protocol has `void encode(encoder&, const T&)` and `void decode(decoder&, T&)`
// beside it. Decoding errors are sticky: after a failure every read returns an empty value, and
// `whole<T>` checks once at the end.
#include "protocol/mls/bytes.hpp"
#include "protocol/mls/error.hpp"

#include <algorithm>
#include <concepts>
#include <optional>
#include <string>
#include <type_traits>

namespace parley::mls {

class encoder {
public:
  encoder() = default;
  /// Wipes memory that the buffer has outgrown, and bytes that were not taken from
  /// the encoder (key_schedule.hpp: take_secret).
  struct of_secrets {};
  explicit encoder(of_secrets) : wipes_{true} {}
  ~encoder() {
    if (wipes_)
      wipe(out_.data(), out_.size());
  }
  encoder(const encoder&) = delete;
  encoder& operator=(const encoder&) = delete;

  template <class T>
  requires std::unsigned_integral<T> || std::is_enum_v<T> encoder& put(T v) {
    using U = std::make_unsigned_t<
        typename std::conditional_t<std::is_enum_v<T>, std::underlying_type<T>, std::type_identity<T>>::type>;
    const auto u = static_cast<U>(v);
    make_room(sizeof u);
    for (int shift = 8 * (static_cast<int>(sizeof u) - 1); shift >= 0; shift -= 8)
      out_.push_back(static_cast<std::uint8_t>(u >> shift));
    return *this;
  }
  encoder& raw(bytes_view v) {
    make_room(v.size());
    out_.insert(out_.end(), v.begin(), v.end());
    return *this;
  }
  /// opaque v<V>
  encoder& opaque(bytes_view v) {
    length(v.size());
    return raw(v);
  }
  /// T v<V>
  template <class Range>
  encoder& vector(const Range& items) {
    encoder inner;
    for (const auto& item : items)
      encode_one(inner, item);
    return opaque(inner.out_);
  }
  /// optional<T>
  template <class T>
  encoder& optional(const std::optional<T>& v) {
    put(static_cast<std::uint8_t>(v.has_value()));
    if (v)
      encode_one(*this, *v);
    return *this;
  }
  encoder& length(std::size_t n); ///< at most 2^30-1, which is asserted

  const bytes& out() const& { return out_; }
  bytes out() && { return std::move(out_); }
  void reserve(std::size_t n) {
    if (wipes_ && n > out_.capacity())
      move_to(n);
    else
      out_.reserve(n);
  }

private:
  void make_room(std::size_t n) {
    if (wipes_ && n > out_.capacity() - out_.size())
      move_to(std::max(2 * out_.capacity(), out_.size() + n));
  }
  void move_to(std::size_t capacity);
  template <class T>
  static void encode_one(encoder& e, const T& v) {
    if constexpr (std::unsigned_integral<T> || std::is_enum_v<T>)
      e.put(v);
    else if constexpr (std::is_same_v<T, bytes>)
      e.opaque(v);
    else
      encode(e, v);
  }
  bytes out_;
  bool wipes_ = false;
};

/// No list in a message is longer than this: lists contain leaves, or items that belong
/// to one leaf each.
inline constexpr std::size_t vector_items_max = 1u << 16;

class decoder {
public:
  explicit decoder(bytes_view in) : in_{in} {}

  template <class T>
  requires std::unsigned_integral<T> || std::is_enum_v<T> T get() {
    std::uint64_t u = 0;
    for (const auto b : raw(sizeof(T)))
      u = u << 8 | b;
    return static_cast<T>(u);
  }
  /// Returns a view into the input.
  bytes_view raw(std::size_t n) {
    if (in_.size() < n) {
      fail();
      return {};
    }
    const auto v = in_.first(n);
    in_ = in_.subspan(n);
    return v;
  }
  bytes_view opaque_view() { return raw(length()); }
  bytes opaque() { return to_bytes(opaque_view()); }
  /// T v<V>. Each item must take at least one byte. Items are up to two hundred times larger in memory
  /// than on the wire, so `items_max` limits their number.
  template <class T>
  std::vector<T> vector(std::size_t items_max = vector_items_max) {
    std::vector<T> out;
    decoder inner{opaque_view()};
    while (inner.ok() && !inner.rest().empty()) {
      const auto before = inner.rest().size();
      if (out.size() == items_max)
        inner.fail();
      out.push_back(inner.decode_one<T>());
      if (inner.rest().size() == before)
        inner.fail();
    }
    if (!inner.ok()) {
      fail();
      out.clear();
    }
    return out;
  }
  template <class T>
  std::optional<T> optional() {
    const auto present = get<std::uint8_t>();
    if (present > 1)
      fail();
    return present == 1 && ok() ? std::optional<T>{decode_one<T>()} : std::nullopt;
  }
  std::size_t length();

  template <class T>
  T decode_one() {
    if constexpr (std::unsigned_integral<T> || std::is_enum_v<T>) {
      return get<T>();
    } else if constexpr (std::is_same_v<T, bytes>) {
      return opaque();
    } else {
      T v{};
      decode(*this, v);
      return v;
    }
  }

  void fail() {
    ok_ = false;
    in_ = {};
  }
  bool ok() const { return ok_; }
  bytes_view rest() const { return in_; }
  bool done() const { return ok_ && in_.empty(); }

private:
  bytes_view in_;
  bool ok_ = true;
};

template <class T>
bytes encoded(const T& v) {
  encoder e;
  encode(e, v);
  return std::move(e).out();
}

/// Decodes exactly one T and refuses trailing bytes.
template <class T>
result<T> whole(bytes_view in) {
  decoder d{in};
  auto v = d.decode_one<T>();
  if (!d.done())
    return refuse(rule::malformed);
  return v;
}

} // namespace parley::mls
