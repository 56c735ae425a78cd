#include "tests/protocol/mls/history_world.hpp"

#include <algorithm>

namespace parley::mls::test {

tally& tally_of_run() {
  static tally all;
  return all;
}

std::string named(rule r) {
  return std::to_string(static_cast<int>(r)) + " (" +
         (r == rule::none ? "none" : std::string{describe(r).sentence}) + ")";
}
void must(bool holds, std::string_view law) {
  ++tally_of_run().laws;
  if (!holds)
    throw broken_law{std::string{law}};
}
void must_be(rule is, rule expected, std::string_view what) {
  must(is == expected,
       is == expected ? what : std::string{what} + ": expected " + named(expected) + ", was " + named(is));
}

bytes digest(const group& of) {
  auto& st = state_of(const_cast<group&>(of));
  encoder e;
  e.raw(st.now.encoded_context).opaque(st.now.interim_hash).put(static_cast<std::uint8_t>(st.over));
  e.opaque(saved(st.secrets).view()).raw(st.now.tree.tree_hash()).put(st.now.tree.leaf_count());
  e.put(st.private_keys.self);
  for (const auto& [x, key] : st.private_keys.keys)
    e.put(number(x)).opaque(key.view());
  for (const auto& p : st.now.proposals)
    e.opaque(p.ref.hash);
  for (const auto& u : st.own_updates)
    e.opaque(u.ref.hash).opaque(u.key.private_key.view());
  for (const auto& [epoch, old] : st.past)
    e.put(epoch).opaque(old.resumption_psk.view()).opaque(old.sender_data.view());
  return std::move(e).out();
}

public_message read_public(bytes_view message) {
  const auto read = granted(read_message(message), "what was sent can be read");
  must(read.as<public_message>(), "handshakes are sent in the clear");
  return *read.as<public_message>();
}

// --- the beginning

world::world(const history& h)
    : how{h}, s{policy, random, now,
                [this](const pre_shared_key_id& id) -> std::optional<secret> {
                  if (at_hand == keys_at_hand::none)
                    return std::nullopt;
                  secret key;
                  if (id.type == psk_type::external)
                    key = secret{hash(id.id)};
                  else if (const auto then = ledger.find(id.epoch); then != ledger.end())
                    key = then->second.resumption.copy();
                  else
                    return std::nullopt;
                  if (at_hand == keys_at_hand::wrong)
                    key.mutable_view()[0] ^= 1;
                  return key;
                }},
      settings{.past_epochs_max = h.past_epochs}, outside{make_signature_key(random),
                                                          make_signature_key(random)} {
  people.push_back(
      {"p1",
       granted(group::create(text("a group"), identity(), some_extensions(1), s, settings), "a group begins"),
       0, 0});
  enter(people[0]);
  server = granted(
      follower::begin(granted(people[0].g.group_info(tree_delivery::in_group_info), "a GroupInfo"), {}, s),
      "a server follows from the start");
  if (h.members > 0) {
    commit_options options;
    for (int n = 0; n < h.members; ++n)
      options.proposals.push_back(invite().add());
    auto first = make(people[0], options, false);
    place(0, first, {});
  }
}

client_identity world::identity(bool supports_rare) {
  auto capabilities = own_capabilities();
  if (supports_rare)
    capabilities.extensions.push_back(rare_extension);
  return {make_signature_key(random), {.identity = text("p" + std::to_string(++came))}, capabilities, {}};
}
guest world::invite(bool supports_rare) {
  auto who = identity(supports_rare);
  auto package = make_key_package(who, {now - day, now + 30 * day}, random);
  auto ref = key_package_ref(package.package);
  guest g{who.copy(),
          {package.package,
           {package.init_key.private_key.copy(), package.init_key.public_key},
           {package.leaf_key.private_key.copy(), package.leaf_key.public_key}}};
  guests.insert_or_assign(std::move(ref), guest{std::move(who), std::move(package)});
  return g;
}

// --- choosing who acts

void world::catch_up(std::size_t who) {
  auto& p = people[who];
  while (p.at < log.size())
    hear(who, p.at++);
}

std::size_t world::actor(std::size_t pick) {
  for (;;) {
    std::vector<std::size_t> able;
    for (std::size_t i = 0; i < people.size(); ++i)
      if (people[i].has_rest())
        able.push_back(i);
    must(!able.empty(), "whoever committed last is in the group");
    const auto who = able[pick % able.size()];
    catch_up(who);
    if (people[who].has_rest())
      return who;
  }
}

// --- receiving

std::set<proposal_ref> world::known(const person& p) const {
  std::set<proposal_ref> out;
  for (std::size_t i = p.at; i-- > 0 && log[i].epoch == p.g.epoch();)
    if (log[i].ref && !p.missed.contains(i))
      out.insert(*log[i].ref);
  return out;
}

void world::refuses(person& p, bytes_view message, std::span<const rule> any_of, std::string_view what) {
  const auto before = digest(p.g);
  const auto is = broken(p.g.receive(message, s));
  if (std::ranges::find(any_of, is) == any_of.end())
    must_be(is, any_of.front(), p.name + " refuses " + std::string{what});
  must(digest(p.g) == before, "what is refused changes nothing");
}
void world::refuses(person& p, bytes_view message, rule expected, std::string_view what) {
  refuses(p, message, {&expected, 1}, what);
}

void world::hear(std::size_t who, std::size_t index) {
  auto& p = people[who];
  const auto& h = log[index];
  if (p.g.is_over())
    return refuses(p, h.message, rule::group_over, "handshakes when it is out");
  if (p.stuck)
    return refuses(p, h.message, rule::wrong_epoch, "handshakes of epochs that it does not reach");
  if (!h.ref)
    return hear_commit(who, h);
  if (h.by == who)
    return;
  if (is_among(h.lost_to, who)) {
    count("a proposal that is lost to somebody");
    p.missed.insert(index);
    return;
  }
  must(heard<proposal_ref>(p.g.receive(h.message, s), p.name + " hears a proposal") == *h.ref,
       "a proposal has one reference");
  if ((who + index) % 4 != 0)
    return;
  if (h.sealed)
    refuses(p, h.message, rule::generation_used, "a sealed proposal that comes again");
  else
    must(heard<proposal_ref>(p.g.receive(h.message, s), "a proposal again") == *h.ref,
         "a proposal that comes again is the same");
}

void world::hear_late(person& p, std::size_t index) {
  count("a proposal that comes late");
  must(heard<proposal_ref>(p.g.receive(log[index].message, s), "a late proposal") == *log[index].ref,
       "a late proposal is the same");
  p.missed.erase(index);
}

void world::hear_commit(std::size_t who, const handshake& h) {
  auto& p = people[who];
  const auto has = known(p);
  must(has.size() == state_of(p.g).now.proposals.size(), "the proposals of an epoch are those that came");
  const bool lacks = std::ranges::any_of(h.covers, [&](const auto& r) { return !has.contains(r); });
  if (lacks) {
    count(h.sealed ? "unknown_proposal, sealed" : "unknown_proposal");
    refuses(p, h.message, rule::unknown_proposal, "a commit that covers what it did not get");
    if (is_among(h.gives_up, who)) {
      count("stuck without a proposal");
      p.stuck = true;
      return;
    }
    while (!p.missed.empty())
      hear_late(p, *p.missed.begin());
  }
  const bool removes = std::ranges::find(h.removed, p.g.own_leaf()) != h.removed.end();
  if (!h.psks.empty() && !removes && (who + h.epoch) % 2 == 0)
    try_without_keys(p, h);
  if (who % 4 == 3)
    (void)granted(p.g.receive(h.message, s), "a commit can be looked at and dropped");
  auto pending = heard<pending_commit>(p.g.receive(h.message, s), p.name + " hears a commit");
  must(pending.epoch() == h.epoch + 1, "a commit begins the next epoch");
  must(pending.removes_this_member() == removes, "who is removed sees it");
  must(pending.effects().removed == h.removed, "all see the same who is removed");
  granted(p.g.confirm(std::move(pending)), "a commit that was accepted can be confirmed");
  p.missed.clear();
  must(p.g.is_over() == (removes || h.ends), "it is over for who is removed, and at a ReInit for all");
  refuses(p, h.message, p.g.is_over() ? rule::group_over : rule::wrong_epoch, "a commit that comes again");
  if (!removes)
    enter(p);
}

/// A member that lacks a pre-shared key, or has a wrong one, cannot follow the commit.
void world::try_without_keys(person& p, const handshake& h) {
  const auto holds = [&](const pre_shared_key_id& id) {
    return id.type == psk_type::resumption && id.epoch >= p.since && h.epoch - id.epoch <= how.past_epochs;
  };
  if (std::ranges::all_of(h.psks, holds))
    return;
  count("a commit without its pre-shared key");
  at_hand = keys_at_hand::none;
  refuses(p, h.message, rule::psk_unknown, "a commit with a key that it does not hold");
  at_hand = keys_at_hand::wrong;
  refuses(p, h.message, rule::wrong_confirmation_tag, "a commit with a key that it has wrong");
  at_hand = keys_at_hand::all;
}

/// The facts of an epoch are the same for all members that enter it.
void world::enter(person& p) {
  auto& st = state_of(p.g);
  const auto exported =
      p.g.is_over() ? bytes{} : to_bytes(granted(p.g.export_secret("t", {}, 32), "an export").view());
  epoch_facts is{to_bytes(p.g.epoch_authenticator()),
                 exported,
                 to_bytes(st.now.tree.tree_hash()),
                 st.now.interim_hash,
                 p.g.members(),
                 p.g.extensions(),
                 st.secrets.resumption_psk.copy()};
  const auto [at, is_first] = ledger.try_emplace(p.g.epoch(), std::move(is));
  if (is_first)
    return;
  const auto& first = at->second;
  must(first.authenticator == is.authenticator, "all in an epoch have one authenticator");
  must(first.exported == is.exported, "all in an epoch export one secret");
  must(first.tree_hash == is.tree_hash, "all in an epoch have one tree");
  must(first.interim_hash == is.interim_hash, "all in an epoch have one transcript");
  must(first.roster == is.roster, "all in an epoch see the same members");
  must(first.extensions == is.extensions, "all in an epoch have the same extensions");
  must(first.resumption == is.resumption, "all in an epoch have one resumption key");
}

/// Delivers a message to an arbitrary member and checks the outcome.
void world::offer(std::size_t who, std::size_t n) {
  auto& p = people[who];
  const auto& m = said[n];
  const auto at = p.g.epoch();
  const bool was_there = m.epoch >= p.since && !(p.g.is_over() && !p.in && m.epoch == at);
  auto expected = rule::none;
  if (m.epoch > at)
    expected = rule::epoch_ahead;
  else if (m.epoch < at && (m.epoch < p.since || at - m.epoch > how.past_epochs))
    expected = rule::epoch_gone;
  else if (!was_there)
    expected = rule::group_over;
  else if (m.by == who || read.contains({who, n}))
    expected = rule::generation_used;
  if (expected != rule::none) {
    count("a message refused: " + named(expected));
    return refuses(p, m.message, expected, "message " + m.words);
  }
  count("a message read");
  const auto before = digest(p.g);
  const auto text = heard<application_message>(p.g.receive(m.message, s), p.name + " reads " + m.words);
  must(string_of(text.data.view()) == m.words, "what is read is what was said");
  must(text.epoch == m.epoch && text.sender == people[m.by].g.own_leaf(), "who said it, and when");
  must(digest(p.g) == before, "reading changes nothing but the keys of messages");
  read.insert({who, n});
}

// --- the server's view

void world::serve(const handshake& h) {
  if (!server)
    return;
  if (h.sealed) {
    must_be(broken(server->check(h.message, s)), rule::handshake_not_public, "a server sees no sealed ones");
    if (!h.ref)
      server.reset();
    return;
  }
  if (h.ref) {
    must(granted(server->propose(h.message, s), "a server takes a proposal") == *h.ref,
         "a server has the members' references");
    return;
  }
  const auto was_sealed = [&](const proposal_ref& r) {
    return std::ranges::none_of(log, [&](const auto& x) { return x.ref == r && !x.sealed; });
  };
  if (std::ranges::any_of(h.covers, was_sealed)) {
    must_be(broken(server->check(h.message, s)), rule::unknown_proposal, "a server without a proposal");
    server.reset();
    return;
  }
  auto next = granted(server->check(h.message, s), "a server takes a commit");
  const auto effects = granted(server->apply(std::move(next)), "and applies it");
  must(effects.removed == h.removed, "a server sees who is removed");
  must_be(broken(server->check(h.message, s)), h.ends ? rule::group_over : rule::wrong_epoch,
          "a server takes a commit once");
}

void world::check_server(person& p) {
  if (!server) {
    if (ended)
      return;
    server =
        granted(follower::begin(granted(p.g.group_info(tree_delivery::in_group_info), "a GroupInfo"), {}, s),
                "a server follows from any epoch");
    count("a server that begins again");
  }
  must(server->epoch() == p.g.epoch(), "the server is in the members' epoch");
  must(server->roster() == p.g.members(), "the server sees the members");
  must(server->ratchet_tree() == p.g.ratchet_tree(), "the server has the members' tree");
  must(server->extensions() == p.g.extensions(), "the server has the group's extensions");
}

// --- placing messages in order

void world::send(handshake h) {
  log.push_back(std::move(h));
  serve(log.back());
  spread({});
}

void world::spread(const fate& f) {
  for (std::size_t i = 0; i < people.size(); ++i)
    if (!is_among(f.asleep, i) && people[i].at + 1 >= log.size())
      catch_up(i);
}

committed world::make(person& p, const commit_options& options, bool sealed) {
  if (sealed)
    if (auto out = sealed_commit(p, options, s))
      return std::move(*out);
  auto made = granted(p.g.commit(options, s), p.name + " commits");
  auto content = std::get<commit>(read_public(made.commit).content.body);
  return {std::move(made), std::move(content), false};
}

handshake world::to_place(std::size_t by, const committed& c, const fate& f) {
  auto& st = state_of(people[by].g);
  handshake h{c.made.commit, by, st.now.context.epoch, c.sealed};
  for (const auto& item : c.content.proposals)
    if (const auto* ref = std::get_if<proposal_ref>(&item.body))
      h.covers.push_back(*ref);
  for (const auto& sent : granted(st.now.resolve(c.content, st.as_sender()), "a list of one's own"))
    if (const auto* key = sent.what->as<psk_proposal>())
      h.psks.push_back(key->psk);
  h.removed = c.made.pending.effects().removed;
  h.ends = c.made.pending.effects().reinit.has_value();
  h.gives_up = f.gives_up;
  return h;
}

void world::leave(std::span<const leaf_index> removed) {
  for (const auto leaf : removed)
    for (std::size_t i = 0; i < people.size(); ++i)
      if (auto& p = people[i]; p.in && p.g.own_leaf() == leaf) {
        p.in = false;
        stolen.push_back({i, state_of(p.g).private_keys.copy().keys, false, 2});
      }
}

void world::place(std::size_t by, committed& c, const fate& f) {
  auto& p = people[by];
  const auto transcript = state_of(p.g).now.context.confirmed_transcript_hash;
  const auto effects = c.made.pending.effects();
  log.push_back(to_place(by, c, f));
  const auto h = log.back();
  serve(h);
  leave(h.removed);
  refuses(p, h.message, c.sealed ? rule::generation_used : rule::own_commit, "its own commit");
  if (f.dies) {
    count("a committer that dies");
    granted(group_store::save(p.g, p.disk), "a save");
    granted(group_store::save_pending(p.g, c.made.pending, p.disk), "a save of the pending commit");
    p.g = granted(group_store::load(p.disk, p.who(), settings), "what was saved can be loaded");
    auto pending = granted(group_store::load_pending(p.g, p.disk), "the pending commit too");
    must(pending.has_value(), "the pending commit was saved");
    c.made.pending = std::move(*pending);
  }
  granted(p.g.confirm(std::move(c.made.pending)), "a commit of one's own can be confirmed");
  p.at = log.size();
  p.missed.clear();
  ended = h.ends;
  must(p.g.is_over() == ended, "who commits stays");
  enter(p);
  check_server(p);
  try_old_keys(c.content, p, transcript, effects);
  welcome_all(c, h, f);
  guests.clear();
  spread(f);
}

void world::welcome_all(const committed& c, const handshake& h, const fate& f) {
  const auto tree =
      c.made.ratchet_tree.empty() ? std::nullopt : std::optional<bytes_view>{c.made.ratchet_tree};
  for (std::size_t n = 0; n < c.made.welcomes.size(); ++n) {
    const auto& message = c.made.welcomes[n];
    const auto read = granted(read_message(message), "a Welcome can be read");
    const auto at = guests.find(read.as<welcome>()->secrets.at(0).new_member);
    must(at != guests.end(), "who is welcomed was invited");
    auto& g = at->second;
    if (is_among(f.stays_away, n)) {
      count("somebody who was added and never comes");
      continue;
    }
    const auto join = [&](std::optional<bytes_view> with) {
      return group::join(message, g.package, g.who.copy(), with, s, {}, settings);
    };
    if (!h.psks.empty()) {
      at_hand = keys_at_hand::none;
      must_be(broken(join(tree)), rule::psk_unknown, "who joins without a key");
      at_hand = keys_at_hand::wrong;
      must_be(broken(join(tree)), rule::cannot_open, "who joins with a wrong key");
      at_hand = keys_at_hand::all;
    }
    if (tree && n == 0)
      must_be(broken(join({})), rule::ratchet_tree_missing, "who joins without a tree");
    people.push_back({string_of(g.who.credential.identity), granted(join(tree), "who was added joins"),
                      h.epoch + 1, log.size()});
    count("a member that joined by a Welcome");
    enter(people.back());
    must(people.back().g.own_leaf() != people[*h.by].g.own_leaf(), "each has a leaf");
  }
}

void world::place_external(external_join& joining, std::string name, std::optional<std::size_t> replaced,
                           const fate& f) {
  handshake h{joining.commit, people.size(), epoch()};
  const auto content = std::get<commit>(read_public(joining.commit).content.body);
  if (replaced)
    h.removed = {people[*replaced].g.own_leaf()};
  commit_effects effects{.is_external = true, .removed = h.removed};
  const auto transcript = state_of(people[actor(0)].g).now.context.confirmed_transcript_hash;
  log.push_back(h);
  serve(h);
  leave(h.removed);
  people.push_back({std::move(name), std::move(joining.group), h.epoch + 1, log.size()});
  auto& p = people.back();
  enter(p);
  check_server(p);
  try_old_keys(content, p, transcript, effects);
  guests.clear();
  spread(f);
}

// --- checks that need keys

/// Copied keys open nothing after their owner created new ones or was removed; before that
/// they open the path.
void world::try_old_keys(const commit& c, person& committer, bytes_view transcript_before,
                         const commit_effects& effects) {
  if (c.path) {
    auto context = state_of(committer.g).now.context;
    context.confirmed_transcript_hash = to_bytes(transcript_before);
    const auto provisional = encoded(context);
    for (auto& k : stolen) {
      auto& owner = people[k.whose];
      const bool renews = !owner.in || &owner == &committer ||
                          std::ranges::find(effects.updated, owner.g.own_leaf()) != effects.updated.end();
      if (k.worthless_for == 0 && renews)
        k.worthless_for = 2;
      if (k.worthless_for == 0 && !k.is_fresh)
        continue;
      bool opens = false;
      for (const auto& [x, key] : k.keys) {
        const auto pair = granted(hpke_key_from_private(key.view()), "a key");
        for (const auto& node : c.path->nodes)
          for (const auto& sealed : node.encrypted_path_secret)
            opens = opens || decrypt_with_label(pair, "UpdatePathNode", provisional, sealed).has_value();
      }
      count(k.worthless_for ? "old keys that open nothing" : "stolen keys that open a path");
      must(opens == (k.worthless_for == 0), "keys of a member open the path, and old keys do not");
    }
  }
  for (auto& k : stolen) {
    k.is_fresh = false;
    if (k.worthless_for > 0 && --k.worthless_for == 0)
      k.whose = people.size(); // removed below
  }
  std::erase_if(stolen, [&](const auto& k) { return k.whose == people.size(); });
}

void world::check_deeply(person& p) {
  auto& st = state_of(p.g);
  granted(st.private_keys.check(st.now.tree), "private keys are those of the tree");
  const auto tree = granted(ratchet_tree::decoded(p.g.ratchet_tree()), "a tree can be read");
  const auto requirements = granted(requirements_of(st.now.context.extensions), "extensions can be read");
  granted(check_tree(tree, {st.now.context.group_id, st.now.context.tree_hash, &requirements, now}, policy),
          "the tree is valid");
}

void world::finish() {
  note("the end");
  for (std::size_t i = 0; i < people.size(); ++i)
    catch_up(i);
  // Members that could not follow join again.
  while (!ended && std::ranges::any_of(people, [](const auto& p) { return p.in && p.stuck; }))
    resync(picks{{step::resync, {}}});
  for (std::size_t i = 0; i < people.size(); ++i) {
    catch_up(i);
    auto& p = people[i];
    must(!p.in || ended || p.g.epoch() == epoch(), "all arrive");
  }
  if (!ended) {
    const auto by = actor(0);
    auto last = make(people[by], {}, false);
    place(by, last, {});
    for (std::size_t i = 0; i < people.size(); ++i)
      if (people[i].has_rest()) {
        said.push_back({epoch(), i, "last words of " + people[i].name, {}});
        said.back().message = granted(people[i].g.send(view_of(said.back().words), {}, s), "all speak");
        check_deeply(people[i]);
      }
  }
  for (std::size_t n = 0; n < said.size(); ++n)
    for (std::size_t i = 0; i < people.size(); ++i)
      if (people[i].g.epoch() >= said[n].epoch) {
        offer(i, n);
        if ((i + n) % 4 == 0)
          offer(i, n);
      }
}

void world::live(const command& c) {
  const picks p{c};
  count(std::string{"step: "} + std::string{name_of(c.what)});
  switch (c.what) {
  case step::speak:
    return speak(p);
  case step::offer:
    return offer_some(p);
  case step::propose:
    return propose(p);
  case step::ask:
    return ask(p);
  case step::late:
    return come_late(p);
  case step::commit:
    return commit_one(p);
  case step::race:
    return race(p);
  case step::join:
    return join(p);
  case step::resync:
    return resync(p);
  case step::wake:
    return catch_up(picks{c}.any(people.size()));
  case step::restart:
    return restart(people[picks{c}.any(people.size())]);
  case step::steal:
    return steal(p);
  case step::forge:
    return forge(p);
  case step::end:
    return end(p);
  }
}

} // namespace parley::mls::test
