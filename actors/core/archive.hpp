#pragma once
// Turns the plain structs of core into bytes and back. A struct takes part by listing its fields once:
//
//   template <class F> auto fields(F&& f) { return f(a, b, c); }
//
// What is encoded stands in an envelope: version, length, fields (docs/formats.md has the rules).
//
//   struct   := envelope of its fields            variant  := kind u8, then the alternative as a struct
//   nested   := its fields alone: a struct inside a struct is frozen, unless it declares `inside`
//
// So fields are appended at a struct's end, never reordered, and kinds are appended to a variant. A shorter
// struct is read with the missing fields at their defaults. A longer one depends on who reads it:
//
//   decode        for answers, pushes and payloads between nodes: skips what it does not know
//   decode_whole  for what is applied or written back: refuses what it does not know
//
// What the replicas of a shard apply or write (commands, debts, rows) follows the shard's own format number,
// because all of them must write the same bytes. `encode_for` writes these. A field or a kind that came later
// names the number that it came with:
//
//   return f(a, b, since<2>(c));                                       of a struct's fields, the last ones
//   static constexpr auto since_format = format_number{2};             in an alternative of a variant
//
// In a shard with a lower number such a field is left out, and such a kind cannot be encoded: who proposes it
// asks `known_in` first. Readers take both as they take other appended fields and kinds.
//
// A struct whose version is not 1 declares `static constexpr std::uint8_t format_version`. A version is
// raised only when appending is not enough, and never for what replicas write. Its fields as an earlier
// version wrote them are then listed in
//
//   template <class F> bool earlier(std::uint8_t version, F&& f)       false: no such version
#include "actors/core/format_number.hpp"
#include "protocol/values/codec.hpp"
#include "protocol/values/shared_bytes.hpp"

#include <array>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace parley::core {

inline constexpr std::size_t list_items_max = 1 << 16;

/// How a struct stands inside another. One that is not frozen has an envelope of its own there.
enum class nested : std::uint8_t {
  frozen,   ///< the rule: small values that will not change
  grows,    ///< later versions append fields
  skippable ///< as `grows`; and in a list, `decode` leaves out those that it does not know and counts them
};

/// Why bytes were not taken.
enum class format_fault : std::uint8_t {
  none,
  damaged, ///< nothing that any version writes
  newer    ///< a kind, a version or fields that this program does not know
};
constexpr std::string_view describe(format_fault f) {
  return f == format_fault::newer     ? "was written by a newer version of this program"
         : f == format_fault::damaged ? "is damaged"
                                      : "is well formed";
}

enum class reading : std::uint8_t { known, whole };

template <class T>
struct decoded {
  std::optional<T> it;
  format_fault why = format_fault::none; ///< `none` exactly if `it` holds a value
};

/// A value that no reader would take: a list of more than `list_items_max` items, or a kind that the shard's
/// format does not have. It is a mistake of the writer, which has bounds for both, and is thrown before
/// anything is written.
struct cannot_encode : std::logic_error {
  using std::logic_error::logic_error;
};

/// A field that is written from format `N` on.
template <std::uint32_t N, class T>
struct gated {
  static constexpr format_number from{N};
  T& it;
};
template <std::uint32_t N, class T>
gated<N, T> since(T& field) {
  static_assert(N > static_cast<std::uint32_t>(format_number::oldest), "what format 1 has needs no gate");
  return {field};
}

/// Whether shards of format `f` have kind `T` of a variant.
template <class T>
constexpr bool known_in(format_number f) {
  if constexpr (requires { T::since_format; })
    return f >= T::since_format;
  else
    return true;
}
template <class... Ts>
bool known_in(format_number f, const std::variant<Ts...>& x) {
  return std::visit([f]<class T>(const T&) { return known_in<T>(f); }, x);
}

/// True for what replicas apply or keep: it is written by `encode_for` only.
template <class T>
inline constexpr bool follows_shard_format = false;

namespace detail {

struct any_fields {
  template <class... Ts>
  bool operator()(Ts&&...) {
    return true;
  }
};

template <class T>
inline constexpr auto gate_of = format_number::oldest;
template <std::uint32_t N, class T>
inline constexpr auto gate_of<gated<N, T>> = format_number{N};

/// From which formats on a struct's fields are written, in their order.
template <format_number... Gates>
struct gate_list {
  static constexpr bool rise() {
    [[maybe_unused]] auto last = format_number::oldest;
    return ((std::exchange(last, Gates) <= Gates) && ...);
  }
  static constexpr bool has_none() { return ((Gates == format_number::oldest) && ...); }
};
struct list_gates {
  template <class... Ts>
  gate_list<gate_of<std::remove_cvref_t<Ts>>...> operator()(Ts&&...) {
    return {};
  }
};
template <class T>
using gates_of = decltype(std::declval<T&>().fields(std::declval<list_gates&>()));
template <class T>
concept archived = requires(T& x, any_fields& f) {
  x.fields(f);
};

template <class T>
constexpr std::uint8_t version_of() {
  if constexpr (requires { T::format_version; })
    return T::format_version;
  else
    return 1;
}
template <class T>
constexpr nested nested_as() {
  if constexpr (requires { T::inside; })
    return T::inside;
  else
    return nested::frozen;
}

struct saver {
  writer& out;
  format_number format = format_number::all;

