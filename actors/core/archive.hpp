#pragma once
// Turns the plain structs of core into bytes and back. A struct takes part by listing its fields once:
//
//   template <class F> auto fields(F&& f) { return f(a, b, c); }
//
// Order and types of the fields are the format: append, never reorder. Reading is strict: trailing or missing
// bytes, a list above its bound or an unknown alternative make `decode` fail.
#include "protocol/values/codec.hpp"
#include "protocol/values/shared_bytes.hpp"

#include <optional>
#include <variant>
#include <vector>

namespace parley::core {

inline constexpr std::size_t list_items_max = 1 << 16;

namespace detail {

template <class T>
concept plain = std::is_integral_v<T> || std::is_enum_v<T>;

struct saver {
  writer& out;

  template <class... Ts>
  bool operator()(const Ts&... xs) {
    (save(xs), ...);
    return true;
  }
  template <plain T>
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
    out.put(static_cast<std::uint8_t>(x.index()));
    std::visit([this](const auto& v) { save(v); }, x);
  }
  template <class T>
  requires requires(T& x, saver& s) { x.fields(s); }
  void save(const T& x) {
    const_cast<T&>(x).fields(*this); // `fields` serves both ways; saving never writes
  }
};

struct loader {
  reader& in;
  bool good = true;

  template <class... Ts>
  bool operator()(Ts&... xs) {
    (load(xs), ...);
    return good;
  }
  template <plain T>
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
      good = false;
    xs.clear();
    for (std::uint32_t i = 0; i < n && good && in.ok(); ++i)
      load(xs.emplace_back());
  }
  template <class T>
  void load(std::optional<T>& x) {
    x.reset();
    if (in.get<std::uint8_t>() != 0)
      load(x.emplace());
  }
  template <class... Ts>
  void load(std::variant<Ts...>& x) {
    load_alternative(x, in.get<std::uint8_t>(), std::index_sequence_for<Ts...>{});
  }
  template <class V, std::size_t... Is>
  void load_alternative(V& x, std::size_t which, std::index_sequence<Is...>) {
    if (((which == Is ? (load(x.template emplace<Is>()), true) : false) || ...) == false)
      good = false;
  }
  template <class T>
  requires requires(T& x, loader& l) { x.fields(l); }
  void load(T& x) { x.fields(*this); }
};

} // namespace detail

template <class T>
void encode(writer& out, const T& x) {
  detail::saver{out}.save(x);
}
template <class T>
std::string encode(const T& x) {
  writer out;
  encode(out, x);
  return std::move(out).bytes();
}
/// Reads one value from `in`, which may hold more.
template <class T>
std::optional<T> decode(reader& in) {
  T x{};
  detail::loader l{in};
  l.load(x);
  if (!l.good || !in.ok())
    return std::nullopt;
  return x;
}
/// Reads one value that fills `bytes`.
template <class T>
std::optional<T> decode(std::string_view bytes) {
  reader in{bytes};
  auto x = decode<T>(in);
  return x && in.done() ? std::move(x) : std::nullopt;
}

} // namespace parley::core
