// What members do in a history. The numbers of a step are read in the order of their importance, so
// that a shorter list describes a simpler step.
#include "tests/protocol/mls/history_world.hpp"

#include <algorithm>

namespace parley::mls::test {
namespace {

constexpr std::size_t words_of_an_epoch_max = 40; ///< fewer than the skipped keys that a ratchet keeps
constexpr std::size_t proposals_of_an_epoch_max = 8;

} // namespace

// --- application messages

void world::speak(picks p) {
  const auto by = actor(p.next());
  auto& who = people[by];
  if (ended)
    return must_be(broken(who.g.send(view_of("x"), {}, s)), rule::group_over, "speaking after the end");
  const auto has = known(who);
  must(has.size() == state_of(who.g).now.proposals.size(), "who hears everything knows all proposals");
  if (!has.empty()) {
    count("speaking refused: commit_wanted_first");
    const auto before = digest(who.g);
    must_be(broken(who.g.send(view_of("x"), {}, s)), rule::commit_wanted_first, "speaking beside proposals");
    return must(digest(who.g) == before, "a refusal to speak changes nothing");
  }
  const auto so_far =
      std::ranges::count_if(said, [&](const auto& m) { return m.by == by && m.epoch == epoch(); });
  if (static_cast<std::size_t>(so_far) >= words_of_an_epoch_max)
    return;
  note(who.name + " speaks");
  for (auto n = 1 + p.any(3); n > 0; --n) {
    auto words = "message " + std::to_string(said.size()) + " of " + who.name;
    auto message = granted(who.g.send(view_of(words), {}, s), "a member speaks");
    // If it is changed in transit, it is refused and nothing is lost.
    auto changed = message;
    changed[changed.size() - 1 - p.any(60)] ^= 1;
    said.push_back({epoch(), by, std::move(words), std::move(message)});
    const auto reader = p.any(people.size());
    if (reader != by && people[reader].has_rest() && people[reader].g.epoch() == epoch())
      refuses(people[reader], changed, rule::cannot_open, "a message that was changed");
  }
}

void world::offer_some(picks p) {
  if (said.empty())
    return;
  for (auto n = 1 + p.any(4); n > 0; --n) {
    const auto which = said.size() - 1 - p.any(said.size());
    offer(p.any(people.size()), which);
  }
}

// --- proposals

bool world::requires_rare() const {
  const auto required = granted(required_capabilities_of(ledger.rbegin()->second.extensions), "extensions");
  return !required.extensions.empty();
}

extension_list world::some_extensions(std::size_t pick) {
  const auto listed = [&](std::initializer_list<int> which) {
    std::vector<external_sender> out;
    for (const auto i : which)
      out.push_back({public_key_of(outside[i].public_key), {.identity = text("outside")}});
    return to_extension(out);
  };
  const required_capabilities basic{.credentials = {credential_type::basic}};
  switch (pick % 5) {
  case 0:
    return {};
  case 1:
    return {listed({0})};
  case 2:
    return {to_extension(basic), listed({1, 0})};
  case 3:
    return {to_extension(basic)};
  default:
    return {to_extension(required_capabilities{.extensions = {rare_extension}}), listed({1})};
  }
}

pre_shared_key_id world::some_key(std::size_t pick) {
  if (pick % 3 == 0)
    return external_psk(text("key " + std::to_string(pick % 2)), random);
  const auto back = std::min<std::uint64_t>(pick / 3 % 4, epoch());
  return resumption_psk(resumption_usage::application, text("a group"), epoch() - back, random);
}

std::optional<leaf_index> world::other_leaf(person& p, std::size_t pick) {
  auto all = p.g.members();
  std::erase_if(all, [&](const auto& m) { return m.leaf == p.g.own_leaf(); });
  return all.empty() ? std::nullopt : std::optional{all[pick % all.size()].leaf};
}

void world::propose(picks p) {
  const auto by = actor(p.next());
  auto& who = people[by];
  if (ended)
    return must_be(broken(who.g.propose_update(s)), rule::group_over, "proposing after the end");
  if (known(who).size() >= proposals_of_an_epoch_max)
    return;
  const auto kind = p.any(9);
  const auto lost_to = p.some();
  const bool sealed = p.one_in(3);
  const auto pick = p.next();
  std::optional<proposal> what;
  std::string name = "its update";
  if (kind == 1 || kind == 2) {
    name = "a guest";
    what = invite(requires_rare() || pick % 3 != 2).add();
  } else if (kind == 3 || kind == 4) {
    const auto other = other_leaf(who, pick);
    if (!other)
      return;
    name = "a removal";
    what = proposal{remove_proposal{*other}};
  } else if (kind == 5) {
    name = "to leave";
    what = proposal{remove_proposal{who.g.own_leaf()}};
  } else if (kind == 6) {
    name = "a key";
    what = proposal{psk_proposal{some_key(pick)}};
  } else if (kind == 7) {
    name = "extensions";
    what = proposal{group_context_extensions_proposal{some_extensions(pick)}};
    if (pick % 5 == 4 && !state_of(who.g).now.tree.all_support(rare_extension)) {
      count("a requirement that not all meet");
      const auto before = digest(who.g);
      must_be(broken(who.g.propose(*what, s)), rule::extensions_not_supported_by_all, "such a requirement");
      return must(digest(who.g) == before, "what is not proposed changes nothing");
    }
  } else if (kind == 8) {
    name = "a ReInit, which nobody covers";
    what = proposal{reinit_proposal{text("another group")}};
  }
  note(who.name + " proposes " + name + (sealed ? ", sealed" : "") +
       (lost_to ? ", lost to some " + std::to_string(lost_to) : ""));
  count(std::string{sealed ? "sealed proposal: " : "proposal: "} + name);
  handshake h;
  if (sealed) {
    h = what ? sealed_proposal(who, *what, s) : sealed_update(who, s);
  } else {
    h.message = granted(what ? who.g.propose(*what, s) : who.g.propose_update(s), "a member proposes");
    h.epoch = epoch();
    h.ref = state_of(who.g).now.proposals.back().ref;
    for (const auto& known_one : state_of(who.g).now.proposals) // the same proposal again keeps its position
      if (what && known_one.from == state_of(who.g).as_sender() && known_one.proposal == *what)
        h.ref = known_one.ref;
  }
  h.by = by;
  h.lost_to = lost_to;
  send(std::move(h));
}

/// Proposals from outside: by a sender that the group lists, by one that it does not list, and by a new
/// member that asks to be added.
void world::ask(picks p) {
  const auto by = actor(p.next());
  auto& who = people[by];
  if (ended || known(who).size() >= proposals_of_an_epoch_max)
    return;
  const auto kind = p.any(3);
  const auto lost_to = p.some();
  const auto key = p.any(2), index = p.any(2);
  const auto pick = p.next();
  const auto sent = [&](sender from, proposal what, const signature_key_pair& signer) {
    auto c = sign_content(wire_format::public_message, {text("a group"), epoch(), from, {}, std::move(what)},
                          signer, {});
    handshake h{encoded(mls_message{public_message{c.content, c.auth, {}}}), {}, epoch()};
    h.ref = make_proposal_ref(c);
    h.lost_to = lost_to;
    return h;
  };
  const auto g = invite(requires_rare() || pick % 3 != 2);
  if (kind == 2) {
    count("proposal of a new member");
    note("a new member asks");
    return send(sent({sender_type::new_member_proposal, 0}, g.add(), g.who.signer));
  }
  const auto other = other_leaf(who, pick);
  const auto what = kind == 1 && other ? proposal{remove_proposal{*other}} : g.add();
  auto h = sent({sender_type::external, static_cast<std::uint32_t>(index)}, what, outside[key]);
  const auto listed = granted(external_senders_of(who.g.extensions()), "extensions");
  if (index < listed.size() && equal(listed[index].signature_key, outside[key].public_key)) {
    count("proposal of an external sender");
    note("an external sender proposes");
    return send(std::move(h));
  }
  count("proposal of somebody whom the group does not list");
  const auto why = index < listed.size() ? rule::bad_signature : rule::unknown_sender;
  for (std::size_t i = 0; i < people.size(); ++i)
    if (people[i].has_rest() && people[i].g.epoch() == epoch())
      refuses(people[i], h.message, why, "a proposal of somebody whom the group does not list");
  if (server)
    must_be(broken(server->propose(h.message, s)), why, "a server too");
}

void world::come_late(picks p) {
  const auto n = p.any(people.size());
  for (std::size_t i = 0; i < people.size(); ++i) {
    auto& who = people[(n + i) % people.size()];
    if (who.missed.empty() || who.stuck || who.g.is_over())
      continue;
    auto which = who.missed.begin();
    std::advance(which, p.any(who.missed.size()));
    note(who.name + " gets a late proposal");
    return hear_late(who, *which);
  }
}

// --- commits

namespace {

commit_options some_commit(world& w, person& who, picks& p, std::string& name) {
  commit_options out;
  const auto kind = p.any(8);
  const auto pick = p.next();
  out.always_path = !p.one_in(3);
  out.tree = p.one_in(2) ? tree_delivery::in_group_info : tree_delivery::apart;
  out.cover_received = !p.one_in(5);
  name = who.name + " commits";
  auto& list = out.proposals;
  const bool needs_rare = w.requires_rare() || kind == 6;
  if (kind == 1 || kind == 2 || kind == 7) {
    for (auto n = 1 + pick % (kind == 2 ? 3 : 1); n > 0 && who.g.member_count() + list.size() < w.members_max;
         --n)
      list.push_back(w.invite(needs_rare || (pick + n) % 4 != 3).add());
    name += ", adds " + std::to_string(list.size());
  }
  if (kind == 3 || kind == 7)
    if (const auto other = w.other_leaf(who, pick)) {
      list.push_back({remove_proposal{*other}});
      name += ", removes leaf " + std::to_string(number(*other));
    }
  if (kind == 4) {
    list.push_back({psk_proposal{w.some_key(pick)}});
    name += ", brings a key in";
  }
  if ((kind == 5 || kind == 6) && (pick % 5 != 4 || state_of(who.g).now.tree.all_support(rare_extension))) {
    list.push_back({group_context_extensions_proposal{w.some_extensions(pick)}});
    name += ", sets extensions " + std::to_string(pick % 5);
  }
  if (!out.always_path)
    name += ", without path if it may";
  return out;
}

} // namespace

void world::commit_one(picks p) {
  const auto by = actor(p.next());
  auto& who = people[by];
  if (ended)
    return must_be(broken(who.g.commit({}, s)), rule::group_over, "committing after the end");
  std::string name;
  const auto options = some_commit(*this, who, p, name);
  const bool sealed = p.one_in(4);
  const fate f{.asleep = p.some(), .gives_up = p.next(), .stays_away = p.some(), .dies = p.one_in(6)};
  auto c = make(who, options, sealed);
  const auto& effects = c.made.pending.effects();
  note(name + (c.sealed ? ", sealed" : "") + ", covering " + std::to_string(c.content.proposals.size()) +
       (f.asleep ? "; asleep " + std::to_string(f.asleep) : "") + (f.dies ? "; and dies" : ""));
  count(c.sealed ? "sealed commit" : "commit");
  if (!c.content.path)
    count("commit without path");
  for (const auto& item : c.content.proposals)
    count(std::holds_alternative<proposal_ref>(item.body) ? "covered by reference" : "covered by value");
  if (!effects.updated.empty())
    count("commit with updates");
  if (!effects.removed.empty())
    count("commit with removals");
  if (effects.added.size() > 1)
    count("commit that adds many");
  place(by, c, f);
}

/// Each racing member has received everything and creates a commit; the server accepts the first, if any.
void world::race(picks p) {
  std::vector<std::pair<std::size_t, committed>> racing;
  const auto first = actor(p.next());
  if (ended)
    return;
  const auto wins = p.any(4); // 3: none wins
  const auto hears = p.next();
  const fate f{.asleep = p.some(), .gives_up = p.next()};
  std::string names;
  for (std::size_t i = 0; i < people.size() && racing.size() < 3; ++i) {
    const auto by = (first + i) % people.size();
    auto& who = people[by];
    if (!who.has_rest() || who.at != log.size())
      continue;
    std::string name;
    const auto options = some_commit(*this, who, p, name);
    racing.emplace_back(by, make(who, options, p.one_in(4)));
    names += name + (racing.back().second.sealed ? ", sealed; " : "; ");
  }
  note("a race: " + names + (wins < racing.size() ? std::to_string(wins) + " wins" : "nobody wins"));
  // Some members receive a losing commit first. Checking it must change nothing.
  for (std::size_t i = 0; i < people.size(); ++i) {
    auto& who = people[i];
    if (!is_among(hears, i) || !who.has_rest() || who.at != log.size())
      continue;
    for (std::size_t n = 0; n < racing.size(); ++n) {
      const auto& c = racing[n].second;
      const auto has = known(who);
      const auto covers = to_place(racing[n].first, c, {}).covers;
      if (n == wins || racing[n].first == i ||
          std::ranges::any_of(covers, [&](const auto& r) { return !has.contains(r); }))
        continue;
      const auto before = digest(who.g);
      (void)heard<pending_commit>(who.g.receive(c.made.commit, s),
                                  who.name + " looks at a commit that loses");
      must(digest(who.g) == before, "what is not confirmed changes nothing");
    }
  }
  if (wins >= racing.size()) {
    count("a race that nobody wins");
    return;
  }
  count("a race of " + std::to_string(racing.size()));
  place(racing[wins].first, racing[wins].second, f);
  for (std::size_t n = 0; n < racing.size(); ++n) {
    if (n == wins)
      continue;
    auto& [by, lost] = racing[n];
    if (people[by].g.epoch() == epoch())
      must_be(broken(people[by].g.confirm(std::move(lost.made.pending))), rule::pending_out_of_date,
              "a commit that lost");
    for (auto& q : people)
      if (q.has_rest() && q.g.epoch() == epoch())
        refuses(q, lost.made.commit, rule::wrong_epoch, "a commit that lost");
  }
}

// --- external joins

void world::join(picks p) {
  const auto by = actor(p.next());
  auto& helper = people[by];
  if (ended)
    return must_be(broken(helper.g.group_info(tree_delivery::apart)), rule::group_over,
                   "joining after the end");
  const auto how_told = p.one_in(2) ? tree_delivery::apart : tree_delivery::in_group_info;
  const auto info = granted(helper.g.group_info(how_told), "a member shows the group");
  const auto tree = helper.g.ratchet_tree();
  const bool accepted = !p.one_in(5);
  const fate f{.asleep = p.some(), .gives_up = p.next()};
  const auto pick = p.next();
  if (helper.g.member_count() >= members_max)
    return;
  auto who = identity(pick % 3 != 2);
  const auto name = string_of(who.credential.identity);
  const auto join_as = [&](client_identity as) {
    const auto apart = how_told == tree_delivery::apart ? std::optional<bytes_view>{tree} : std::nullopt;
    return join_externally(info, apart, std::move(as), {}, s, settings);
  };
  if (requires_rare() && pick % 3 == 2) {
    count("an external join that lacks what is required");
    return must_be(broken(join_as(std::move(who))), rule::leaf_lacks_required_extension, "such a join");
  }
  auto joining = granted(join_as(std::move(who)), "somebody joins");
  note(name + (accepted ? " joins by itself" : " would join and is not accepted"));
  if (!accepted)
    return count("an external join that is not accepted");
  count("an external join");
  place_external(joining, name, {}, f);
}

void world::resync(picks p) {
  const auto by = actor(p.next());
  if (ended)
    return;
  auto again = p.any(people.size());
  for (std::size_t i = 0; i < people.size() && !people[again].in; ++i)
    again = (again + 1) % people.size();
  for (std::size_t i = 0; i < people.size(); ++i)
    if (people[i].in && people[i].stuck)
      again = i;
  const fate f{.asleep = p.some(), .gives_up = p.next()};
  count(people[again].stuck ? "a stuck member that comes again" : "a member that comes again");
  note(people[again].name + " comes again by itself");
  const auto info = granted(people[by].g.group_info(tree_delivery::in_group_info), "a GroupInfo");
  auto joining =
      granted(join_externally(info, {}, people[again].who(), people[again].g.own_leaf(), s, settings),
              "a member comes again");
  place_external(joining, people[again].name + "'", again, f);
}

// --- events at one member

void world::restart(person& who) {
  note(who.name + " restarts");
  if (who.g.is_over())
    count("a restart when out");
  const auto before = digest(who.g);
  granted(group_store::save(who.g, who.disk), "a save");
  who.g = granted(group_store::load(who.disk, who.who(), settings), "what was saved can be loaded");
  must(digest(who.g) == before, "what was loaded is what was saved");
}

void world::steal(picks p) {
  const auto by = actor(p.next());
  if (ended)
    return;
  note("somebody copies the keys of " + people[by].name);
  stolen.push_back({by, state_of(people[by].g).private_keys.copy().keys});
}

void world::end(picks p) {
  const auto by = actor(p.next());
  if (ended)
    return;
  note(people[by].name + " ends the group");
  const fate f{.asleep = p.some()};
  auto c =
      make(people[by], {.proposals = {{reinit_proposal{text("another group")}}}, .always_path = !p.one_in(2)},
           p.one_in(3));
  place(by, c, f);
}

} // namespace parley::mls::test
