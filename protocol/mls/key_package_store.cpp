#include "protocol/mls/key_package_store.hpp"

#include <algorithm>

namespace parley::mls {
namespace {

constexpr std::uint16_t package_format = 1;
constexpr std::string_view prefix = "k/";

std::string name_of(bytes_view ref) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out{prefix};
  for (const auto b : ref) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

/// Compares the package with its name and the keys with the package, so that no part of it can be
/// damaged without being detected.
result<own_key_package> decoded(std::string_view name, bytes_view in) {
  decoder d{in};
  const auto found = d.get<std::uint16_t>();
  const auto text = d.opaque_view();
  auto init = hpke_key_from_private(d.raw(hash_bytes));
  auto leaf = hpke_key_from_private(d.raw(hash_bytes));
  auto package = whole<key_package>(text);
  if (!d.done() || found != package_format || !package || !init || !leaf ||
      name_of(key_package_ref_of_encoded(text)) != name || !equal(init->public_key, package->init_key) ||
      !equal(leaf->public_key, package->leaf_node.encryption_key))
    return refuse(rule::state_damaged);
  return own_key_package{std::move(*package), std::move(*init), std::move(*leaf)};
}

result<std::optional<own_key_package>> read(const std::string& name, const part_store& from) {
  const auto value = from.get(name);
  if (!value)
    return tl::unexpected(value.error());
  if (!*value)
    return std::nullopt;
  auto package = decoded(name, (*value)->view());
  if (!package)
    return tl::unexpected(package.error());
  return std::optional{std::move(*package)};
}

} // namespace

result<void> key_package_store::save(const own_key_package& package, part_store& to) {
  encoder e{encoder::of_secrets{}};
  e.put(package_format).opaque(encoded(package.package));
  e.raw(package.init_key.private_key.view()).raw(package.leaf_key.private_key.view());
  return to.put(name_of(key_package_ref(package.package)), take_secret(std::move(e)).view());
}

result<std::optional<own_key_package>> key_package_store::find(bytes_view message, const part_store& from) {
  const auto read_one = read_message(message, mls_limits{});
  if (!read_one)
    return tl::unexpected(read_one.error());
  const auto* w = read_one->as<welcome>();
  if (!w)
    return refuse(rule::unexpected_message);
  // A hostile Welcome may list very many packages. The few packages stored here are read once and
  // compared with the list.
  const auto names = from.names(prefix);
  if (!names)
    return tl::unexpected(names.error());
  for (const auto& s : w->secrets)
    if (const auto at = std::ranges::find(*names, name_of(s.new_member)); at != names->end())
      return read(*at, from);
  return std::nullopt;
}

result<std::vector<own_key_package>> key_package_store::all(const part_store& from) {
  const auto names = from.names(prefix);
  if (!names)
    return tl::unexpected(names.error());
  std::vector<own_key_package> out;
  for (const auto& n : *names) {
    auto package = read(n, from);
    if (!package)
      return tl::unexpected(package.error());
    if (*package)
      out.push_back(std::move(**package));
  }
  return out;
}

result<void> key_package_store::erase(const own_key_package& package, part_store& from) {
  return from.erase(name_of(key_package_ref(package.package)));
}

} // namespace parley::mls
