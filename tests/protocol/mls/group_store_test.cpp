// What a group writes, and that the group which reads it goes on.
#include "protocol/mls/group_store.hpp"
#include "tests/protocol/mls/group_fixture.hpp"

using namespace parley::mls;
using namespace parley::mls::test;

namespace {
/// A store in memory that counts, and fails at a chosen write.
struct memory_store final : part_store {
  std::map<std::string, bytes, std::less<>> parts;
  std::size_t written = 0, calls = 0, fail_at = 0;

  result<void> write() {
    if (++calls == fail_at)
      return refuse(rule::crypto_failed);
    return {};
  }
  result<void> put(std::string_view name, bytes_view value) override {
    written += name.size() + value.size();
    parts.insert_or_assign(std::string{name}, to_bytes(value));
    return write();
  }
  result<void> erase(std::string_view name) override {
    written += name.size();
    parts.erase(std::string{name});
    return write();
  }
  std::optional<secret> get(std::string_view name) const override {
    const auto at = parts.find(name);
    return at == parts.end() ? std::nullopt : std::optional{secret{at->second}};
  }
  std::vector<std::string> names(std::string_view prefix) const override {
    std::vector<std::string> out;
    for (const auto& [n, value] : parts)
      if (n.starts_with(prefix))
        out.push_back(n);
    return out;
  }
};

group reloaded(group& g, memory_store& at, const room& r) {
  done(group_store::save(g, at));
  return taken(group_store::load(at, state_of(g).identity.copy(), r.settings));
}
} // namespace

TEST_CASE("a part that is missing or has a changed byte is refused, or the group is the same") {
  room r{3};
  memory_store at;
  done(group_store::save(r[1], at));
  const auto who = [&] { return state_of(r[1]).identity.copy(); };
  for (const auto name : {"main", "keys", "n/0", "n/2"}) {
    auto damaged = at;
    damaged.parts.erase(name);
    CHECK(broken(group_store::load(damaged, who())) == rule::state_damaged);
    damaged = at;
    damaged.parts.at(name)[1] ^= 1;
    CHECK(broken(group_store::load(damaged, who())) == rule::state_damaged);
    damaged = at;
    damaged.parts.at(name).push_back(0);
    CHECK(broken(group_store::load(damaged, who())) == rule::state_damaged);
  }
}

TEST_CASE("a save that fails at any write leaves the last state, and the group in memory saves no more") {
  for (std::size_t n = 1;; ++n) {
    room r{3};
    memory_store at;
    done(group_store::save(r[0], at));
    r.concluded(1);
    auto next = at;
    next.calls = 0;
    next.fail_at = n;
    if (group_store::save(r[0], next)) {
      CHECK(n > 3);
      break;
    }
    CHECK(broken(group_store::save(r[0], next)) == rule::state_damaged);
    CHECK(taken(group_store::load(at, state_of(r[0]).identity.copy())).epoch() + 1 == r[0].epoch());
  }
}

TEST_CASE("a group that is saved and loaded after each step goes on, and reads no message twice") {
  room r{4};
  std::vector<memory_store> at(4);
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
  memory_store at;
  const auto g = r.invite("somebody new");
  auto made = r.commit(0, {g.add()});
  done(group_store::save(r[0], at));
  done(group_store::save_pending(r[0], made.pending, at));
  r.members[0] = taken(group_store::load(at, state_of(r[0]).identity.copy()));
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
    memory_store mine, theirs;
    done(group_store::save(r[0], mine));
    done(group_store::save(other, theirs));
    for (int k = 0; k < 3; ++k) {
      const auto message = r.say(0, "hello");
      mine.written = theirs.written = 0;
      done(group_store::save(r[0], mine));
      CHECK(words_in(other.receive(message, r.s)) == "hello");
      done(group_store::save(other, theirs));
      MESSAGE(n, " members: sending ", mine.written, " bytes, receiving ", theirs.written);
      CHECK(mine.written <= 2048);
      CHECK(theirs.written <= 2048);
    }
  }
}
