#include "protocol/mls/codec.hpp"
#include "tests/protocol/mls/spoken.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;

namespace {

/// Points of small order of X25519: every private key yields zeros with each of them.
const std::array small_order{
    bytes(32), // 0
    [] {
      bytes one(32);
      one[0] = 1;
      return one;
    }(),
    [] {
      bytes p(32, 0xff); // p - 1, of order 2
      p[0] = 0xec;
      p[31] = 0x7f;
      return p;
    }(),
    [] {
      bytes p(32, 0xff); // p, which is 0
      p[0] = 0xed;
      p[31] = 0x7f;
      return p;
    }(),
};

struct pairs {
  random_source random = counted_random(2);
  hpke_key_pair hpke = make_hpke_key(random);
  signature_key_pair signing = make_signature_key(random);
  bytes context = text("context"), plaintext = text("plaintext");
};

} // namespace

TEST_CASE("5.1.1: keys of a wrong length are refused") {
  pairs p;
  for (const std::size_t n : {0, 31, 33, 64}) {
    CHECK(broken(hpke_key_from_private(bytes(n, 1))) == rule::bad_key);
    CHECK(broken(signature_key_from_private(bytes(n, 1))) == rule::bad_key);
    CHECK(broken(encrypt_with_label(bytes(n, 1), "x", {}, {}, p.random)) == rule::bad_key);
    CHECK(broken(decrypt_with_label(p.hpke, "x", {}, {bytes(n, 1), bytes(20)})) == rule::bad_key);
    CHECK(broken(verify_with_label(bytes(n, 1), "x", {}, bytes(64))) == rule::bad_key);
  }
}

TEST_CASE(
    "5.1.2: a signature over another label or content, by another key, or of a wrong length is refused") {
  pairs p;
  const auto other = make_signature_key(p.random);
  const auto good = sign_with_label(p.signing, "label", p.plaintext);
  const auto verified = [&](bytes_view key, std::string_view label, bytes_view content,
                            bytes_view signature) {
    return broken(verify_with_label(key, label, content, signature));
  };
  CHECK(verified(p.signing.public_key, "label", p.plaintext, good) == rule::none);
  CHECK(verified(other.public_key, "label", p.plaintext, good) == rule::bad_signature);
  CHECK(verified(p.signing.public_key, "labe", p.plaintext, good) == rule::bad_signature);
  CHECK(verified(p.signing.public_key, "label", p.context, good) == rule::bad_signature);
  CHECK(verified(p.signing.public_key, "label", p.plaintext, bytes_view{good}.first(63)) ==
        rule::bad_signature);
  CHECK(verified(p.signing.public_key, "label", p.plaintext, {}) == rule::bad_signature);
  for (std::size_t i = 0; i < good.size(); i += 7) {
    auto bad = good;
    bad[i] ^= 0x10;
    CHECK(verified(p.signing.public_key, "label", p.plaintext, bad) == rule::bad_signature);
  }
}

TEST_CASE("5.1.2: the boundary between label and content is signed as well") {
  pairs p;
  const auto signature = sign_with_label(p.signing, "label", text("content"));
  CHECK(broken(verify_with_label(p.signing.public_key, "labelc", text("ontent"), signature)) ==
        rule::bad_signature);
}

TEST_CASE("5.1.3: what was encrypted with another label or context, or to another key, does not open") {
  pairs p;
  const auto other = make_hpke_key(p.random);
  const auto sealed =
      encrypt_with_label(p.hpke.public_key, "label", p.context, p.plaintext, p.random).value();
  CHECK(decrypt_with_label(p.hpke, "label", p.context, sealed).value() == secret{p.plaintext});
  CHECK(broken(decrypt_with_label(p.hpke, "other", p.context, sealed)) == rule::cannot_open);
  CHECK(broken(decrypt_with_label(p.hpke, "label", {}, sealed)) == rule::cannot_open);
  CHECK(broken(decrypt_with_label(other, "label", p.context, sealed)) == rule::cannot_open);
  auto bad = sealed;
  bad.ciphertext.back() ^= 1;
  CHECK(broken(decrypt_with_label(p.hpke, "label", p.context, bad)) == rule::cannot_open);
  bad = sealed;
  bad.kem_output[3] ^= 1;
  CHECK(broken(decrypt_with_label(p.hpke, "label", p.context, bad)) == rule::cannot_open);
  bad.ciphertext.resize(tag_bytes - 1);
  CHECK(broken(decrypt_with_label(p.hpke, "label", p.context, bad)) == rule::cannot_open);
}

