#include "protocol/client/device/config.hpp"
#include "protocol/client/store/keys.hpp"
#include "protocol/mls/credential.hpp"
#include "protocol/values/limits.hpp"

#include <doctest/doctest.h>
#include <openssl/evp.h>

using namespace parley;
using namespace parley::client;

// protocol/mls knows no values, so it says for itself how long a name may be.
static_assert(mls::device_name_bytes_max == device_name_bytes_max);

TEST_CASE("addresses without a port, and empty lists, are refused with a sentence") {
  CHECK(!parse_seeds(""));
  CHECK(!parse_seeds(",,"));
  CHECK(!parse_seeds("localhost"));
  CHECK(!parse_seeds("127.0.0.1:70000"));
  CHECK(parse_seeds("x").error().sentence.find("host:port") != std::string::npos);
}

TEST_CASE("a seed list keeps its order") {
  const auto seeds = parse_seeds("127.0.0.1:7401,localhost:7402");
  REQUIRE(seeds);
  REQUIRE(seeds->size() == 2);
  CHECK((*seeds)[1].host == "localhost");
  CHECK((*seeds)[1].port == 7402);
  CHECK(parse_seeds(" 127.0.0.1:7401 ,  localhost:7402, ,") == seeds);
}

TEST_CASE("a config that cannot be run with names its field") {
  config c;
  CHECK(validate(c)->field == "seeds");
  c.seeds = *parse_seeds("127.0.0.1:1");
  CHECK_FALSE(validate(c).has_value());
  c.window = 1'000;
  CHECK(validate(c)->field == "window");
}

TEST_CASE("a session number that was drawn by a clock far ahead does not keep its device out for ever") {
  constexpr std::int64_t now = 1'764'000'000'000, day = 24 * 3'600'000;
  const auto after = [](std::uint64_t last, std::int64_t clock) {
    return number(session_after(session_number{last}, unix_ms{clock}));
  };
  CHECK(after(now - 5, now) == now);
  CHECK(after(now + 5, now) == now + 6); // the clock was set back a little
  CHECK(after(now + day, now) == now + day + 1);
  CHECK(after(now + day + 1, now) == now);
  for (const std::uint64_t beyond : {std::uint64_t{1} << 60, ~std::uint64_t{0} - 1, ~std::uint64_t{0}}) {
    CHECK(after(beyond, now) == now);
    CHECK(after(beyond, 5) == 5);
    CHECK(after(beyond, -5) == 1);
  }
  // A clock that was never set, or that is broken, says nothing about the number.
  CHECK(after(now, 5) == now + 1);
  CHECK(after(now, std::int64_t{1} << 60) == now + 1);
  CHECK(after(0, std::int64_t{1} << 60) == 1);
}

TEST_CASE("a conversation's id is read from its text, and from no other text") {
  const conversation_id c{0x0123456789abcdefULL, 0xfedcba9876543210ULL};
  CHECK(text(c) == "0123456789abcdeffedcba9876543210");
  CHECK(*parse_conversation(text(c)) == c);
  CHECK(!parse_conversation("0123"));
  CHECK(!parse_conversation("0123456789abcdeffedcba987654321x"));
}

TEST_CASE("a signature is valid for its key and bytes only") {
  const auto key = make_key();
  CHECK(key.open != make_key().open);
  const auto signature = sign(key, "hello");
  const auto verifies = [&](std::string_view bytes) {
    auto* k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.open.data(), key.open.size());
    auto* context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, k);
    const bool good =
        EVP_DigestVerify(context, signature.data(), signature.size(),
                         reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(k);
    return good;
  };
  CHECK(verifies("hello"));
  CHECK(!verifies("hello!"));
}
