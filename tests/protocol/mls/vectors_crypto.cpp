#include "protocol/mls/codec.hpp"
#include "tests/protocol/mls/vectors.hpp"

namespace parley::mls::vectors {

namespace {

void check_crypto_basics(const json& one) {
  const auto& r = one.at("ref_hash");
  expect_equal(ref_hash(text(r, "label"), hex(r, "value")), hex(r, "out"), "RefHash");

  const auto& x = one.at("expand_with_label");
  expect_equal(expand_with_label(hex(x, "secret"), text(x, "label"), hex(x, "context"),
                                 x.at("length").get<std::size_t>())
                   .view(),
               hex(x, "out"), "ExpandWithLabel");

  const auto& d = one.at("derive_secret");
  expect_equal(derive_secret(hex(d, "secret"), text(d, "label")).view(), hex(d, "out"), "DeriveSecret");

  const auto& t = one.at("derive_tree_secret");
  expect_equal(derive_tree_secret(hex(t, "secret"), text(t, "label"), t.at("generation").get<std::uint32_t>(),
                                  t.at("length").get<std::size_t>())
                   .view(),
               hex(t, "out"), "DeriveTreeSecret");

  const auto& s = one.at("sign_with_label");
  const auto content = hex(s, "content");
  const auto label = text(s, "label");
  const auto key = taken(signature_key_from_private(hex(s, "priv")), "the private key");
  expect_equal(key.public_key, hex(s, "pub"), "the public signature key");
  taken(verify_with_label(key.public_key, label, content, hex(s, "signature")), "the signature");
  taken(verify_with_label(key.public_key, label, content, sign_with_label(key, label, content)),
        "a signature of ours");

  const auto& e = one.at("encrypt_with_label");
  const auto hpke = taken(hpke_key_from_private(hex(e, "priv")), "the private key");
  const auto plaintext = hex(e, "plaintext");
  const auto context = hex(e, "context");
  expect_equal(hpke.public_key, hex(e, "pub"), "the public HPKE key");
  const hpke_ciphertext theirs{hex(e, "kem_output"), hex(e, "ciphertext")};
  expect_equal(taken(decrypt_with_label(hpke, text(e, "label"), context, theirs), "DecryptWithLabel").view(),
               plaintext, "what DecryptWithLabel opened");
  const auto ours = taken(
      encrypt_with_label(hpke.public_key, text(e, "label"), context, plaintext, system_random()), "sealing");
  expect_equal(taken(decrypt_with_label(hpke, text(e, "label"), context, ours), "DecryptWithLabel").view(),
               plaintext, "what we sealed and opened");
}

void check_hpke(const json& one) {
  const auto receiver = derive_key_pair(hex(one, "ikmR"));
  expect_equal(receiver.private_key.view(), hex(one, "skRm"), "skRm");
  expect_equal(receiver.public_key, hex(one, "pkRm"), "pkRm");
  const auto ephemeral = derive_key_pair(hex(one, "ikmE"));
  expect_equal(ephemeral.private_key.view(), hex(one, "skEm"), "skEm");
  expect_equal(ephemeral.public_key, hex(one, "enc"), "enc");

  const auto info = hex(one, "info");
  const auto random = fixed_random(hex(one, "ikmE"));
  for (const auto& message : one.at("encryptions")) {
    const auto aad = hex(message, "aad");
    const auto plaintext = hex(message, "pt");
    // MLS never sends a second message in one context, but the keys and nonces of later messages
    // still test the AEAD.
    expect_equal(aead_seal(hex(one, "key"), hex(message, "nonce"), aad, plaintext), hex(message, "ct"),
                 "the AEAD");
    if (message.at("sequence_number") != 0)
      continue;
    const auto sealed = taken(hpke_seal(receiver.public_key, info, aad, plaintext, random), "sealing");
    expect_equal(sealed.kem_output, hex(one, "enc"), "the encapsulated key");
    expect_equal(sealed.ciphertext, hex(message, "ct"), "the ciphertext");
    expect_equal(taken(hpke_open(receiver, sealed, info, aad), "opening").view(), plaintext, "the plaintext");
  }
  for (const auto& e : one.at("exports")) {
    const auto context = hex(e, "exporter_context");
    const std::string label{context.begin(), context.end()};
    const auto size = e.at("L").get<std::size_t>();
    const auto sent = taken(hpke_send_export(receiver.public_key, info, label, size, random), "exporting");
    expect_equal(sent.exported.view(), hex(e, "exported_value"), "the sender's export");
    expect_equal(taken(hpke_receive_export(receiver, hex(one, "enc"), info, label, size), "exporting").view(),
                 hex(e, "exported_value"), "the receiver's export");
  }
}

void check_deserialization(const json& one) {
  const auto header = hex(one, "vlbytes_header");
  const auto length = one.at("length").get<std::size_t>();
  decoder d{header};
  expect(d.length() == length && d.done(), "the length differs");
  encoder e;
  e.length(length);
  expect_equal(e.out(), header, "the encoded length");
}

} // namespace

std::vector<kind> crypto_kinds() {
  return {
      {"crypto-basics", {"ref_hash", "expand_with_label"}, check_crypto_basics},
      {"hpke-rfc9180",
       {"kem_id", "encryptions"},
       check_hpke,
       // MLS uses base mode only.
       [](const json& one) {
         return one.at("mode") != 0 || one.at("kem_id") != 32 || one.at("kdf_id") != 1 ||
                one.at("aead_id") != 1;
       }},
      {"deserialization", {"vlbytes_header"}, check_deserialization},
  };
}

} // namespace parley::mls::vectors