TEST_CASE("5.1.3: a Diffie-Hellman result of zeros is refused (RFC 9180, 7.1.4)") {
  pairs p;
  for (const auto& point : small_order) {
    CHECK(broken(encrypt_with_label(point, "x", {}, {}, p.random)) == rule::bad_key);
    CHECK(broken(decrypt_with_label(p.hpke, "x", {}, {point, bytes(20)})) == rule::bad_key);
    CHECK(broken(hpke_send_export(point, {}, "x", 32, p.random)) == rule::bad_key);
    CHECK(broken(hpke_receive_export(p.hpke, point, {}, "x", 32)) == rule::bad_key);
  }
}

TEST_CASE("5.1.3: every encryption has its own ephemeral key") {
  pairs p;
  const auto one = encrypt_with_label(p.hpke.public_key, "x", {}, p.plaintext, p.random).value();
  const auto two = encrypt_with_label(p.hpke.public_key, "x", {}, p.plaintext, p.random).value();
  CHECK(one.kem_output != two.kem_output);
}

TEST_CASE("5.2: hashes of one value for two purposes differ, and so do hashes of two values") {
  const auto of = [](std::string_view label, std::string_view value) {
    return ref_hash(label, view_of(value));
  };
  CHECK(of("a", "b") != of("b", "b"));
  CHECK(of("a", "b") != of("a", "c"));
  CHECK(of("ab", "c") != of("a", "bc"));
}

TEST_CASE("An AEAD key or nonce of a wrong length does not open anything") {
  const auto sealed = aead_seal(bytes(16), bytes(12), {}, {});
  CHECK(aead_open(bytes(16), bytes(12), {}, sealed).value().empty());
  CHECK(broken(aead_open(bytes(32), bytes(12), {}, sealed)) == rule::bad_key);
  CHECK(broken(aead_open(bytes(16), bytes(11), {}, sealed)) == rule::bad_key);
}

TEST_CASE("HMAC is that of RFC 4231, also with a key longer than a block") {
  const auto hex = [](const bytes& v) {
    std::string out;
    for (const auto b : v)
      for (const auto digit : {b >> 4, b & 15})
        out += "0123456789abcdef"[digit];
    return out;
  };
  CHECK(hex(mac(bytes(20, 0x0b), text("Hi There"))) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hex(mac(bytes(131, 0xaa), text("Test Using Larger Than Block-Size Key - Hash Key First"))) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("HKDF-Expand is that of RFC 5869, over more than one block") {
  bytes prk, wanted;
  for (const auto& [to, hex] :
       {std::pair<bytes*, std::string_view>{
            &prk, "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"},
        {&wanted, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"}})
    for (std::size_t i = 0; i < hex.size(); i += 2)
      to->push_back(static_cast<std::uint8_t>(std::stoi(std::string{hex.substr(i, 2)}, nullptr, 16)));
  const bytes info{0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9};
  CHECK(kdf_expand(prk, {info}, 42) == secret{wanted});
}

TEST_CASE("HMAC is that of RFC 2104 for keys and data of any length, whatever was hashed before") {
  const auto by_definition = [](bytes key, const bytes& data) {
    if (key.size() > 64)
      key = hash(key);
    key.resize(64);
    bytes inner, outer;
    for (const auto b : key) {
      inner.push_back(b ^ 0x36);
      outer.push_back(b ^ 0x5c);
    }
    inner.insert(inner.end(), data.begin(), data.end());
    const auto digest = hash(inner);
    outer.insert(outer.end(), digest.begin(), digest.end());
    return hash(outer);
  };
  for (const std::size_t key_size : {0, 1, 32, 63, 64, 65, 200})
    for (std::size_t n = 0; n <= 400; ++n) {
      const bytes key(key_size, 3), data(n, 5);
      REQUIRE(mac(key, data) == by_definition(key, data));
      // In parts, as HKDF adds them. Two blocks are needed so that the second run follows the first.
      bytes info = data;
      info.push_back(1);
      const auto first = by_definition(key, info);
      info = first;
      info.insert(info.end(), data.begin(), data.end());
      info.push_back(2);
      const auto second = by_definition(key, info);
      const auto expanded = kdf_expand(key, {data}, 64);
      REQUIRE(equal(expanded.view().first(32), first));
      REQUIRE(equal(expanded.view().last(32), second));
    }
}
