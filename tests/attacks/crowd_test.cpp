// Strangers in numbers: they hold connections, or open them as fast as they can, and never log in.
#include "tests/attacks/siege.hpp"

#include <atomic>
#include <limits>
#include <list>
#include <thread>

using namespace parley;
using namespace parley::test;

namespace {

/// Strangers who connect from one address each, and keep `held` connections each: what the node closes they
/// open again.
class crowd {
public:
  crowd(const address& node, unsigned first_address, unsigned addresses, std::size_t held)
      : thread_{[=, this] {
          std::vector<std::list<stranger>> all(addresses);
          while (!over_) {
            for (unsigned i = 0; i < addresses && !over_; ++i) {
              auto& mine = all[i];
              std::erase_if(mine, [](stranger& s) { return !s.listen(milliseconds{0}); });
              for (int n = 0; n < 50 && mine.size() < held; ++n, ++opened_)
                mine.emplace_back(node, first_address + i);
            }
            nap(milliseconds{1});
          }
        }} {}
  ~crowd() {
    over_ = true;
    thread_.join();
  }
  crowd(const crowd&) = delete;
  std::size_t opened() const { return opened_; }

private:
  std::atomic<bool> over_{false};
  std::atomic<std::size_t> opened_{0};
  std::thread thread_; ///< last: it uses the others
};

} // namespace

TEST_CASE("newcomers are served while strangers fill the room before login, from one address or from many") {
  siege s;
  const auto newcomers = [&] {
    for (unsigned i = 0; i < 10; ++i) {
      CAPTURE(i);
      auto c = s.get(lean_connection::open(s.lean, s.at(1), 200 + i));
      s.get(c->login(s.eve));
      s.get(c->session().pingRequest().send());
    }
    s.bystander_goes_on();
  };
  // A crowd at the door takes memory for as many handshakes as the room has places, and the allocator keeps
  // some of it for the next. Later crowds must not take more and more.
  std::vector<std::uint64_t> grown;
  const auto besiege = [&](unsigned addresses, std::size_t held, std::size_t opened_at_least) {
    {
      crowd strangers{s.cluster.client(1), 2, addresses, held};
      REQUIRE(poll_until(10s, [&] { return strangers.opened() > opened_at_least; }));
      newcomers();
      MESSAGE(addresses << " addresses opened " << strangers.opened() << " connections");
    }
    CHECK(poll_until(10s, [&] { return s.metric("\nparley_connections ") <= 4; })); // only those who talk
    grown.push_back(s.growth());
    MESSAGE("the node holds " << grown.back() / mib << " MiB more than before");
    CHECK(grown.back() <= 2 * attack_bytes_max);
  };
  besiege(1, 1'500, 3'000); // one address holds as many as it gets, and opens more all the time
  for (int wave = 0; wave < 3; ++wave)
    besiege(100, 40, 4'000);
  CHECK(grown.back() <= grown[1] + attack_bytes_max / 2);
}

TEST_CASE("a login is answered, whoever it names, and who is nobody's device is not let in") {
  siege s;
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t user : {std::uint64_t{0}, std::uint64_t{1}, most, number(s.alice.user)})
    for (const std::uint64_t device : {std::uint64_t{0}, std::uint64_t{1}, most, number(s.alice.device)}) {
      CAPTURE(user);
      CAPTURE(device);
      lean_device who;
      who.user = user_id{user};
      who.device = device_id{device};
      who.key = client::make_key(); // the proof is right, and the key is no device's
      const auto in = log_in_by_hand(s.cluster.client(1), who);
      CHECK(in.answered);
      CHECK_FALSE(in.inside);
    }
  s.bystander_goes_on();
}
