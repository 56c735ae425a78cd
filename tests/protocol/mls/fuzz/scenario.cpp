#include "tests/protocol/mls/fuzz/scenario.hpp"

#include "tests/protocol/mls/mls_fixture.hpp"

namespace parley::mls::fuzz {
namespace {

constexpr std::size_t everybody = 7;

bytes text(std::string_view v) {
  return to_bytes(view_of(v));
}

const std::vector<person>& all_people() {
  static const auto people = [] {
    std::vector<person> out;
    const auto random = test::seeded_random(1);
    for (std::size_t i = 0; i < everybody; ++i) {
      auto account = make_signature_key(random);
      auto device = make_signature_key(random);
      const auto says = make_account_statement(account, public_key_of(device.public_key),
                                               "device " + std::to_string(i), now + 365 * day);
      auto speaks = own_capabilities();
      speaks.extensions.push_back(private_extension);
      out.push_back({std::move(account),
                     {std::move(device),
                      to_credential(says),
                      std::move(speaks),
                      {{private_extension, text("of a leaf")}}}});
    }
    return out;
  }();
  return people;
}

std::vector<public_key> accounts() {
  std::vector<public_key> out;
  for (const auto& p : all_people())
    out.push_back(public_key_of(p.account.public_key));
  return out;
}

/// Runs the scenario and records it.
class recorder {
public:
  explicit recorder(scenario& out) : out_{out} {}
  void play();

private:
  struct invited_person {
    std::size_t who;
    own_key_package package;
  };

  /// Begins a step and keeps the state of each member.
  step& begin(step::kind is, std::size_t by) {
    step st{.is = is, .by = by, .by_member = members_.contains(by)};
    for (auto& [who, g] : members_) {
      taken(group_store::save(g, stores_[who]), "saving");
      st.before[who] = stores_[who];
    }
    auto& first = members_.begin()->second;
    st.group_info = taken(first.group_info(tree_delivery::in_group_info), "the group info");
    st.proposals = proposals_;
    out_.steps.push_back(std::move(st));
    return out_.steps.back();
  }
  /// Delivers the message of the last step to all members but `by`.
  void deliver(const bytes& message) {
    auto& st = out_.steps.back();
    st.message = message;
    for (auto& [who, g] : members_) {
      if (who == st.by && st.by_member)
        continue;
      auto heard = taken(g.receive(message, w_.s), "what is said in the scenario");
      if (auto* said = std::get_if<application_message>(&heard)) {
        st.outcome[who] = to_bytes(said->data.view());
      } else if (const auto* ref = std::get_if<proposal_ref>(&heard)) {
        st.outcome[who] = ref->hash;
      } else {
        auto& pending = std::get<pending_commit>(heard);
        st.outcome[who] = to_bytes(pending.epoch_authenticator());
        taken(g.confirm(std::move(pending)), "confirming");
      }
    }
    if (st.is == step::kind::proposal)
      proposals_.push_back(message);
    if (st.is == step::kind::commit)
      proposals_.clear();
    std::erase_if(members_, [](const auto& m) { return m.second.is_over(); });
  }

