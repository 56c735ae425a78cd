// Joining: Welcomes and their encrypted contents, trees, GroupInfos. A client that joins by a Welcome,
// one that joins by an external commit, and a follower accept the same trees.
//
// Input: the kind, the invitation or step, then the bytes of one of these, which are
// signed and encrypted again.
#include "tests/protocol/mls/fuzz/mutate.hpp"
#include "tests/protocol/mls/fuzz/reader.hpp"

namespace parley::mls::fuzz {
namespace {

enum class way : std::uint8_t {
  welcome,      ///< as it was received
  secrets,      ///< decrypted GroupSecrets
  info,         ///< decrypted GroupInfo
  signed_info,  ///< a GroupInfo that is signed again
  tree,         ///< beside a Welcome whose GroupInfo has the hash of the tree
  group_info,   ///< an MLSMessage to join with
  signed_again, ///< the MLSMessage, signed again
  tree_inside,  ///< the tree of a GroupInfo, which gets its hash
  end
};

std::optional<bytes_view> apart(const bytes& tree) {
  return tree.empty() ? std::nullopt : std::optional<bytes_view>{tree};
}

/// A client that joined can send, commit, and be saved.
void use(group g, std::size_t who) {
  outside w{7};
  law(equal(g.epoch_authenticator(), state_of(g).secrets.epoch_authenticator.view()) && !g.is_over(),
      "somebody who joined is there");
  memory_parts at;
  taken(group_store::save(g, at), "saving");
  auto again = recorded().load(at, who);
  law(fingerprint(again) == fingerprint(g), "what is saved is read as it was");
  auto said = g.send(view_of("here"), {}, w.s);
  law(said.has_value(), "somebody who joined can speak");
  if (auto made = g.commit({}, w.s)) {
    taken(g.confirm(std::move(made->pending)), "confirming an own commit");
    law(g.group_info(tree_delivery::in_group_info).has_value(), "a group can be shown");
  }
}

void join(const invitation& i, const bytes& message, const bytes& tree) {
  const outside w{6};
  const auto& who = recorded().people[i.whom].who;
  auto joined = group::join(message, i.package(), who.copy(), apart(tree), w.s, {});
  if (!joined) {
    law(message != i.welcome || tree != i.tree, "the recorded Welcome is accepted");
    return;
  }
  if (message == i.welcome)
    law(equal(joined->epoch_authenticator(), i.authenticator), "a Welcome leads to its epoch");
  use(std::move(*joined), i.whom);
}

/// A Welcome with other contents, which are correctly encrypted to the key package.
bytes welcome_of(const invitation& i, bytes_view secrets, bytes_view info) {
  const outside w{8};
  const auto package = i.package();
  const auto key_of = i.welcome_secret();
  const auto key = expand_with_label(key_of.view(), "key", {}, key_bytes);
  const auto nonce = expand_with_label(key_of.view(), "nonce", {}, nonce_bytes);
  welcome out;
  out.encrypted_group_info = aead_seal(key.view(), nonce.view(), {}, info);
  out.secrets.push_back({key_package_ref(package.package),
                         taken(encrypt_with_label(package.init_key.public_key, "Welcome",
                                                  out.encrypted_group_info, secrets, w.random),
                               "encrypting to a key package")});
  return encoded(mls_message{std::move(out)});
}

const bytes* tree_in(const group_info& info, const bytes& beside) {
  const auto* inside = find_extension(info.extensions, extension_type::ratchet_tree);
  return inside ? inside : &beside;
}

/// Signed by the member at the leaf that it names, in the tree that it is sent with.
void sign_again(group_info& info, const bytes& beside) {
  const auto tree = ratchet_tree::decoded(*tree_in(info, beside));
  const signature_key_pair* signer = nullptr;
  if (tree && tree->is_member(info.signer))
    signer = recorded().signer_of(tree->signature_key(info.signer));
  sign(info, signer ? *signer : recorded().people.front().who.signer);
}

/// Another tree needs another hash, and then the epoch is another one; the tag can be valid nevertheless.
void fit_to_tree(group_info& info, bytes_view encoded_tree, const secret* joiner, const invitation* i) {
  if (const auto tree = ratchet_tree::decoded(encoded_tree))
    info.context.tree_hash = to_bytes(tree->tree_hash());
  if (!joiner)
    return;
  const outside w{0};
  std::vector<pre_shared_key> keys;
  for (const auto& id : taken(whole<group_secrets>(i->secrets), "recorded secrets").psks)
    keys.push_back({id, w.s.find_psk(id).value()});
  const auto epoch = derive_epoch(*joiner, taken(psk_secret(keys), "recorded keys"), encoded(info.context));
  info.confirmation_tag = confirmation_tag(epoch.confirmation_key, info.context.confirmed_transcript_hash);
}

void by_welcome(way how, const invitation& i, bytes_view in) {
  if (how == way::welcome)
    return join(i, to_bytes(in), i.tree);
  if (how == way::secrets)
    return join(i, welcome_of(i, in, i.info), i.tree);
  if (how == way::info)
    return join(i, welcome_of(i, i.secrets, in), i.tree);
  const auto told = taken(whole<group_secrets>(i.secrets), "recorded secrets");
  if (how == way::signed_info) {
    auto info = whole<group_info>(in);
    if (!info)
      return;
    fit_to_tree(*info, *tree_in(*info, i.tree), &told.joiner_secret, &i);
    sign_again(*info, i.tree);
    return join(i, welcome_of(i, i.secrets, encoded(*info)), i.tree);
  }
  auto info = taken(whole<group_info>(i.info), "a recorded GroupInfo");
  std::erase_if(info.extensions, [](const auto& e) { return e.type == extension_type::ratchet_tree; });
  const auto tree = to_bytes(in);
  fit_to_tree(info, tree, &told.joiner_secret, &i);
  sign_again(info, tree);
  join(i, welcome_of(i, i.secrets, encoded(info)), tree);
}

/// Joins by an external commit, as a new member or in place of an earlier membership, and as a follower.
void by_itself(const bytes& message, std::size_t who, bool resync) {
  const outside w{9};
  auto followed = follower::begin(message, {}, w.s);
  std::optional<leaf_index> replaces;
  if (followed && resync)
    for (const auto& m : followed->roster())
      if (equal(m.signature_key, recorded().people[who].who.signer.public_key))
        replaces = m.leaf;
  auto joined = join_externally(message, {}, recorded().people[who].who.copy(), replaces, w.s);
  law(followed || !joined, "a group that can be joined can be followed");
  if (!joined)
    return;
  law(followed->check(joined->commit, w.s).has_value(), "a follower takes the commit of somebody who joins");
  use(std::move(joined->group), who);
}

void by_group_info(way how, const step& at, bytes_view in, std::uint8_t who) {
  const auto person = who / 2 % recorded().people.size();
  if (how == way::group_info)
    return by_itself(to_bytes(in), person, who & 1);
  auto message = taken(whole<mls_message>(how == way::tree_inside ? bytes_view{at.group_info} : in)
                           .or_else([](auto) -> result<mls_message> { return mls_message{mls::welcome{}}; }),
                       "a message");
  auto* info = std::get_if<group_info>(&message.body);
  if (!info)
    return;
  if (how == way::tree_inside) {
    for (auto& e : info->extensions)
      if (e.type == extension_type::ratchet_tree)
        e.data = to_bytes(in);
    fit_to_tree(*info, in, nullptr, nullptr);
  }
  sign_again(*info, {});
  by_itself(encoded(message), person, who & 1);
}

void run(bytes_view input) {
  reader in{input};
  const auto how = static_cast<way>(in.below(static_cast<std::size_t>(way::end)));
  const auto which = in.u8(), who = in.u8();
  const auto& all = recorded();
  if (how < way::group_info)
    by_welcome(how, all.invitations[which % all.invitations.size()], in.rest());
  else
    by_group_info(how, all.steps[which % all.steps.size()], in.rest(), who);
}

void seeds(const std::vector<bytes>&, const seed_sink& to) {
  const auto add = [&](way how, std::size_t which, std::uint8_t who, bytes_view in) {
    bytes seed{static_cast<std::uint8_t>(how), static_cast<std::uint8_t>(which), who};
    seed.insert(seed.end(), in.begin(), in.end());
    to(std::move(seed));
  };
  const auto& all = recorded();
  for (std::size_t n = 0; n < all.invitations.size(); ++n) {
    const auto& i = all.invitations[n];
    add(way::welcome, n, 0, i.welcome);
    add(way::secrets, n, 0, i.secrets);
    add(way::info, n, 0, i.info);
    add(way::signed_info, n, 0, i.info);
    if (!i.tree.empty())
      add(way::tree, n, 0, i.tree);
  }
  for (std::size_t n = 0; n < all.steps.size(); ++n) {
    const auto& s = all.steps[n];
    if (s.is != step::kind::commit)
      continue;
    const auto who = static_cast<std::uint8_t>(n);
    add(way::group_info, n, who, s.group_info);
    add(way::signed_again, n, who, s.group_info);
    const auto message = taken(read_message(s.group_info), "a GroupInfo");
    add(way::tree_inside, n, who, *tree_in(*message.as<group_info>(), {}));
  }
}

bytes mutate(bytes_view input, std::uint32_t seed, byte_mutator mutate_bytes) {
  constexpr std::size_t header_bytes = 3;
  if (input.size() < header_bytes)
    return {};
  bytes out = to_bytes(input.first(header_bytes));
  const auto in = input.subspan(header_bytes);
  std::optional<bytes> next;
  switch (static_cast<way>(out[0] % static_cast<std::uint8_t>(way::end))) {
  case way::secrets:
    next = changed<group_secrets>(in, seed, mutate_bytes);
    break;
  case way::info:
  case way::signed_info:
    next = changed<group_info>(in, seed, mutate_bytes);
    break;
  case way::welcome:
  case way::group_info:
  case way::signed_again:
    next = changed<mls_message>(in, seed, mutate_bytes);
    break;
  default:
    break;
  }
  if (!next)
    return {};
  out.insert(out.end(), next->begin(), next->end());
  return out;
}

} // namespace

const target joins{"joins", run, seeds, mutate};

} // namespace parley::mls::fuzz
