// Handshakes that the engine never sends: those in PrivateMessages, and those that break a rule.
#include "tests/protocol/mls/history_world.hpp"

#include <algorithm>

namespace parley::mls::test {

using pending_fields = std::tuple<commit_effects&, tree_changes&, group_context&, bytes&, bytes&, bytes&,
                                  epoch_secrets&, private_tree&>;
/// Access to a pending commit's fields, in the order of its members.
pending_fields fields_of(pending_commit& p);
template <auto... Members>
struct opened_pending {
  friend pending_fields fields_of(pending_commit& p) { return {p.*Members...}; }
};
template struct opened_pending<&pending_commit::effects_, &pending_commit::tree_, &pending_commit::context_,
                               &pending_commit::encoded_context_, &pending_commit::confirmation_tag_,
                               &pending_commit::after_, &pending_commit::secrets_, &pending_commit::keys_>;

namespace {

framed_content content_of(group_state& st, std::variant<application_data, proposal, commit> body) {
  return {st.now.context.group_id, st.now.context.epoch, st.as_sender(), {}, std::move(body)};
}

bytes sealed(group_state& st, const authenticated_content& content, const random_source& random) {
  auto message = granted(
      protect_private(content, st.secrets.sender_data, *st.keys, padding::size_classes, random), "a seal");
  return encoded(mls_message{std::move(message)});
}

handshake seal(person& p, const proposal& what, const surroundings& s) {
  auto& st = state_of(p.g);
  const auto content = sign_content(wire_format::private_message, content_of(st, what), st.identity.signer,
                                    st.now.encoded_context);
  auto ref = granted(st.now.take_proposal(content, s, 1'000), "a proposal of one's own");
  handshake h{sealed(st, content, s.random), {}, st.now.context.epoch, true};
  h.ref = std::move(ref);
  return h;
}

} // namespace

handshake sealed_proposal(person& p, const proposal& what, const surroundings& s) {
  return seal(p, what, s);
}

handshake sealed_update(person& p, const surroundings& s) {
  auto& st = state_of(p.g);
  auto key = make_hpke_key(s.random);
  auto leaf = st.leaf_content();
  leaf.encryption_key = public_key_of(key.public_key);
  leaf.source = leaf_node_source::update;
  sign(leaf, st.identity.signer, {st.now.context.group_id, st.self()});
  auto h = seal(p, {update_proposal{std::move(leaf)}}, s);
  st.own_updates.push_back({*h.ref, std::move(key)});
  return h;
}

/// Created in the same steps as by the engine (12.4.1), except for the wire format, which is
/// part of the transcript.
std::optional<committed> sealed_commit(person& p, const commit_options& options, const surroundings& s) {
  auto& st = state_of(p.g);
  const auto list = st.covered(options, s);
  changing_tree changing{st.now.tree};
  auto applied = apply_list(st.now, list, st.as_sender(), s);
  if (!applied)
    return std::nullopt;
  committed out;
  for (const auto& item : list) {
    const auto at =
        std::ranges::find_if(st.now.proposals, [&](const auto& r) { return &r.proposal == item.what; });
    if (item.by_reference)
      out.content.proposals.push_back({at->ref});
    else
      out.content.proposals.push_back({*item.what});
  }
  auto& staged = applied->staged;
  auto commit_secret = secret::zeros(hash_bytes);
  auto keys = st.private_keys.copy();
  std::optional<new_path> path;
  if (applied->plan.requires_path || options.always_path)
    path = start_path(st.now.tree, st.self(), st.leaf_content(), st.identity.signer, st.now.context.group_id,
                      keys, s.random);
  auto next = provisional_context(st.now, applied->plan);
  if (path) {
    granted(encrypt_path(st.now.tree, *path, staged.new_leaves, encoded(next), s.random), "a path");
    out.content.path = path->path;
    commit_secret = path->commit_secret.copy();
    keys = path->keys.copy();
  }
  auto content = sign_content(wire_format::private_message, content_of(st, out.content), st.identity.signer,
                              st.now.encoded_context);
  finish_context(staged, std::move(next), st.now.interim_hash, content);
  const auto psk = granted(st.psk_secret_of(staged.psks, s), "keys that it holds");
  const auto joiner = derive_joiner_secret(st.secrets.init, commit_secret, staged.encoded_context);
  auto [effects, tree, context, encoded_context, tag, after, secrets, private_keys] =
      fields_of(out.made.pending);
  secrets = derive_epoch(joiner, psk, staged.encoded_context);
  tag = confirmation_tag(secrets.confirmation_key, staged.context.confirmed_transcript_hash);
  content.auth.confirmation_tag = tag;
  out.made.commit = sealed(st, content, s.random);
  const auto info = st.signed_group_info(staged.context, secrets, tag, st.self(), options.tree);
  const auto for_all = seal_group_info(info, derive_welcome_secret(joiner, psk));
  for (std::size_t n = 0; n < applied->added.size(); ++n) {
    const auto& package = *applied->plan.adds[n];
    const invited whom{key_package_ref(package), package.init_key,
                       path ? path->path_secret_for(applied->added[n]) : nullptr};
    out.made.welcomes.push_back(encoded(mls_message{
        welcome{cipher_suite_1,
                {granted(seal_group_secrets(whom, joiner, staged.psks, for_all, s.random), "a Welcome")},
                for_all}}));
  }
  if (options.tree == tree_delivery::apart)
    out.made.ratchet_tree = st.now.tree.encoded();
  effects = std::move(staged.effects);
  context = std::move(staged.context);
  encoded_context = std::move(staged.encoded_context);
  after = st.now.interim_hash;
  private_keys = std::move(keys);
  tree = st.now.tree.take();
  changing.settled();
  out.sealed = true;
  return out;
}

// --- messages that break a rule

namespace {

struct forgery {
  std::string name;
  bytes message;
  std::vector<rule> why;
  bool server_sees = true; ///< a follower without secrets can detect it
};

/// A valid commit of a member, and the forgeries that can be made from it.
struct forger {
  world& w;
  person& by;
  bytes good;
  public_message message = read_public(good);
  group_state& st = state_of(by.g);

  commit& list() { return std::get<commit>(message.content.body); }
  bytes tagged(const signature_key_pair* signer = nullptr) {
    auto c = sign_content(wire_format::public_message, message.content, signer ? *signer : st.identity.signer,
                          st.now.encoded_context);
    c.auth.confirmation_tag = message.auth.confirmation_tag;
    return encoded(mls_message{
        granted(protect_public(std::move(c), st.secrets.membership_key, st.now.encoded_context), "a tag")});
  }
  bytes with_list(std::vector<proposal_or_ref> proposals) {
    list().proposals = std::move(proposals);
    return tagged();
  }
  bytes with_leaf(const std::function<void(leaf_node&)>& change) {
    auto& leaf = list().path->leaf_node;
    change(leaf);
    sign(leaf, st.identity.signer, {by.g.id(), by.g.own_leaf()});
    return tagged();
  }
};

proposal removal(leaf_index i) {
  return {remove_proposal{i}};
}

constexpr std::size_t forgeries = 21;

/// `other` is the leaf of another member.
forgery forged(std::size_t kind, forger& f, leaf_index other, const signature_key_pair& others_key) {
  auto& m = f.message;
  auto& path = f.list().path;
  const auto self = f.by.g.own_leaf();
  switch (kind) {
  case 0:
    m.auth.signature[7] ^= 1;
    return {"signature", encoded(mls_message{m}), {rule::wrong_membership_tag}, false};
  case 1:
    m.membership_tag[3] ^= 1;
    return {"membership tag", encoded(mls_message{m}), {rule::wrong_membership_tag}, false};
  case 2:
    (*m.auth.confirmation_tag)[9] ^= 1;
    return {"confirmation tag", f.tagged(), {rule::wrong_confirmation_tag}, false};
  case 3:
    ++m.content.epoch;
    return {"epoch", f.tagged(), {rule::wrong_epoch}};
  case 4:
    return {"unknown reference", f.with_list({{proposal_ref{bytes(32, 7)}}}), {rule::unknown_proposal}};
  case 5:
    return {"removal of the committer", f.with_list({{removal(self)}}), {rule::remove_of_committer}};
  case 6:
    return {"two removals of one leaf",
            f.with_list({{removal(other)}, {removal(other)}}),
            {rule::leaf_changed_twice}};
  case 7:
    path.reset();
    return {"no path", f.with_list({{removal(other)}}), {rule::commit_without_path}};
  case 8:
    return {"parent hash",
            f.with_leaf([](auto& l) {
              if (l.parent_hash.empty())
                l.parent_hash.resize(hash_bytes);
              l.parent_hash[0] ^= 1;
            }),
            {rule::path_wrong_parent_hash}};
  case 9:
    path->nodes.pop_back();
    return {"path too short", f.tagged(), {rule::path_wrong_length}};
  case 10:
    return {"old leaf key",
            f.with_leaf([&](auto& l) { l.encryption_key = f.st.now.tree.encryption_key(to_node(self)); }),
            {rule::leaf_key_not_fresh}};
  case 11:
    for (auto& n : path->nodes)
      for (auto& c : n.encrypted_path_secret)
        c.ciphertext[2] ^= 1;
    return {"path secrets", f.tagged(), {rule::cannot_open}, false};
  case 12:
    return {"removal of nobody", f.with_list({{removal(leaf_index{60'000})}}), {rule::no_such_leaf}};
  case 13:
    return {"ExternalInit",
            f.with_list({{proposal{external_init_proposal{bytes(32, 1)}}}}),
            {rule::external_init_by_member}};
  case 14: {
    const proposal none{group_context_extensions_proposal{}};
    return {"extensions twice", f.with_list({{none}, {none}}), {rule::extensions_changed_twice}};
  }
  case 15:
    return {"signed by another", f.tagged(&others_key), {rule::bad_signature}};
  case 16: {
    auto who = f.w.identity();
    const auto package = make_key_package(who, {now - 3 * day, now - day}, f.w.random);
    return {"an Add that is too old",
            f.with_list({{proposal{add_proposal{package.package}}}}),
            {rule::leaf_expired}};
  }
  case 17: {
    const auto psk = resumption_psk(resumption_usage::application, text("never heard of"), 1'000, f.w.random);
    return {"a key that nobody holds",
            f.with_list({{proposal{psk_proposal{psk}}}}),
            // A member that opens a path does so first.
            {rule::psk_unknown, rule::cannot_open},
            false};
  }
  case 18:
    return {"capabilities",
            f.with_leaf([](auto& l) { l.capabilities.cipher_suites = {2}; }),
            {rule::leaf_lacks_cipher_suite}};
  case 19:
    if (auto& to_whom = path->nodes.front().encrypted_path_secret; to_whom.empty())
      to_whom.emplace_back();
    else
      to_whom.clear();
    return {"too few path secrets, or too many", f.tagged(), {rule::path_wrong_ciphertexts}};
  default:
    return {"key of another's leaf",
            f.with_leaf([&](auto& l) { l.encryption_key = f.st.now.tree.encryption_key(to_node(other)); }),
            {rule::path_key_in_use}};
  }
}

} // namespace

void world::forge(picks p) {
  const auto by = actor(p.next());
  auto& who = people[by];
  const auto other = other_leaf(who, p.any(members_max));
  if (!other || ended)
    return;
  const auto kind = p.any(forgeries);
  commit_options options{.cover_received = false};
  constexpr std::array with_list_of_its_own{4, 5, 6, 7, 12, 13, 14, 16, 17};
  if (p.one_in(3) &&
      std::ranges::find(with_list_of_its_own, static_cast<int>(kind)) == with_list_of_its_own.end())
    options.proposals.push_back(invite().add());
  auto good = make(who, options, false);
  if (good.content.path->nodes.empty())
    return;
  forger f{*this, who, good.made.commit};
  const auto stranger = identity();
  const auto bad = forged(kind, f, *other, stranger.signer);
  note(who.name + " forges a commit: " + bad.name);
  count("forged: " + bad.name);
  for (std::size_t i = 0; i < people.size(); ++i) {
    auto& q = people[i];
    if (i == by || q.g.is_over())
      continue;
    if (q.g.epoch() == epoch())
      refuses(q, bad.message, bad.why, "a commit that is forged: " + bad.name);
    else
      refuses(q, bad.message, rule::wrong_epoch, "a commit of an epoch it does not know");
  }
  if (server) {
    const auto tree = server->ratchet_tree();
    const auto is = broken(server->check(bad.message, s));
    if (bad.server_sees)
      must_be(is, bad.why.front(), "a server refuses a forged commit: " + bad.name);
    must(server->ratchet_tree() == tree && server->epoch() == epoch(), "a check changes nothing");
  }
  if (p.one_in(2))
    place(by, good, {.asleep = p.some()}); // the commit is still valid
}

} // namespace parley::mls::test
