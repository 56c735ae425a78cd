// Groups through random histories: whoever adds, leaves, joins, races or drops what, all members agree after
// each step, and each reads what was said while it was there, and nothing else.
//
// MLS_HISTORIES=10000 runs so many instead of 300; MLS_HISTORY=<seed> runs the one that failed.
#include "tests/protocol/mls/group_fixture.hpp"

#include <cstdlib>
#include <random>

namespace parley::mls::test {
namespace {

constexpr std::size_t members_max = 9;
constexpr int steps_of_a_history = 14;

/// On its way to one member.
struct letter {
  std::size_t reader;
  std::uint64_t epoch;
  std::string words;
  bytes message;
};

class history {
public:
  explicit history(std::uint64_t seed)
      : chance_{seed}, r_{1 + any(3), {}, seed, {.past_epochs_max = any(4)}} {
    r_.psks["known"] = text("to all");
  }

  void run() {
    for (int n = 0; n < steps_of_a_history; ++n) {
      step();
      r_.check_agreed();
      deliver_some();
    }
    // What was proposed is committed, so that all can speak.
    while (std::ranges::any_of(r_.members,
                               [](auto& g) { return !state_of(g).now.proposals.empty() && !g.is_over(); }))
      commit_one();
    r_.check_talk();
    while (!on_the_way_.empty())
      deliver_some();
    check_deeply();
  }
  const std::string& trail() const { return trail_; }

private:
  std::size_t any(std::size_t n) { return static_cast<std::size_t>(chance_() % n); }
  bool one_in(std::size_t n) { return any(n) == 0; }
  void note(std::string what) { trail_ += what + "; "; }

  std::vector<std::size_t> living() {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < r_.members.size(); ++i)
      if (!r_.members[i].is_over())
        out.push_back(i);
    return out;
  }
  std::size_t somebody() {
    const auto all = living();
    return all[any(all.size())];
  }
  /// Somebody who is not `who`.
  std::optional<std::size_t> somebody_else(std::size_t who) {
    auto all = living();
    std::erase(all, who);
    return all.empty() ? std::nullopt : std::optional{all[any(all.size())]};
  }

  void step() {
    switch (any(10)) {
    case 0:
    case 1:
    case 2:
      return speak();
    case 3:
    case 4:
      return propose();
    case 5:
      return join_by_oneself();
    case 6:
      return race();
    default:
      return commit_one();
    }
  }

  // --- what is said

  void speak() {
    const auto by = somebody();
    auto& g = r_[by];
    if (!state_of(g).now.proposals.empty()) {
      CHECK(broken(g.send(view_of("x"), {}, r_.s)) == rule::commit_wanted_first);
      return;
    }
    const auto count = 1 + any(3);
    note(std::to_string(by) + " says " + std::to_string(count));
    for (std::size_t n = 0; n < count; ++n) {
      const auto words = "message " + std::to_string(++said_) + " of " + std::to_string(by);
      const auto message = r_.say(by, words);
      for (const auto reader : living())
        if (reader != by && !one_in(10)) // some are lost
          on_the_way_.push_back({reader, g.epoch(), words, message});
      for (std::size_t i = 0; i < r_.members.size(); ++i)
        if (i == by || r_[i].is_over())
          strangers_.push_back({i, g.epoch(), words, message});
    }
  }

  void deliver_some() {
    for (auto n = any(5) + 1; n > 0 && !on_the_way_.empty(); --n) {
      const auto at = any(on_the_way_.size());
      std::swap(on_the_way_[at], on_the_way_.back());
      const auto l = std::move(on_the_way_.back());
      on_the_way_.pop_back();
      auto& g = r_[l.reader];
      if (g.epoch() - l.epoch > r_.settings.past_epochs_max) {
        CHECK(broken(g.receive(l.message, r_.s)) == rule::epoch_gone);
        continue;
      }
      CHECK(words_in(g.receive(l.message, r_.s)) == l.words);
      CHECK(broken(g.receive(l.message, r_.s)) == rule::generation_used);
    }
    for (; !strangers_.empty(); strangers_.pop_back()) {
      const auto& l = strangers_.back();
      CHECK(broken(r_[l.reader].receive(l.message, r_.s)) != rule::none);
    }
  }

  // --- what is proposed

  proposal new_guest() {
    guests_.push_back(r_.invite("guest " + std::to_string(++invited_)));
    return guests_.back().add();
  }

  void propose() {
    const auto by = somebody();
    const auto other = somebody_else(by);
    switch (any(4)) {
    case 0:
      note(std::to_string(by) + " proposes its update");
      all_hear(by, taken(r_[by].propose_update(r_.s)));
      break;
    case 1:
      if (!other)
        return;
      note(std::to_string(by) + " proposes to remove " + std::to_string(*other));
      all_hear(by, taken(r_[by].propose({remove_proposal{r_[*other].own_leaf()}}, r_.s)));
      break;
    case 2:
      note(std::to_string(by) + " proposes a guest");
      all_hear(by, taken(r_[by].propose(new_guest(), r_.s)));
      break;
    default:
      note(std::to_string(by) + " proposes a key");
      all_hear(by, taken(r_[by].propose({psk_proposal{external_psk(text("known"), r_.random)}}, r_.s)));
    }
  }
  void all_hear(std::size_t by, const bytes& message) {
    for (const auto i : living())
      if (i != by)
        proposal_in(r_[i].receive(message, r_.s));
  }

  // --- what is committed

