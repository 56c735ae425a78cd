#pragma once
// Groups for tests: a room in which all members receive what is committed, and access to the private
// state for cases that the API does not allow.
#include "tests/protocol/mls/group_back_door.hpp"
#include "tests/protocol/mls/mls_fixture.hpp"

#include <doctest/doctest.h>

#include <deque>

namespace parley::mls::test {

inline bytes text(std::string_view v) {
  return to_bytes(view_of(v));
}
inline std::string string_of(bytes_view v) {
  return {v.begin(), v.end()};
}

template <class T>
T taken(result<T> r) {
  if (!r)
    FAIL("refused: ", std::string{describe(r.error().broken).sentence});
  return std::move(*r);
}
inline void done(const result<void>& r) {
  if (!r)
    FAIL("refused: ", std::string{describe(r.error().broken).sentence});
}

/// Accepts every member, but only as their own successor: each person has one identity.
struct same_person_policy : counting_policy {
  result<void> accept_successor(const mls::credential& old_one,
                                const mls::credential& new_one) const override {
    if (old_one.identity != new_one.identity)
      return refuse(rule::credential_not_a_successor);
    return {};
  }
};

struct guest {
  client_identity who;
  own_key_package package;
  proposal add() const { return {add_proposal{package.package}}; }
};

/// The pending commit from a received message.
inline pending_commit commit_in(result<received_message> heard) {
  auto message = taken(std::move(heard));
  auto* pending = std::get_if<pending_commit>(&message);
  REQUIRE(pending);
  return std::move(*pending);
}
inline proposal_ref proposal_in(result<received_message> heard) {
  auto message = taken(std::move(heard));
  const auto* ref = std::get_if<proposal_ref>(&message);
  REQUIRE(ref);
  return *ref;
}
inline std::string words_in(result<received_message> heard) {
  auto message = taken(std::move(heard));
  const auto* said = std::get_if<application_message>(&message);
  REQUIRE(said);
  return string_of(said->data.view());
}

/// The members of one group. A room must not be moved, because its surroundings point into it.
struct room {
  random_source random;
  same_person_policy policy;
  std::map<std::string, bytes> psks; ///< external keys, which all members hold
  surroundings s{policy, random, now, [this](const pre_shared_key_id& id) -> std::optional<secret> {
                   const auto found = psks.find(string_of(id.id));
                   if (id.type != psk_type::external || found == psks.end())
                     return std::nullopt;
                   return secret{found->second};
                 }};
  group_settings settings;
  mls::capabilities capabilities; ///< the same for all members
  std::deque<group> members; ///< in the order in which they joined; this is also the order of the leaves as
                             ///< long as no member was removed

  explicit room(std::size_t n = 1, extension_list extensions = {}, std::uint64_t seed = 1,
                group_settings how = {}, mls::capabilities speaks = own_capabilities())
      : random{seeded_random(seed)}, settings{how}, capabilities{std::move(speaks)} {
    members.push_back(
        taken(group::create(text("a group"), identity("person 0"), std::move(extensions), s, settings)));
    while (members.size() < n)
      add("person " + std::to_string(members.size()));
  }
  room(const room&) = delete;
  room& operator=(const room&) = delete;

  group& operator[](std::size_t i) { return members.at(i); }

  client_identity identity(std::string_view name) const {
    return {make_signature_key(random), {.identity = text(name)}, capabilities, {}};
  }
  guest invite(std::string_view name) const { return invite(identity(name)); }
  guest invite(client_identity who) const {
    auto package = make_key_package(who, {now - day, now + 30 * day}, random);
    return {std::move(who), std::move(package)};
  }
  result<group> try_join(const made_commit& made, const guest& g, std::size_t n = 0) const {
    const auto tree = made.ratchet_tree.empty() ? std::nullopt : std::optional<bytes_view>{made.ratchet_tree};
    return group::join(made.welcomes.at(n), g.package, g.who.copy(), tree, s, {}, settings);
  }

  made_commit commit(std::size_t by, std::vector<proposal> proposals = {}) {
    return taken(members.at(by).commit({.proposals = std::move(proposals)}, s));
  }
  /// Confirms the pending commit of the committer and delivers it to all others, except members
  /// whose group is over.
  void conclude(std::size_t by, made_commit& made) {
    for (std::size_t i = 0; i < members.size(); ++i)
      if (i != by && !members[i].is_over())
        done(members[i].confirm(commit_in(members[i].receive(made.commit, s))));
    done(members.at(by).confirm(std::move(made.pending)));
  }
  void concluded(std::size_t by, std::vector<proposal> proposals = {}) {
    auto made = commit(by, std::move(proposals));
    conclude(by, made);
  }
  void add(std::string_view name, std::size_t by = 0) {
    const auto g = invite(name);
    auto made = commit(by, {g.add()});
    conclude(by, made);
    members.push_back(taken(try_join(made, g)));
  }
  bytes say(std::size_t by, std::string_view what) {
    return taken(members.at(by).send(view_of(what), {}, s));
  }
  /// Delivers a proposal of `by` to all others and returns its reference.
  proposal_ref proposed(std::size_t by, const bytes& message) {
    std::optional<proposal_ref> ref;
    for (std::size_t i = 0; i < members.size(); ++i)
      if (i != by && !members[i].is_over())
        ref = proposal_in(members[i].receive(message, s));
    REQUIRE(ref);
    return *ref;
  }
  proposal_ref proposed(std::size_t by, const proposal& p) {
    return proposed(by, taken(members.at(by).propose(p, s)));
  }

  /// Checks that all members are in one epoch, with the same secrets and the same tree.
  void check_agreed() {
    const group* first = nullptr;
    for (const auto& g : members) {
      if (g.is_over())
        continue;
      if (!first)
        first = &g;
      CHECK(g.epoch() == first->epoch());
      CHECK(equal(g.epoch_authenticator(), first->epoch_authenticator()));
      CHECK(g.ratchet_tree() == first->ratchet_tree());
    }
  }
  /// Checks that every member can send a message that all others read.
  void check_talk() {
    check_agreed();
    for (std::size_t by = 0; by < members.size(); ++by) {
      if (members[by].is_over())
        continue;
      const auto what = "from " + std::to_string(by);
      const auto message = say(by, what);
      for (std::size_t i = 0; i < members.size(); ++i)
        if (i != by && !members[i].is_over())
          CHECK(words_in(members[i].receive(message, s)) == what);
    }
  }
};

} // namespace parley::mls::test