  void say(std::size_t by, std::string_view what, std::string_view aad = {}) {
    begin(step::kind::application, by);
    deliver(taken(members_.at(by).send(view_of(what), view_of(aad), w_.s), "sending"));
  }
  void propose(std::size_t by, const proposal& p) {
    begin(step::kind::proposal, by);
    deliver(taken(members_.at(by).propose(p, w_.s), "proposing"));
  }
  void propose_update(std::size_t by) {
    begin(step::kind::proposal, by);
    deliver(taken(members_.at(by).propose_update(w_.s), "proposing"));
  }
  /// Sent by a party that is not a member.
  void propose_from_outside(std::size_t by, const sender& as, const proposal& p,
                            const signature_key_pair& key) {
    begin(step::kind::proposal, by);
    const auto& st = state_of(members_.begin()->second);
    auto content =
        sign_content(wire_format::public_message, {st.now.context.group_id, st.now.context.epoch, as, {}, p},
                     key, st.now.encoded_context);
    deliver(encoded(mls_message{taken(protect_public(std::move(content), {}, {}), "protecting")}));
  }
  proposal add(std::size_t who) {
    const auto& them = out_.people[who].who;
    waiting_.push_back({who, make_key_package(them, {now - day, now + 30 * day}, w_.random)});
    return {add_proposal{waiting_.back().package.package}};
  }
  void commit(std::size_t by, commit_options options = {}) {
    begin(step::kind::commit, by);
    auto made = taken(members_.at(by).commit(options, w_.s), "committing");
    auto& st = out_.steps.back();
    st.before[by] = stores_[by];
    // A second copy of the member saves the pending commit, so that the group itself continues with a
    // store that does not contain it.
    auto same = out_.load(st.before[by], by);
    taken(group_store::save_pending(same, made.pending, st.before[by]), "saving what waits");
    deliver(made.commit);
    auto& g = members_.at(by);
    taken(g.confirm(std::move(made.pending)), "confirming");
    for (const auto& w : made.welcomes)
      welcome_somebody(w, made);
    waiting_.clear();
    if (g.is_over())
      members_.clear();
  }
  void welcome_somebody(const bytes& message, const made_commit& made) {
    const auto read = taken(read_message(message), "a welcome");
    const auto& w = *read.as<welcome>();
    for (auto& [who, package] : waiting_) {
      if (w.secrets.front().new_member != key_package_ref(package.package))
        continue;
      const auto& them = out_.people[who].who;
      invitation i{.whom = who,
                   .welcome = message,
                   .tree = made.ratchet_tree,
                   .key_package = encoded(package.package),
                   .init_key = to_bytes(package.init_key.private_key.view()),
                   .leaf_key = to_bytes(package.leaf_key.private_key.view())};
      const auto secrets = taken(
          decrypt_with_label(package.init_key, "Welcome", w.encrypted_group_info, w.secrets.front().secrets),
          "the secrets of a welcome");
      i.secrets = to_bytes(secrets.view());
      const auto info =
          taken(open_group_info(w.encrypted_group_info, i.welcome_secret()), "a welcome's group");
      i.info = encoded(info);
      const auto tree = i.tree.empty() ? std::nullopt : std::optional<bytes_view>{i.tree};
      auto joined = taken(group::join(message, package, them.copy(), tree, w_.s, {}), "a welcome");
      i.authenticator = to_bytes(joined.epoch_authenticator());
      members_.insert_or_assign(who, std::move(joined));
      stores_[who] = {};
      out_.invitations.push_back(std::move(i));
    }
  }
  void join_externally(std::size_t who, std::optional<leaf_index> replaces = {}) {
    const auto replaced = replaces ? std::optional{who} : std::nullopt;
    begin(step::kind::commit, who).by_member = false;
    if (replaced)
      members_.erase(who);
    auto joined = taken(
        mls::join_externally(out_.steps.back().group_info, {}, out_.people[who].who.copy(), replaces, w_.s),
        "an external join");
    deliver(joined.commit);
    members_.insert_or_assign(who, std::move(joined.group));
    stores_[who] = {};
  }