  template <class... Ts>
  bool operator()(const Ts&... xs) {
    (save(xs), ...);
    return true;
  }
  template <std::uint32_t N, class T>
  void save(const gated<N, T>& x) {
    if (format >= x.from)
      save(std::as_const(x.it));
  }
  template <plain_number T>
  void save(const T& x) {
    out.put(x);
  }
  void save(const std::string& x) { out.put(std::string_view{x}); }
  void save(const shared_bytes& x) { out.put(x.view()); }
  void save(const conversation_id& x) { out.put(x); }
  void save(const message_id& x) { out.put(x); }
  void save(const client_msg_id& x) { out.put(x); }
  void save(const body_hash& x) { out.put(x); }
  template <class T>
  void save(const std::vector<T>& xs) {
    if (xs.size() > list_items_max)
      throw cannot_encode{"a list has more items than any reader takes"};
    out.put(static_cast<std::uint32_t>(xs.size()));
    for (const auto& x : xs)
      save(x);
  }
  template <class T>
  void save(const std::optional<T>& x) {
    out.put(static_cast<std::uint8_t>(x.has_value()));
    if (x)
      save(*x);
  }
  template <class... Ts>
  void save(const std::variant<Ts...>& x) {
    if (!known_in(format, x))
      throw cannot_encode{"the shard's format does not have this kind"};
    out.put(static_cast<std::uint8_t>(x.index()));
    std::visit([this](const auto& v) { save_enveloped(v); }, x);
  }
  template <archived T>
  void save(const T& x) {
    if constexpr (nested_as<T>() == nested::frozen) {
      static_assert(gates_of<T>::has_none(), "a frozen struct gets no more fields");
      save_fields(x);
    } else {
      save_enveloped(x);
    }
  }
  template <archived T>
  void save_enveloped(const T& x) {
    static_assert(gates_of<T>::rise(), "fields are appended: numbers of `since` never fall");
    const auto start = out.open(version_of<T>());
    save_fields(x);
    out.close(start);
  }
  template <class T>
  void save_fields(const T& x) {
    const_cast<T&>(x).fields(*this); // `fields` serves both ways; saving never writes
  }
  template <class... Ts>
  void save_top(const std::variant<Ts...>& x) {
    save(x);
  }
  template <archived T>
  void save_top(const T& x) {
    save_enveloped(x);
  }
};

struct loader {
  reader& in;
  reading how;
  bool may_end_early = false; ///< between the fields of an envelope's struct
  format_fault why = format_fault::none;
  std::uint64_t skipped = 0;

  void fail(format_fault f) {
    if (why == format_fault::none)
      why = f;
  }
  bool good() const { return why == format_fault::none && in.ok(); }

