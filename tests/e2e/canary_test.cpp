// 51: searches for secrets in everything that a node reports to its operator at the most verbose log level.
//
// Login codes are an intended exception: the console code sender (`code_sender = "console"`, for
// development) writes them to standard OUTPUT as "code for +10…01: 123456", with the number masked. The
// log is written to standard ERROR. So lines of exactly that form are allowed on standard output, and
// nothing else is allowed anywhere.
#include "tests/e2e/neighbours.hpp"

#include <doctest/doctest.h>

#include <cctype>
#include <filesystem>
#include <fstream>

using namespace parley;
using namespace parley::test;
namespace fs = std::filesystem;

namespace {

std::string file(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::string hex(std::string_view bytes, const char* digits) {
  std::string out;
  for (const unsigned char b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

/// The base64 text of `bytes` if they begin at a multiple of three plus `shift`, without the characters
/// at both ends, which depend on the neighbouring bytes.
std::string base64(std::string_view bytes, std::size_t shift) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  bytes.remove_prefix((3 - shift) % 3);
  std::string out;
  for (std::size_t i = 0; i + 3 <= bytes.size(); i += 3) {
    const auto v = static_cast<unsigned>(static_cast<unsigned char>(bytes[i])) << 16 |
                   static_cast<unsigned>(static_cast<unsigned char>(bytes[i + 1])) << 8 |
                   static_cast<unsigned char>(bytes[i + 2]);
    for (const int by : {18, 12, 6, 0})
      out += digits[v >> by & 63];
  }
  return out;
}

struct secret {
  std::string what, needle;
};
void add(std::vector<secret>& to, const std::string& what, std::string_view bytes) {
  to.push_back({what, std::string{bytes}});
  to.push_back({what + " in hex", hex(bytes, "0123456789abcdef")});
  to.push_back({what + " in HEX", hex(bytes, "0123456789ABCDEF")});
  for (const auto shift : {0, 1, 2})
    to.push_back({what + " in base64", base64(bytes, static_cast<std::size_t>(shift))});
}

/// Whether `digits` occur as a complete number: six digits are part of many longer numbers.
bool has_number(const std::string& text, const std::string& digits) {
  const auto is_digit = [&](std::size_t i) {
    return i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0;
  };
  for (auto at = text.find(digits); at != std::string::npos; at = text.find(digits, at + 1))
    if ((at == 0 || !is_digit(at - 1)) && !is_digit(at + digits.size()))
      return true;
  return false;
}

/// Removes the intended code lines from a console's output and returns how many there were.
std::size_t take_code_lines(std::string& console) {
  std::string rest;
  std::size_t codes = 0;
  for (std::size_t at = 0; at < console.size();) {
    const auto end = std::min(console.find('\n', at), console.size());
    const auto line = console.substr(at, end - at);
    constexpr std::string_view before = "code for ", veil = "…";
    const bool on_purpose = line.size() == before.size() + 3 + veil.size() + 2 + 2 + 6 &&
                            line.starts_with(before) && line.substr(before.size() + 3, veil.size()) == veil;
    codes += on_purpose;
    if (!on_purpose)
      rest += line + '\n';
    at = end + 1;
  }
  console = std::move(rest);
  return codes;
}

struct told {
  std::string where, text;
};

/// Everything that the nodes have logged so far, and what they answer to queries now.
std::vector<told> everything(neighbourhood& t, std::size_t& codes) {
  std::vector<told> all;
  for (const auto& e : fs::directory_iterator{t.cluster.directory() + "/logs"}) {
    auto text = file(e.path());
    if (e.path().extension() == ".out")
      codes += take_code_lines(text);
    all.push_back({e.path().filename().string(), std::move(text)});
  }
  for (std::size_t n = 1; n <= t.cluster.size(); ++n)
    for (const auto* path : {"/metrics", "/healthz", "/readyz", "/wholez"})
      all.push_back({"node " + std::to_string(n) + path, t.cluster.get(n, path, 2'000ms).value_or("")});
  return all;
}

} // namespace

TEST_CASE("no body, number, code, token or key is in what nodes log or measure, whatever goes wrong") {
  process_cluster_config config;
  config.flags = {"--drain-spread", "500ms", "--drain-deadline", "3s", "--log-level", "trace"};
  neighbourhood t{config};
  const std::string canary = "canary-0f7b4e-sings-in-the-coal-mine";
  std::vector<secret> secrets;
  add(secrets, "the body", canary);
  std::vector<std::string> codes;
  const auto code_of = [&](const std::string& phone) {
    auto found = t.cluster.code_for(phone);
    if (found)
      codes.push_back(*found);
    return found;
  };

  // Registrations, successful and failed ones.
  std::vector<lean_device> people;
  for (std::size_t i = 1; i <= 4; ++i) {
    people.emplace_back();
    auto& who = people.back();
    who.key = client::make_key();
    who.phone = test_phone(i);
    auto c = t.connect(1 + i % 3);
    t.get(c->enroll(who, code_of));
    add(secrets, "a private key",
        {reinterpret_cast<const char*>(who.key.secret.data()), who.key.secret.size()});
    secrets.push_back({"a phone number", who.phone.substr(1)});
    add(secrets, "a ticket", who.ticket);
  }
  {
    auto c = t.connect(2);
    for (const auto* bad : {"+4917012345678901", "+49", "\xff\xfe +491701234567"}) {
      auto request = c->gateway().requestCodeRequest();
      request.setPhone(bad);
      CHECK(wire::to_code(t.get(request.send()).getError()) != ec::none);
    }
    auto wrong = c->gateway().registerRequest();
    wrong.setPhone(people[0].phone);
    wrong.setCode("918273");
    wrong.setDeviceKey(wire::as_data(std::string(32, 'k')));
    wrong.setDeviceName(canary);
    wrong.setTicket(wire::as_data(people[0].ticket));
    CHECK(wire::to_code(t.get(wrong.send()).getError()) != ec::none);
    codes.emplace_back("918273");
  }

  // Logins, sends and refusals.
  auto alice = t.login(1, people[0]);
  auto bob = t.login(2, people[1]);
  auto stranger = t.login(3, people[2]);
  const auto c = t.open(*alice, people[1].user);
  letterbox box;
  t.receive(*bob, box);
  CHECK(t.settle(*alice, c, 1, canary).error == ec::none);
  CHECK(t.settle(*alice, c, 1, canary + "!").error == ec::conflict);
  CHECK(t.settle(*alice, {1, 2}, 2, canary).error == ec::no_such_conversation);
  CHECK(t.settle(*alice, c, 3, canary + std::string(70'000, '.')).error == ec::too_large);
  CHECK(t.settle(*stranger, c, 1, canary).error == ec::not_a_member);
  REQUIRE(t.until(10s, [&] { return box.count(canary) == 1; }));
  auto forged = people[0];
  forged.key = people[2].key;
  CHECK(t.refusal_of(2, forged) == ec::bad_signature);

  // Resuming: one person uses the real client, twice.
  person carol{t, 5};
  secrets.push_back({"a phone number", carol.phone.substr(1)});
  const auto with_carol = carol.device->open_direct(people[3].user).wait(t.io.waitScope);
  REQUIRE(with_carol);
  for (int i = 0; i < 2; ++i) {
    REQUIRE_FALSE(carol.store.token().empty());
    add(secrets, "a resume token", carol.store.token());
    REQUIRE(carol.device->post(with_carol->conversation, canary));
    carol.device->disconnect();
    REQUIRE(t.until(10s, [&] {
      return carol.device->state().state == client::link_state::online && carol.device->unsettled() == 0;
    }));
  }
  const auto key = carol.device->who().key.secret;
  add(secrets, "a private key", {reinterpret_cast<const char*>(key.data()), key.size()});

  // One node is killed with sends in progress and started again; another is stopped cleanly.
  kj::Vector<kj::Promise<void>> under_way;
  for (std::uint64_t id = 10; id < 60; ++id)
    under_way.add(neighbourhood::send(*alice, c, id, canary).ignoreResult());
  t.cluster.kill(2);
  t.get(kj::joinPromises(under_way.releaseAsArray()));
  t.cluster.start(2);
  REQUIRE(t.cluster.wait_ready(20s));
  for (std::uint64_t id = 10; id < 60; ++id)
    CHECK(t.settle(*alice, c, id, canary).error == ec::none);
  CHECK(t.cluster.terminate(3, 15s) == 0);
  t.cluster.start(3);
  REQUIRE(t.cluster.wait_ready(20s));

  // The nodes' own keys: the lines of their key files.
  for (const auto& e : fs::recursive_directory_iterator{t.cluster.certs()}) {
    if (e.path().extension() != ".key")
      continue;
    std::istringstream lines{file(e.path())};
    for (std::string line; std::getline(lines, line);)
      if (line.size() > 40 && line.find("-----") == std::string::npos)
        secrets.push_back({"the key " + e.path().filename().string(), line});
  }

  std::size_t codes_printed = 0;
  const auto all = everything(t, codes_printed);
  CHECK(codes_printed == 5);
  std::size_t spoken = 0;
  std::vector<std::size_t> found_codes(codes.size());
  for (const auto& [where, text] : all) {
    CAPTURE(where);
    spoken += text.size();
    for (const auto& s : secrets) {
      REQUIRE(s.needle.size() >= 8);
      CHECK_MESSAGE(text.find(s.needle) == std::string::npos, s.what);
    }
    for (std::size_t i = 0; i < codes.size(); ++i)
      found_codes[i] += has_number(text, codes[i]);
  }
  CHECK(spoken > 10'000);
  // One code of six digits can match by chance, about once in a thousand runs. Two of five cannot.
  CHECK(std::count_if(found_codes.begin(), found_codes.end(), [](auto n) { return n > 0; }) < 2);
  std::size_t traced = 0; // proves that the level is really the most verbose one
  for (const auto& [where, text] : all)
    traced += where.ends_with(".log") && !text.empty();
  CHECK(traced >= t.cluster.size());
}

TEST_CASE("the search for canaries finds them in every dress") {
  const std::string body = "a body, and what surrounds it";
  std::vector<secret> secrets;
  add(secrets, "x", body);
  const auto found = [&](const std::string& text) {
    return std::any_of(secrets.begin(), secrets.end(),
                       [&](const secret& s) { return text.find(s.needle) != std::string::npos; });
  };
  CHECK(found("warn refused body=\"" + body + "\""));
  CHECK(found("key=" + hex("12" + body, "0123456789abcdef")));
  for (const auto* before : {"", "1", "12", "123"})
    CHECK(found(base64(before + body + "34", 0)));
  CHECK_FALSE(found("warn refused body=29"));
  CHECK(has_number("code 123456.", "123456"));
  CHECK_FALSE(has_number("bytes 9123456", "123456"));
  std::string console = "serving\ncode for +10…01: 123456\ncode for +100000000001: 123456\n";
  CHECK(take_code_lines(console) == 1);
  CHECK(console == "serving\ncode for +100000000001: 123456\n");
}
