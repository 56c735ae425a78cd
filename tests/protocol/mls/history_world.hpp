#pragma once
// The members of a history, the server between them, and the invariants.
//
// The server puts handshakes into one order, `log`; of two commits of one epoch it accepts the first.
// Each member receives the log from its start at its own pace, and receives all of it before it acts.
// The first member that enters an epoch records the facts of the epoch in `ledger`, and all others
// are compared with them.
#include "protocol/mls/follower.hpp"
#include "tests/protocol/mls/group_fixture.hpp"
#include "tests/protocol/mls/history.hpp"
#include "tests/support/memory_parts.hpp"

#include <map>
#include <set>
#include <stdexcept>

namespace parley::mls::test {

/// This is not a doctest failure, because RapidCheck needs failures while it looks for the shortest history.
struct broken_law : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Counts how often each kind of event happened, over all histories of a run.
struct tally {
  std::map<std::string, std::uint64_t> done;
  std::uint64_t laws = 0;
};
tally& tally_of_run();
inline void count(const std::string& what) {
  ++tally_of_run().done[what];
}

void must(bool holds, std::string_view law);
std::string named(rule r);
template <class T>
T granted(result<T> r, std::string_view what) {
  must(r.has_value(), r ? what : std::string{what} + ", but: " + named(r.error().broken));
  if constexpr (!std::is_void_v<T>)
    return std::move(*r);
}
/// Returns the received message, which must be of type T.
template <class T>
T heard(result<received_message> r, std::string_view what) {
  auto message = granted(std::move(r), what);
  auto* is = std::get_if<T>(&message);
  must(is != nullptr, what);
  return std::move(*is);
}
void must_be(rule is, rule expected, std::string_view what);

constexpr auto rare_extension = extension_type{0xf001}; ///< supported by some members only

struct person {
  std::string name;
  group g;
  std::uint64_t since;            ///< the first epoch
  std::size_t at;                 ///< the number of handshakes of the log that it has received
  bool in = true;                 ///< from the server's point of view
  bool stuck = false;             ///< it could not follow a commit, and never will
  std::set<std::size_t> missed{}; ///< proposals of this epoch that it did not receive
  memory_parts disk{};
  client_identity who() const { return state_of(const_cast<group&>(g)).identity.copy(); }
  bool has_rest() const { return in && !stuck; }
};

struct handshake {
  bytes message;
  std::optional<std::size_t> by; ///< empty: a party outside the group
  std::uint64_t epoch = 0;
  bool sealed = false;
  std::optional<proposal_ref> ref{}; ///< set for a proposal
  std::size_t lost_to = 0;           ///< of a proposal: members that did not receive it
  // The following are set for a commit.
  std::vector<proposal_ref> covers{};
  std::vector<pre_shared_key_id> psks{};
  std::vector<leaf_index> removed{};
  bool ends = false;
  std::size_t gives_up = 0; ///< members that lack a proposal and do not wait for it
};

/// A commit that its committer has not sent yet.
struct committed {
  made_commit made;
  commit content;
  bool sealed = false;
};
/// What happens while a commit is in transit. All zeros mean that nothing happens.
struct fate {
  std::size_t asleep = 0;     ///< members that do not receive it yet
  std::size_t gives_up = 0;   ///< as in `handshake`
  std::size_t stays_away = 0; ///< added members that never join
  bool dies = false;          ///< the committer crashes after sending
};

struct spoken {
  std::uint64_t epoch;
  std::size_t by;
  std::string words;
  bytes message;
};

/// What is the same for all members in an epoch.
struct epoch_facts {
  bytes authenticator, exported, tree_hash, interim_hash;
  std::vector<member> roster;
  extension_list extensions;
  secret resumption;
};

/// A copy of a member's private keys.
struct stolen_keys {
  std::size_t whose;
  std::map<node_index, secret> keys;
  bool is_fresh = true;  ///< nothing has been committed since the copy
  int worthless_for = 0; ///< the number of commits for which they are still tried; 0 while the keys are valid
};

enum class keys_at_hand : std::uint8_t { all, none, wrong };

struct world {
  static constexpr std::size_t members_max = 9;

