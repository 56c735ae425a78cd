#include "tests/protocol/mls/mls_fixture.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;
using namespace parley::mls::test;

namespace {

constexpr auto private_extension = extension_type{0xf001};
constexpr auto private_proposal = proposal_type{0xf002};
constexpr auto private_credential = credential_type{0xf003};

struct leaf_fixture {
  random_source random = seeded_random(3);
  device d = make_device(random);
  leaf_node& leaf = d.package.leaf_node;
  group_requirements group;
  counting_policy policy;

  rule check(leaf_rules rules = {}) const {
    if (rules.now == 0)
      rules.now = now;
    if (!rules.group)
      rules.group = &group;
    return broken(check_leaf(leaf, rules));
  }
  rule check_package() {
    sign_all(d);
    return broken(check_key_package(d.package, {.group = &group, .now = now}, policy));
  }
};

} // namespace

// --- 7.2 and 7.3 -------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(leaf_fixture, "7.3: a leaf whose signature is wrong is refused") {
  CHECK(verify_signature(leaf, {}));
  auto changed = leaf;
  SUBCASE("another signature") {
    changed.signature[0] ^= 1;
  }
  SUBCASE("a short signature") {
    changed.signature.pop_back();
  }
  SUBCASE("no signature") {
    changed.signature.clear();
  }
  SUBCASE("another encryption key") {
    changed.encryption_key[0] ^= 1;
  }
  SUBCASE("another signature key") {
    changed.signature_key = make_device(random).package.leaf_node.signature_key;
  }
  SUBCASE("another credential") {
    changed.credential.identity.push_back('!');
  }
  SUBCASE("more capabilities") {
    changed.capabilities.extensions.push_back(private_extension);
  }
  SUBCASE("a longer lifetime") {
    ++changed.lifetime.not_after;
  }
  SUBCASE("another extension") {
    changed.extensions.push_back({private_extension, {}});
  }
  CHECK(broken(verify_signature(changed, {})) == rule::leaf_bad_signature);
  CHECK(broken(verify_encoded_leaf(encoded(changed), changed.signature_key, changed.source, {})) ==
        rule::leaf_bad_signature);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.2: a leaf that was signed for another group or another place is refused") {
  const auto here = to_bytes(view_of("here")), there = to_bytes(view_of("there"));
  for (const auto source : {leaf_node_source::update, leaf_node_source::commit}) {
    leaf.source = source;
    sign(leaf, d.signer, {here, leaf_index{4}});
    CHECK(verify_signature(leaf, {here, leaf_index{4}}));
    CHECK(verify_encoded_leaf(encoded(leaf), leaf.signature_key, source, {here, leaf_index{4}}));
    CHECK(broken(verify_signature(leaf, {there, leaf_index{4}})) == rule::leaf_bad_signature);
    CHECK(broken(verify_signature(leaf, {here, leaf_index{5}})) == rule::leaf_bad_signature);
    CHECK(broken(verify_encoded_leaf(encoded(leaf), leaf.signature_key, source, {here, leaf_index{5}})) ==
          rule::leaf_bad_signature);
  }
}

