#include "protocol/mls/psk.hpp"
#include "tests/protocol/mls/spoken.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;

namespace {

using part = secret_tree_part;
constexpr leaf_index leaf5{5};
constexpr auto application = ratchet_kind::application;
constexpr auto handshake = ratchet_kind::handshake;

secret_tree tree_of(std::uint32_t leaves, const mls_limits& limits = {}) {
  return {secret{bytes(32, 3)}, leaves, limits};
}

bool same_key(const message_key& a, const message_key& b) {
  return a.generation == b.generation && equal(a.key.view(), b.key.view()) &&
         equal(a.nonce.view(), b.nonce.view());
}

/// The key of this generation, as its sender derives it.
message_key sent(leaf_index leaf, ratchet_kind kind, std::uint32_t generation) {
  auto tree = tree_of(8, {.generation_jump_max = generation});
  return std::move(tree.find(leaf, kind, generation)->key);
}

void use(secret_tree& tree, leaf_index leaf, ratchet_kind kind, std::uint32_t generation) {
  auto found = tree.find(leaf, kind, generation);
  REQUIRE(found);
  tree.consume(std::move(*found));
}

std::map<part, bytes> all_saved(secret_tree& tree) {
  std::map<part, bytes> out;
  for (const auto& p : tree.take_changes())
    if (const auto v = tree.saved(p))
      out[p] = to_bytes(v->view());
  return out;
}

secret_tree restored(const std::map<part, bytes>& parts, std::uint32_t leaves) {
  auto out = secret_tree::restored(leaves);
  for (const auto& [p, v] : parts)
    REQUIRE(out.restore(p, v));
  return out;
}

group_info info_of(const spoken& group) {
  group_info out{.context = group.context, .confirmation_tag = group.tag, .signer = spoken::alice};
  sign(out, group.signers[0]);
  return out;
}

/// A Welcome for one recipient, and what opens it.
struct invitation {
  spoken group;
  hpke_key_pair init_key = make_hpke_key(group.random);
  bytes ref = bytes(32, 4);
  secret joiner{bytes(32, 5)}, path{bytes(32, 6)}, no_psk = secret::zeros(32);
  secret welcome_secret = derive_welcome_secret(joiner, no_psk);

  welcome made(const std::vector<pre_shared_key_id>& psks = {}) {
    const std::array whom{invited{bytes(32, 1), public_key_of(make_hpke_key(group.random).public_key)},
                          invited{ref, public_key_of(init_key.public_key), &path}};
    return make_welcome(info_of(group), welcome_secret, joiner, psks, whom, group.random).value();
  }
};

} // namespace