  template <class... Ts>
  bool operator()(Ts&&... xs) {
    [[maybe_unused]] const bool shorter_is_good = std::exchange(may_end_early, false);
    ((shorter_is_good && in.rest().empty() ? void() : load(xs)), ...);
    return good();
  }
  template <std::uint32_t N, class T>
  void load(gated<N, T> x) {
    load(x.it);
  }
  template <plain_number T>
  void load(T& x) {
    x = in.get<T>();
  }
  void load(std::string& x) { x = in.get_bytes(); }
  void load(shared_bytes& x) { x = in.get_bytes(); }
  void load(conversation_id& x) { x = in.get_conversation(); }
  void load(message_id& x) { x = in.get_message_id(); }
  void load(client_msg_id& x) { x = in.get_client_msg_id(); }
  void load(body_hash& x) { x = in.get_hash(); }
  template <class T>
  void load(std::vector<T>& xs) {
    const auto n = in.get<std::uint32_t>();
    if (n > list_items_max)
      fail(format_fault::damaged);
    xs.clear();
    for (std::uint32_t i = 0; i < n && good(); ++i)
      load_item(xs);
  }
  template <class T>
  void load_item(std::vector<T>& xs) {
    load(xs.emplace_back());
    if constexpr (nested_as<T>() == nested::skippable)
      if (why == format_fault::newer && how == reading::known) {
        why = format_fault::none;
        xs.pop_back();
        ++skipped;
      }
  }
  template <class T>
  void load(std::optional<T>& x) {
    x.reset();
    const auto has = in.get<std::uint8_t>();
    if (has > 1)
      fail(format_fault::damaged);
    else if (has == 1)
      load(x.emplace());
  }
  template <class... Ts>
  void load(std::variant<Ts...>& x) {
    const auto kind = in.get<std::uint8_t>();
    const auto e = in.get_envelope();
    if (kind < sizeof...(Ts))
      load_alternative(x, kind, e, std::index_sequence_for<Ts...>{});
    else if (in.ok())
      fail(format_fault::newer);
  }
  template <class V, std::size_t... Is>
  void load_alternative(V& x, std::size_t kind, const reader::envelope& e, std::index_sequence<Is...>) {
    ((kind == Is ? load_enveloped(x.template emplace<Is>(), e) : void()), ...);
  }
  template <archived T>
  void load(T& x) {
    if constexpr (nested_as<T>() == nested::frozen)
      x.fields(*this);
    else
      load_enveloped(x, in.get_envelope());
  }
  template <archived T>
  void load_enveloped(T& x, const reader::envelope& e) {
    if (!in.ok())
      return;
    if (e.version > version_of<T>())
      return fail(format_fault::newer);
    reader body{e.body};
    loader inner{body, how, true};
    if (e.version == version_of<T>())
      x.fields(inner);
    else if (!load_earlier(x, e.version, inner))
      return fail(format_fault::damaged);
    skipped += inner.skipped;
    fail(inner.why); // before what follows from it: behind a kind that is not known, the rest is not read
    if (!body.ok())
      fail(format_fault::damaged);
    if (how == reading::whole && !body.rest().empty())
      fail(format_fault::newer);
  }
  template <class T>
  static bool load_earlier(T& x, std::uint8_t version, loader& inner) {
    if constexpr (requires { x.earlier(version, inner); }) {
      static_assert(version_of<T>() > 1, "there is no version before the first");
      return x.earlier(version, inner);
    } else {
      static_assert(version_of<T>() == 1, "`earlier` lists the fields of the versions before");
      return false;
    }
  }
  template <class... Ts>
  void load_top(std::variant<Ts...>& x) {
    load(x);
  }
  template <archived T>
  void load_top(T& x) {
    load_enveloped(x, in.get_envelope());
  }
};

template <class T>
decoded<T> decode(reader& in, reading how, std::uint64_t& skipped) {
  decoded<T> out;
  loader l{in, how};
  l.load_top(out.it.emplace());
  if (!in.ok())
    l.fail(format_fault::damaged);
  out.why = l.why;
  skipped = l.skipped;
  if (l.why != format_fault::none)
    out.it.reset();
  return out;
}
template <class T>
decoded<T> decode(std::string_view bytes, reading how, std::uint64_t& skipped) {
  reader in{bytes};
  auto out = decode<T>(in, how, skipped);
  if (out.it && !in.done())
    return {std::nullopt, format_fault::damaged};
  return out;
}

} // namespace detail

/// For what is answered, pushed, sent between nodes, or a node's own.
template <class T>
void encode(writer& out, const T& x) {
  static_assert(!follows_shard_format<T>, "what replicas apply or keep is encoded for the shard's format");
  detail::saver{out}.save_top(x);
}
template <class T>
std::string encode(const T& x) {
  writer out{64};
  encode(out, x);
  return std::move(out).bytes();
}

/// For what the replicas of a shard of format `f` apply or keep. Throws `cannot_encode`.
template <class T>
void encode_for(format_number f, writer& out, const T& x) {
  detail::saver{out, f}.save_top(x);
}
template <class T>
std::string encode_for(format_number f, const T& x) {
  writer out{64};
  encode_for(f, out, x);
  return std::move(out).bytes();
}

/// Reads one value from `in`, which may hold more. It fails if an item of a list would have to be left out.
template <class T>
decoded<T> decode(reader& in, reading how) {
  std::uint64_t skipped = 0;
  auto x = detail::decode<T>(in, how, skipped);
  if (skipped != 0)
    return {std::nullopt, format_fault::newer};
  return x;
}

/// For what is answered, pushed or sent between nodes: fields that are not known are skipped. `skipped` is
/// how many items of lists were left out because nothing of them is known: for the reader to count.
template <class T>
std::optional<T> decode(std::string_view bytes, std::uint64_t& skipped) {
  return detail::decode<T>(bytes, reading::known, skipped).it;
}
template <class T>
std::optional<T> decode(std::string_view bytes) {
  std::uint64_t skipped = 0;
  auto x = decode<T>(bytes, skipped);
  if (skipped != 0) // nobody would count them
    x.reset();
  return x;
}

/// For what is applied, or written back: everything in it has to be known.
template <class T>
decoded<T> decode_whole(std::string_view bytes) {
  std::uint64_t skipped = 0;
  return detail::decode<T>(bytes, reading::whole, skipped);
}

} // namespace parley::core