TEST_CASE_FIXTURE(leaf_fixture, "7.3: a leaf that lacks a required extension is refused") {
  group.required.extensions = {private_extension};
  CHECK(check() == rule::leaf_lacks_required_extension);
  leaf.capabilities.extensions = {private_extension};
  CHECK(check() == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.3: a leaf that lacks a required proposal is refused") {
  group.required.proposals = {proposal_type::add, private_proposal};
  CHECK(check() == rule::leaf_lacks_required_proposal);
  leaf.capabilities.proposals = {private_proposal};
  CHECK(check() == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.3: a leaf that lacks a required credential is refused") {
  group.required.credentials = {credential_type::basic, private_credential};
  CHECK(check() == rule::leaf_lacks_required_credential);
  leaf.capabilities.credentials.push_back(private_credential);
  CHECK(check() == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "13.4: a leaf that lacks an extension of the group context is refused") {
  group.extensions = {extension_type::required_capabilities, private_extension};
  CHECK(check() == rule::leaf_lacks_group_extension);
  leaf.capabilities.extensions = {private_extension};
  CHECK(check() == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.2: a leaf that does not list version or cipher suite is refused") {
  leaf.capabilities.versions = {0x0a0a};
  CHECK(check() == rule::leaf_lacks_version);
  leaf.capabilities = own_capabilities();
  leaf.capabilities.cipher_suites = {2, 3};
  CHECK(check() == rule::leaf_lacks_cipher_suite);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.2: a leaf that does not list the type of its credential is refused") {
  leaf.capabilities.credentials = {credential_type::x509};
  CHECK(check() == rule::leaf_lacks_own_credential);
}

TEST_CASE("7.2: our own capabilities list no default type and no GREASE") {
  const auto c = own_capabilities();
  const auto is_default_one = [](auto type) { return is_default(type); };
  const auto is_grease = [](auto type) {
    const auto n = static_cast<std::uint16_t>(type);
    return (n & 0x0f0f) == 0x0a0a && n >> 8 == (n & 0xff);
  };
  CHECK(std::ranges::none_of(c.extensions, is_default_one));
  CHECK(std::ranges::none_of(c.proposals, is_default_one));
  CHECK(std::ranges::none_of(c.versions, is_grease));
  CHECK(std::ranges::none_of(c.cipher_suites, is_grease));
  CHECK(std::ranges::none_of(c.extensions, is_grease));
  CHECK(std::ranges::none_of(c.proposals, is_grease));
  CHECK(std::ranges::none_of(c.credentials, is_grease));
}

TEST_CASE_FIXTURE(leaf_fixture, "7.3: a leaf with an extension that it does not list is refused") {
  leaf.extensions = {{private_extension, {}}};
  CHECK(check() == rule::leaf_lacks_own_extension);
  leaf.extensions = {{extension_type{0x0a0a}, {}}}; // GREASE has no rule of its own (13.5)
  CHECK(check() == rule::leaf_lacks_own_extension);
  leaf.extensions = {{extension_type::application_id, {}}}; // default types are not listed
  CHECK(check() == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "13.4: a leaf with two extensions of one type is refused") {
  leaf.capabilities.extensions = {private_extension};
  leaf.extensions = {
      {private_extension, {1}}, {extension_type::application_id, {}}, {private_extension, {2}}};
  CHECK(check() == rule::duplicate_extension);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.3: a leaf before or after its lifetime is refused, except in a tree") {
  leaf.lifetime = {now, now + day};
  CHECK(check({.now = now - 1}) == rule::leaf_not_yet_valid);
  CHECK(check({.now = now + day + 1}) == rule::leaf_expired);
  CHECK(check({.now = now}) == rule::none);
  CHECK(check({.now = now + day}) == rule::none);
  CHECK(check({.now = now + 2 * day, .lifetime = lifetime_check::length_only}) == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.2: a leaf that lives too long is refused, in a tree too") {
  leaf.lifetime = {now - day, now - day + lifetime_seconds_max + 1};
  CHECK(check() == rule::leaf_lives_too_long);
  CHECK(check({.lifetime = lifetime_check::length_only}) == rule::leaf_lives_too_long);
  CHECK(check({.lifetime_max = lifetime_seconds_max + 1}) == rule::none);
  leaf.lifetime = {0, ~std::uint64_t{0}};
  CHECK(check() == rule::leaf_lives_too_long);
  leaf.lifetime = {now + 1, now - 1}; // ends before it begins
  CHECK(check({.lifetime = lifetime_check::length_only}) == rule::leaf_expired);
}

TEST_CASE_FIXTURE(leaf_fixture, "7.3: a leaf of another source than its place requires is refused") {
  using source = leaf_node_source;
  for (const auto made : {source::key_package, source::update, source::commit})
    for (const auto wanted : {source::key_package, source::update, source::commit}) {
      leaf.source = made;
      CHECK(check({.source = wanted}) == (made == wanted ? rule::none : rule::leaf_wrong_source));
      CHECK(check() == rule::none);
    }
}

TEST_CASE_FIXTURE(leaf_fixture,
                  "7.3: a leaf that keeps the encryption key of the one it replaces is refused") {
  auto next = leaf;
  CHECK(broken(check_fresh_key(leaf, next)) == rule::leaf_key_not_fresh);
  next.encryption_key[0] ^= 1;
  CHECK(broken(check_fresh_key(leaf, next)) == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "a leaf above the size limit is refused") {
  leaf.credential.identity.resize(leaf_bytes_max + 1);
  CHECK(check() == rule::too_large);
}

TEST_CASE_FIXTURE(leaf_fixture, "13.5: unknown values and GREASE in capabilities are ignored") {
  auto& c = leaf.capabilities;
  c.versions.push_back(0x0a0a);
  c.cipher_suites.insert(c.cipher_suites.begin(), 0x1a1a);
  c.extensions = {extension_type{0x2a2a}, extension_type{0xfa01}};
  c.proposals = {proposal_type{0x3a3a}};
  c.credentials.push_back(credential_type{0x4a4a});
  leaf.extensions = {{extension_type{0x2a2a}, {1, 2, 3}}};
  CHECK(check() == rule::none);
  CHECK(check_package() == rule::none);
  CHECK(*whole<leaf_node>(encoded(leaf)) == leaf); // and it is kept
}

TEST_CASE_FIXTURE(leaf_fixture,
                  "7.2: a leaf may list default types, and types twice: that is its creator's concern") {
  auto& c = leaf.capabilities;
  c.extensions = {extension_type::external_senders, extension_type::application_id, private_extension,
                  private_extension};
  c.proposals = {proposal_type::add, proposal_type::add};
  c.versions.push_back(c.versions[0]);
  leaf.extensions = {{private_extension, {}}};
  CHECK(check() == rule::none);
  CHECK(check_package() == rule::none);
}

// --- 10 and 10.1 -------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(leaf_fixture, "10.1: a key package of another version or cipher suite is refused") {
  SUBCASE("version") {
    d.package.version = 2;
    CHECK(check_package() == rule::key_package_wrong_version);
  }
  SUBCASE("cipher suite") {
    d.package.cipher_suite = 3;
    CHECK(check_package() == rule::key_package_wrong_cipher_suite);
  }
}

TEST_CASE_FIXTURE(leaf_fixture,
                  "10.1: a key package whose init key is the encryption key of its leaf is refused") {
  d.package.init_key = leaf.encryption_key;
  CHECK(check_package() == rule::key_package_init_key_reused);
}

TEST_CASE_FIXTURE(leaf_fixture,
                  "10.1: a key package with a wrong signature is refused, its own or its leaf's") {
  const leaf_rules rules{.group = &group, .now = now};
  d.package.signature[5] ^= 1;
  CHECK(broken(check_key_package(d.package, rules, policy)) == rule::key_package_bad_signature);
  d.package.leaf_node.signature[5] ^= 1;
  sign(d.package, d.signer);
  CHECK(broken(check_key_package(d.package, rules, policy)) == rule::leaf_bad_signature);
  CHECK(policy.asked == 0); // the policy is not asked about anything that was not signed
}

TEST_CASE_FIXTURE(leaf_fixture, "10.1: a key package whose leaf would be refused is refused") {
  SUBCASE("source") {
    leaf.source = leaf_node_source::commit;
    CHECK(check_package() == rule::leaf_wrong_source);
  }
  SUBCASE("lifetime") {
    leaf.lifetime.not_after = now - 1;
    CHECK(check_package() == rule::leaf_expired);
  }
  SUBCASE("requirements") {
    group.required.extensions = {private_extension};
    CHECK(check_package() == rule::leaf_lacks_required_extension);
  }
}

TEST_CASE_FIXTURE(leaf_fixture,
                  "10: unknown extensions of a key package are ignored, whether its leaf lists them or not") {
  d.package.extensions = {{private_extension, {1, 2, 3}}};
  CHECK(check_package() == rule::none);
  leaf.capabilities.extensions = {private_extension};
  CHECK(check_package() == rule::none);
}

TEST_CASE_FIXTURE(leaf_fixture, "13.5: GREASE in the extensions of a key package is ignored, and kept") {
  for (std::uint16_t n = 0x0a0a; n <= 0xeaea; n += 0x1010) { // all values that are reserved for it
    CAPTURE(n);
    d.package.extensions = {{extension_type{n}, bytes(n % 300, 0xff)}};
    CHECK(check_package() == rule::none);
    CHECK(*whole<key_package>(encoded(d.package)) == d.package);
    if (n == 0xeaea)
      break; // one more step is beyond 16 bits
  }
}

TEST_CASE_FIXTURE(leaf_fixture, "13.4: a key package with two extensions of one type is refused") {
  leaf.capabilities.extensions = {private_extension};
  d.package.extensions = {{private_extension, {}}, {private_extension, {}}};
  CHECK(check_package() == rule::duplicate_extension);
}

TEST_CASE_FIXTURE(leaf_fixture, "5.3.1: a key package whose credential the policy refuses is refused") {
  policy.answer = rule::credential_unexpected_account;
  CHECK(check_package() == rule::credential_unexpected_account);
  policy.answer = rule::none;
  CHECK(check_package() == rule::none);
}

// --- bytes -------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(leaf_fixture, "7.2: a leaf with an unknown source does not decode") {
  auto in = encoded(leaf);
  encoder before_source;
  put_key(before_source, leaf.encryption_key);
  put_key(before_source, leaf.signature_key);
  encode(before_source, leaf.credential);
  encode(before_source, leaf.capabilities);
  in[before_source.out().size()] = 4;
  CHECK(broken(whole<leaf_node>(in)) == rule::malformed);
}

TEST_CASE_FIXTURE(leaf_fixture, "5.1.1: a key of another length does not decode") {
  encoder e;
  e.opaque(bytes(31));
  decoder d31{e.out()};
  get_key(d31);
  CHECK(!d31.ok());
}

TEST_CASE_FIXTURE(leaf_fixture, "5.3: a credential of an unknown type does not decode") {
  CHECK(broken(whole<credential>(bytes{0x0a, 0x0a, 0})) == rule::malformed);
}

TEST_CASE_FIXTURE(leaf_fixture, "11.1: required capabilities that do not decode are refused") {
  CHECK(broken(requirements_of({{extension_type::required_capabilities, {1}}})) == rule::malformed);
  CHECK(broken(requirements_of({{private_extension, {}}, {private_extension, {}}})) ==
        rule::duplicate_extension);
  const required_capabilities wanted{{private_extension}, {private_proposal}, {credential_type::basic}};
  const auto read = requirements_of({to_extension(wanted)});
  REQUIRE(read);
  CHECK(read->required == wanted);
  CHECK(read->extensions == std::vector{extension_type::required_capabilities});
  CHECK(requirements_of({})->required == required_capabilities{});
}

TEST_CASE_FIXTURE(leaf_fixture, "leaves of each source and key packages come back as they were") {
  for (const auto source :
       {leaf_node_source::key_package, leaf_node_source::update, leaf_node_source::commit}) {
    auto one = leaf;
    one.source = source;
    one.lifetime = source == leaf_node_source::key_package ? leaf.lifetime : lifetime{};
    one.parent_hash = source == leaf_node_source::commit ? bytes(32, 9) : bytes{};
    CHECK(*whole<leaf_node>(encoded(one)) == one);
  }
  credential chain{credential_type::x509, {}, {{1, 2}, {3}}};
  CHECK(*whole<credential>(encoded(chain)) == chain);
  CHECK(*whole<key_package>(encoded(d.package)) == d.package);
  CHECK(key_package_ref(d.package) == key_package_ref_of_encoded(encoded(d.package)));
  const auto in = encoded(d.package);
  for (std::size_t n = 0; n < in.size(); ++n)
    CHECK(!whole<key_package>(bytes_view{in}.first(n)));
}
