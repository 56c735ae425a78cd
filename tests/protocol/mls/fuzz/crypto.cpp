// Keys, ciphertexts and signatures from others: HPKE, AEAD, signatures, pre-shared keys, ratchets,
// safety numbers. Input: the choice of a check, then its bytes.
#include "tests/protocol/mls/fuzz/fuzz.hpp"
#include "tests/protocol/mls/fuzz/reader.hpp"
#include "tests/protocol/mls/fuzz/scenario.hpp"

namespace parley::mls::fuzz {
namespace {

const hpke_key_pair& own_key() {
  static const auto key = derive_key_pair(view_of("of the fuzzer"));
  return key;
}

/// Seals to an arbitrary public key, which works or is refused.
void seal_to(bytes_view in) {
  const outside w{1};
  const auto key = in.first(std::min<std::size_t>(in.size(), 32));
  const auto plain = in.subspan(key.size());
  const auto sealed = encrypt_with_label(key, "label", view_of("context"), plain, w.random);
  const auto exported = hpke_send_export(key, {}, "label", 32, w.random);
  law(sealed.has_value() == exported.has_value(), "a key is good for everything or nothing");
  if (!sealed)
    return;
  law(sealed->ciphertext.size() == plain.size() + tag_bytes, "HPKE adds a tag");
  const auto opened = decrypt_with_label(own_key(), "label", view_of("context"), *sealed);
  law(opened.has_value() == equal(key, own_key().public_key),
      "what is sealed to a key opens with that key only");
}

void open_sealed(bytes_view in) {
  const auto sealed = whole<hpke_ciphertext>(in);
  if (!sealed)
    return;
  const auto opened = decrypt_with_label(own_key(), "label", view_of("context"), *sealed);
  law(!opened || opened->size() + tag_bytes == sealed->ciphertext.size(), "HPKE takes a tag away");
  const auto raw = hpke_open(own_key(), *sealed, {}, {});
  const auto exported = hpke_receive_export(own_key(), sealed->kem_output, {}, "label", 32);
  law(!opened || exported, "what opens has a key to share");
  (void)raw;
}

/// Seals correctly, so that the ciphertext opens to the plaintext, and changes one byte, so that
/// it does not open.
void round_trip(bytes_view in) {
  const outside w{2};
  reader choices{in};
  const auto at = choices.u8(), by = choices.u8();
  auto sealed =
      taken(encrypt_with_label(own_key().public_key, "label", view_of("context"), choices.rest(), w.random),
            "sealing to a good key");
  const auto opened = taken(decrypt_with_label(own_key(), "label", view_of("context"), sealed), "opening");
  law(equal(opened.view(), choices.rest()), "what was sealed is what opens");
  if (by == 0)
    return;
  sealed.ciphertext[at % sealed.ciphertext.size()] ^= by;
  law(!decrypt_with_label(own_key(), "label", view_of("context"), sealed),
      "a changed ciphertext does not open");
}

void open_aead(bytes_view in) {
  const bytes key(key_bytes, 1), nonce(nonce_bytes, 2);
  const auto half = in.size() / 2;
  (void)aead_open(key, nonce, in.first(half), in.subspan(half));
  const auto sealed = aead_seal(key, nonce, in.first(half), in.subspan(half));
  const auto opened = taken(aead_open(key, nonce, in.first(half), sealed), "what was sealed");
  law(equal(opened.view(), in.subspan(half)), "what was sealed is what opens");
}

void verify(bytes_view in) {
  const auto key = in.first(std::min<std::size_t>(in.size(), 32));
  const auto rest = in.subspan(key.size());
  const auto signature = rest.first(std::min<std::size_t>(rest.size(), signature_bytes));
  const auto content = rest.subspan(signature.size());
  (void)verify_with_label(key, "label", content, signature);
  (void)verify_with_label(key, "label", content, rest);
  const auto& known = recorded().people.front().who.signer;
  auto good = sign_with_label(known, "label", in);
  law(verify_with_label(known.public_key, "label", in, good).has_value(), "what is signed verifies");
  law(!verify_with_label(known.public_key, "other", in, good), "a signature is for its label");
  good.push_back(0);
  law(!verify_with_label(known.public_key, "label", in, good), "a signature has its length");
}

void private_keys(bytes_view in) {
  if (const auto pair = hpke_key_from_private(in))
    law(in.size() == 32 && pair->public_key.size() == 32, "HPKE keys have 32 bytes");
  if (const auto pair = signature_key_from_private(in))
    law(verify_with_label(pair->public_key, "label", in, sign_with_label(*pair, "label", in)).has_value(),
        "any signature key signs");
  const auto derived = derive_key_pair(in);
  law(derived.public_key.size() == 32, "any bytes give a key");
}

void pre_shared(bytes_view in) {
  decoder d{in};
  const auto ids = d.vector<pre_shared_key_id>();
  if (!d.done())
    return;
  (void)check_usages(ids);
  std::vector<pre_shared_key> keys;
  for (const auto& id : ids) {
    (void)check_nonce(id);
    keys.push_back({id, secret{id.id}});
  }
  if (const auto all = psk_secret(keys))
    law(all->size() == hash_bytes, "keys are mixed into one of a hash's size");
}

/// Ratchets as they are stored, and messages of arbitrary generations.
void ratchets(bytes_view in) {
  reader choices{in};
  auto keys = secret_tree::restored(4);
  const secret_tree_part node{secret_tree_part::what::node, static_cast<std::uint32_t>(choices.below(9))};
  const secret_tree_part ratchet{secret_tree_part::what::ratchet,
                                 static_cast<std::uint32_t>(choices.below(9))};
  const auto generation = choices.u8() | choices.u8() << 8;
  const bytes zeros(hash_bytes);
  (void)keys.restore(node, zeros);
  if (keys.restore(ratchet, choices.rest())) {
    const auto back = keys.saved(ratchet);
    law(back && equal(back->view(), choices.rest()), "a ratchet is saved as it was");
  }
  const leaf_index leaf{ratchet.index / 2};
  const auto kind = static_cast<ratchet_kind>(ratchet.index % 2);
  for (const auto g : {static_cast<std::uint32_t>(generation), ~0u, ~0u - 1}) {
    auto found = keys.find(leaf, kind, g);
    if (!found)
      continue;
    keys.consume(std::move(*found));
    law(!keys.find(leaf, kind, g), "a key opens one message");
    const auto part = keys.saved(ratchet);
    law(part && part->size() < 2048, "a ratchet is small");
    auto again = secret_tree::restored(4);
    law(again.restore(ratchet, part->view()).has_value(), "a ratchet that was saved is read");
  }
  (void)keys.next(leaf, kind);
}

void numbers(bytes_view in) {
  public_key one{}, other{};
  std::copy_n(in.begin(), std::min(in.size(), one.size()), one.begin());
  if (in.size() > one.size())
    std::copy_n(in.begin() + one.size(), std::min(in.size() - one.size(), other.size()), other.begin());
  const auto digits = safety_number(one, other);
  law(digits == safety_number(other, one), "a safety number is the same on both sides");
  law(digits.size() == 60 && digits.find_first_not_of("0123456789") == std::string::npos, "it has 60 digits");
}

void derive(bytes_view in) {
  reader choices{in};
  const std::size_t size = choices.u8() | choices.u8() << 8;
  const auto exported = export_secret(secret{choices.rest()}, "label", choices.rest(), size);
  law(exported.has_value() == (size <= 255 * hash_bytes), "so much can be exported and no more");
  if (exported)
    law(exported->size() == size, "as much is exported as was asked for");
  (void)hash(in);
  (void)mac(in, in);
  (void)ref_hash("label", in);
}

constexpr void (*checks[])(bytes_view) = {seal_to,      open_sealed, round_trip, open_aead, verify,
                                          private_keys, pre_shared,  ratchets,   derive,    numbers};

void run(bytes_view input) {
  if (input.empty())
    return;
  // A safety number costs milliseconds, so only one choice of many leads there.
  const auto which = input.front() == 0xff ? std::size(checks) - 1 : input.front() % (std::size(checks) - 1);
  checks[which](input.subspan(1));
}

void seeds(const std::vector<bytes>&, const seed_sink& to) {
  const outside w{3};
  const auto add = [&](std::uint8_t which, bytes_view in) {
    bytes seed{which};
    seed.insert(seed.end(), in.begin(), in.end());
    to(std::move(seed));
  };
  const auto sealed =
      encrypt_with_label(own_key().public_key, "label", view_of("context"), view_of("plain"), w.random);
  bytes key = own_key().public_key;
  add(0, key);
  add(0, bytes(32)); // a point of small order
  add(1, encoded(*sealed));
  add(2, key);
  add(3, key);
  const auto& known = recorded().people.front().who.signer;
  auto signed_text = known.public_key;
  const auto signature = sign_with_label(known, "label", {});
  signed_text.insert(signed_text.end(), signature.begin(), signature.end());
  add(4, signed_text);
  add(5, key);
  encoder ids;
  ids.vector(std::vector{external_psk(key, w.random),
                         resumption_psk(resumption_usage::application, key, 3, w.random)});
  add(6, ids.out());
  secret_tree keys{secret{key}, 4};
  for (const auto generation : {0u, 3u, 70u, 60u}) {
    auto found = taken(keys.find(leaf_index{1}, ratchet_kind::application, generation), "a key");
    keys.consume(std::move(found));
    bytes ratchet{0, 3, static_cast<std::uint8_t>(generation + 1), 0};
    const auto saved = keys.saved({secret_tree_part::what::ratchet, 3});
    ratchet.insert(ratchet.end(), saved->view().begin(), saved->view().end());
    add(7, ratchet);
  }
  add(8, key);
  add(0xff, key);
}

} // namespace

const target crypto{"crypto", run, seeds};

} // namespace parley::mls::fuzz
