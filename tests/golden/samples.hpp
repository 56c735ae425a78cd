#pragma once
// Samples of stored and sent structs: every field has a value of its own, so that two fields that change
// places, or one that is left out, change the bytes.
#include "actors/core/archive.hpp"

#include <string>
#include <string_view>

namespace parley::test {

/// Fills a struct through its `fields`: numbers count up from 1, lists have two items, variants hold their
/// second kind (the first one's contents are samples of their own).
class filler {
public:
  template <class... Ts>
  bool operator()(Ts&&... xs) {
    (fill(xs), ...);
    return true;
  }
  template <std::uint32_t N, class T>
  void fill(core::gated<N, T> x) {
    fill(x.it);
  }
  template <plain_number T>
  void fill(T& x) {
    x = static_cast<T>(++last_);
  }
  void fill(std::string& x) { x = "text " + std::to_string(++last_); }
  void fill(shared_bytes& x) { x = "text " + std::to_string(++last_); }
  void fill(conversation_id& x) { fill(x.hi), fill(x.lo); }
  void fill(message_id& x) { fill(x.hi), fill(x.lo); }
  void fill(client_msg_id& x) { fill(x.device), fill(x.counter); }
  void fill(body_hash& x) {
    for (auto& byte : x)
      fill(byte);
  }
  template <class T>
  void fill(std::vector<T>& xs) {
    xs.resize(2);
    for (auto& x : xs)
      fill(x);
  }
  template <class T>
  void fill(std::optional<T>& x) {
    fill(x.emplace());
  }
  template <class... Ts>
  void fill(std::variant<Ts...>& x) {
    fill(x.template emplace<1>());
  }
  template <core::detail::archived T>
  void fill(T& x) {
    x.fields(*this);
  }

private:
  std::uint64_t last_ = 0;
};

/// A struct's name without namespaces; of a struct that answers a call, the call's.
template <class T>
std::string name_of() {
  std::string_view all{__PRETTY_FUNCTION__};
  all = all.substr(all.find("T = ") + 4);
  all = all.substr(0, all.find_first_of(";]"));
  while (all.ends_with('>'))
    all.remove_suffix(1);
  return std::string{all.substr(all.rfind(':') + 1)};
}

/// Counts a struct's fields, or writes the first few of them: an older version of it.
struct field_counter {
  std::size_t fields = 0;
  template <class... Ts>
  bool operator()(Ts&&...) {
    fields = sizeof...(Ts);
    return true;
  }
};
struct older_version {
  writer& out;
  std::size_t fields;
  template <class... Ts>
  bool operator()(Ts&&... xs) {
    std::size_t i = 0;
    ((i++ < fields ? core::detail::saver{out}.save(std::as_const(xs)) : void()), ...);
    return true;
  }
};

std::string to_hex(std::string_view bytes);
std::optional<std::string> from_hex(std::string_view text);

} // namespace parley::test
