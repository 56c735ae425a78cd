#include "protocol/mls/leaf_validation.hpp"

#include "protocol/mls/limits.hpp"

#include <algorithm>

namespace parley::mls {

namespace {

std::size_t bytes_of(const extension_list& list) {
  std::size_t n = 0;
  for (const auto& x : list)
    n += 4 + x.data.size();
  return n;
}

std::size_t variable_bytes(const leaf_node& leaf) {
  const auto& c = leaf.capabilities;
  auto n = leaf.credential.identity.size();
  for (const auto& certificate : leaf.credential.certificates)
    n += certificate.size();
  n += 2 * (c.versions.size() + c.cipher_suites.size() + c.extensions.size() + c.proposals.size() +
            c.credentials.size());
  return n + bytes_of(leaf.extensions);
}

/// Other members choose the length of both lists, so each is walked only once.
template <class Type>
bool has_all(std::vector<Type> listed, const std::vector<Type>& wanted) {
  if (wanted.empty())
    return true;
  std::ranges::sort(listed);
  return std::ranges::all_of(wanted, [&](Type t) {
    if constexpr (!std::is_same_v<Type, credential_type>)
      if (is_default(t))
        return true;
    return std::ranges::binary_search(listed, t);
  });
}

result<void> check_capabilities(const leaf_node& leaf) {
  const auto& c = leaf.capabilities;
  if (std::ranges::find(c.versions, mls10) == c.versions.end())
    return refuse(rule::leaf_lacks_version);
  if (std::ranges::find(c.cipher_suites, cipher_suite_1) == c.cipher_suites.end())
    return refuse(rule::leaf_lacks_cipher_suite);
  if (!c.supports(leaf.credential.type))
    return refuse(rule::leaf_lacks_own_credential);
  for (const auto& x : leaf.extensions)
    if (!c.supports(x.type))
      return refuse(rule::leaf_lacks_own_extension);
  return {};
}

result<void> check_lifetime(const lifetime& life, const leaf_rules& rules) {
  if (life.not_after < life.not_before)
    return refuse(rule::leaf_expired);
  if (life.not_after - life.not_before > rules.lifetime_max)
    return refuse(rule::leaf_lives_too_long);
  if (rules.lifetime == lifetime_check::length_only)
    return {};
  if (rules.now < life.not_before)
    return refuse(rule::leaf_not_yet_valid);
  if (rules.now > life.not_after)
    return refuse(rule::leaf_expired);
  return {};
}

} // namespace

result<group_requirements> requirements_of(const extension_list& group_extensions) {
  if (bytes_of(group_extensions) > group_extensions_bytes_max)
    return refuse(rule::too_large);
  if (auto ok = check_no_duplicates(group_extensions); !ok)
    return tl::unexpected(ok.error());
  auto required = required_capabilities_of(group_extensions);
  if (!required)
    return tl::unexpected(required.error());
  group_requirements out;
  for (const auto& x : group_extensions)
    out.extensions.push_back(x.type);
  out.required = std::move(*required);
  return out;
}

result<void> check_requirements(const leaf_node& leaf, const group_requirements& group) {
  const auto& c = leaf.capabilities;
  if (!has_all(c.extensions, group.required.extensions))
    return refuse(rule::leaf_lacks_required_extension);
  if (!has_all(c.proposals, group.required.proposals))
    return refuse(rule::leaf_lacks_required_proposal);
  if (!has_all(c.credentials, group.required.credentials))
    return refuse(rule::leaf_lacks_required_credential);
  if (!has_all(c.extensions, group.extensions))
    return refuse(rule::leaf_lacks_group_extension);
  return {};
}

result<void> check_leaf(const leaf_node& leaf, const leaf_rules& rules) {
  if (variable_bytes(leaf) > leaf_bytes_max)
    return refuse(rule::too_large);
  if (rules.source && leaf.source != *rules.source)
    return refuse(rule::leaf_wrong_source);
  if (auto ok = check_encryption_key(leaf.encryption_key); !ok)
    return ok;
  if (auto ok = check_no_duplicates(leaf.extensions); !ok)
    return ok;
  if (auto ok = check_capabilities(leaf); !ok)
    return ok;
  if (rules.group)
    if (auto ok = check_requirements(leaf, *rules.group); !ok)
      return ok;
  if (leaf.source == leaf_node_source::key_package)
    return check_lifetime(leaf.lifetime, rules);
  return {};
}

result<void> check_fresh_key(const leaf_node& old_one, const leaf_node& new_one) {
  if (old_one.encryption_key == new_one.encryption_key)
    return refuse(rule::leaf_key_not_fresh);
  return {};
}

result<void> check_key_package(const key_package& package, leaf_rules rules, const credential_policy& policy,
                               credential_event event) {
  const auto& leaf = package.leaf_node;
  if (package.version != mls10)
    return refuse(rule::key_package_wrong_version);
  if (package.cipher_suite != cipher_suite_1)
    return refuse(rule::key_package_wrong_cipher_suite);
  if (auto ok = check_encryption_key(package.init_key); !ok)
    return ok;
  if (package.init_key == leaf.encryption_key)
    return refuse(rule::key_package_init_key_reused);
  rules.source = leaf_node_source::key_package;
  if (auto ok = check_leaf(leaf, rules); !ok)
    return ok;
  if (bytes_of(package.extensions) > leaf_bytes_max)
    return refuse(rule::too_large);
  // Extensions that we do not know are ignored, whether the leaf lists them or not: to list them is a duty of
  // the package's creator (10), no check of 10.1, and GREASE is sent here unlisted (13.5).
  if (auto ok = check_no_duplicates(package.extensions); !ok)
    return ok;
  if (auto ok = verify_signature(package); !ok)
    return ok;
  if (auto ok = verify_signature(leaf, {}); !ok)
    return ok;
  return policy.accept({leaf.credential, leaf.signature_key, event, rules.now});
}

} // namespace parley::mls
