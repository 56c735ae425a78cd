// What a group writes, and that a group which reads it can continue.
#include "protocol/mls/group_store.hpp"
#include "protocol/mls/key_package_store.hpp"
#include "tests/protocol/mls/stored_state.hpp"
#include "tests/support/memory_parts.hpp"

#include <set>

using namespace parley::mls;
using namespace parley::mls::test;

namespace {
/// An in-memory store that counts, and fails at a chosen call.
struct failing_store final : memory_parts {
  std::size_t written = 0, fail_at = 0;
  mutable std::size_t calls = 0;
  bool cannot_read = false;

  result<void> put(std::string_view name, bytes_view value) override {
    written += name.size() + value.size();
    (void)memory_parts::put(name, value);
    return fails() ? refuse(rule::store_failed) : result<void>{};
  }
  result<void> erase(std::string_view name) override {
    written += name.size();
    (void)memory_parts::erase(name);
    return fails() ? refuse(rule::store_failed) : result<void>{};
  }
  result<std::optional<secret>> get(std::string_view name) const override {
    if (fails() || cannot_read)
      return refuse(rule::store_failed);
    return memory_parts::get(name);
  }
  result<std::vector<std::string>> names(std::string_view prefix) const override {
    if (fails() || cannot_read)
      return refuse(rule::store_failed);
    return memory_parts::names(prefix);
  }

private:
  bool fails() const { return ++calls == fail_at; }
};

group reloaded(group& g, failing_store& at, const room& r) {
  done(group_store::save(g, at));
  return taken(group_store::load(at, state_of(g).identity.copy(), r.settings));
}
} // namespace

TEST_CASE("a part of any kind that is missing, cut off, changed, exchanged, old or too much is refused") {
  room r{5};
  full_state(r);
  failing_store at, older;
  done(group_store::save(r[0], older));
  const auto pending = r.commit(0).pending;
  done(group_store::save_pending(r[0], pending, older));
  at = older;
  (void)taken(r[0].receive(r.say(2, "newer"), r.s));
  done(group_store::save(r[0], at));
  (void)taken(group_store::load(at, identity_of(r[0])));

  std::set<std::string> kinds;
  const auto refused = [&](const failing_store& damaged) {
    return broken(group_store::load(damaged, identity_of(r[0]))) == rule::state_damaged;
  };
  for (const auto& [name, value] : at.parts) {
    CAPTURE(name);
    kinds.insert(name.substr(0, name.find('/')));
    auto damaged = at;
    damaged.parts.erase(name);
    CHECK(refused(damaged));
    for (std::size_t i = 0; i < value.size(); i += value.size() < 100 ? 1 : 37) {
      damaged = at;
      damaged.parts[name][i] ^= 1 << i % 8;
      CHECK(refused(damaged));
      damaged = at;
      damaged.parts[name].resize(i);
      CHECK(refused(damaged));
    }
    damaged = at;
    damaged.parts[name].push_back(0);
    CHECK(refused(damaged));
    damaged = at;
    damaged.parts[name + "0"] = value;
    CHECK(refused(damaged));
    const auto next = std::next(at.parts.find(name));
    if (next != at.parts.end() && next->second != value) {
      damaged = at;
      std::swap(damaged.parts[name], damaged.parts[next->first]);
      CHECK(refused(damaged));
    }
    if (const auto old = older.parts.find(name); old != older.parts.end() && old->second != value) {
      damaged = at;
      damaged.parts[name] = old->second;
      CHECK(refused(damaged));
    }
  }
  CHECK(kinds == std::set<std::string>{"main", "keys", "n", "t", "e", "p", "u", "pending", "sum"});
}

TEST_CASE("a part that its writer damaged before it was summed is refused, or is another group's, but never "
          "a crash") {
  room r{5};
  full_state(r);
  failing_store at;
  done(group_store::save(r[0], at));
  const auto pending = r.commit(0).pending;
  done(group_store::save_pending(r[0], pending, at));
  int refusals = 0;
  for (const auto& [name, value] : at.parts) {
    if (name == "sum")
      continue;
    for (std::size_t i = 0; i < value.size(); i += 7) {
      for (const bool cut : {true, false}) {
        auto wrong = at;
        auto& part = wrong.parts[name];
        if (cut)
          part.resize(i);
        else
          part[i] ^= 0x41;
        wrong.sum_again();
        auto g = group_store::load(wrong, identity_of(r[0]));
        refusals += !g;
        if (g)
          (void)group_store::load_pending(*g, wrong);
      }
    }
  }
  CHECK(refusals > 100);
}