TEST_SUITE("8: key schedule") {

  TEST_CASE("8: each input of an epoch changes all of its secrets") {
    const auto epoch = [](std::uint8_t init, std::uint8_t commit, std::uint8_t psk, std::uint8_t context) {
      const bytes c(10, context);
      return derive_epoch(derive_joiner_secret(secret{bytes(32, init)}, secret{bytes(32, commit)}, c),
                          secret{bytes(32, psk)}, c);
    };
    const auto base = saved(epoch(0, 0, 0, 0));
    for (const auto& other : {epoch(1, 0, 0, 0), epoch(0, 1, 0, 0), epoch(0, 0, 1, 0), epoch(0, 0, 0, 1)}) {
      const auto v = saved(other);
      for (std::size_t i = 0; i < base.size(); i += 1 + hash_bytes)
        CHECK_FALSE(equal(base.view().subspan(i + 1, hash_bytes), v.view().subspan(i + 1, hash_bytes)));
    }
  }

  TEST_CASE("8.1: a group context that is cut short is malformed") {
    const auto all = encoded(spoken{}.context);
    CHECK(whole<group_context>(all));
    for (std::size_t n = 0; n < all.size(); ++n)
      CHECK(broken(whole<group_context>(bytes_view{all}.first(n))) == rule::malformed);
  }

  TEST_CASE(
      "8.2: the transcript depends on the wire format, the content, the signature and what was before") {
    spoken group;
    const auto base = group.by_alice(group.content(commit{}));
    auto format = base, content = base, signature = base, tag = base;
    format.wire_format = wire_format::private_message;
    content.content.authenticated_data.push_back(1);
    signature.auth.signature[0] ^= 1;
    tag.auth.confirmation_tag = bytes(32);
    const auto confirmed = confirmed_transcript_hash({}, base);
    CHECK(confirmed != confirmed_transcript_hash(bytes(32), base));
    CHECK(confirmed != confirmed_transcript_hash({}, format));
    CHECK(confirmed != confirmed_transcript_hash({}, content));
    CHECK(confirmed != confirmed_transcript_hash({}, signature));
    CHECK(confirmed == confirmed_transcript_hash({}, tag)); // it does not include the tag
    CHECK(interim_transcript_hash(confirmed, group.tag) != interim_transcript_hash(confirmed, bytes(32)));
  }

  TEST_CASE("8.3: an external init can be decrypted with the key of its epoch, and with no other") {
    const auto random = counted_random();
    const auto own = external_key_pair(secret{bytes(32, 1)}), other = external_key_pair(secret{bytes(32, 2)});
    auto made = make_external_init(own.public_key, random).value();
    CHECK(open_external_init(own, made.kem_output).value() == made.init_secret);
    CHECK_FALSE(open_external_init(other, made.kem_output).value() == made.init_secret);
  }

  TEST_CASE("8.3: a KEM output that is no key is refused") {
    const auto own = external_key_pair(secret{bytes(32, 1)});
    CHECK(broken(open_external_init(own, {})) == rule::bad_key);
    CHECK(broken(open_external_init(own, bytes(31, 1))) == rule::bad_key);
    CHECK(broken(open_external_init(own, bytes(32))) == rule::bad_key);
  }

  TEST_CASE("8.4: an identifier of a pre-shared key of unknown type or usage is malformed") {
    const auto random = counted_random();
    auto id = encoded(resumption_psk(resumption_usage::branch, text("group"), 3, random));
    REQUIRE(whole<pre_shared_key_id>(id));
    for (const std::size_t at : {0, 1})
      for (const std::uint8_t value : {0, 4, 255}) {
        auto bad = id;
        bad[at] = value;
        CHECK(broken(whole<pre_shared_key_id>(bad)) == rule::malformed);
      }
  }

  TEST_CASE("8.4: each injection of a key has a nonce of its own, as long as a hash") {
    const auto random = counted_random();
    const auto one = external_psk(text("key"), random), two = external_psk(text("key"), random);
    CHECK(one.nonce.size() == hash_bytes);
    CHECK(one.nonce != two.nonce);
    CHECK(resumption_psk(resumption_usage::application, text("group"), 3, random).nonce.size() == hash_bytes);
  }

  TEST_CASE("12.1.4: a nonce that is not as long as a hash is refused") {
    for (const std::size_t n : {0, 31, 33})
      CHECK(broken(check_nonce({.id = text("key"), .nonce = bytes(n)})) == rule::psk_nonce_wrong_length);
  }

  TEST_CASE("8.4: the same keys in another order give another secret") {
    const auto combined = [](std::vector<std::uint8_t> order) {
      std::vector<pre_shared_key> keys;
      for (const auto n : order)
        keys.push_back({{.id = bytes{n}, .nonce = bytes(32, n)}, secret{bytes(16, n)}});
      return psk_secret(keys).value();
    };
    CHECK(combined({}) == secret::zeros(hash_bytes));
    CHECK_FALSE(combined({1, 2}) == combined({2, 1}));
    CHECK_FALSE(combined({1}) == combined({1, 1}));
  }

  TEST_CASE("8.4: more keys than can be counted are refused") {
    std::vector<pre_shared_key> keys(0x10000);
    CHECK(broken(psk_secret(keys)) == rule::too_many_psks);
  }

  TEST_CASE("8.5: exported secrets differ by label, context and epoch, and are limited in size") {
    const secret one{bytes(32, 1)}, two{bytes(32, 2)};
    const auto base = export_secret(one, "label", text("context"), 32).value();
    CHECK(base == export_secret(one, "label", text("context"), 32).value());
    CHECK_FALSE(base == export_secret(one, "other", text("context"), 32).value());
    CHECK_FALSE(base == export_secret(one, "label", text("other"), 32).value());
    CHECK_FALSE(base == export_secret(two, "label", text("context"), 32).value());
    CHECK(export_secret(one, "label", {}, 255 * 32).value().size() == 255 * 32);
    CHECK(broken(export_secret(one, "label", {}, 255 * 32 + 1)) == rule::export_too_long);
  }

  TEST_CASE("Epoch secrets come back as they were saved, without those that were dropped") {
    auto epoch = derive_from_epoch_secret(secret{bytes(32, 1)});
    epoch.encryption = {};
    const auto kept = saved(epoch);
    const auto back = restored_epoch_secrets(kept.view()).value();
    CHECK(back.encryption.empty());
    CHECK(saved(back) == kept);
    CHECK(broken(restored_epoch_secrets(kept.view().first(kept.size() - 1))) == rule::malformed);
    CHECK(broken(restored_epoch_secrets(bytes{1, 2})) == rule::malformed);
  }

} // TEST_SUITE

