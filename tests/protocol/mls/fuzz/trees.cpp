// Ratchet trees as they come with a Welcome or a GroupInfo, changes as they are stored, and what
// commits do to a tree that was read.
//
// Input: the choice of a check, the number of bytes of work, the work, the tree.
#include "tests/protocol/mls/fuzz/fuzz.hpp"
#include "tests/protocol/mls/fuzz/reader.hpp"
#include "tests/protocol/mls/fuzz/scenario.hpp"

#include "protocol/mls/tree_validation.hpp"

namespace parley::mls::fuzz {
namespace {

auto leads_to(bytes_view tree_hash) {
  return [=](const ratchet_tree& tree) { return equal(tree.tree_hash(), tree_hash); };
}

/// A blank node is one byte in the input, and half a leaf and half a parent in memory.
constexpr std::size_t bytes_per_byte = 1024, bytes_at_least = 64 * 1024;

void check_hashes(const ratchet_tree& tree) {
  // Computed from the nodes alone, without the cached hashes.
  auto copy = taken(ratchet_tree::blank(tree.leaf_count()), "a blank tree");
  for (std::uint32_t x = 0; x < node_count(tree.leaf_count()); ++x)
    taken(copy.put_encoded_node(node_index{x}, tree.encoded_node(node_index{x})), "a node of the tree");
  law(copy.tree_hash() == tree.tree_hash(), "a tree of the same nodes has the same hash");
  law(copy.encoded() == tree.encoded(), "a tree of the same nodes has the same bytes");
}

key_package somebody_new(std::uint8_t n) {
  const outside w{n};
  const auto& people = recorded().people;
  return make_key_package(people[n % people.size()].who, {now - day, now + day}, w.random).package;
}

/// Applies what a commit or a proposal would do, whether it succeeds or not.
void change(ratchet_tree& tree, reader& work) {
  const leaf_index i{static_cast<std::uint32_t>(work.below(tree.leaf_count() + 1))};
  switch (work.below(6)) {
  case 0:
    (void)tree.add(somebody_new(work.u8()).leaf_node);
    break;
  case 1:
    (void)tree.update(i, somebody_new(work.u8()).leaf_node);
    break;
  case 2:
    (void)tree.remove(i);
    break;
  case 3:
    (void)tree.leaf_for_joiner();
    break;
  case 4: {
    if (!tree.is_member(i))
      break;
    const outside w{work.u8()};
    private_tree keys;
    keys.self = i;
    (void)start_path(tree, i, tree.leaf(i), recorded().people.front().who.signer, {}, keys, w.random);
    break;
  }
  case 5:
    if (tree.is_member(i))
      tree.blank_direct_path(i);
    break;
  }
}

/// Rolling back restores the tree, and taking followed by applying is the same as keeping.
void work_on(ratchet_tree& tree, reader work) {
  const auto before = tree.encoded();
  const auto hash = tree.tree_hash();
  tree.begin();
  for (int n = 0; n < 8 && !work.empty(); ++n)
    change(tree, work);
  const auto after = tree.encoded();
  const auto after_hash = tree.tree_hash();
  check_hashes(tree);
  auto changes = tree.take();
  law(tree.encoded() == before && tree.tree_hash() == hash, "a tree goes back to what it was");
  check_hashes(tree);
  const auto written = tree.encoded_changes(changes);
  auto read = taken(tree.decoded_changes(written, leads_to(after_hash)), "changes that were written");
  law(tree.encoded() == before && tree.tree_hash() == hash, "reading changes leaves the tree");
  (void)tree.apply(std::move(read));
  law(tree.encoded() == after && tree.tree_hash() == after_hash, "changes that were read are those made");
}

void read_tree(bytes_view in, reader work) {
  const auto begun = allocated_bytes;
  auto tree = ratchet_tree::decoded(in);
  law(allocated_bytes - begun <= bytes_at_least + bytes_per_byte * in.size(),
      "memory is bounded by the size of the tree");
  if (!tree)
    return;
  law(equal(tree->encoded(), in), "a tree encodes to the same bytes");
  check_hashes(*tree);
  const bool listed = check_unmerged_leaves(*tree).has_value();
  const bool unique = check_unique_keys(*tree).has_value();
  const bool chained = listed && check_parent_hashes(*tree).has_value();
  const outside w{1};
  const tree_rules rules{.group_id = view_of("group"), .now = now};
  const bool good = check_tree(*tree, rules, w.policy).has_value();
  law(!good || (listed && unique && chained), "a good tree is good in each part");
  if (verify_leaf_signatures(*tree, rules.group_id))
    for (std::uint32_t i = 0; i < tree->leaf_count(); ++i)
      law(!tree->is_member(leaf_index{i}) ||
              verify_signature(tree->leaf(leaf_index{i}), {rules.group_id, leaf_index{i}}),
          "leaves are signed one by one");
  if (listed && unique && tree->leaf_count() <= 256)
    work_on(*tree, work);
}

/// Changes as a damaged store might contain them, for the tree of the scenario.
void read_changes(bytes_view in) {
  static const auto encoded_tree = [] {
    const auto info = taken(read_message(recorded().steps.back().group_info), "the group info");
    return *find_extension(info.as<group_info>()->extensions, extension_type::ratchet_tree);
  }();
  auto tree = taken(ratchet_tree::decoded(encoded_tree), "the tree of the scenario");
  if (in.size() < hash_bytes)
    return;
  const auto begun = allocated_bytes;
  auto changes = tree.decoded_changes(in.subspan(hash_bytes), leads_to(in.first(hash_bytes)));
  // The changes contain the size of the tree as a number, so this much may be allocated in any case.
  law(allocated_bytes - begun <= 64 * 1024 * 1024 + bytes_per_byte * in.size(),
      "memory is bounded by the size of the largest tree");
  law(tree.encoded() == encoded_tree, "reading changes leaves the tree");
  if (!changes)
    return;
  (void)tree.apply(std::move(*changes));
  law(equal(tree.tree_hash(), in.first(hash_bytes)), "changes lead to their hash");
}

void run(bytes_view input) {
  reader in{input};
  const auto what = in.u8();
  if (what & 1)
    return read_changes(in.rest());
  const std::size_t size = in.u8();
  const auto rest = in.rest();
  const auto work = std::min(size, rest.size());
  read_tree(rest.subspan(work), reader{rest.first(work)});
}

void seeds(const std::vector<bytes>& vectors, const seed_sink& to) {
  constexpr std::size_t size_max = 8192, each_max = 60;
  std::vector<bytes> all;
  for (const auto& s : recorded().steps) {
    const auto info = taken(read_message(s.group_info), "a group info");
    all.push_back(*find_extension(info.as<group_info>()->extensions, extension_type::ratchet_tree));
  }
  for (auto v = vectors.rbegin(); v != vectors.rend() && all.size() < each_max; ++v)
    if (v->size() <= size_max && ratchet_tree::decoded(*v))
      all.push_back(*v);
  std::uint8_t n = 0;
  for (const auto& tree : all) {
    bytes seed{0, 12};
    for (int i = 0; i < 12; ++i)
      seed.push_back(n = static_cast<std::uint8_t>(n * 5 + 3));
    seed.insert(seed.end(), tree.begin(), tree.end());
    to(std::move(seed));
  }
  // A pending commit of the scenario contains its changes. The tree of the last step is small, so
  // changes for it are created here: one leaf less.
  auto tree = taken(ratchet_tree::decoded(all[recorded().steps.size() - 1]), "the last tree");
  tree.begin();
  taken(tree.remove(leaf_index{0}), "removing somebody");
  const auto hash = tree.tree_hash();
  const auto changes = tree.take();
  bytes seed{1};
  seed.insert(seed.end(), hash.begin(), hash.end());
  const auto written = tree.encoded_changes(changes);
  seed.insert(seed.end(), written.begin(), written.end());
  to(std::move(seed));
}

} // namespace

const target trees{"trees", run, seeds};

} // namespace parley::mls::fuzz