TEST_CASE("a later format is refused, and so is the state of another group") {
  room r{2};
  failing_store at;
  done(group_store::save(r[0], at));
  CHECK(broken(group_store::load(at, identity_of(r[1]))) == rule::identity_mismatch);
  at.parts.at("main")[1] += 1;
  at.sum_again();
  CHECK(broken(group_store::load(at, identity_of(r[0]))) == rule::state_damaged);
  CHECK(broken(group_store::load(failing_store{}, identity_of(r[0]))) == rule::state_damaged);
}

TEST_CASE("a store that cannot be read is distinguished from one that is damaged or empty") {
  room r{2};
  failing_store at;
  done(group_store::save(r[0], at));
  at.cannot_read = true;
  CHECK(broken(group_store::load(at, identity_of(r[0]))) == rule::store_failed);
  CHECK(broken(group_store::load_pending(r[0], at)) == rule::store_failed);
  r.say(0, "hello");
  CHECK(broken(group_store::save(r[0], at)) == rule::store_failed);
}

TEST_CASE("a save during which the store fails is an error, and the group in memory saves no more") {
  using preparing = std::function<void(room&, failing_store&)>;
  using saving = std::function<result<void>(room&, failing_store&)>;
  const saving save = [](room& r, failing_store& at) { return group_store::save(r[0], at); };
  const std::vector<std::pair<preparing, saving>> cases{
      // Everything, for the first time, over leftovers of another state.
      {[](room&, failing_store& at) { at.parts["left"] = text("by somebody"); }, save},
      // A message.
      {[](room& r, failing_store& at) {
         done(group_store::save(r[0], at));
         (void)r[0].receive(r.say(2, "hello"), r.s);
       },
       save},
      // The next epoch, with one past epoch that is no longer kept, and without a pending commit.
      {[](room& r, failing_store& at) {
         done(group_store::save(r[0], at));
         done(group_store::save_pending(r[0], r.commit(0).pending, at));
         state_of(r[0]).settings.past_epochs_max = 1;
         auto made = taken(r[3].commit({.cover_received = false}, r.s));
         r.conclude(3, made);
         full_state(r);
       },
       save},
      // A pending commit.
      {[](room& r, failing_store& at) { done(group_store::save(r[0], at)); },
       [](room& r, failing_store& at) { return group_store::save_pending(r[0], r.commit(0).pending, at); }}};
  for (const auto& [prepare, save_it] : cases)
    for (std::size_t n = 1;; ++n) {
      room r{5};
      full_state(r);
      failing_store at;
      prepare(r, at);
      const auto before = at;
      at.calls = 0;
      at.fail_at = n;
      const auto saved = save_it(r, at);
      if (at.calls < n) {
        CHECK(saved);
        CHECK(n > 3);
        break;
      }
      CHECK(broken(saved) == rule::store_failed);
      CHECK(broken(group_store::save(r[0], at)) == rule::state_damaged);
      if (before.parts.contains("main")) // the caller's transaction is rolled back
        CHECK(group_store::load(before, identity_of(r[0])));
    }
}

TEST_CASE("a save that ends by an exception is one that failed") {
  struct throwing : memory_parts {
    result<void> put(std::string_view, bytes_view) override { throw std::bad_alloc{}; }
  };
  room r{2};
  throwing at;
  CHECK_THROWS_AS((void)group_store::save(r[0], at), std::bad_alloc);
  memory_parts good;
  CHECK(broken(group_store::save(r[0], good)) == rule::state_damaged);
}

TEST_CASE("a group that is saved and loaded after each step goes on, and reads no message twice") {
  room r{4};
  std::vector<failing_store> at(4);
  const auto all = [&] {
    for (std::size_t i = 0; i < 4; ++i)
      r.members[i] = reloaded(r[i], at[i], r);
  };
  for (int round = 0; round < 6; ++round) {
    all();
    const auto late = r.say(0, "late");
    all();
    for (int n = 0; n < 3; ++n) {
      const auto message = r.say(1, "hello");
      all();
      for (const std::size_t i : {0, 2, 3})
        CHECK(words_in(r[i].receive(message, r.s)) == "hello");
      all();
      CHECK(broken(r[2].receive(message, r.s)) == rule::generation_used);
    }
    r.proposed(2, taken(r[2].propose_update(r.s)));
    all();
    r.concluded(3);
    all();
    CHECK(words_in(r[1].receive(late, r.s)) == "late");
    all();
    for (std::size_t i = 1; i < 4; ++i)
      CHECK(equal(r[i].epoch_authenticator(), r[0].epoch_authenticator()));
  }
}

