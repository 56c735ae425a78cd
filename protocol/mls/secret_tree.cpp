#include "protocol/mls/secret_tree.hpp"
#include "protocol/mls/codec.hpp"
#include "protocol/mls/key_schedule.hpp"

#include <algorithm>
#include <bit>
#include <limits>

namespace parley::mls {

namespace {

using part = secret_tree_part;
constexpr auto generation_max = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t message_key_bytes = 4 + key_bytes + nonce_bytes;
constexpr std::uint32_t ratchets_per_page = 16;

message_key derive_key(bytes_view ratchet_secret, std::uint32_t generation) {
  return {generation,
          secret_array<key_bytes>{derive_tree_secret(ratchet_secret, "key", generation, key_bytes)},
          secret_array<nonce_bytes>{derive_tree_secret(ratchet_secret, "nonce", generation, nonce_bytes)}};
}

secret_array<hash_bytes> derive_next(bytes_view ratchet_secret, std::uint32_t generation) {
  return secret_array<hash_bytes>{derive_tree_secret(ratchet_secret, "secret", generation, hash_bytes)};
}

std::uint32_t ratchet_index(leaf_index leaf, ratchet_kind kind) {
  return 2 * number(leaf) + static_cast<std::uint32_t>(kind);
}

/// The parent one level up (appendix C); `level` is the level of `node`.
std::uint32_t parent_of(std::uint32_t node, unsigned level) {
  return (node | 1u << level) & ~(2u << level);
}

/// The largest tree that 32 bits can number. The ratchet tree has its own limit, which is far lower.
std::uint32_t full_width(std::uint32_t leaf_count) {
  return std::bit_ceil(std::clamp<std::uint32_t>(leaf_count, 1, 1u << 30));
}

} // namespace

secret_tree::secret_tree(std::uint32_t leaf_count, const mls_limits& limits)
    : leaf_count_{full_width(leaf_count)}, limits_{limits} {}

secret_tree::secret_tree(secret encryption_secret, std::uint32_t leaf_count, const mls_limits& limits)
    : secret_tree{leaf_count, limits} {
  const auto root = leaf_count_ - 1;
  nodes_.emplace(root, secret_array<hash_bytes>{encryption_secret});
  changed(part::what::node, root);
}

secret_tree secret_tree::restored(std::uint32_t leaf_count, const mls_limits& limits) {
  return secret_tree{leaf_count, limits};
}

result<message_key> secret_tree::next(leaf_index leaf, ratchet_kind kind) {
  const auto found = ratchet_of(leaf, kind);
  if (!found)
    return tl::unexpected(found.error());
  auto& r = **found;
  if (r.generation == generation_max)
    return refuse(rule::generations_exhausted);
  auto key = derive_key(r.secret.view(), r.generation);
  r.secret = derive_next(r.secret.view(), r.generation);
  ++r.generation;
  changed(part::what::ratchet, ratchet_index(leaf, kind));
  return key;
}

result<pending_key> secret_tree::find(leaf_index leaf, ratchet_kind kind, std::uint32_t generation) {
  const auto found = ratchet_of(leaf, kind);
  if (!found)
    return tl::unexpected(found.error());
  const auto& r = **found;
  pending_key out{.leaf = leaf, .kind = kind};
  if (generation < r.generation) {
    const auto of_ratchet = skipped_.find(ratchet_index(leaf, kind));
    if (of_ratchet == skipped_.end())
      return refuse(rule::generation_used);
    const auto kept = std::ranges::find(of_ratchet->second, generation, &message_key::generation);
    if (kept == of_ratchet->second.end())
      return refuse(rule::generation_used);
    out.key = {generation, secret_array<key_bytes>{kept->key.view()},
               secret_array<nonce_bytes>{kept->nonce.view()}};
    return out;
  }
  if (generation == generation_max)
    return refuse(rule::generations_exhausted);
  if (generation - r.generation > limits_.generation_jump_max)
    return refuse(rule::generation_too_far);
  secret_array<hash_bytes> at{r.secret.view()};
  for (auto g = r.generation; g < generation; ++g) {
    if (generation - g <= limits_.skipped_keys_max)
      out.jumped_over.push_back(derive_key(at.view(), g));
    at = derive_next(at.view(), g);
  }
  out.key = derive_key(at.view(), generation);
  out.next_secret = derive_next(at.view(), generation);
  return out;
}

void secret_tree::consume(pending_key&& used) {
  const auto index = ratchet_index(used.leaf, used.kind);
  auto* const r = find_ratchet(index);
  if (!r)
    return;
  if (used.next_secret && used.key.generation >= r->generation) {
    // The ratchet may have advanced since the lookup: the keys that it passed are used, or already kept.
    std::erase_if(used.jumped_over, [&](const auto& k) { return k.generation < r->generation; });
    r->secret = std::move(*used.next_secret);
    r->generation = used.key.generation + 1;
    if (!used.jumped_over.empty()) {
      auto& kept = skipped_[index];
      std::ranges::move(used.jumped_over, std::back_inserter(kept));
      if (kept.size() > limits_.skipped_keys_max)
        kept.erase(kept.begin(), kept.end() - static_cast<std::ptrdiff_t>(limits_.skipped_keys_max));
    }
  } else if (const auto kept = skipped_.find(index); kept != skipped_.end()) {
    std::erase_if(kept->second, [&](const auto& k) { return k.generation == used.key.generation; });
    if (kept->second.empty())
      skipped_.erase(kept);
  }
  changed(part::what::ratchet, index);
}

const secret_tree::ratchet* secret_tree::find_ratchet(std::uint32_t index) const {
  const auto page = pages_.find(index / ratchets_per_page);
  const auto place = index % ratchets_per_page;
  return page != pages_.end() && (page->second.there >> place & 1) ? &page->second.ratchets[place] : nullptr;
}

secret_tree::ratchet* secret_tree::find_ratchet(std::uint32_t index) {
  return const_cast<ratchet*>(std::as_const(*this).find_ratchet(index));
}

secret_tree::ratchet& secret_tree::make_ratchet(std::uint32_t index) {
  auto& page = pages_[index / ratchets_per_page];
  const auto place = index % ratchets_per_page;
  ratchet_count_ += (page.there >> place & 1) == 0;
  page.there = static_cast<std::uint16_t>(page.there | 1u << place);
  return page.ratchets[place];
}

result<secret_tree::ratchet*> secret_tree::ratchet_of(leaf_index leaf, ratchet_kind kind) {
  if (number(leaf) >= leaf_count_)
    return refuse(rule::leaf_outside_secret_tree);
  const auto index = ratchet_index(leaf, kind);
  if (auto* const r = find_ratchet(index))
    return r;
  const auto node = 2 * number(leaf);
  if (!split_down_to(node))
    return refuse(rule::leaf_outside_secret_tree);
  const auto at = nodes_.find(node);
  for (const auto& [k, label] : {std::pair{ratchet_kind::handshake, "handshake"},
                                 std::pair{ratchet_kind::application, "application"}}) {
    const auto i = ratchet_index(leaf, k);
    make_ratchet(i).secret =
        secret_array<hash_bytes>{expand_with_label(at->second.view(), label, {}, hash_bytes)};
    changed(part::what::ratchet, i);
  }
  nodes_.erase(at);
  changed(part::what::node, node);
  return find_ratchet(index);
}

/// Starts at the nearest node above the leaf that still exists and replaces each node on the way by its
/// children. Returns false if there is no such node, which happens only if not all parts were restored.
bool secret_tree::split_down_to(std::uint32_t leaf_node) {
  auto node = leaf_node;
  unsigned level = 0;
  const auto root = leaf_count_ - 1;
  while (!nodes_.contains(node)) {
    if (node == root)
      return false;
    node = parent_of(node, level++);
  }
  while (node != leaf_node) {
    const auto at = nodes_.find(node);
    const auto half = 1u << --level;
    for (const auto& [child, side] : {std::pair{node - half, "left"}, std::pair{node + half, "right"}}) {
      nodes_.insert_or_assign(child, secret_array<hash_bytes>{expand_with_label(at->second.view(), "tree",
                                                                                view_of(side), hash_bytes)});
      changed(part::what::node, child);
    }
    nodes_.erase(at);
    changed(part::what::node, node);
    node = leaf_node < node ? node - half : node + half;
  }
  return true;
}

void secret_tree::changed(part::what what, std::uint32_t index) {
  changes_.insert({what, index});
}

std::vector<secret_tree_part> secret_tree::take_changes() {
  const auto taken = std::exchange(changes_, {});
  return {taken.begin(), taken.end()};
}

std::optional<secret> secret_tree::saved(const secret_tree_part& p) const {
  if (p.is == part::what::node) {
    const auto at = nodes_.find(p.index);
    return at == nodes_.end() ? std::nullopt : std::optional{secret{at->second.view()}};
  }
  const auto* const r = find_ratchet(p.index);
  if (!r)
    return std::nullopt;
  const auto kept = skipped_.find(p.index);
  const auto keys = kept == skipped_.end() ? std::span<const message_key>{} : std::span{kept->second};
  encoder e{encoder::of_secrets{}};
  e.reserve(4 + hash_bytes + keys.size() * message_key_bytes);
  e.put(r->generation).raw(r->secret.view());
  for (const auto& k : keys)
    e.put(k.generation).raw(k.key.view()).raw(k.nonce.view());
  return take_secret(std::move(e));
}

/// Replaces a part that was restored before.
result<void> secret_tree::restore(const secret_tree_part& p, bytes_view in) {
  if (p.is == part::what::node) {
    if (in.size() != hash_bytes || p.index >= 2 * leaf_count_ - 1)
      return refuse(rule::malformed);
    nodes_.insert_or_assign(p.index, secret_array<hash_bytes>{in});
    return {};
  }
  decoder d{in};
  ratchet r;
  r.generation = d.get<std::uint32_t>();
  const auto at = d.raw(hash_bytes);
  if (!d.ok() || d.rest().size() % message_key_bytes != 0 || p.index >= 2 * leaf_count_)
    return refuse(rule::malformed);
  r.secret = secret_array<hash_bytes>{at};
  std::vector<message_key> kept;
  while (!d.rest().empty()) {
    message_key k;
    k.generation = d.get<std::uint32_t>();
    k.key = secret_array<key_bytes>{d.raw(key_bytes)};
    k.nonce = secret_array<nonce_bytes>{d.raw(nonce_bytes)};
    if (k.generation >= r.generation || (!kept.empty() && kept.back().generation >= k.generation))
      return refuse(rule::malformed);
    kept.push_back(std::move(k));
  }
  make_ratchet(p.index) = std::move(r);
  skipped_.erase(p.index);
  if (!kept.empty())
    skipped_.emplace(p.index, std::move(kept));
  return {};
}

} // namespace parley::mls
