// A client that has logged in, and asks much more than a person would.
#include "tests/attacks/siege.hpp"

#include <map>

using namespace parley;
using namespace parley::test;

namespace {

using codes = std::map<ec, std::size_t>;

/// Makes `n` calls, many at a time, and counts what they are answered with.
template <class Make>
codes flood(siege& s, lean_connection& by, std::size_t n, Make&& make) {
  codes out;
  constexpr std::size_t at_a_time = 200;
  for (std::size_t done = 0; done < n; done += at_a_time) {
    kj::Vector<kj::Promise<void>> some;
    for (std::size_t i = done; i < std::min(n, done + at_a_time); ++i)
      some.add(make(by, i).then([&out](ec code) { ++out[code]; }));
    s.get(kj::joinPromises(some.releaseAsArray()));
  }
  return out;
}

kj::Promise<ec> look_up(lean_connection& by, std::size_t i) {
  auto request = by.session().openDirectRequest();
  request.setPhone(("+4917" + std::to_string(10'000'000 + i)).c_str());
  return request.send().then([](auto r) { return wire::to_code(r.getError()); });
}

kj::Promise<ec> mark_nothing(lean_connection& by, std::size_t i) {
  auto request = by.session().ackReadRequest();
  wire::write(request.initConversation(), conversation_id{mix64(i), mix64(i + 1)});
  request.setSeq(1);
  return request.send().then([](auto r) { return wire::to_code(r.getError()); });
}

} // namespace

TEST_CASE(
    "who tries out numbers, sends without a pause or asks about nothing is held up, over all connections") {
  siege s;
  { // ten thousand numbers that nobody has
    codes all;
    for (int connection = 0; connection < 4; ++connection) {
      auto line = s.login(1, s.eve);
      for (const auto& [code, n] : flood(s, *line, 2'500, look_up))
        all[code] += n;
      s.bystander_goes_on();
    }
    MESSAGE(all[ec::no_such_user] << " of 10,000 look-ups were answered");
    CHECK(all[ec::no_such_user] > 0);
    CHECK(all[ec::no_such_user] < 100);
    CHECK(all[ec::no_such_user] + all[ec::rate_limited] == 10'000);
  }
  { // eight thousand messages of one user, through one connection after the other
    const auto began = std::chrono::steady_clock::now();
    codes all;
    std::uint64_t counter = 1'000;
    for (int connection = 0; connection < 8; ++connection) {
      auto line = s.login(1, s.mallory);
      for (const auto& [code, n] : flood(s, *line, 1'000, [&](lean_connection&by, std::size_t) {
             return neighbourhood::send(by, s.loot, ++counter, "flood").then([](placed p) {
               return p.error;
             });
           }))
        all[code] += n;
      s.bystander_goes_on();
    }
    const auto seconds =
        std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - began).count();
    MESSAGE(all[ec::none] << " of 8,000 messages were stored in " << seconds << " s");
    CHECK(all[ec::none] >= 400); // the burst that everybody has
    CHECK(all[ec::none] <= 400 + 200 * static_cast<std::size_t>(seconds));
    CHECK(all[ec::none] + all[ec::rate_limited] == 8'000);
  }
  { // twenty thousand acknowledgements in conversations that do not exist
    auto line = s.login(1, s.mallory);
    auto all = flood(s, *line, 20'000, mark_nothing);
    MESSAGE(all[ec::no_such_conversation] << " of 20,000 were looked up; the node holds " << s.growth() / mib
                                          << " MiB more");
    CHECK(all[ec::no_such_conversation] + all[ec::rate_limited] == 20'000);
    CHECK(all[ec::rate_limited] > 0);
    CHECK(s.growth() <= attack_bytes_max / 2);
    s.bystander_goes_on();
  }
}
