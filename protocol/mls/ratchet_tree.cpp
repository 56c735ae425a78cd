#include "protocol/mls/ratchet_tree.hpp"

#include <algorithm>
#include <cassert>

namespace parley::mls {

namespace tree_parts {

namespace {

/// Returns each type once, however often a hostile list repeats it.
template <class T>
std::vector<T> distinct(std::vector<T> list) {
  std::ranges::sort(list);
  list.erase(std::ranges::unique(list).begin(), list.end());
  return list;
}

template <class T>
void count_up(std::map<T, std::uint32_t>& counts, const std::vector<T>& list) {
  for (const auto t : distinct(list))
    ++counts[t];
}

template <class T>
void count_down(std::map<T, std::uint32_t>& counts, const std::vector<T>& list) {
  for (const auto t : distinct(list)) {
    const auto i = counts.find(t);
    if (i != counts.end() && --i->second == 0)
      counts.erase(i);
  }
}

} // namespace

void member_counts::add(const leaf_node& leaf) {
  ++members;
  count_up(extensions, leaf.capabilities.extensions);
  count_up(proposals, leaf.capabilities.proposals);
  count_up(credentials, leaf.capabilities.credentials);
  ++credentials_in_use[leaf.credential.type];
}

void member_counts::take_away(const leaf_node& leaf) {
  --members;
  count_down(extensions, leaf.capabilities.extensions);
  count_down(proposals, leaf.capabilities.proposals);
  count_down(credentials, leaf.capabilities.credentials);
  count_down(credentials_in_use, {leaf.credential.type});
}

} // namespace tree_parts

std::vector<node_index> tree_changes::touched() const {
  std::vector<node_index> nodes;
  nodes.reserve(leaves_.size() + parents_.size());
  for (const auto& [i, slot] : leaves_)
    nodes.push_back(node_index{2 * i});
  for (const auto& [i, slot] : parents_)
    nodes.push_back(node_index{2 * i + 1});
  return nodes;
}

ratchet_tree::ratchet_tree() : leaves_(1) {}

// --- reading -----------------------------------------------------------------------------------------------

bool ratchet_tree::is_blank(node_index x) const {
  if (!contains(x))
    return true;
  return mls::is_leaf(x) ? leaves_[number(to_leaf(x))].encoded.empty() : !parents_[parent_number(x)].is_set;
}

leaf_node ratchet_tree::leaf(leaf_index i) const {
  auto v = whole<leaf_node>(leaves_[number(i)].encoded);
  assert(v); // only decoded leaves, or leaves encoded here, are stored
  return std::move(*v);
}

const public_key& ratchet_tree::encryption_key(node_index x) const {
  assert(!is_blank(x));
  return mls::is_leaf(x) ? leaves_[number(to_leaf(x))].encryption_key
                         : parents_[parent_number(x)].encryption_key;
}

std::span<const leaf_index> ratchet_tree::unmerged_leaves(node_index x) const {
  return mls::is_leaf(x) ? std::span<const leaf_index>{} : parents_[parent_number(x)].unmerged_leaves;
}

bytes_view ratchet_tree::parent_hash(node_index x) const {
  const auto& s = parents_[parent_number(x)];
  return s.has_parent_hash ? bytes_view{s.parent_hash} : bytes_view{};
}

void ratchet_tree::resolution(node_index x, std::vector<node_index>& out,
                              std::span<const leaf_index> without) const {
  const auto put_leaf = [&](leaf_index i) {
    if (!std::ranges::binary_search(without, i))
      out.push_back(to_node(i));
  };
  if (!is_blank(x)) {
    if (mls::is_leaf(x))
      return put_leaf(to_leaf(x));
    out.push_back(x);
    for (const auto i : unmerged_leaves(x))
      put_leaf(i);
  } else if (!mls::is_leaf(x)) {
    resolution(left(x), out, without);
    resolution(right(x), out, without);
  }
}

bool ratchet_tree::has_resolution(node_index x) const {
  if (!is_blank(x))
    return true;
  return !mls::is_leaf(x) && (has_resolution(left(x)) || has_resolution(right(x)));
}

std::vector<ratchet_tree::path_step> ratchet_tree::filtered_direct_path(leaf_index i) const {
  std::vector<path_step> path;
  for (auto x = to_node(i); x != root(); x = parent(x)) {
    if (const auto beside = sibling(x); has_resolution(beside))
      path.push_back({parent(x), beside});
  }
  return path;
}

std::optional<leaf_index> ratchet_tree::find_signature_key(const public_key& key) const {
  std::optional<leaf_index> found;
  signature_keys_.for_each(
      key, [this](std::uint32_t i) -> const public_key& { return leaves_[i].signature_key; },
      [&](std::uint32_t i) { found = leaf_index{i}; });
  return found;
}

std::optional<node_index> ratchet_tree::find_encryption_key(const public_key& key) const {
  std::optional<node_index> found;
  encryption_keys_.for_each(
      key, [this](std::uint32_t x) -> const public_key& { return encryption_key(node_index{x}); },
      [&](std::uint32_t x) { found = node_index{x}; });
  return found;
}

result<void> ratchet_tree::check_unique(leaf_index i) const {
  std::size_t members = 0;
  signature_keys_.for_each(
      signature_key(i), [this](std::uint32_t j) -> const public_key& { return leaves_[j].signature_key; },
      [&](std::uint32_t) { ++members; });
  if (members > 1)
    return refuse(rule::duplicate_signature_key);
  if (!check_unique(to_node(i)))
    return refuse(rule::duplicate_encryption_key);
  return {};
}

result<void> ratchet_tree::check_unique(node_index x) const {
  std::size_t nodes = 0;
  encryption_keys_.for_each(
      encryption_key(x),
      [this](std::uint32_t y) -> const public_key& { return encryption_key(node_index{y}); },
      [&](std::uint32_t) { ++nodes; });
  if (nodes > 1)
    return refuse(rule::duplicate_parent_key);
  return {};
}

namespace {
template <class T>
bool counted_by_all(const tree_parts::member_counts& counts, const std::map<T, std::uint32_t>& of, T t) {
  const auto i = of.find(t);
  return (i == of.end() ? 0 : i->second) == counts.members;
}
} // namespace

bool ratchet_tree::all_support(extension_type t) const {
  return is_default(t) || counted_by_all(counts_, counts_.extensions, t);
}
bool ratchet_tree::all_support(proposal_type t) const {
  return is_default(t) || counted_by_all(counts_, counts_.proposals, t);
}
bool ratchet_tree::all_support(credential_type t) const {
  return counted_by_all(counts_, counts_.credentials, t);
}

result<void> ratchet_tree::check_credential_types(const leaf_node& leaf) const {
  if (!leaf.capabilities.supports(leaf.credential.type))
    return refuse(rule::leaf_lacks_own_credential);
  if (!all_support(leaf.credential.type))
    return refuse(rule::credential_not_supported_by_all);
  for (const auto& [type, users] : counts_.credentials_in_use)
    if (!leaf.capabilities.supports(type))
      return refuse(rule::leaf_lacks_credential_in_use);
  return {};
}

// --- writing -----------------------------------------------------------------------------------------------

void ratchet_tree::index(const leaf_slot& s, std::uint32_t i) {
  if (s.encoded.empty())
    return;
  encryption_keys_.insert(s.encryption_key, 2 * i);
  signature_keys_.insert(s.signature_key, i);
  if (const auto v = whole<leaf_node>(s.encoded))
    counts_.add(*v);
}

void ratchet_tree::unindex(const leaf_slot& s, std::uint32_t i) {
  if (s.encoded.empty())
    return;
  encryption_keys_.erase(s.encryption_key, 2 * i);
  signature_keys_.erase(s.signature_key, i);
  if (const auto v = whole<leaf_node>(s.encoded))
    counts_.take_away(*v);
}

void ratchet_tree::index(const parent_slot& s, std::uint32_t i) {
  if (s.is_set)
    encryption_keys_.insert(s.encryption_key, 2 * i + 1);
}

void ratchet_tree::unindex(const parent_slot& s, std::uint32_t i) {
  if (s.is_set)
    encryption_keys_.erase(s.encryption_key, 2 * i + 1);
}

ratchet_tree::leaf_slot& ratchet_tree::touch_leaf(std::uint32_t i) {
  auto& s = leaves_[i];
  if (is_changing_ && !s.is_logged) {
    log_.leaves_.emplace_back(i, s);
    s.is_logged = true;
  }
  if (!is_changing_)
    ++version_;
  return s;
}

ratchet_tree::parent_slot& ratchet_tree::touch_parent(std::uint32_t i) {
  auto& s = parents_[i];
  if (is_changing_ && !s.is_logged) {
    log_.parents_.emplace_back(i, s);
    s.is_logged = true;
  }
  if (!is_changing_)
    ++version_;
  return s;
}

void ratchet_tree::forget_hashes_above(node_index x) {
  while (x != root()) {
    x = parent(x);
    const auto i = parent_number(x);
    // If the node is saved and has no hash, this change has already been here and invalidated all hashes up
    // to the root. So a group that adds a thousand members in one commit walks each path once.
    if (is_changing_ && parents_[i].is_logged && !parents_[i].has_hash)
      return;
    touch_parent(i).has_hash = false;
  }
}

void ratchet_tree::write_leaf(std::uint32_t i, leaf_slot fresh) {
  auto& s = touch_leaf(i);
  unindex(s, i);
  fresh.is_logged = s.is_logged;
  s = std::move(fresh);
  index(s, i);
  if (s.encoded.empty())
    maybe_blank_from_ = std::min(maybe_blank_from_, i);
  forget_hashes_above(node_index{2 * i});
}

void ratchet_tree::make_blank(node_index x) {
  if (mls::is_leaf(x))
    return write_leaf(number(to_leaf(x)), {});
  const auto i = parent_number(x);
  auto& s = touch_parent(i);
  unindex(s, i);
  const bool is_logged = s.is_logged;
  s = {};
  s.is_logged = is_logged;
  forget_hashes_above(x);
}

ratchet_tree::leaf_slot ratchet_tree::slot_of(const leaf_node& leaf) {
  leaf_slot s;
  s.encryption_key = leaf.encryption_key;
  s.signature_key = leaf.signature_key;
  s.source = leaf.source;
  s.encoded = mls::encoded(leaf);
  return s;
}

void ratchet_tree::set_leaf(leaf_index i, const leaf_node& leaf) {
  write_leaf(number(i), slot_of(leaf));
}

void ratchet_tree::set_parent(node_index x, parent_node v) {
  assert(v.parent_hash.empty() || v.parent_hash.size() == hash_bytes);
  const auto i = parent_number(x);
  auto& s = touch_parent(i);
  unindex(s, i);
  s.encryption_key = v.encryption_key;
  s.has_parent_hash = !v.parent_hash.empty();
  std::ranges::copy(v.parent_hash, s.parent_hash.begin());
  s.unmerged_leaves = std::move(v.unmerged_leaves);
  s.is_set = true;
  s.has_hash = false;
  index(s, i);
  forget_hashes_above(x);
}

void ratchet_tree::blank_direct_path(leaf_index i) {
  for (auto x = to_node(i); x != root();) {
    x = parent(x);
    if (!is_blank(x))
      make_blank(x);
  }
}

result<leaf_index> ratchet_tree::leaf_for_joiner() {
  while (maybe_blank_from_ < leaf_count() && !leaves_[maybe_blank_from_].encoded.empty())
    ++maybe_blank_from_;
  if (maybe_blank_from_ == leaf_count()) {
    if (leaf_count() >= leaf_count_max)
      return refuse(rule::tree_too_large);
    resize(2 * leaf_count());
  }
  return leaf_index{maybe_blank_from_};
}

result<leaf_index> ratchet_tree::add(const leaf_node& leaf) {
  const auto i = leaf_for_joiner();
  if (!i)
    return i;
  for (auto x = to_node(*i); x != root();) {
    x = parent(x);
    if (is_blank(x))
      continue;
    auto& unmerged = touch_parent(parent_number(x)).unmerged_leaves;
    unmerged.insert(std::ranges::lower_bound(unmerged, *i), *i);
  }
  set_leaf(*i, leaf);
  return i;
}

result<void> ratchet_tree::update(leaf_index i, const leaf_node& leaf) {
  if (!is_member(i))
    return refuse(rule::no_such_leaf);
  set_leaf(i, leaf);
  blank_direct_path(i);
  return {};
}

result<void> ratchet_tree::remove(leaf_index i) {
  if (!is_member(i))
    return refuse(rule::no_such_leaf);
  make_blank(to_node(i));
  blank_direct_path(i);
  if (number(i) >= leaf_count() / 2)
    truncate();
  return {};
}

void ratchet_tree::resize(std::uint32_t n) {
  leaves_.resize(n);
  parents_.resize(n - 1);
  maybe_blank_from_ = std::min(maybe_blank_from_, n);
  // A node that was saved, truncated and created again must not be saved twice: the second save would
  // record what the change itself had written.
  for (const auto& [i, slot] : log_.leaves_)
    if (is_changing_ && i < n)
      leaves_[i].is_logged = true;
  for (const auto& [i, slot] : log_.parents_)
    if (is_changing_ && i < n - 1)
      parents_[i].is_logged = true;
}

void ratchet_tree::truncate() {
  while (leaf_count() > 1) {
    const auto half = leaf_count() / 2;
    const auto is_blank_leaf = [](const leaf_slot& s) { return s.encoded.empty(); };
    if (!std::all_of(leaves_.begin() + half, leaves_.end(), is_blank_leaf))
      return;
    for (auto i = half - 1; i < parents_.size(); ++i)
      if (parents_[i].is_set)
        make_blank(node_index{2 * i + 1});
    resize(half);
  }
}

// --- changes -----------------------------------------------------------------------------------------------

void ratchet_tree::begin() {
  assert(!is_changing_);
  log_ = {};
  log_.leaf_count_ = leaf_count();
  log_.version_ = version_;
  is_changing_ = true;
}

void ratchet_tree::close_log() {
  assert(is_changing_);
  is_changing_ = false;
  for (const auto& [i, slot] : log_.leaves_)
    if (i < leaves_.size())
      leaves_[i].is_logged = false;
  for (const auto& [i, slot] : log_.parents_)
    if (i < parents_.size())
      parents_[i].is_logged = false;
}

void ratchet_tree::exchange(tree_changes& other) {
  const auto here = leaf_count();
  const auto there = other.leaf_count_;
  resize(std::max(here, there));
  for (auto& [i, slot] : other.leaves_) {
    if (i >= leaf_count())
      continue; // created and removed within the change
    unindex(leaves_[i], i);
    std::swap(leaves_[i], slot);
    index(leaves_[i], i);
  }
  for (auto& [i, slot] : other.parents_) {
    if (i >= parents_.size())
      continue;
    unindex(parents_[i], i);
    std::swap(parents_[i], slot);
    index(parents_[i], i);
  }
  resize(there);
  other.leaf_count_ = here;
  maybe_blank_from_ = 0;
}

std::vector<node_index> ratchet_tree::keep() {
  close_log();
  ++version_;
  auto touched = log_.touched();
  log_ = {};
  return touched;
}

void ratchet_tree::roll_back() {
  close_log();
  exchange(log_);
  log_ = {};
}

tree_changes ratchet_tree::take() {
  close_log();
  exchange(log_);
  return std::exchange(log_, {});
}

std::vector<node_index> ratchet_tree::apply(tree_changes changes) {
  assert(!is_changing_ && fits(changes));
  exchange(changes);
  ++version_;
  return changes.touched();
}

} // namespace parley::mls
