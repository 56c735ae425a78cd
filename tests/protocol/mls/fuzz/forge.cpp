#include "tests/protocol/mls/fuzz/forge.hpp"

namespace parley::mls::fuzz {
namespace {

constexpr std::size_t sender_data_bytes = 12;

/// The sender if it is a member, otherwise the first member that receives the message.
std::size_t insider_of(const step& at) {
  return at.by_member ? at.by : at.outcome.begin()->first;
}

ratchet_kind ratchet_for(content_type type) {
  return type == content_type::application ? ratchet_kind::application : ratchet_kind::handshake;
}

/// SenderDataAAD, or PrivateContentAAD if there is authenticated data.
bytes aad_of(const private_message& m, const bytes* authenticated_data) {
  encoder e;
  e.opaque(m.group_id).put(m.epoch).put(m.type);
  if (authenticated_data)
    e.opaque(*authenticated_data);
  return std::move(e).out();
}

bytes seal(group_state& st, private_message m, bytes_view sender_data, bytes_view plaintext) {
  decoder d{sender_data};
  const auto leaf = d.get<leaf_index>();
  const auto generation = d.get<std::uint32_t>();
  bytes key(key_bytes), nonce(nonce_bytes);
  if (const auto found = st.keys->find(leaf, ratchet_for(m.type), generation)) {
    key = to_bytes(found->key.key.view());
    nonce = to_bytes(found->key.nonce.view());
  }
  for (std::size_t i = 0; i < d.rest().size(); ++i)
    nonce[i] ^= d.rest()[i];
  m.ciphertext = aead_seal(key, nonce, aad_of(m, &m.authenticated_data), plaintext);
  const auto by = sender_data_keys_of(st.secrets.sender_data, m.ciphertext);
  m.encrypted_sender_data = aead_seal(by.key.view(), by.nonce.view(), aad_of(m, nullptr), sender_data);
  return encoded(mls_message{std::move(m)});
}

/// The content of the recorded message, decrypted if it is encrypted.
std::pair<framed_content, framed_content_auth> content_of(const step& at, group& reader) {
  const auto read = taken(read_message(at.message), "a recorded message");
  if (const auto* plain = read.as<public_message>())
    return {plain->content, plain->auth};
  auto& st = state_of(reader);
  auto opened =
      taken(unprotect_private(*read.as<private_message>(), st.secrets.sender_data, *st.keys, st.now.view()),
            "a recorded message");
  st.keys->consume(std::move(opened.key));
  return {std::move(opened.content.content), std::move(opened.content.auth)};
}

/// The generation of the next message of a leaf, as far as the insider knows it.
std::uint32_t next_generation(const group_state& st, leaf_index leaf, content_type type) {
  const auto index = 2 * number(leaf) + static_cast<std::uint32_t>(ratchet_for(type));
  const auto part = st.keys->saved({secret_tree_part::what::ratchet, index});
  return part ? decoder{part->view()}.get<std::uint32_t>() : 0;
}

bytes sender_data_of(const group_state& st, leaf_index leaf, content_type type) {
  encoder e;
  e.put(leaf).put(next_generation(st, leaf, type)).put(std::uint32_t{0x01020304});
  return std::move(e).out();
}

} // namespace

forger::forger(const step& at)
    : at_{at}, who_{insider_of(at)}, insider_{recorded().load(at.before.at(who_), who_)} {
  // A receiver reads it with a separate copy of its group, because reading uses keys up.
  const auto hearer = at.outcome.begin()->first;
  auto reader = recorded().load(at.before.at(hearer), hearer);
  std::tie(recorded_content_, recorded_auth_) = content_of(at, reader);
}

const signature_key_pair& forger::signer_for(const framed_content& content) const {
  const auto& all = recorded();
  const auto& tree = state_of(const_cast<group&>(insider_)).now.tree;
  const signature_key_pair* found = nullptr;
  const auto& from = content.sender;
  if (from.type == sender_type::member && tree.is_member(from.leaf()))
    found = all.signer_of(tree.signature_key(from.leaf()));
  else if (from.type == sender_type::external)
    found = &all.external;
  else if (const auto* p = content.as<proposal>(); p && p->as<add_proposal>())
    found = all.signer_of(p->as<add_proposal>()->key_package.leaf_node.signature_key);
  else if (const auto* c = content.as<commit>(); c && c->path)
    found = all.signer_of(c->path->leaf_node.signature_key);
  return found ? *found : all.people[at_.by].who.signer;
}

void forger::mend_leaf(leaf_node& leaf, const leaf_place& place) const {
  if (const auto* signer = recorded().signer_of(leaf.signature_key))
    sign(leaf, *signer, place);
}

void forger::mend_proposal(proposal& p, const sender& from) const {
  if (auto* a = std::get_if<add_proposal>(&p.body)) {
    mend_leaf(a->key_package.leaf_node, {});
    if (const auto* signer = recorded().signer_of(a->key_package.leaf_node.signature_key))
      sign(a->key_package, *signer);
  }
  if (auto* u = std::get_if<update_proposal>(&p.body))
    mend_leaf(u->leaf_node, {insider_.id(), from.leaf()});
}

void forger::mend_commit(commit& c, const sender& from, const mending& how) {
  for (auto& item : c.proposals)
    if (auto* p = std::get_if<proposal>(&item.body))
      mend_proposal(*p, from);
  if (!c.path)
    return;
  auto& st = state_of(insider_);
  const outside w{11};
  changing_tree trial{st.now.tree};
  auto place = from.leaf();
  const auto list = st.now.resolve(c, from);
  if (list)
    if (const auto applied = apply_list(st.now, *list, from, w.s)) {
      place = applied->committer;
      // The engine checks the sender before the path.
      if (how.parent_hashes && (applied->staged.effects.is_external || st.now.tree.is_member(place))) {
        // An unsuitable path is written before it is refused because of its parent hash.
        (void)merge_path(st.now.tree, place, *c.path, applied->staged.new_leaves);
        const auto steps = st.now.tree.filtered_direct_path(place);
        if (!steps.empty() && !st.now.tree.is_blank(steps.front().node)) {
          const auto hash = st.now.tree.parent_hash_of(steps.front().node, steps.front().copath);
          c.path->leaf_node.parent_hash = to_bytes(hash);
        }
      }
    }
  mend_leaf(c.path->leaf_node, {insider_.id(), place});
}

void forger::mend(framed_content& content, const mending& how) {
  if (!how.leaves)
    return;
  if (auto* p = std::get_if<proposal>(&content.body))
    mend_proposal(*p, content.sender);
  if (auto* c = std::get_if<commit>(&content.body))
    mend_commit(*c, content.sender, how);
}

bytes forger::in_public(framed_content content, const mending& how) {
  mend(content, how);
  auto& st = state_of(insider_);
  const auto& signer = signer_for(content);
  auto said = sign_content(wire_format::public_message, std::move(content), signer, st.now.encoded_context);
  if (said.content.type() == content_type::commit)
    said.auth.confirmation_tag = recorded_tag().value_or(bytes(hash_bytes));
  auto sent = protect_public(said, st.secrets.membership_key, st.now.encoded_context);
  // Messages that protection itself refuses are sent without a tag.
  return encoded(
      mls_message{sent ? std::move(*sent) : public_message{said.content, said.auth, bytes(hash_bytes)}});
}

bytes forger::in_private(framed_content content, const mending& how, bytes_view padding) {
  mend(content, how);
  auto& st = state_of(insider_);
  const auto& signer = signer_for(content);
  auto said = sign_content(wire_format::private_message, std::move(content), signer, st.now.encoded_context);
  const auto type = said.content.type();
  if (type == content_type::commit)
    said.auth.confirmation_tag = recorded_tag().value_or(bytes(hash_bytes));
  encoder plain;
  encode_body(plain, said.content);
  encode_auth(plain, said.auth);
  plain.raw(padding);
  private_message m{said.content.group_id, said.content.epoch, type, said.content.authenticated_data, {}, {}};
  return seal(st, std::move(m), sender_data_of(st, said.content.sender.leaf(), type), plain.out());
}

bytes forger::raw_in_private(content_type type, bytes_view in) {
  auto& st = state_of(insider_);
  private_message m{st.now.context.group_id, st.now.context.epoch, type, {}, {}, {}};
  const auto size = std::min(in.size(), sender_data_bytes);
  return seal(st, std::move(m), in.first(size), in.subspan(size));
}

bytes forger::own_sender_data(content_type type) {
  return sender_data_of(state_of(insider_), insider_.own_leaf(), type);
}

// --- whole commits

void encode(encoder& e, const order& v) {
  e.vector(v.list)
      .put(static_cast<std::uint8_t>(v.path))
      .opaque(v.authenticated_data)
      .vector(v.leaf_extensions);
  encode(e, v.capabilities);
  encode(e, v.credential);
  e.opaque(v.path_edits);
}

void decode(decoder& d, order& v) {
  v.list = d.vector<proposal_or_ref>();
  v.path = d.get<std::uint8_t>() & 1;
  v.authenticated_data = d.opaque();
  v.leaf_extensions = d.vector<extension>();
  decode(d, v.capabilities);
  decode(d, v.credential);
  v.path_edits = d.opaque();
}

order order_of(const step& at, group& insider) {
  const auto& who = state_of(insider).identity;
  order out{
      .leaf_extensions = who.leaf_extensions, .capabilities = who.capabilities, .credential = who.credential};
  const auto read = taken(read_message(at.message), "a recorded message");
  if (const auto* plain = read.as<public_message>())
    if (const auto* c = plain->content.as<commit>(); c && at.by_member)
      out.list = c->proposals;
  return out;
}

namespace {

update_path edited(const update_path& path, bytes_view edits) {
  auto text = encoded(path);
  decoder d{edits};
  while (d.rest().size() >= 3) {
    const auto at = d.get<std::uint16_t>();
    text[at % text.size()] ^= d.get<std::uint8_t>();
  }
  auto read = whole<update_path>(text);
  return read ? std::move(*read) : path;
}

} // namespace

std::optional<forged_commit> commit_of(group& insider, const order& what, wire_format format) {
  auto& st = state_of(insider);
  auto& now_here = st.now;
  const outside w{12};
  commit c{what.list, {}};
  const auto list = now_here.resolve(c, st.as_sender());
  if (!list)
    return std::nullopt;
  changing_tree changing{now_here.tree};
  auto applied = apply_list(now_here, *list, st.as_sender(), w.s);
  if (!applied)
    return std::nullopt;
  auto& staged = applied->staged;
  const auto psk = st.psk_secret_of(staged.psks, w.s);
  if (!psk)
    return std::nullopt;
  auto commit_secret = secret::zeros(hash_bytes);
  auto next = provisional_context(now_here, applied->plan);
  if (what.path) {
    leaf_node leaf = st.leaf_content();
    leaf.extensions = what.leaf_extensions;
    leaf.capabilities = what.capabilities;
    leaf.credential = what.credential;
    auto path = start_path(now_here.tree, applied->committer, std::move(leaf), st.identity.signer,
                           now_here.context.group_id, st.private_keys, w.random);
    next = provisional_context(now_here, applied->plan);
    if (!encrypt_path(now_here.tree, path, staged.new_leaves, encoded(next), w.random))
      return std::nullopt;
    c.path = edited(path.path, what.path_edits);
    commit_secret = std::move(path.commit_secret);
  }
  framed_content content{now_here.context.group_id, now_here.context.epoch, st.as_sender(),
                         what.authenticated_data, std::move(c)};
  auto said = sign_content(format, std::move(content), st.identity.signer, now_here.encoded_context);
  finish_context(staged, std::move(next), now_here.interim_hash, said);
  const auto epoch =
      derive_epoch(derive_joiner_secret(st.secrets.init, commit_secret, staged.encoded_context), *psk,
                   staged.encoded_context);
  said.auth.confirmation_tag =
      confirmation_tag(epoch.confirmation_key, staged.context.confirmed_transcript_hash);
  forged_commit out{{}, to_bytes(epoch.epoch_authenticator.view())};
  if (format == wire_format::public_message)
    out.message = encoded(mls_message{taken(
        protect_public(std::move(said), st.secrets.membership_key, now_here.encoded_context), "a commit")});
  else
    out.message = encoded(mls_message{
        taken(protect_private(said, st.secrets.sender_data, *st.keys, padding::size_classes, w.random),
              "a commit")});
  return out;
}

} // namespace parley::mls::fuzz
