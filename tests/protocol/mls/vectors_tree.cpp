// tree-math, tree-operations, tree-validation and treekem.
#include "protocol/mls/leaf_validation.hpp"
#include "protocol/mls/tree_kem.hpp"
#include "protocol/mls/tree_validation.hpp"
#include "tests/protocol/mls/vectors.hpp"

namespace parley::mls::vectors {

namespace {

// --- tree math ---------------------------------------------------------------------------------------------

void expect_index(const json& wanted, bool exists, std::uint32_t got, const char* what) {
  expect(wanted.is_null() != exists, std::string{what} + ": exists where it should not, or the reverse");
  if (exists)
    expect(wanted.get<std::uint32_t>() == got, std::string{what} + " differs");
}

void check_tree_math(const json& one) {
  const auto leaves = one.at("n_leaves").get<std::uint32_t>();
  expect(leaves_for(leaves) == leaves, "trees are full");
  const auto nodes = node_count(leaves);
  expect(one.at("n_nodes") == nodes, "n_nodes differs");
  expect(one.at("root") == number(root(leaves)), "root differs");
  for (std::uint32_t i = 0; i < nodes; ++i) {
    const node_index x{i};
    const bool is_root = x == root(leaves);
    expect_index(one.at("left").at(i), !is_leaf(x), is_leaf(x) ? 0 : number(left(x)), "left");
    expect_index(one.at("right").at(i), !is_leaf(x), is_leaf(x) ? 0 : number(right(x)), "right");
    expect_index(one.at("parent").at(i), !is_root, is_root ? 0 : number(parent(x)), "parent");
    expect_index(one.at("sibling").at(i), !is_root, is_root ? 0 : number(sibling(x)), "sibling");
  }
}

// --- operations and validation -----------------------------------------------------------------------------

ratchet_tree tree_of(const json& one, const char* key) {
  const auto in = hex(one, key);
  auto tree = taken(ratchet_tree::decoded(in), key);
  expect_equal(tree.encoded(), in, std::string{key} + ", encoded again,");
  return tree;
}

void apply_proposal(ratchet_tree& tree, bytes_view proposal, leaf_index sender) {
  decoder d{proposal};
  switch (d.get<proposal_type>()) {
  case proposal_type::add:
    taken(tree.add(taken(whole<key_package>(d.rest()), "the key package").leaf_node), "adding");
    break;
  case proposal_type::update:
    taken(tree.update(sender, taken(whole<leaf_node>(d.rest()), "the leaf")), "updating");
    break;
  case proposal_type::remove:
    taken(tree.remove(d.get<leaf_index>()), "removing");
    break;
  default:
    throw wrong{"a proposal that does not change trees"};
  }
}

void check_tree_operations(const json& one) {
  auto tree = tree_of(one, "tree_before");
  const auto before = hex(one, "tree_hash_before"), after = hex(one, "tree_hash_after");
  expect_equal(tree.tree_hash(), before, "tree_hash_before");
  const leaf_index sender{one.at("proposal_sender").get<std::uint32_t>()};
  const auto proposal = hex(one, "proposal");

  tree.begin();
  apply_proposal(tree, proposal, sender);
  expect_equal(tree.encoded(), hex(one, "tree_after"), "tree_after");
  expect_equal(tree.tree_hash(), after, "tree_hash_after");
  auto changes = tree.take();
  expect_equal(tree.tree_hash(), before, "the tree hash after going back");
  expect_equal(tree.encoded(), hex(one, "tree_before"), "the tree after going back");
  tree.apply(std::move(changes));
  expect_equal(tree.tree_hash(), after, "the tree hash after the changes were applied");
  expect_equal(tree.encoded(), hex(one, "tree_after"), "the tree after the changes were applied");
}

void check_tree_validation(const json& one) {
  const auto tree = tree_of(one, "tree");
  const auto nodes = node_count(tree.leaf_count());
  expect(one.at("resolutions").size() == nodes && one.at("tree_hashes").size() == nodes, "another size");
  for (std::uint32_t i = 0; i < nodes; ++i) {
    std::vector<node_index> resolution;
    tree.resolution(node_index{i}, resolution);
    const auto wanted = one.at("resolutions").at(i).get<std::vector<std::uint32_t>>();
    expect(std::ranges::equal(resolution, wanted, {}, [](node_index x) { return number(x); }),
           "a resolution differs");
    expect(tree.has_resolution(node_index{i}) == !wanted.empty(), "has_resolution differs");
    expect_equal(tree.tree_hash(node_index{i}), from_hex(one.at("tree_hashes").at(i)), "a tree hash");
  }
  taken(check_unmerged_leaves(tree), "an unmerged leaf");
  taken(check_unique_keys(tree), "a key");
  taken(check_parent_hashes(tree), "a parent hash");
  taken(verify_leaf_signatures(tree, hex(one, "group_id")), "a signature");
}

// --- TreeKEM -----------------------------------------------------------------------------------------------

struct member {
  private_tree keys;
  signature_key_pair signer;
};

std::map<leaf_index, member> members_of(const json& one, const ratchet_tree& tree) {
  std::map<leaf_index, member> out;
  for (const auto& m : one.at("leaves_private")) {
    const leaf_index i{m.at("index").get<std::uint32_t>()};
    auto& it = out[i];
    it.keys.self = i;
    it.keys.keys.emplace(to_node(i), secret{hex(m, "encryption_priv")});
    for (const auto& p : m.at("path_secrets"))
      it.keys.keys.emplace(node_index{p.at("node").get<std::uint32_t>()},
                           key_of_path_secret(secret{hex(p, "path_secret")}).private_key);
    it.signer = {secret{hex(m, "signature_priv")}, to_bytes(tree.signature_key(i))};
    taken(it.keys.check(tree), "a private key");
  }
  return out;
}

bytes context_of(const json& one, const ratchet_tree& tree) {
  encoder e;
  e.put(mls10).put(cipher_suite_1).opaque(hex(one, "group_id")).put(one.at("epoch").get<std::uint64_t>());
  e.opaque(tree.tree_hash()).opaque(hex(one, "confirmed_transcript_hash")).vector(extension_list{});
  return std::move(e).out();
}

void check_path(const json& one, const json& u, ratchet_tree& tree,
                const std::map<leaf_index, member>& members) {
  const leaf_index sender{u.at("sender").get<std::uint32_t>()};
  const auto path = taken(whole<update_path>(hex(u, "update_path")), "the path");
  expect_equal(encoded(path), hex(u, "update_path"), "the path, encoded again,");
  const auto group_id = hex(one, "group_id");
  const auto before = to_bytes(tree.tree_hash());

  tree.begin();
  taken(verify_signature(path.leaf_node, {group_id, sender}), "the signature of the path's leaf");
  taken(merge_path(tree, sender, path, {}), "the path");
  expect_equal(tree.tree_hash(), hex(u, "tree_hash_after"), "tree_hash_after");
  const auto context = context_of(one, tree);
  for (const auto& [i, m] : members) {
    if (i == sender)
      continue;
    const auto opened = taken(open_path(tree, sender, path, {}, m.keys, context), "opening the path");
    expect_equal(opened.commit_secret.view(), hex(u, "commit_secret"), "commit_secret");
    taken(opened.keys.check(tree), "a private key after the path");
    const secret path_secret{from_hex(u.at("path_secrets").at(number(i)))};
    expect(opened.keys.keys.at(common_ancestor(i, sender)) == key_of_path_secret(path_secret).private_key,
           "the path secret differs");
    const hpke_key_pair leaf_key{m.keys.keys.at(to_node(i)).copy(),
                                 to_bytes(tree.encryption_key(to_node(i)))};
    const auto welcomed =
        taken(keys_from_welcome(tree, i, leaf_key, sender, &path_secret), "the path secret as of a Welcome");
    taken(welcomed.check(tree), "a private key as of a Welcome");
  }
  tree.roll_back();
  expect_equal(tree.tree_hash(), before, "the tree hash after going back");
}

/// Creates a path of our own on the same tree and checks it.
void check_own_path(const json& one, ratchet_tree& tree, leaf_index sender,
                    const std::map<leaf_index, member>& members) {
  const auto& m = members.at(sender);
  const auto group_id = hex(one, "group_id");
  const auto random = counting_random();
  tree.begin();
  auto made = start_path(tree, sender, tree.leaf(sender), m.signer, group_id, m.keys, random);
  const auto context = context_of(one, tree);
  taken(encrypt_path(tree, made, {}, context, random), "encrypting the path");
  taken(made.keys.check(tree), "a private key of the committer");
  const auto changes = tree.take();

  tree.begin();
  taken(verify_signature(made.path.leaf_node, {group_id, sender}), "our signature");
  taken(merge_path(tree, sender, made.path, {}), "our path");
  expect_equal(context_of(one, tree), context, "the context");
  taken(check_parent_hashes(tree), "a parent hash of our path");
  for (const auto& [i, receiver] : members)
    if (i != sender)
      expect(taken(open_path(tree, sender, made.path, {}, receiver.keys, context), "opening our path")
                     .commit_secret == made.commit_secret,
             "our commit_secret differs");
  tree.roll_back();
}

void check_treekem(const json& one) {
  auto tree = tree_of(one, "ratchet_tree");
  const auto members = members_of(one, tree);
  for (const auto& u : one.at("update_paths")) {
    check_path(one, u, tree, members);
    check_own_path(one, tree, leaf_index{u.at("sender").get<std::uint32_t>()}, members);
  }
}

} // namespace

std::vector<kind> tree_kinds() {
  return {{"tree-math", {"n_leaves", "n_nodes"}, check_tree_math},
          {"tree-operations", {"tree_before", "proposal"}, check_tree_operations},
          {"tree-validation", {"tree", "resolutions"}, check_tree_validation},
          {"treekem", {"ratchet_tree", "leaves_private"}, check_treekem}};
}

} // namespace parley::mls::vectors
