#pragma once
// Changes a structure in one place: a field, an item of a list, or a part taken from another structure.
// Changing bytes alone would nearly always break a length.
#include "tests/protocol/mls/fuzz/forge.hpp"

#include <random>

namespace parley::mls::fuzz {

/// Collects the places where a structure can be changed, then changes one of them.
class mutation {
public:
  mutation(std::uint32_t seed, byte_mutator mutate_bytes) : random_{seed}, mutate_bytes_{mutate_bytes} {}

  void visit(framed_content& v);
  void visit(proposal& v);
  void visit(proposal_or_ref& v);
  void visit(commit& v);
  void visit(update_path& v);
  void visit(update_path_node& v);
  void visit(hpke_ciphertext& v);
  void visit(leaf_node& v);
  void visit(key_package& v);
  void visit(capabilities& v);
  void visit(credential& v);
  void visit(extension& v);
  void visit(pre_shared_key_id& v);
  void visit(group_context& v);
  void visit(group_info& v);
  void visit(group_secrets& v);
  void visit(encrypted_group_secrets& v);
  void visit(welcome& v);
  void visit(mls_message& v);
  void visit(order& v);
  void visit(bytes& v) { blob(v); }
  void visit(leaf_index& v) { number(v); }
  template <class T>
  requires std::is_enum_v<T> || std::unsigned_integral<T>
  void visit(T& v) { number(v); }

  void change_one() {
    if (!places_.empty())
      places_[below(places_.size())]();
  }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }

private:
  void blob(bytes& v);
  void key(public_key& v);
  template <class T>
  void number(T& v) {
    places_.push_back([this, &v] {
      const auto u = static_cast<std::uint64_t>(v);
      const std::uint64_t choices[]{
          u + 1, u - 1, u ^ 1, 0, ~0ull, below(16), u ^ 1ull << below(8 * sizeof(T))};
      v = static_cast<T>(choices[below(std::size(choices))]);
    });
  }
  template <class T>
  void list(std::vector<T>& v) {
    for (auto& item : v)
      visit(item);
    if (v.empty())
      return;
    places_.push_back([this, &v] { v.erase(v.begin() + static_cast<std::ptrdiff_t>(below(v.size()))); });
    places_.push_back([this, &v] { v.push_back(v[below(v.size())]); });
    places_.push_back([this, &v] { std::swap(v[below(v.size())], v[below(v.size())]); });
  }
  proposal any_proposal();

  std::mt19937 random_;
  byte_mutator mutate_bytes_;
  std::vector<std::function<void()>> places_;
};

/// Decodes a T, changes it and encodes it again; an empty optional means that the bytes do not decode.
template <class T>
std::optional<bytes> changed(bytes_view in, std::uint32_t seed, byte_mutator mutate_bytes) {
  auto v = whole<T>(in);
  if (!v)
    return std::nullopt;
  for (auto n = 1 + seed % 3; n > 0; --n) {
    mutation once{seed + n, mutate_bytes};
    once.visit(*v);
    once.change_one();
  }
  return encoded(*v);
}

} // namespace parley::mls::fuzz
