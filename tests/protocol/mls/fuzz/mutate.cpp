#include "tests/protocol/mls/fuzz/mutate.hpp"

namespace parley::mls::fuzz {
namespace {

/// The proposals of the scenario, sent by value or in separate messages.
const std::vector<proposal>& recorded_proposals() {
  static const auto all = [] {
    std::vector<proposal> out;
    for (const auto& s : recorded().steps) {
      const auto read = taken(read_message(s.message), "a recorded message");
      const auto* plain = read.as<public_message>();
      if (!plain)
        continue;
      if (const auto* p = plain->content.as<proposal>())
        out.push_back(*p);
      if (const auto* c = plain->content.as<commit>())
        for (const auto& item : c->proposals)
          if (const auto* p = std::get_if<proposal>(&item.body))
            out.push_back(*p);
    }
    return out;
  }();
  return all;
}

/// References to the proposals of the scenario, by step.
const std::vector<proposal_ref>& recorded_references() {
  static const auto all = [] {
    std::vector<proposal_ref> out;
    for (const auto& s : recorded().steps)
      if (s.is == step::kind::proposal)
        out.push_back({s.outcome.begin()->second});
    return out;
  }();
  return all;
}

} // namespace

void mutation::blob(bytes& v) {
  places_.push_back([this, &v] {
    const auto size = v.size();
    v.resize(size + 16);
    v.resize(mutate_bytes_(v.data(), size, v.size()));
  });
}

void mutation::key(public_key& v) {
  places_.push_back([this, &v] {
    const auto& people = recorded().people;
    if (below(2) == 0)
      v = public_key_of(people[below(people.size())].who.signer.public_key);
    else
      v[below(v.size())] ^= static_cast<std::uint8_t>(1u << below(8));
  });
}

proposal mutation::any_proposal() {
  const auto& all = recorded_proposals();
  return all[below(all.size())];
}

void mutation::visit(framed_content& v) {
  blob(v.group_id);
  number(v.epoch);
  number(v.sender.type);
  number(v.sender.index);
  blob(v.authenticated_data);
  if (auto* data = std::get_if<application_data>(&v.body))
    blob(data->data);
  if (auto* p = std::get_if<proposal>(&v.body)) {
    visit(*p);
    places_.push_back([this, p] { *p = any_proposal(); });
  }
  if (auto* c = std::get_if<commit>(&v.body))
    visit(*c);
}

void mutation::visit(proposal& v) {
  if (auto* a = std::get_if<add_proposal>(&v.body))
    visit(a->key_package);
  if (auto* u = std::get_if<update_proposal>(&v.body))
    visit(u->leaf_node);
  if (auto* r = std::get_if<remove_proposal>(&v.body))
    number(r->removed);
  if (auto* k = std::get_if<psk_proposal>(&v.body))
    visit(k->psk);
  if (auto* r = std::get_if<reinit_proposal>(&v.body)) {
    blob(r->group_id);
    number(r->version);
    number(r->cipher_suite);
    list(r->extensions);
  }
  if (auto* x = std::get_if<external_init_proposal>(&v.body))
    blob(x->kem_output);
  if (auto* g = std::get_if<group_context_extensions_proposal>(&v.body))
    list(g->extensions);
}

void mutation::visit(proposal_or_ref& v) {
  if (auto* p = std::get_if<proposal>(&v.body))
    visit(*p);
  if (auto* r = std::get_if<proposal_ref>(&v.body))
    blob(r->hash);
}

void mutation::visit(commit& v) {
  list(v.proposals);
  places_.push_back([this, &v] { v.proposals.push_back({any_proposal()}); });
  places_.push_back([this, &v] {
    const auto& all = recorded_references();
    v.proposals.push_back({all[below(all.size())]});
  });
  if (!v.path)
    return;
  visit(*v.path);
  places_.push_back([&v] { v.path.reset(); });
}

void mutation::visit(update_path& v) {
  visit(v.leaf_node);
  list(v.nodes);
}

void mutation::visit(update_path_node& v) {
  key(v.encryption_key);
  list(v.encrypted_path_secret);
}

void mutation::visit(hpke_ciphertext& v) {
  blob(v.kem_output);
  blob(v.ciphertext);
}

void mutation::visit(leaf_node& v) {
  key(v.encryption_key);
  key(v.signature_key);
  visit(v.credential);
  visit(v.capabilities);
  places_.push_back([this, &v] { v.source = static_cast<leaf_node_source>(1 + below(3)); });
  number(v.lifetime.not_before);
  number(v.lifetime.not_after);
  blob(v.parent_hash);
  list(v.extensions);
  blob(v.signature);
}

void mutation::visit(key_package& v) {
  number(v.version);
  number(v.cipher_suite);
  key(v.init_key);
  visit(v.leaf_node);
  list(v.extensions);
  blob(v.signature);
}

void mutation::visit(capabilities& v) {
  list(v.versions);
  list(v.cipher_suites);
  list(v.extensions);
  list(v.proposals);
  list(v.credentials);
}

void mutation::visit(credential& v) {
  blob(v.identity);
  places_.push_back([this, &v] {
    const auto& people = recorded().people;
    v = people[below(people.size())].who.credential;
  });
  places_.push_back([&v] { v = {credential_type::x509, {}, {bytes{1, 2, 3}}}; });
}

void mutation::visit(extension& v) {
  places_.push_back([this, &v] { v.type = static_cast<extension_type>(below(8)); });
  blob(v.data);
}

void mutation::visit(pre_shared_key_id& v) {
  places_.push_back([this, &v] { v.type = static_cast<psk_type>(1 + below(2)); });
  places_.push_back([this, &v] { v.usage = static_cast<resumption_usage>(1 + below(3)); });
  blob(v.id);
  blob(v.group_id);
  number(v.epoch);
  blob(v.nonce);
}

void mutation::visit(group_context& v) {
  number(v.version);
  number(v.cipher_suite);
  blob(v.group_id);
  number(v.epoch);
  blob(v.tree_hash);
  blob(v.confirmed_transcript_hash);
  list(v.extensions);
}

void mutation::visit(group_info& v) {
  visit(v.context);
  list(v.extensions);
  blob(v.confirmation_tag);
  number(v.signer);
  blob(v.signature);
}

void mutation::visit(group_secrets& v) {
  const auto changed_secret = [this](secret& s) {
    places_.push_back([this, &s] {
      if (!s.empty())
        s.mutable_view()[below(s.size())] ^= 1;
    });
  };
  changed_secret(v.joiner_secret);
  if (v.path_secret)
    changed_secret(*v.path_secret);
  places_.push_back([&v] {
    if (v.path_secret)
      v.path_secret.reset();
    else
      v.path_secret = secret::zeros(hash_bytes);
  });
  list(v.psks);
  places_.push_back(
      [&v] { v.psks.push_back({.id = to_bytes(view_of("shared")), .nonce = bytes(hash_bytes)}); });
}

void mutation::visit(encrypted_group_secrets& v) {
  blob(v.new_member);
  visit(v.secrets);
}

void mutation::visit(welcome& v) {
  number(v.cipher_suite);
  list(v.secrets);
  blob(v.encrypted_group_info);
}

void mutation::visit(mls_message& v) {
  if (auto* w = std::get_if<welcome>(&v.body))
    visit(*w);
  if (auto* i = std::get_if<group_info>(&v.body))
    visit(*i);
  if (auto* k = std::get_if<key_package>(&v.body))
    visit(*k);
  if (auto* m = std::get_if<public_message>(&v.body)) {
    visit(m->content);
    blob(m->auth.signature);
    blob(m->membership_tag);
  }
  if (auto* m = std::get_if<private_message>(&v.body)) {
    blob(m->group_id);
    number(m->epoch);
    blob(m->encrypted_sender_data);
    blob(m->ciphertext);
  }
}

void mutation::visit(order& v) {
  list(v.list);
  for (int weight = 0; weight < 4; ++weight) {
    places_.push_back([this, &v] { v.list.push_back({any_proposal()}); });
    places_.push_back([this, &v] {
      const leaf_index anybody{static_cast<std::uint32_t>(below(8))};
      v.list.push_back({proposal{remove_proposal{anybody}}});
    });
  }
  places_.push_back([this, &v] {
    const auto& all = recorded_references();
    v.list.push_back({all[below(all.size())]});
  });
  places_.push_back([&v] { v.path = !v.path; });
  blob(v.authenticated_data);
  list(v.leaf_extensions);
  visit(v.capabilities);
  visit(v.credential);
  blob(v.path_edits);
}

} // namespace parley::mls::fuzz
