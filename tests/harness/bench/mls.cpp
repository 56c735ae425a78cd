// Measures the costs of the encryption engine: messages, commits, joining, memory, and stored bytes. It
// prints the figures and judges none.
#include "protocol/mls/follower.hpp"
#include "protocol/mls/group_store.hpp"
#include "tests/harness/bench/figures.hpp"
#include "tests/harness/bench/large_group.hpp"
#include "tests/support/memory_parts.hpp"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>

using namespace parley::bench;
using namespace parley::mls;
using namespace parley::mls::bench;

namespace {

constexpr int messages_per_round = 200, primitives_per_round = 50;

struct settings {
  std::uint32_t members = 1'000;
  int rounds = 7;
  bool json = false;
  std::string peers; ///< the folder of measure.mjs; empty: measures only our engine
};

constexpr auto help = R"(mls_bench [OPTIONS]: measures the costs of the encryption engine, in one thread.

  --members N     The size of the large group (1000). Messages are also measured with 2 and 100 members
  --rounds N      The number of rounds (7); their median is printed
  --peers FOLDER  Also measures the same operations of two other implementations beside ours, with the
                  measure.mjs of that folder (tests/protocol/mls/peers; run `npm ci` there first). Takes
                  some minutes with 1000 members
  --json          Also prints our figures as one line of JSON at the end
)";

/// Counts the bytes that a group writes.
struct counting_store final : test::memory_parts {
  std::size_t written = 0;
  result<void> put(std::string_view name, bytes_view value) override {
    written += name.size() + value.size();
    return memory_parts::put(name, value);
  }
  result<void> erase(std::string_view name) override {
    written += name.size();
    return memory_parts::erase(name);
  }
  std::size_t save(group& g) {
    written = 0;
    check(group_store::save(g, *this), "saving");
    return written;
  }
};

std::size_t heap_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

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
  out.share("send_" + n, {{"ed25519_sign", 1}});
  out.time("receive_" + n, "receive 100 bytes, N = " + n, received);
  out.share("receive_" + n, {{"ed25519_verify", 1}});
  out.time("receive_first_" + n, "receive the first of a sender in an epoch, N = " + n, first);
  out.number("message_" + n + "_bytes", "its size without padding", static_cast<double>(way[0].size()),
             "bytes");
}

/// Measures the bytes of names and values that are written to the store. The last write after skipped
/// messages is the most expensive: all keys of the skipped messages are kept.
void measure_writing(report& out, const world& w, const settings& how) {
  large_group g{w, how.members, true};
  auto &from = g.live.at(0), &to = g.live.at(1);
  counting_store mine, theirs;
  mine.save(from);
  theirs.save(to);
  const auto row = [&](const char* key, const char* text, std::size_t bytes) {
    out.number(key, text, static_cast<double>(bytes), "bytes");
  };
  const auto say = [&] { return taken(from.send(bytes(100, 'a'), {}, *w.s), "sending"); };
  const auto hear = [&](const bytes& message) { taken(to.receive(message, *w.s), "receiving"); };
  auto message = say();
  row("written_send_first", "written for the first message sent in an epoch", mine.save(from));
  hear(message);
  row("written_receive_first", "written for the first received of a sender", theirs.save(to));
  message = say();
  row("written_send", "written for a message sent", mine.save(from));
  hear(message);
  row("written_receive", "written for a message received", theirs.save(to));
  for (std::size_t i = 0; i < mls_limits{}.skipped_keys_max; ++i)
    (void)say();
  hear(say());
  row("written_jump", "written for one after as many lost as are waited for", theirs.save(to));
  auto joined = g.joined(how.members - 1);
  counting_store fresh;
  fresh.save(joined);
  for (std::size_t i = 0; i < mls_limits{}.skipped_keys_max; ++i)
    (void)say();
  taken(joined.receive(say(), *w.s), "receiving");
  row("written_jump_first", "the same, the first of its sender", fresh.save(joined));
}

/// Keys are derived when they are needed, so this measures the maximum: an epoch in which
/// every member has sent.
void measure_secret_tree(report& out, const settings& how) {
  const auto before = heap_bytes();
  secret_tree keys{secret::zeros(hash_bytes), how.members};
  for (std::uint32_t i = 0; i < how.members; ++i)
    taken(keys.next(leaf_index{i}, ratchet_kind::application), "a key");
  keys.take_changes();
  const auto kib = static_cast<double>(heap_bytes() - before) / 1024;
  out.number("memory_keys_kib", "memory of the keys of an epoch in which everybody was heard", kib, "KiB");
  const auto epochs = 1 + static_cast<double>(group_settings{}.past_epochs_max);
  out.number("memory_most_kib", "a member that joined, heard everybody in this and all kept epochs (sum)",
             out.value("memory_joined_kib") + epochs * kib, "KiB");
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
  out.share("join", {{"ed25519_verify", 2. * how.members}});
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
  const double height = std::bit_width(how.members - 1);
  out.share("commit_blank",
            {{"hpke_seal", how.members - 1.}, {"x25519_key", height + 1}, {"ed25519_sign", 3}});
  out.number("commit_blank_bytes", "its size", static_cast<double>(made.commit.size()), "bytes");
  out.time("process_blank", "process it (dropped)",
           rounds_of(how.rounds, 1, [&](int) { g.received(one, made.commit); }));

  g.warm();
  g.warm(); // once more, because in the first pass the paths of the first committers were created
            // in a cold tree
  auto server =
      taken(follower::begin(taken(zero.group_info(tree_delivery::in_group_info), "GroupInfo"), {}, *w.s),
            "following");
  out.time("commit_warm", "make a commit, warm, N = " + n, make(zero));
  out.share("commit_warm", {{"hpke_seal", height}, {"x25519_key", height + 1}, {"ed25519_sign", 3}});
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
    out.share("process", {{"ed25519_verify", 2}, {"hpke_open", 1}, {"x25519_key", height}});
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
    } else if (word == "--peers" && i + 1 < argc) {
      out.peers = argv[++i];
    } else if (word == "--rounds" && i + 1 < argc) {
      out.rounds = number_of(argv[++i]);
    } else {
      const bool asked = word == "--help";
      std::fputs(help, asked ? stdout : stderr);
      std::exit(asked ? 0 : 2);
    }
  }
  return out;
}

/// Replaces this program, which has nothing left to do.
void go_on_with_peers(const settings& how) {
  const auto script = (std::filesystem::path{how.peers} / "measure.mjs").string();
  const auto ours = (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "mls_peer").string();
  for (const auto& needed : {script, ours, how.peers + "/node_modules"})
    if (!std::filesystem::exists(needed)) {
      std::fprintf(stderr, "mls_bench: %s is missing: build mls_peer, and run npm ci in the peers' folder\n",
                   needed.c_str());
      std::exit(1);
    }
  const auto sizes = "2,100," + std::to_string(how.members);
  std::printf("\nEach by its own clock around the library, in one sitting; all by the method of %s:\n",
              script.c_str());
  std::fflush(stdout);
  execlp("node", "node", script.c_str(), "--beside", "--sizes", sizes.c_str(), ours.c_str(), "ts-mls",
         "core-crypto", nullptr);
  std::fprintf(stderr, "mls_bench: node could not be started: %s\n", std::strerror(errno));
  std::exit(1);
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
  measure_writing(out, w, how);
  if (how.json)
    out.print_json();
  if (!how.peers.empty())
    go_on_with_peers(how);
}
