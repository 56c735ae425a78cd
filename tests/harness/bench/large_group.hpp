#pragma once
// A large group for benches. Each member has an account and a statement of its own; a few of
// them are live objects.
#include "protocol/mls/group.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace parley::mls::bench {

inline constexpr std::uint64_t now = 1'800'000'000, day = 24 * 3600;

template <class T>
T taken(result<T> r, const char* what) {
  if (r)
    return std::move(*r);
  std::fprintf(stderr, "%s: %s\n", what, std::string{describe(r.error().broken).sentence}.c_str());
  std::exit(1);
}
inline void check(const result<void>& r, const char* what) {
  if (r)
    return;
  std::fprintf(stderr, "%s: %s\n", what, std::string{describe(r.error().broken).sentence}.c_str());
  std::exit(1);
}

struct account_device {
  client_identity identity;
  own_key_package package;
};

struct world {
  random_source random = system_random();
  std::vector<account_device> devices;
  std::vector<public_key> accounts;
  std::optional<account_policy> policy;
  std::optional<surroundings> s;

  explicit world(std::uint32_t members) {
    for (std::uint32_t i = 0; i < members; ++i) {
      const auto account = make_signature_key(random);
      accounts.push_back(public_key_of(account.public_key));
      client_identity who{make_signature_key(random), {}};
      who.credential = to_credential(
          make_account_statement(account, public_key_of(who.signer.public_key), "a device", now + 365 * day));
      auto package = make_key_package(who, {now - day, now + 28 * day}, random);
      devices.push_back({std::move(who), std::move(package)});
    }
    policy.emplace(accounts);
    s.emplace(surroundings{*policy, random, now});
  }
};

/// Some live members of a large group: the creator at leaf 0, and the first leaf below each node of its
/// copath. When each of these has committed once, all nodes that leaf 0 encrypts to are filled: the
/// tree is warm for it.
struct large_group {
  const world& w;
  std::map<std::uint32_t, group> live;
  made_commit creation;

  group joined(std::uint32_t i, const group_settings& how = {}) const {
    return taken(group::join(creation.welcomes[i - 1], w.devices[i].package, w.devices[i].identity.copy(),
                             creation.ratchet_tree, *w.s, {}, how),
                 "joining");
  }

  large_group(const world& of, std::uint32_t members, bool only_two, const group_settings& how = {}) : w{of} {
    auto creator = taken(
        group::create(to_bytes(view_of("bench")), w.devices[0].identity.copy(), {}, *w.s, how), "creating");
    commit_options add{.always_path = false};
    for (std::uint32_t i = 1; i < members; ++i)
      add.proposals.push_back({add_proposal{w.devices[i].package.package}});
    creation = taken(creator.commit(add, *w.s), "adding everybody");
    check(creator.confirm(std::move(creation.pending)), "confirming");
    live.emplace(0, std::move(creator));
    for (std::uint32_t i = 1; i < members && !(only_two && i > 1); i *= 2)
      live.emplace(i, joined(i, how));
  }

  pending_commit received(group& by, bytes_view commit) const {
    return std::get<pending_commit>(taken(by.receive(commit, *w.s), "receiving a commit"));
  }
  void warm() {
    for (auto& [i, member] : live) {
      auto made = taken(member.commit({}, *w.s), "warming");
      for (auto& [j, other] : live)
        check(other.confirm(j == i ? std::move(made.pending) : received(other, made.commit)), "warming");
    }
  }
};

} // namespace parley::mls::bench