TEST_SUITE("9: secret tree") {

  TEST_CASE("9: a leaf outside of the tree has no keys") {
    auto tree = tree_of(8);
    CHECK(broken(tree.next(leaf_index{8}, application)) == rule::leaf_outside_secret_tree);
    CHECK(broken(tree.find(leaf_index{0xffffffff}, application, 0)) == rule::leaf_outside_secret_tree);
  }

  TEST_CASE("9.1: no two messages have the same key, across generations, ratchets and leaves") {
    auto tree = tree_of(8);
    std::vector<bytes> seen;
    for (const auto leaf : {leaf_index{0}, leaf5})
      for (const auto kind : {handshake, application})
        for (std::uint32_t i = 0; i < 5; ++i) {
          const auto key = tree.next(leaf, kind).value();
          CHECK(key.generation == i);
          seen.push_back(to_bytes(key.key.view()));
          CHECK(same_key(key, sent(leaf, kind, i)));
        }
    std::ranges::sort(seen);
    CHECK(std::ranges::adjacent_find(seen) == seen.end());
  }

  TEST_CASE("9.1: the last generation is never used, so the counter does not begin again") {
    auto tree = tree_of(8, {.generation_jump_max = 0xffffffff});
    bytes almost{0xff, 0xff, 0xff, 0xfe};
    almost.resize(4 + hash_bytes, 1);
    REQUIRE(tree.restore({part::what::ratchet, 2 * 5 + 1}, almost));
    CHECK(tree.next(leaf5, application).value().generation == 0xfffffffe);
    CHECK(broken(tree.next(leaf5, application)) == rule::generations_exhausted);
    CHECK(broken(tree.find(leaf5, application, 0xffffffff)) == rule::generations_exhausted);
  }

  TEST_CASE("9.2: a key is deleted after it has decrypted or encrypted a message") {
    auto tree = tree_of(8);
    use(tree, leaf5, application, 0);
    CHECK(broken(tree.find(leaf5, application, 0)) == rule::generation_used);
    CHECK(tree.next(leaf5, application).value().generation == 1);
    CHECK(broken(tree.find(leaf5, application, 1)) == rule::generation_used);
  }

  TEST_CASE("9.2: a key that was kept for a late message is deleted after that message") {
    auto tree = tree_of(8);
    use(tree, leaf5, application, 3);
    CHECK(same_key(tree.find(leaf5, application, 1)->key, sent(leaf5, application, 1)));
    use(tree, leaf5, application, 1);
    CHECK(broken(tree.find(leaf5, application, 1)) == rule::generation_used);
    CHECK(same_key(tree.find(leaf5, application, 0)->key, sent(leaf5, application, 0)));
    CHECK(same_key(tree.find(leaf5, application, 2)->key, sent(leaf5, application, 2)));
    CHECK(same_key(tree.find(leaf5, application, 4)->key, sent(leaf5, application, 4)));
  }

  TEST_CASE(
      "9.2: the secrets from the root to a leaf that was used are deleted, and their siblings are kept") {
    auto tree = tree_of(8);
    use(tree, leaf5, application, 0);
    const auto is_kept = [&](std::uint32_t node) { return tree.saved({part::what::node, node}).has_value(); };
    for (const auto node : {7, 11, 9, 10})
      CHECK_FALSE(is_kept(static_cast<std::uint32_t>(node)));
    for (const auto node : {3, 13, 8})
      CHECK(is_kept(static_cast<std::uint32_t>(node)));
    CHECK(tree.saved({part::what::ratchet, 2 * 5}));
    CHECK(same_key(tree.next(leaf5, handshake).value(), sent(leaf5, handshake, 0)));
    CHECK(same_key(tree.next(leaf_index{4}, application).value(), sent(leaf_index{4}, application, 0)));
  }

  TEST_CASE("9.2: no consumed secret can be found in what is saved") {
    auto tree = tree_of(8);
    const auto ratchet_secret_before = [&] {
      (void)tree.find(leaf5, application, 0);
      return to_bytes(tree.saved({part::what::ratchet, 2 * 5 + 1})->view().subspan(4));
    }();
    const auto key = sent(leaf5, application, 2);
    use(tree, leaf5, application, 2);
    const auto kept = tree.saved({part::what::ratchet, 2 * 5 + 1}).value();
    const auto holds = [&](bytes_view v) { return !std::ranges::search(kept.view(), v).empty(); };
    CHECK_FALSE(holds(ratchet_secret_before));
    CHECK_FALSE(holds(key.key.view()));
    CHECK(holds(sent(leaf5, application, 1).key.view()));
  }

  TEST_CASE("9.2: a key that was only looked up is kept") {
    auto tree = tree_of(8);
    (void)tree.find(leaf5, application, 900);
    CHECK(same_key(tree.find(leaf5, application, 0)->key, sent(leaf5, application, 0)));
    CHECK(tree.next(leaf5, application).value().generation == 0);
  }

  TEST_CASE("9.2: a key that was looked up before the ratchet moved does not move it back") {
    auto tree = tree_of(8);
    auto one = tree.find(leaf5, application, 1).value();
    auto three = tree.find(leaf5, application, 3).value();
    tree.consume(std::move(three));
    tree.consume(std::move(one));
    CHECK(broken(tree.find(leaf5, application, 3)) == rule::generation_used);
    CHECK(broken(tree.find(leaf5, application, 1)) == rule::generation_used);
    CHECK(tree.find(leaf5, application, 0));
    CHECK(tree.find(leaf5, application, 2));
  }

  TEST_CASE("9.2: a key that was looked up before the ratchet came nearer is deleted after its use, too") {
    auto tree = tree_of(8);
    auto two = tree.find(leaf5, application, 2).value();
    use(tree, leaf5, application, 0);
    tree.consume(std::move(two));
    CHECK(broken(tree.find(leaf5, application, 2)) == rule::generation_used);
    CHECK(broken(tree.find(leaf5, application, 0)) == rule::generation_used);
    CHECK(tree.find(leaf5, application, 1)); // has not arrived yet
    CHECK(tree.next(leaf5, application).value().generation == 3);
  }

  TEST_CASE("15.3: a generation too far ahead is refused, and the one before is not") {
    auto tree = tree_of(8, {.generation_jump_max = 100});
    CHECK(broken(tree.find(leaf5, application, 0xfffffffe)) == rule::generation_too_far);
    CHECK(broken(tree.find(leaf5, application, 101)) == rule::generation_too_far);
    use(tree, leaf5, application, 100);
    CHECK(broken(tree.find(leaf5, application, 202)) == rule::generation_too_far);
    CHECK(tree.find(leaf5, application, 201));
  }

  TEST_CASE("15.3: of the keys that were skipped the newest are kept, up to the limit") {
    auto tree = tree_of(8, {.skipped_keys_max = 10});
    use(tree, leaf5, application, 30);
    CHECK(broken(tree.find(leaf5, application, 19)) == rule::generation_used);
    CHECK(same_key(tree.find(leaf5, application, 20)->key, sent(leaf5, application, 20)));
    use(tree, leaf5, application, 35);
    CHECK(broken(tree.find(leaf5, application, 23)) == rule::generation_used);
    CHECK(tree.find(leaf5, application, 25));
    CHECK(tree.find(leaf5, application, 34));
  }

  TEST_CASE("A ratchet is saved in less than 2 KiB, with as many late keys as it ever has") {
    auto tree = tree_of(8);
    use(tree, leaf5, application, 1000);
    use(tree, leaf5, application, 2000);
    const auto kept = tree.saved({part::what::ratchet, 2 * 5 + 1}).value();
    CHECK(kept.size() > 32 * 32);
    CHECK(kept.size() <= 2048);
  }

  TEST_CASE("What changed is reported once, and a message changes one ratchet") {
    auto tree = tree_of(1024);
    CHECK(tree.take_changes() == std::vector{part{part::what::node, 1023}});
    use(tree, leaf5, application, 0);
    CHECK(tree.take_changes().size() == 2 * 10 + 1 + 2); // the path, its siblings, and two ratchets
    use(tree, leaf5, application, 1);
    CHECK(tree.take_changes() == std::vector{part{part::what::ratchet, 2 * 5 + 1}});
    CHECK(tree.take_changes().empty());
  }

  TEST_CASE("A tree of many leaves holds what was derived and nothing else") {
    auto tree = tree_of(3000);
    CHECK(tree.leaf_count() == 4096);
    CHECK(tree.part_count() == 1);
    use(tree, leaf5, application, 0);
    CHECK(tree.part_count() == 12 + 2);
  }

  TEST_CASE("Both ratchets of every leaf are independent, in whatever order they are used") {
    auto tree = tree_of(40);
    const auto n = 2 * tree.leaf_count();
    for (std::uint32_t i = 0; i < n; ++i) {
      const auto r = i * 37 % n; // each once
      use(tree, leaf_index{r / 2}, r % 2 == 0 ? handshake : application, r % 3);
    }
    CHECK(tree.part_count() == n);
    auto back = restored(all_saved(tree), 40);
    for (std::uint32_t r = 0; r < n; ++r) {
      const auto kind = r % 2 == 0 ? handshake : application;
      auto fresh = tree_of(40);
      for (auto* t : {&tree, &back}) {
        CHECK(broken(t->find(leaf_index{r / 2}, kind, r % 3)) == rule::generation_used);
        CHECK(same_key(t->find(leaf_index{r / 2}, kind, r % 3 + 1)->key,
                       fresh.find(leaf_index{r / 2}, kind, r % 3 + 1)->key));
        if (r % 3 == 2)
          CHECK(same_key(t->find(leaf_index{r / 2}, kind, 1)->key,
                         fresh.find(leaf_index{r / 2}, kind, 1)->key));
      }
    }
  }

  TEST_CASE("A tree that was saved in parts continues where it was") {
    auto tree = tree_of(8);
    use(tree, leaf5, application, 3);
    (void)tree.next(leaf_index{0}, handshake);
    auto back = restored(all_saved(tree), 8);
    CHECK(back.part_count() == tree.part_count());
    CHECK(broken(back.find(leaf5, application, 3)) == rule::generation_used);
    CHECK(same_key(back.find(leaf5, application, 1)->key, sent(leaf5, application, 1)));
    CHECK(same_key(back.next(leaf5, application).value(), sent(leaf5, application, 4)));
    CHECK(same_key(back.next(leaf_index{0}, handshake).value(), sent(leaf_index{0}, handshake, 1)));
    CHECK(same_key(back.next(leaf_index{7}, application).value(), sent(leaf_index{7}, application, 0)));
  }

  TEST_CASE("A tree of which a part is missing refuses what it cannot derive") {
    auto tree = secret_tree::restored(8);
    CHECK(broken(tree.next(leaf5, application)) == rule::leaf_outside_secret_tree);
  }

  TEST_CASE("Saved parts that are damaged are refused") {
    auto tree = secret_tree::restored(8);
    CHECK(broken(tree.restore({part::what::node, 3}, bytes(31))) == rule::malformed);
    CHECK(broken(tree.restore({part::what::node, 15}, bytes(32))) == rule::malformed);
    CHECK(broken(tree.restore({part::what::ratchet, 3}, bytes(35))) == rule::malformed);
    CHECK(broken(tree.restore({part::what::ratchet, 3}, bytes(37))) == rule::malformed);
    CHECK(broken(tree.restore({part::what::ratchet, 16}, bytes(36))) == rule::malformed);
    CHECK(broken(tree.restore({part::what::ratchet, 3}, bytes(36 + 32))) ==
          rule::malformed); // late is allowed, early is not
    const auto kept = [](std::initializer_list<std::uint8_t> generations) {
      encoder e;
      e.put(std::uint32_t{9}).raw(bytes(hash_bytes, 1));
      for (const auto g : generations)
        e.put(std::uint32_t{g}).raw(bytes(key_bytes + nonce_bytes, g));
      return std::move(e).out();
    };
    CHECK(tree.restore({part::what::ratchet, 3}, kept({2, 7})));
    CHECK(broken(tree.restore({part::what::ratchet, 3}, kept({7, 2}))) == rule::malformed);
    CHECK(broken(tree.restore({part::what::ratchet, 3}, kept({2, 2}))) == rule::malformed);
    auto cut = kept({2, 7});
    cut.pop_back();
    CHECK(broken(tree.restore({part::what::ratchet, 3}, cut)) == rule::malformed);
  }

} // TEST_SUITE