  scenario& out_;
  outside w_{2};
  std::map<std::size_t, group> members_;
  std::map<std::size_t, memory_parts> stores_;
  std::vector<bytes> proposals_;
  std::vector<invited_person> waiting_;
};

void recorder::play() {
  const auto service = public_key_of(out_.external.public_key);
  const auto says =
      make_account_statement(all_people().back().account, service, "a service", now + 365 * day);
  const std::vector<external_sender> outsiders{{service, to_credential(says)}};
  required_capabilities required{{private_extension}, {}, {credential_type::basic}};
  const extension_list extensions{to_extension(outsiders), to_extension(required)};
  members_.insert_or_assign(
      0, taken(group::create(text("group"), out_.people[0].who.copy(), extensions, w_.s), "creating"));
  const auto at = [&](std::size_t who) { return members_.at(who).own_leaf(); };
  commit(0, {.proposals = {add(1), add(2), add(3)}});
  say(1, "hello");
  say(0, "a second one", "seen by all");
  propose_update(2);
  propose_from_outside(6, {sender_type::external, 0}, add(4), out_.external);
  commit(1, {.tree = tree_delivery::in_group_info});
  say(4, "new here");
  propose(0, {psk_proposal{external_psk(text("shared"), w_.random)}});
  propose(4, {remove_proposal{at(3)}});
  commit(2);
  say(0, "third", "a");
  say(0, std::string(300, 'x'));
  say(2, "out of order");
  auto more = extensions;
  more.push_back({private_extension, text("of the group")});
  propose(1, {group_context_extensions_proposal{more}});
  commit(4);
  join_externally(5);
  say(5, "from outside");
  join_externally(4, at(4));
  const auto resumed =
      resumption_psk(resumption_usage::application, text("group"), members_.at(5).epoch(), w_.random);
  commit(5, {.proposals = {{psk_proposal{resumed}}}, .always_path = false});
  commit(0, {.proposals = {add(3), {psk_proposal{external_psk(text("shared"), w_.random)}}},
             .always_path = false});
  propose_from_outside(6, {sender_type::new_member_proposal, 0}, add(6), out_.people[6].who.signer);
  propose_update(1);
  commit(3, {.authenticated_data = text("bound")});
  say(6, "all are here");
  propose(5, {remove_proposal{at(5)}});
  commit(6);
  commit(0, {.proposals = {{remove_proposal{at(1)}}, {remove_proposal{at(2)}}}});
  say(3, "four are left");
  commit(4);
  commit(0, {.proposals = {{reinit_proposal{text("the next group"), mls10, cipher_suite_1, extensions}}},
             .always_path = false});
}

} // namespace

outside::outside(std::uint64_t seed)
    : policy{accounts()}, random{test::seeded_random(seed)},
      s{policy, random, now, [](const pre_shared_key_id& id) -> std::optional<secret> {
          if (id.type != psk_type::external || !equal(id.id, view_of("shared")))
            return std::nullopt;
          return secret{view_of("known to all")};
        }} {}

own_key_package invitation::package() const {
  return {taken(whole<mls::key_package>(key_package), "a key package"),
          taken(hpke_key_from_private(init_key), "an init key"),
          taken(hpke_key_from_private(leaf_key), "a leaf key")};
}

secret invitation::welcome_secret() const {
  const auto told = taken(whole<group_secrets>(secrets), "the secrets of a welcome");
  const outside w{0};
  std::vector<pre_shared_key> keys;
  for (const auto& id : told.psks)
    keys.push_back({id, w.s.find_psk(id).value()});
  return derive_welcome_secret(told.joiner_secret, taken(psk_secret(keys), "pre-shared keys"));
}

const signature_key_pair* scenario::signer_of(bytes_view public_key) const {
  if (equal(external.public_key, public_key))
    return &external;
  for (const auto& p : people)
    if (equal(p.who.signer.public_key, public_key))
      return &p.who.signer;
  return nullptr;
}

group scenario::load(const memory_parts& from, std::size_t who) const {
  return taken(group_store::load(from, people.at(who).who.copy()), "a saved group");
}

const scenario& recorded() {
  static const auto all = [] {
    scenario out;
    for (const auto& p : all_people())
      out.people.push_back({{p.account.private_key.copy(), p.account.public_key}, p.who.copy()});
    out.external = make_signature_key(test::seeded_random(3));
    recorder{out}.play();
    return out;
  }();
  return all;
}

} // namespace parley::mls::fuzz