TEST_CASE("a commit that was sent by a process which died is confirmed by the next") {
  room r{4};
  failing_store at;
  const auto g = r.invite("somebody new");
  auto made = r.commit(0, {g.add()});
  done(group_store::save(r[0], at));
  done(group_store::save_pending(r[0], made.pending, at));
  r.members[0] = taken(group_store::load(at, identity_of(r[0])));
  CHECK(broken(r[0].receive(made.commit, r.s)) == rule::own_commit);
  auto pending = taken(group_store::load_pending(r[0], at));
  REQUIRE(pending);
  made.pending = std::move(*pending);
  r.conclude(0, made);
  CHECK(equal(r[0].epoch_authenticator(), r[3].epoch_authenticator()));
  r.members[0] = reloaded(r[0], at, r);
  CHECK_FALSE(taken(group_store::load_pending(r[0], at)));
  const auto message = r.say(0, "still here");
  CHECK(words_in(r[2].receive(message, r.s)) == "still here");
}

TEST_CASE("a pending commit fits only the object that it came from, while that is a member") {
  room r{3};
  memory_parts at;
  done(group_store::save(r[1], at));
  auto copy = taken(group_store::load(at, identity_of(r[1])));
  auto made = r.commit(1);
  CHECK(broken(copy.confirm(std::move(made.pending))) == rule::pending_out_of_date);
  auto late = r.commit(1);
  r.concluded(0, {{remove_proposal{leaf_index{1}}}});
  REQUIRE(r[1].is_over());
  CHECK(broken(r[1].confirm(std::move(late.pending))) == rule::pending_out_of_date);
  r.check_talk();
}

TEST_CASE("a message writes at most 2 KiB, however many members there are") {
  for (const std::size_t n : {2, 100, 1000}) {
    room r{1};
    std::vector<proposal> adds;
    std::vector<guest> guests;
    for (std::size_t i = 1; i < n; ++i)
      adds.push_back(guests.emplace_back(r.invite("person " + std::to_string(i))).add());
    auto made = r.commit(0, std::move(adds));
    r.conclude(0, made);
    auto other = taken(r.try_join(made, guests.back(), n - 2));
    failing_store mine, theirs;
    done(group_store::save(r[0], mine));
    done(group_store::save(other, theirs));
    // The first message is the worst case: the path down to its sender's leaf, and the maximum
    // number of skipped keys.
    for (int k = 0; k < 3; ++k) {
      mine.written = theirs.written = 0;
      const auto message = r.say(0, "hello");
      done(group_store::save(r[0], mine));
      const auto sent = mine.written;
      for (int lost = k == 0 ? 60 : 0; lost > 0; --lost)
        r.say(0, "lost");
      const auto heard = k == 0 ? r.say(0, "hello") : message;
      CHECK(words_in(other.receive(heard, r.s)) == "hello");
      done(group_store::save(other, theirs));
      MESSAGE(n, " members: sending ", sent, " bytes, receiving ", theirs.written);
      CHECK(sent <= 2048);
      CHECK(theirs.written <= 2048);
    }
  }
}

TEST_CASE("a device that restarts joins by the Welcome that arrived meanwhile, and uses no Welcome twice") {
  room r{2};
  auto g = r.invite("somebody new");
  const auto other = r.invite("somebody else");
  failing_store device;
  done(key_package_store::save(g.package, device));
  done(key_package_store::save(other.package, device));
  auto made = r.commit(0, {g.add()});
  r.conclude(0, made);
  CHECK(taken(key_package_store::all(device)).size() == 2);
  auto found = taken(key_package_store::find(made.welcomes.at(0), device));
  REQUIRE(found);
  g.package = std::move(*found);
  r.members.push_back(taken(r.try_join(made, g)));
  r.check_talk();
  done(key_package_store::erase(g.package, device));
  CHECK_FALSE(taken(key_package_store::find(made.welcomes.at(0), device)));
  CHECK(taken(key_package_store::all(device)).size() == 1);
  CHECK(broken(key_package_store::find(made.commit, device)) == rule::unexpected_message);

  const auto [name, value] = *device.parts.begin();
  for (std::size_t i = 0; i < value.size(); ++i) {
    // X25519 ignores these bits of a private key.
    const auto from_end = value.size() - i;
    const bool is_clamped = from_end == 64 || from_end == 33 || from_end == 32 || from_end == 1;
    device.parts[name][i] ^= is_clamped ? 0x18 : 1;
    CHECK(broken(key_package_store::all(device)) == rule::state_damaged);
    device.parts[name] = value;
  }
  device.parts[name].pop_back();
  CHECK(broken(key_package_store::all(device)) == rule::state_damaged);
  device.parts[name] = value;
  device.parts[name].push_back(0);
  CHECK(broken(key_package_store::all(device)) == rule::state_damaged);
}
