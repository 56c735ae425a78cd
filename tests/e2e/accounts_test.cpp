// Accounts as strangers and owners of several devices meet them: codes, tickets, devices. Each call is one call on
// the wire, on a connection of its own, because one that does not log in is closed soon.
#include "tests/e2e/neighbours.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::test;

namespace {

/// What the owner of the phone reads, and what the asker gets.
struct sent_code {
  std::string code, ticket;
};
/// Where somebody asks from: networks of their own, because the codes of a number are counted for each.
enum class network : unsigned { home = 0, abroad = 251, elsewhere = 501 };

sent_code ask_for_code(neighbourhood& t, std::size_t node, const std::string& phone,
                       network from = network::home) {
  for (int tries = 0; tries < 5; ++tries) {
    auto c = t.connect(node, static_cast<unsigned>(from));
    auto request = c->gateway().requestCodeRequest();
    request.setPhone(phone);
    auto answer = t.get(request.send());
    const auto error = wire::to_code(answer.getError());
    if (error == ec::rate_limited) { // the codes of a number are a second apart
      const auto wait = answer.getError().getRetryAfterMs();
      REQUIRE(wait <= 1'000);
      t.io.provider->getTimer().afterDelay(wait * kj::MILLISECONDS).wait(t.io.waitScope);
      continue;
    }
    REQUIRE(error == ec::none);
    sent_code out{{}, wire::bytes(answer.getTicket())};
    REQUIRE(t.until(5s, [&] {
      out.code = t.cluster.code_for(phone).value_or("");
      return !out.code.empty();
    }));
    return out;
  }
  FAIL("no code was sent");
  return {};
}

struct registered {
  ec error{};
  user_id user{};
  device_id device{};
};
registered enter(neighbourhood& t, std::size_t node, const std::string& phone, const sent_code& with,
                 const client::key_pair& key) {
  auto c = t.connect(node);
  auto request = c->gateway().registerRequest();
  request.setPhone(phone);
  request.setCode(with.code);
  request.setTicket(wire::as_data(with.ticket));
  request.setDeviceKey({key.open.data(), key.open.size()});
  request.setDeviceName("one more");
  const auto answer = t.get(request.send());
  return {wire::to_code(answer.getError()), user_id{answer.getUser()}, device_id{answer.getDevice()}};
}

} // namespace

TEST_CASE("a code makes one device, at whichever node it is used again") {
  neighbourhood t;
  const auto phone = test_phone(1);
  const auto owners = client::make_key(), strangers = client::make_key();
  const auto code = ask_for_code(t, 1, phone);
  const auto mine = enter(t, 1, phone, code, owners);
  REQUIRE(mine.error == ec::none);
  CHECK(enter(t, 2, phone, code, strangers).error == ec::code_expired);
  const auto again = enter(t, 2, phone, code, owners);
  CHECK(again.error == ec::none);
  CHECK(again.user == mine.user);
  CHECK(again.device == mine.device);
}

TEST_CASE("the owner's other devices hear of a new one") {
  neighbourhood t;
  const auto phone = test_phone(1);
  const auto first_device = t.enroll(1);
  auto owner = t.login(1, first_device);
  std::vector<std::string> heard;
  struct listener final : rpc::Receiver::Server {
    std::vector<std::string>& names;
    explicit listener(std::vector<std::string>& n) : names{n} {}
    kj::Promise<void> deliver(DeliverContext context) override {
      for (const auto item : context.getParams().getItems())
        if (item.isDeviceAdded())
          names.emplace_back(item.getDeviceAdded().getName().cStr());
      return kj::READY_NOW;
    }
    kj::Promise<void> closed(ClosedContext) override { return kj::READY_NOW; }
  };
  auto receive = owner->session().receiveRequest();
  receive.setReceiver(kj::heap<listener>(heard));
  REQUIRE(wire::to_code(t.get(receive.send()).getError()) == ec::none);
  const auto added = enter(t, 2, phone, ask_for_code(t, 2, phone), client::make_key());
  CHECK(added.error == ec::none);
  CHECK(added.user == first_device.user);
  CHECK(t.until(10s, [&] { return heard == std::vector<std::string>{"one more"}; }));
}

TEST_CASE("a stranger who asks for codes of a number neither learns of the owner's code nor spoils it") {
  neighbourhood t;
  const auto phone = test_phone(1);
  const auto strangers_key = client::make_key();
  const sent_code made_up{"000000", std::string(16, 't')};
  // Before any code is out, while one is out, and with a ticket of his own, a stranger hears the same.
  CHECK(enter(t, 2, phone, made_up, strangers_key).error == ec::code_expired);
  const auto owners = ask_for_code(t, 1, phone);
  for (int i = 0; i < 6; ++i)
    CHECK(enter(t, 2, phone, {owners.code, made_up.ticket}, strangers_key).error == ec::code_expired);
  const auto strangers = ask_for_code(t, 2, phone, network::abroad); // of which he sees the ticket only
  const auto wrong = strangers.code == "000000" ? "000001" : "000000";
  for (int i = 0; i < 5; ++i)
    CHECK(enter(t, 2, phone, {wrong, strangers.ticket}, strangers_key).error ==
          (i < 4 ? ec::code_wrong : ec::code_expired));
  CHECK(enter(t, 1, phone, owners, client::make_key()).error == ec::none);
}

TEST_CASE("a code whose answer was lost is asked for again at every node, and is sent once") {
  neighbourhood t;
  const auto phone = test_phone(1);
  const std::string ticket = client::make_ticket();
  std::string code;
  // More often than a number may have codes, at once, and from another network, too.
  for (std::size_t i = 0; i < 9; ++i) {
    auto c = t.connect(1 + i % 3, static_cast<unsigned>(i < 5 ? network::home : network::abroad));
    auto request = c->gateway().requestCodeRequest();
    request.setPhone(phone);
    request.setTicket(wire::as_data(ticket));
    auto answer = t.get(request.send());
    REQUIRE(wire::to_code(answer.getError()) == ec::none);
    CHECK(wire::bytes(answer.getTicket()) == ticket);
    CHECK(answer.getExpiresInS() > 0);
    if (i == 0)
      REQUIRE(t.until(5s, [&] {
        code = t.cluster.code_for(phone).value_or("");
        return !code.empty();
      }));
  }
  CHECK_FALSE(t.cluster.code_for(phone)); // no other one was printed
  CHECK(enter(t, 2, phone, {code, ticket}, client::make_key()).error == ec::none);
}

// 41
TEST_CASE("whoever guesses codes waits ever longer for the next one, and the code that was out stays good") {
  neighbourhood t;
  const auto phone = test_phone(1);
  const auto owners = ask_for_code(t, 1, phone);
  for (const auto from :
       {network::abroad, network::elsewhere}) { // one alone would wait longer for itself only
    const auto mine = ask_for_code(t, 2, phone, from);
    const auto wrong = mine.code == "000000" ? "000001" : "000000";
    for (int i = 0; i < 7; ++i) {
      const auto answer = enter(t, 2, phone, {wrong, mine.ticket}, client::make_key()).error;
      CHECK((answer == ec::code_wrong || (i >= 4 && answer == ec::code_expired)));
    }
    CHECK(enter(t, 2, phone, mine, client::make_key()).error == ec::code_expired); // the right one, too late
  }
  auto stranger = t.connect(2);
  auto request = stranger->gateway().requestCodeRequest();
  request.setPhone(phone);
  auto answer = t.get(request.send());
  CHECK(wire::to_code(answer.getError()) == ec::rate_limited);
  CHECK(answer.getError().getRetryAfterMs() > 10 * 60'000);
  CHECK(answer.getTicket().size() == 0);
  CHECK(enter(t, 1, phone, owners, client::make_key()).error == ec::none);
}

TEST_CASE("a stranger in one network does not use up the codes of somebody else's number, at whichever node "
          "he asks") {
  neighbourhood t;
  const auto phone = test_phone(1);
  for (std::size_t node = 1; node <= 3; ++node)
    ask_for_code(t, node, phone, network::abroad);
  for (std::size_t node = 1; node <= 3; ++node) {
    auto stranger = t.connect(node, static_cast<unsigned>(network::abroad));
    auto request = stranger->gateway().requestCodeRequest();
    request.setPhone(phone);
    auto answer = t.get(request.send());
    CHECK(wire::to_code(answer.getError()) == ec::rate_limited);
    CHECK(answer.getError().getRetryAfterMs() > 10 * 60'000);
  }
  CHECK(enter(t, 1, phone, ask_for_code(t, 1, phone), client::make_key()).error == ec::none);
}
