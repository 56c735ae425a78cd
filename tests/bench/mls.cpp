// What the encryption engine costs: messages, commits, joining, memory. Prints; judges nothing.
//
//   mls_bench [--json] [--members N] [--rounds N]
#include "protocol/mls/follower.hpp"
#include "protocol/mls/group.hpp"

#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

using namespace parley::mls;

namespace {

constexpr std::uint64_t now = 1'800'000'000, day = 24 * 3600;
constexpr int messages_per_round = 200, primitives_per_round = 50;

struct settings {
  std::uint32_t members = 1'000;
  int rounds = 7;
  bool json = false;
};

template <class T>
T taken(result<T> r, const char* what) {
  if (r)
    return std::move(*r);
  std::fprintf(stderr, "%s: %s\n", what, std::string{describe(r.error().broken).sentence}.c_str());
  std::exit(1);
}
void check(const result<void>& r, const char* what) {
  if (r)
    return;
  std::fprintf(stderr, "%s: %s\n", what, std::string{describe(r.error().broken).sentence}.c_str());
  std::exit(1);
}

// --- measuring

double micros(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

struct sample {
  double cpu = 0, wall = 0;
};

template <class Work>
sample timed(int times, Work work) {
  const auto cpu = micros(CLOCK_THREAD_CPUTIME_ID), wall = micros(CLOCK_MONOTONIC);
  for (int i = 0; i < times; ++i)
    work(i);
  return {(micros(CLOCK_THREAD_CPUTIME_ID) - cpu) / times, (micros(CLOCK_MONOTONIC) - wall) / times};
}

double median(std::vector<double> v) {
  std::ranges::sort(v);
  return v[v.size() / 2];
}

/// What was measured, in order, and what it is called in the JSON.
class report {
public:
  void time(const std::string& key, const std::string& text, const std::vector<sample>& all) {
    std::vector<double> cpu, wall;
    for (const auto& s : all) {
      cpu.push_back(s.cpu);
      wall.push_back(s.wall);
    }
    std::printf("%-64s %10.1f %10.1f\n", text.c_str(), median(cpu), median(wall));
    std::fflush(stdout);
    put(key + "_cpu_us", median(cpu));
    put(key + "_wall_us", median(wall));
  }
  void number(const std::string& key, const std::string& text, double value, const char* unit) {
    std::printf("%-64s %10.1f %s\n", text.c_str(), value, unit);
    put(key, value);
  }
  void print_json() const { std::printf("{%s}\n", json_.c_str()); }

private:
  void put(const std::string& key, double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    json_ += (json_.empty() ? "\"" : ", \"") + key + "\": " + text;
  }
  std::string json_;
};

/// `rounds` samples of `times` calls each.
template <class Work>
std::vector<sample> rounds_of(int rounds, int times, Work work) {
  std::vector<sample> all;
  for (int i = 0; i < rounds; ++i)
    all.push_back(timed(times, work));
  return all;
}

std::size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// --- a group, each member with an account of its own

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

/// Some live members of a large group: the creator, leaf 0, and the first leaf below each node of its copath.
/// When each of these has committed once, all that leaf 0 encrypts to is filled: the tree is warm for it.
struct large_group {
  const world& w;
  std::map<std::uint32_t, group> live;
  made_commit creation;
  bytes welcome_of_last;

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

void measure_primitives(report& out, int rounds) {
  const auto random = system_random();
  const auto signer = make_signature_key(random);
  const auto key = make_hpke_key(random);
  const bytes text(300, 7), small(32, 7);
  const auto signature = sign_with_label(signer, "bench", text);
  const auto sealed = taken(encrypt_with_label(key.public_key, "bench", text, small, random), "encrypting");
  const auto row = [&](const char* name, const char* label, auto work) {
    out.time(name, label, rounds_of(rounds, primitives_per_round, [&](int) { work(); }));
  };
  row("ed25519_sign", "Ed25519: sign", [&] { sign_with_label(signer, "bench", text); });
  row("ed25519_verify", "Ed25519: verify",
      [&] { check(verify_with_label(signer.public_key, "bench", text, signature), "verifying"); });
  row("x25519_key", "X25519: a key pair from a path secret", [&] { derive_key_pair(small); });
  row("hpke_seal", "HPKE: encrypt a path secret",
      [&] { taken(encrypt_with_label(key.public_key, "bench", text, small, random), "encrypting"); });
  row("hpke_open", "HPKE: decrypt a path secret",
      [&] { taken(decrypt_with_label(key, "bench", text, sealed), "decrypting"); });
  row("aead_seal", "AES-128-GCM: 512 bytes",
      [&] { aead_seal(bytes_view{small}.first(16), bytes_view{small}.first(12), {}, bytes(512)); });
}

void measure_messages(report& out, const world& w, std::uint32_t members, const settings& how) {
  group_settings unpadded;
  unpadded.pad = padding::none;
  large_group g{w, members, true, unpadded};
  auto &from = g.live.at(0), &to = g.live.at(1);
  const bytes text(100, 'a');
  std::vector<sample> sent, received, first;
  std::vector<bytes> way(messages_per_round);
  way[0] = taken(from.send(text, {}, *w.s), "sending");
  for (int r = 0; r < how.rounds; ++r) {
    auto fresh = g.joined(1, unpadded);
    first.push_back(timed(1, [&](int) { taken(fresh.receive(way[0], *w.s), "receiving"); }));
  }
  for (int r = 0; r < how.rounds; ++r) {
    sent.push_back(
        timed(messages_per_round, [&](int i) { way[i] = taken(from.send(text, {}, *w.s), "sending"); }));
    received.push_back(
        timed(messages_per_round, [&](int i) { taken(to.receive(way[i], *w.s), "receiving"); }));
  }
  const auto n = std::to_string(members);
  out.time("send_" + n, "send 100 bytes, N = " + n, sent);
  out.time("receive_" + n, "receive 100 bytes, N = " + n, received);
  out.time("receive_first_" + n, "receive the first of a sender in an epoch, N = " + n, first);
  out.number("message_" + n + "_bytes", "its size without padding", static_cast<double>(way[0].size()),
             "bytes");
}

/// Keys are derived when they are needed: the most in an epoch in which every member was heard.
void measure_secret_tree(report& out, const settings& how) {
  const auto before = heap_bytes();
  secret_tree keys{secret::zeros(hash_bytes), how.members};
  for (std::uint32_t i = 0; i < how.members; ++i)
    taken(keys.next(leaf_index{i}, ratchet_kind::application), "a key");
  keys.take_changes();
  out.number("memory_keys_kib", "memory of the keys of an epoch in which everybody was heard",
             static_cast<double>(heap_bytes() - before) / 1024, "KiB");
}

void measure_large(report& out, const world& w, const settings& how) {
  const auto n = std::to_string(how.members);
  std::optional<large_group> built;
  const auto building = timed(1, [&](int) { built.emplace(w, how.members, true); });
  out.time("build", "(building the group, two members joined, N = " + n + ")", {building});
  auto& g = *built;
  const auto last = how.members - 1;
  out.time("join", "join, each leaf's and account's signature, N = " + n,
           rounds_of(how.rounds, 1, [&](int) { g.joined(last); }));
  {
    const auto before = heap_bytes();
    const auto one = g.joined(last);
    out.number("memory_joined_kib", "memory of a member that joined",
               static_cast<double>(heap_bytes() - before) / 1024, "KiB");
  }
  out.number("tree_bytes", "tree, all parents blank, encoded",
             static_cast<double>(g.creation.ratchet_tree.size()), "bytes");
  out.number("welcome_bytes", "a Welcome, the tree apart", static_cast<double>(g.creation.welcomes[0].size()),
             "bytes");
  for (std::uint32_t i = 2; i < how.members; i *= 2)
    g.live.emplace(i, g.joined(i));

  auto &zero = g.live.at(0), &one = g.live.at(1);
  const auto padded = taken(zero.send(bytes(100, 'a'), {}, *w.s), "sending");
  out.number("message_padded_bytes", "a message of 100 bytes, padded to its size class",
             static_cast<double>(padded.size()), "bytes");
  made_commit made;
  const auto make = [&](group& by) {
    return rounds_of(how.rounds, 1, [&](int) { made = taken(by.commit({}, *w.s), "a commit"); });
  };
  out.time("commit_blank", "make a commit, all parents blank, N = " + n, make(zero));
  out.number("commit_blank_bytes", "its size", static_cast<double>(made.commit.size()), "bytes");
  out.time("process_blank", "process it (dropped)",
           rounds_of(how.rounds, 1, [&](int) { g.received(one, made.commit); }));

  g.warm();
  g.warm(); // once more: in the first turn the paths of those who came early were made in a cold tree
  auto server =
      taken(follower::begin(taken(zero.group_info(tree_delivery::in_group_info), "GroupInfo"), {}, *w.s),
            "following");
  out.time("commit_warm", "make a commit, warm, N = " + n, make(zero));
  out.number("commit_warm_bytes", "its size", static_cast<double>(made.commit.size()), "bytes");
  {
    std::vector<sample> process, far, confirm, follow;
    for (int r = 0; r < how.rounds; ++r) {
      auto next = taken(zero.commit({}, *w.s), "a commit");
      for (auto& [i, member] : g.live) {
        if (i == 0)
          continue;
        std::optional<pending_commit> pending;
        const auto p = timed(1, [&](int) { pending = g.received(member, next.commit); });
        const auto c = timed(1, [&](int) { check(member.confirm(std::move(*pending)), "confirming"); });
        if (i == 1)
          confirm.push_back(c);
        if (i == 1 || i == g.live.rbegin()->first)
          (i == 1 ? process : far).push_back({p.cpu + c.cpu, p.wall + c.wall});
      }
      follow.push_back(timed(1, [&](int) {
        taken(server.apply(taken(server.check(next.commit, *w.s), "following")), "following");
      }));
      check(zero.confirm(std::move(next.pending)), "confirming");
    }
    out.time("process", "process a commit and confirm it, sibling leaf, warm, N = " + n, process);
    out.time("process_far", "the same in the other half of the tree", far);
    out.time("confirm", "of that, confirming", confirm);
    out.time("follow", "a server follows it", follow);
  }
  const auto info = taken(zero.group_info(tree_delivery::in_group_info), "GroupInfo");
  out.number("group_info_bytes", "a GroupInfo with the warm tree", static_cast<double>(info.size()), "bytes");
  {
    const auto before = heap_bytes();
    const auto again = taken(follower::begin(info, {}, *w.s), "following");
    out.number("memory_follower_kib", "memory of a follower",
               static_cast<double>(heap_bytes() - before) / 1024, "KiB");
  }
  {
    const auto before = heap_bytes();
    g.live.erase(1);
    out.number("memory_used_kib",
               "memory of a member after " + std::to_string(how.rounds) + " and more epochs, 3 of them kept",
               static_cast<double>(before - heap_bytes()) / 1024, "KiB");
  }
}

int number_of(const char* text) {
  int n = 0;
  const auto end = text + std::strlen(text);
  if (std::from_chars(text, end, n).ptr != end || n < 1) {
    std::fprintf(stderr, "not a number above 0: %s\n", text);
    std::exit(2);
  }
  return n;
}

settings settings_of(int argc, char** argv) {
  settings out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word{argv[i]};
    if (word == "--json") {
      out.json = true;
    } else if (word == "--members" && i + 1 < argc) {
      out.members = std::max(3u, static_cast<std::uint32_t>(number_of(argv[++i])));
    } else if (word == "--rounds" && i + 1 < argc) {
      out.rounds = number_of(argv[++i]);
    } else {
      std::fprintf(stderr, "mls_bench [--json] [--members N] [--rounds N]\n");
      std::exit(2);
    }
  }
  return out;
}

} // namespace

int main(int argc, char** argv) {
  const auto how = settings_of(argc, argv);
  report out;
  std::printf("%-64s %10s %10s\n", "microseconds, medians", "CPU", "wall");
  measure_primitives(out, how.rounds);
  const world w{how.members};
  for (const std::uint32_t n : {2u, 100u})
    if (n < how.members)
      measure_messages(out, w, n, how);
  measure_messages(out, w, how.members, how);
  measure_large(out, w, how);
  measure_secret_tree(out, how);
  if (how.json)
    out.print_json();
}