  explicit world(const history& h);
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  void live(const command& c);
  void finish();
  const std::string& trail() const { return trail_; }

  // --- the steps (history_steps.cpp)
  void speak(picks p);
  void offer_some(picks p);
  void propose(picks p);
  void ask(picks p);
  void come_late(picks p);
  void commit_one(picks p);
  void race(picks p);
  void join(picks p);
  void resync(picks p);
  void restart(person& who);
  void steal(picks p);
  void end(picks p);
  void forge(picks p); ///< history_forging.cpp

  // --- events
  void note(const std::string& what) { trail_ += what + "\n  "; }
  /// Returns a member that can act and has received everything.
  std::size_t actor(std::size_t pick);
  std::uint64_t epoch() const { return ledger.rbegin()->first; }
  guest invite(bool supports_rare = true);
  client_identity identity(bool supports_rare = true);
  bool requires_rare() const;
  std::optional<leaf_index> other_leaf(person& p, std::size_t pick);
  extension_list some_extensions(std::size_t pick);
  pre_shared_key_id some_key(std::size_t pick);
  void send(handshake h); ///< a proposal, sent to all
  committed make(person& p, const commit_options& options, bool sealed);
  handshake to_place(std::size_t by, const committed& c, const fate& f);
  void place(std::size_t by, committed& c, const fate& f);
  /// `replaced` is the earlier membership of a client that joins again.
  void place_external(external_join& joining, std::string name, std::optional<std::size_t> replaced,
                      const fate& f);
  void welcome_all(const committed& c, const handshake& h, const fate& f);
  void enter(person& p);
  void leave(std::span<const leaf_index> removed);
  void catch_up(std::size_t who);
  void hear(std::size_t who, std::size_t index);
  void hear_commit(std::size_t who, const handshake& h);
  void try_without_keys(person& p, const handshake& h);
  void hear_late(person& p, std::size_t index);
  void spread(const fate& f);

  // --- invariants
  std::set<proposal_ref> known(const person& p) const;
  void refuses(person& p, bytes_view message, rule expected, std::string_view what);
  void refuses(person& p, bytes_view message, std::span<const rule> any_of, std::string_view what);
  void offer(std::size_t who, std::size_t n);
  void serve(const handshake& h);
  void check_server(person& p);
  void try_old_keys(const commit& c, person& committer, bytes_view transcript_before,
                    const commit_effects& effects);
  void check_deeply(person& p);

  history how;
  random_source random = seeded_random(1);
  same_person_policy policy;
  surroundings s;
  group_settings settings;
  signature_key_pair outside[2];
  keys_at_hand at_hand = keys_at_hand::all;
  std::deque<person> people;
  std::vector<handshake> log;
  std::map<std::uint64_t, epoch_facts> ledger;
  std::vector<spoken> said;
  std::set<std::pair<std::size_t, std::size_t>> read; ///< (member, message)
  std::map<bytes, guest> guests;                      ///< of this epoch, by the reference of the key package
  std::vector<stolen_keys> stolen;
  std::optional<follower> server; ///< empty while handshakes are encrypted
  bool ended = false;
  std::size_t came = 0;

private:
  std::string trail_;
};

/// A proposal or commit as a PrivateMessage, which the engine accepts and never creates. An empty
/// optional means that the proposals are not valid together.
handshake sealed_proposal(person& p, const proposal& what, const surroundings& s);
handshake sealed_update(person& p, const surroundings& s);
std::optional<committed> sealed_commit(person& p, const commit_options& options, const surroundings& s);

/// The whole state of a group except its message keys.
bytes digest(const group& g);
public_message read_public(bytes_view message);

} // namespace parley::mls::test
