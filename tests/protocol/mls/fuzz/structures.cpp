// Everything that has an encoding: what decodes must encode to the same bytes, and must cost no more
// than its size allows. Input: the structure, then its bytes.
#include "tests/protocol/mls/fuzz/fuzz.hpp"
#include "tests/protocol/mls/fuzz/scenario.hpp"

namespace parley::mls::fuzz {
namespace {

/// Heap bytes allowed for each byte of input, and in any case. The most expensive byte is one of a list
/// of proposals, while the list grows.
constexpr std::size_t bytes_per_byte = 1024, bytes_at_least = 64 * 1024;

using check = bool (*)(bytes_view in); ///< returns true if the bytes decode

template <class T>
bool codec(bytes_view in) {
  const auto v = whole<T>(in);
  if (!v)
    return false;
  law(equal(encoded(*v), in), "what decodes encodes to the same bytes");
  return true;
}

template <class T>
bool codec_of_list(bytes_view in) {
  decoder d{in};
  const auto v = d.vector<T>();
  if (!d.done())
    return false;
  encoder e;
  e.vector(v);
  law(equal(e.out(), in), "a list encodes to the same bytes");
  return true;
}

bool message(bytes_view in) {
  const auto read = read_message(in);
  const auto v = whole<mls_message>(in);
  law(!read || v, "a message that is read decodes");
  if (!read)
    return false;
  law(equal(encoded(*read), in), "a message encodes to the same bytes");
  law(encoded(whole<mls_message>(encoded(*read)).value()) == encoded(*read), "and once more");
  return true;
}

/// The content of a PrivateMessage: type, body, authentication; the remainder is padding.
bool private_content(bytes_view in) {
  decoder d{in};
  const auto type = d.get<content_type>();
  framed_content content;
  framed_content_auth auth;
  decode_body(d, type, content);
  decode_auth(d, type, auth);
  if (!d.ok())
    return false;
  law(content.type() == type, "a body is of its type");
  encoder e;
  e.put(type);
  encode_body(e, content);
  encode_auth(e, auth);
  law(equal(e.out(), in.first(in.size() - d.rest().size())), "a private content encodes to the same bytes");
  return true;
}

bool content(bytes_view in) {
  if (!codec<authenticated_content>(in))
    return false;
  const auto v = whole<authenticated_content>(in);
  if (v->content.type() == content_type::proposal)
    law(make_proposal_ref(*v).hash.size() == hash_bytes, "a reference is a hash");
  if (v->content.type() == content_type::commit)
    law(confirmed_transcript_hash({}, *v).size() == hash_bytes, "a transcript is a hash");
  return true;
}

/// What a group reads from its extensions.
bool group_extensions(bytes_view in) {
  decoder d{in};
  const auto list = d.vector<extension>();
  if (!d.done())
    return false;
  const auto required = required_capabilities_of(list);
  const auto* wanted = find_extension(list, extension_type::required_capabilities);
  if (required && wanted)
    law(to_extension(*required).data == *wanted, "required capabilities encode to the same bytes");
  const auto senders = external_senders_of(list);
  const auto* listed = find_extension(list, extension_type::external_senders);
  if (senders && listed)
    law(to_extension(*senders).data == *listed, "external senders encode to the same bytes");
  if (const auto all = requirements_of(list))
    law(required.has_value() && all->required == *required, "requirements are those of the extension");
  (void)check_no_duplicates(list);
  return true;
}

leaf_rules rules_of(const group_requirements& group) {
  return {.group = &group, .now = now};
}

bool leaf(bytes_view in) {
  if (!codec<leaf_node>(in))
    return false;
  const auto v = taken(whole<leaf_node>(in), "a leaf");
  const auto group = taken(requirements_of({}), "no requirements");
  (void)check_leaf(v, rules_of(group));
  const bytes id{1};
  const leaf_place place{id, leaf_index{1}};
  const bool good = verify_signature(v, place).has_value();
  law(verify_encoded_leaf(in, v.signature_key, v.source, place).has_value() == good,
      "a leaf is as good decoded as encoded");
  return true;
}

bool package(bytes_view in) {
  if (!codec<key_package>(in))
    return false;
  const auto v = taken(whole<key_package>(in), "a key package");
  law(key_package_ref(v) == key_package_ref_of_encoded(in), "one reference for one key package");
  (void)verify_signature(v);
  return true;
}

/// The package is signed again, so that the checks behind the signatures are reached.
bool signed_package(bytes_view in) {
  auto v = whole<key_package>(in);
  if (!v)
    return false;
  const auto& all = recorded();
  const auto* known = all.signer_of(v->leaf_node.signature_key);
  if (!known)
    return false;
  sign(v->leaf_node, *known, {});
  sign(*v, *known);
  const outside w{1};
  const auto group = taken(requirements_of({}), "no requirements");
  const auto good = check_key_package(*v, rules_of(group), w.policy);
  law(good || good.error().broken != rule::key_package_bad_signature, "what is signed verifies");
  return good.has_value();
}

bool identity(bytes_view in) {
  if (!codec<credential>(in))
    return false;
  const auto v = taken(whole<credential>(in), "a credential");
  const auto says = account_statement_of(v);
  if (says)
    law(to_credential(*says) == v, "a statement is its credential");
  const outside w{1};
  const auto& known = recorded().people.front().who;
  const auto key = public_key_of(known.signer.public_key);
  for (const auto event : {credential_event::key_package, credential_event::join})
    if (w.policy.accept({v, key, event, now}))
      law(says && says->device_key == key, "only a statement about the key is accepted");
  (void)w.policy.accept_successor(known.credential, v);
  return true;
}

bool secrets_of_epoch(bytes_view in) {
  const auto v = restored_epoch_secrets(in);
  if (!v)
    return false;
  law(equal(saved(*v).view(), in), "the secrets of an epoch are saved as they were");
  return true;
}

const std::vector<check>& checks() {
  static const std::vector<check> all{
      message,
      codec<public_message>,
      codec<private_message>,
      codec<welcome>,
      codec<group_info>,
      package,
      signed_package,
      leaf,
      codec<proposal>,
      codec<commit>,
      codec_of_list<proposal_or_ref>,
      codec<framed_content>,
      content,
      private_content,
      codec<update_path>,
      codec<parent_node>,
      codec<group_context>,
      codec<group_secrets>,
      codec<encrypted_group_secrets>,
      codec<hpke_ciphertext>,
      codec<pre_shared_key_id>,
      group_extensions,
      codec<required_capabilities>,
      codec<capabilities>,
      codec<external_sender>,
      identity,
      codec<account_statement>,
      secrets_of_epoch,
      codec<lifetime>,
      codec<mls::sender>,
      codec<mls::extension>,
  };
  return all;
}

void run(bytes_view input) {
  if (input.empty())
    return;
  const auto& all = checks();
  const auto in = input.subspan(1);
  (void)recorded(); // created once, so that it does not count as the cost of an input
  const auto begun = allocated_bytes;
  all[input.front() % all.size()](in);
  law(allocated_bytes - begun <= bytes_at_least + bytes_per_byte * in.size(),
      "memory is bounded by the size of what is read");
}

/// Every byte string of the vectors and of the scenario that decodes as some structure, a few for each.
void seeds(const std::vector<bytes>& vectors, const seed_sink& to) {
  constexpr std::size_t each_max = 12, size_max = 4096;
  auto all = vectors;
  for (const auto& s : recorded().steps)
    all.push_back(s.message);
  for (const auto& i : recorded().invitations)
    for (const auto* v : {&i.welcome, &i.key_package, &i.secrets, &i.info})
      all.push_back(*v);
  for (const auto& p : recorded().people) {
    all.push_back(encoded(p.who.credential));
    all.push_back(p.who.credential.identity);
  }
  encoder extensions;
  const auto info = taken(read_message(recorded().steps.back().group_info), "the group info");
  extensions.vector(info.as<group_info>()->context.extensions);
  all.push_back(std::move(extensions).out());
  for (std::size_t which = 0; which < checks().size(); ++which) {
    std::size_t found = 0;
    // Starts at the end, because the byte strings of the scenario are richer.
    for (auto v = all.rbegin(); v != all.rend() && found < each_max; ++v)
      if (!v->empty() && v->size() <= size_max && checks()[which](*v)) {
        ++found;
        bytes seed{static_cast<std::uint8_t>(which)};
        seed.insert(seed.end(), v->begin(), v->end());
        to(std::move(seed));
      }
  }
}

} // namespace

const target structures{"structures", run, seeds};

} // namespace parley::mls::fuzz