TEST_SUITE("12.4.3: Welcome") {

  TEST_CASE("12.4.3.1: a Welcome can be decrypted by the client for which it is") {
    invitation i;
    const auto received = whole<welcome>(encoded(i.made())).value();
    const auto secrets = open_group_secrets(received, i.ref, i.init_key).value();
    CHECK(secrets.joiner_secret == i.joiner);
    CHECK(secrets.path_secret.value() == i.path);
    CHECK(open_group_info(received.encrypted_group_info, i.welcome_secret).value() == info_of(i.group));
    CHECK_FALSE(i.made().secrets[0].secrets.ciphertext.size() ==
                received.secrets[1].secrets.ciphertext.size());
  }

  TEST_CASE("12.4.3.1: a Welcome without secrets for this key package is refused") {
    invitation i;
    CHECK(broken(open_group_secrets(i.made(), bytes(32, 9), i.init_key)) == rule::welcome_not_for_us);
    CHECK(broken(open_group_secrets({}, i.ref, i.init_key)) == rule::welcome_not_for_us);
  }

  TEST_CASE("12.4.3.1: a Welcome of another cipher suite is refused") {
    invitation i;
    auto made = i.made();
    made.cipher_suite = 2;
    CHECK(broken(open_group_secrets(made, i.ref, i.init_key)) == rule::wrong_cipher_suite);
  }

  TEST_CASE(
      "12.4.3.1: group secrets cannot be decrypted with another init key, nor beside another GroupInfo") {
    invitation i;
    auto made = i.made();
    CHECK(broken(open_group_secrets(made, i.ref, make_hpke_key(i.group.random))) == rule::cannot_open);
    made.encrypted_group_info.back() ^= 1;
    CHECK(broken(open_group_secrets(made, i.ref, i.init_key)) == rule::cannot_open);
    CHECK(broken(open_group_info(made.encrypted_group_info, i.welcome_secret)) == rule::cannot_open);
  }

  TEST_CASE("12.4.3.1: a joiner secret or path secret of a wrong length is refused") {
    invitation i;
    i.joiner = secret{bytes(31)};
    CHECK(broken(open_group_secrets(i.made(), i.ref, i.init_key)) == rule::malformed);
    i.joiner = secret{bytes(32)};
    i.path = secret{bytes(33)};
    CHECK(broken(open_group_secrets(i.made(), i.ref, i.init_key)) == rule::malformed);
  }

  TEST_CASE("12.4.3.1: a path secret that is neither there nor not there is malformed") {
    auto in = encoded(group_secrets{secret{bytes(32, 5)}, std::nullopt, {}});
    CHECK(whole<group_secrets>(in));
    in.at(33) = 2;
    CHECK_FALSE(whole<group_secrets>(in));
  }

  TEST_CASE("12.4.3.1: a key for a new or branched group comes alone") {
    invitation i;
    const auto id = [&](resumption_usage usage) {
      return resumption_psk(usage, text("old"), 1, i.group.random);
    };
    const auto reinit = id(resumption_usage::reinit), branch = id(resumption_usage::branch),
               usual = id(resumption_usage::application);
    CHECK(broken(open_group_secrets(i.made({reinit, branch}), i.ref, i.init_key)) ==
          rule::psk_usage_not_alone);
    CHECK(broken(open_group_secrets(i.made({branch, branch}), i.ref, i.init_key)) ==
          rule::psk_usage_not_alone);
    CHECK(open_group_secrets(i.made({reinit, usual, usual}), i.ref, i.init_key).value().psks.size() == 3);
  }

  TEST_CASE("12.1.4: a pre-shared key in a Welcome has a nonce as long as a hash") {
    invitation i;
    CHECK(broken(open_group_secrets(i.made({{.id = text("key"), .nonce = bytes(31)}}), i.ref, i.init_key)) ==
          rule::psk_nonce_wrong_length);
  }

  TEST_CASE("12.4.3.1: a GroupInfo of another version or cipher suite is refused") {
    invitation i;
    i.group.context.cipher_suite = 3;
    CHECK(broken(open_group_info(i.made().encrypted_group_info, i.welcome_secret)) ==
          rule::wrong_cipher_suite);
    i.group.context.cipher_suite = cipher_suite_1;
    i.group.context.version = 2;
    CHECK(broken(open_group_info(i.made().encrypted_group_info, i.welcome_secret)) == rule::wrong_version);
  }

  TEST_CASE("12.4.3: each field of a GroupInfo is signed by its signer") {
    spoken group;
    const auto good = info_of(group);
    const auto refused = [&](const group_info& v) {
      return broken(verify_signature(v, group.keys_of_members[0])) == rule::group_info_bad_signature;
    };
    CHECK_FALSE(refused(good));
    CHECK(broken(verify_signature(good, group.keys_of_members[1])) == rule::group_info_bad_signature);
    auto context = good, extensions = good, tag = good, signer = good, signature = good;
    ++context.context.epoch;
    extensions.extensions.push_back({extension_type{0x0a0a}, {}});
    tag.confirmation_tag[0] ^= 1;
    signer.signer = spoken::bob;
    signature.signature.clear();
    for (const auto& bad : {context, extensions, tag, signer, signature})
      CHECK(refused(bad));
  }

} // TEST_SUITE