  made_commit make(std::size_t by) {
    commit_options options;
    options.always_path = !one_in(3);
    options.tree = one_in(2) ? tree_delivery::apart : tree_delivery::in_group_info;
    for (auto n = any(3); n > 0 && r_[by].member_count() + n <= members_max; --n)
      options.proposals.push_back(new_guest());
    if (const auto other = somebody_else(by); other && one_in(3))
      options.proposals.push_back({remove_proposal{r_[*other].own_leaf()}});
    if (one_in(8))
      options.proposals.push_back({psk_proposal{external_psk(text("known"), r_.random)}});
    if (one_in(12))
      options.proposals.push_back({group_context_extensions_proposal{
          {to_extension(required_capabilities{.credentials = {credential_type::basic}})}}});
    return taken(r_[by].commit(options, r_.s));
  }

  void conclude(std::size_t by, made_commit& made) {
    r_.conclude(by, made);
    if (one_in(10))
      CHECK(broken(r_[by].receive(made.commit, r_.s)) != rule::none);
    for (std::size_t n = 0; n < made.welcomes.size(); ++n) {
      const auto read = taken(read_message(made.welcomes[n]));
      const auto& whose = read.as<welcome>()->secrets.at(0).new_member;
      const auto g = std::ranges::find_if(
          guests_, [&](const auto& x) { return equal(key_package_ref(x.package.package), whose); });
      REQUIRE(g != guests_.end());
      r_.members.push_back(taken(r_.try_join(made, *g, n)));
    }
    guests_.clear(); // whoever was not added was proposed in an epoch that is over
    // Nobody who is out can follow.
    for (std::size_t i = 0; i < r_.members.size(); ++i)
      if (r_[i].is_over())
        CHECK(broken(r_[i].receive(made.commit, r_.s)) == rule::group_over);
    if (one_in(8))
      check_deeply();
  }

  void commit_one() {
    const auto by = somebody();
    auto made = make(by);
    note(std::to_string(by) + " commits, adding " + std::to_string(made.pending.effects().added.size()) +
         " and removing " + std::to_string(made.pending.effects().removed.size()));
    conclude(by, made);
  }

  /// Several commit in one epoch. Some hear the losers first; one wins, or all drop what they made.
  void race() {
    std::vector<std::pair<std::size_t, made_commit>> racing;
    for (auto n = 2 + any(2); n > 0; --n) {
      const auto by = somebody();
      racing.emplace_back(by, make(by));
    }
    const auto hears = somebody();
    for (const auto& [by, made] : racing)
      if (by != hears)
        (void)commit_in(r_[hears].receive(made.commit, r_.s));
    if (one_in(4)) {
      note("a race that nobody wins");
      return;
    }
    auto& [winner, made] = racing[any(racing.size())];
    note("a race that " + std::to_string(winner) + " wins");
    conclude(winner, made);
    for (auto& [by, lost] : racing) {
      if (&lost == &made)
        continue;
      CHECK(broken(r_[by].confirm(std::move(lost.pending))) == rule::pending_out_of_date);
      for (const auto i : living())
        CHECK(broken(r_[i].receive(lost.commit, r_.s)) == rule::wrong_epoch);
    }
  }

  void join_by_oneself() {
    const auto helper = somebody();
    const auto info = taken(r_[helper].group_info(tree_delivery::in_group_info));
    std::optional<leaf_index> replaces;
    auto who = r_.identity("outsider " + std::to_string(++invited_));
    if (one_in(2) || r_[helper].member_count() >= members_max) {
      const auto again = somebody();
      replaces = r_[again].own_leaf();
      who = state_of(r_[again]).identity.copy();
    }
    note(replaces ? "somebody comes again" : "somebody joins");
    auto joining = taken(join_externally(info, std::nullopt, std::move(who), replaces, r_.s, r_.settings));
    if (one_in(5)) // not accepted
      return;
    for (const auto i : living())
      done(r_[i].confirm(commit_in(r_[i].receive(joining.commit, r_.s))));
    r_.members.push_back(std::move(joining.group));
    guests_.clear();
  }

  // --- what is so

  void check_deeply() {
    for (const auto i : living())
      done(state_of(r_[i]).private_keys.check(state_of(r_[i]).now.tree));
    const auto who = somebody();
    const auto tree = taken(ratchet_tree::decoded(r_[who].ratchet_tree()));
    const auto& context = state_of(r_[who]).now.context;
    const auto requirements = taken(requirements_of(context.extensions));
    done(check_tree(tree, {context.group_id, context.tree_hash, &requirements, now}, r_.policy));
    CHECK(living().size() == r_[who].member_count());
  }

  std::mt19937_64 chance_;
  room r_;
  std::vector<letter> on_the_way_, strangers_;
  std::vector<guest> guests_;
  std::size_t said_ = 0, invited_ = 0;
  std::string trail_;
};

std::uint64_t number_in(const char* name, std::uint64_t otherwise) {
  const auto* value = std::getenv(name);
  return value ? std::strtoull(value, nullptr, 10) : otherwise;
}

void live(std::uint64_t seed) {
  history h{seed};
  INFO("MLS_HISTORY=", seed, ": ", h.trail());
  h.run();
}

TEST_CASE("all members agree after any history, and read what was said while they were there") {
  if (const auto seed = number_in("MLS_HISTORY", 0)) {
    live(seed);
    return;
  }
  const auto count = number_in("MLS_HISTORIES", 300);
  for (std::uint64_t seed = 1; seed <= count; ++seed)
    live(seed);
}

} // namespace
} // namespace parley::mls::test
