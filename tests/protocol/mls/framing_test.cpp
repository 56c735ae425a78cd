#include "tests/protocol/mls/spoken.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;

namespace {

/// Encrypts arbitrary plaintext as a message of alice, as a dishonest member could.
private_message sealed_by_hand(spoken& group, bytes_view plaintext, content_type type, leaf_index from,
                               bytes sender_data_suffix = {}) {
  auto keys = group.keys();
  const auto kind = type == content_type::application ? ratchet_kind::application : ratchet_kind::handshake;
  const auto key = keys.next(from, kind).value();
  private_message out{.group_id = group.context.group_id, .epoch = group.context.epoch, .type = type};
  encoder aad;
  aad.opaque(out.group_id).put(out.epoch).put(out.type).opaque(out.authenticated_data);
  out.ciphertext = aead_seal(key.key.view(), key.nonce.view(), aad.out(), plaintext); // a guard of zeros
  encoder data;
  data.put(from).put(key.generation).raw(bytes(4)).raw(sender_data_suffix);
  encoder data_aad;
  data_aad.opaque(out.group_id).put(out.epoch).put(out.type);
  const auto by = sender_data_keys_of(group.secrets.sender_data, out.ciphertext);
  out.encrypted_sender_data = aead_seal(by.key.view(), by.nonce.view(), data_aad.out(), data.out());
  return out;
}

bytes plaintext_of(const authenticated_content& in, bytes_view padding) {
  encoder e;
  encode_body(e, in.content);
  encode_auth(e, in.auth);
  e.raw(padding);
  return std::move(e).out();
}

authenticated_content said_by_alice(spoken& group) {
  auto content = group.said("hello");
  content.authenticated_data.clear();
  return group.by_alice(content, wire_format::private_message);
}

} // namespace

TEST_SUITE("6: framing") {

  TEST_CASE("6: a message of another protocol version is refused") {
    spoken group;
    auto in = encoded(mls_message{group.in_public(group.content(removal()))});
    in[1] = 2;
    CHECK(broken(read_message(in)) == rule::wrong_version);
    in[1] = 0;
    CHECK(broken(read_message(in)) == rule::wrong_version);
  }

  TEST_CASE("6: an unknown wire format, sender type or content type is malformed") {
    spoken group;
    const auto in = encoded(mls_message{group.in_public(group.content(removal()))});
    const std::size_t format = 3, sender_at = 4 + 1 + group.context.group_id.size() + 8,
                      content_at = sender_at + 5 + 1 + 11;
    REQUIRE(in[sender_at] == static_cast<std::uint8_t>(sender_type::member));
    REQUIRE(in[content_at] == static_cast<std::uint8_t>(content_type::proposal));
    for (const auto at : {format, sender_at, content_at})
      for (const std::uint8_t value : {0, 6, 255}) {
        auto changed = in;
        changed[at] = value;
        CHECK(broken(read_message(changed)) == rule::malformed);
      }
  }

  TEST_CASE("6: an unknown content type of an encrypted message is malformed") {
    spoken group;
    auto keys = group.keys();
    auto message = group.in_private(keys, group.said("hello"));
    for (const std::uint8_t type : {0, 4, 255}) {
      message.type = static_cast<content_type>(type);
      CHECK(broken(whole<private_message>(encoded(message))) == rule::malformed);
    }
  }

  TEST_CASE("12.1: a proposal of an unknown type is malformed") {
    for (const std::uint16_t type : {0, 8, 0x0a0a, 0xffff}) {
      encoder e;
      e.put(type).put(std::uint32_t{0});
      CHECK(broken(whole<proposal>(e.out())) == rule::malformed);
    }
  }

  TEST_CASE("6: application data is not sent in the open") {
    spoken group;
    CHECK(broken(protect_public(group.by_alice(group.said("hello")), group.secrets.membership_key,
                                group.encoded_context)) == rule::application_not_encrypted);
  }

  TEST_CASE("6: application data that comes in the open is refused, though signed and tagged") {
    spoken group;
    const auto content = group.by_alice(group.said("hello"));
    // The tag is computed as for any content, over the signed content and the signature.
    encoder e;
    e.put(mls10).put(wire_format::public_message);
    encode(e, content.content);
    e.raw(group.encoded_context).opaque(content.auth.signature);
    const public_message message{content.content, content.auth,
                                 mac(group.secrets.membership_key.view(), e.out())};
    CHECK(broken(group.open(message)) == rule::application_not_encrypted);
    CHECK(broken(check_public(message, group.view())) == rule::application_not_encrypted);
  }

  TEST_CASE("6: a message of another group is refused") {
    spoken group;
    auto keys = group.keys();
    auto in_public = group.in_public(group.content(removal()));
    in_public.content.group_id = text("other");
    CHECK(broken(group.open(in_public)) == rule::wrong_group);
    auto in_private = group.in_private(keys, group.said("hello"));
    in_private.group_id = text("other");
    CHECK(broken(group.open(in_private, keys)) == rule::wrong_group);
  }

  TEST_CASE("12.1: a message of another epoch is refused") {
    spoken group;
    auto keys = group.keys();
    auto in_public = group.in_public(group.content(removal()));
    auto in_private = group.in_private(keys, group.said("hello"));
    for (const std::uint64_t epoch : {6, 8}) {
      in_public.content.epoch = in_private.epoch = epoch;
      CHECK(broken(group.open(in_public)) == rule::wrong_epoch);
      CHECK(broken(group.open(in_private, keys)) == rule::wrong_epoch);
    }
  }

} // TEST_SUITE

TEST_SUITE("6.1: content authentication") {

  TEST_CASE("6.1: a message that its sender did not sign is refused") {
    spoken group;
    const auto by_bob = group.signed_by(group.signers[1], group.content(removal()));
    const auto message = protect_public(by_bob, group.secrets.membership_key, group.encoded_context).value();
    CHECK(broken(group.open(message)) == rule::bad_signature);
    CHECK(broken(check_public(message, group.view())) == rule::bad_signature);

    auto sending = group.keys(), receiving = group.keys();
    const auto said_by_bob =
        group.signed_by(group.signers[1], group.said("hello"), wire_format::private_message);
    const auto sealed =
        protect_private(said_by_bob, group.secrets.sender_data, sending, padding::none, group.random).value();
    CHECK(broken(group.open(sealed, receiving)) == rule::bad_signature);
  }

  TEST_CASE("6.1: a signature is valid for one wire format") {
    spoken group;
    auto content = group.by_alice(group.content(removal()), wire_format::private_message);
    CHECK(broken(protect_public(content, group.secrets.membership_key, group.encoded_context)) ==
          rule::malformed);
    content.wire_format = wire_format::public_message;
    CHECK(broken(group.open(
              protect_public(content, group.secrets.membership_key, group.encoded_context).value())) ==
          rule::bad_signature);
  }

  TEST_CASE("6.1: a member's signature is valid for one state of the group") {
    spoken group, other;
    other.context.tree_hash = bytes(32, 2);
    other.encoded_context = encoded(other.context);
    const auto content = group.by_alice(group.content(removal()));
    const auto message = protect_public(content, group.secrets.membership_key, other.encoded_context).value();
    CHECK(broken(other.open(message)) == rule::bad_signature);
  }

  TEST_CASE("6.1: a message from a blank leaf is refused") {
    spoken group;
    const auto content = group.by_alice(group.content(removal(), sender::member(spoken::nobody)));
    const auto message = protect_public(content, group.secrets.membership_key, group.encoded_context).value();
    CHECK(broken(group.open(message)) == rule::unknown_sender);
  }

  TEST_CASE("6.1: an external sender that the group does not list is refused") {
    spoken group;
    const auto content =
        group.signed_by(group.outsider, group.content(removal(), {sender_type::external, 1}));
    CHECK(broken(group.open(protect_public(content, {}, group.encoded_context).value())) ==
          rule::unknown_sender);
  }

  TEST_CASE("6.1: an external sender may send nothing but proposals") {
    spoken group;
    const auto from = sender{sender_type::external, 0};
    const auto content = group.signed_by(group.outsider, group.content(commit{}, from));
    CHECK(broken(protect_public(content, {}, group.encoded_context)) == rule::external_not_a_proposal);
    CHECK(broken(group.open(public_message{content.content, content.auth, {}})) ==
          rule::external_not_a_proposal);
  }

  TEST_CASE("12.1.8: an external sender may not propose an Update or an ExternalInit") {
    spoken group;
    const auto from = sender{sender_type::external, 0};
    for (const auto& p : {proposal{update_proposal{group.leaf_of(group.outsider)}},
                          proposal{external_init_proposal{bytes(32)}}}) {
      const auto content = group.signed_by(group.outsider, group.content(p, from));
      CHECK(broken(protect_public(content, {}, group.encoded_context)) == rule::external_proposal_type);
      CHECK(broken(group.open(public_message{content.content, content.auth, {}})) ==
            rule::external_proposal_type);
    }
  }

  TEST_CASE("12.1.8: an external sender may propose each of the other types") {
    spoken group;
    const auto from = sender{sender_type::external, 0};
    const auto random = counted_random();
    for (const auto& p :
         {proposal{add_proposal{group.package_of(group.outsider)}}, removal(),
          proposal{psk_proposal{external_psk(text("key"), random)}}, proposal{reinit_proposal{text("next")}},
          proposal{group_context_extensions_proposal{}}}) {
      const auto message =
          protect_public(group.signed_by(group.outsider, group.content(p, from)), {}, group.encoded_context)
              .value();
      CHECK(message.membership_tag.empty());
      const auto read = read_message(encoded(mls_message{message})).value();
      CHECK(group.open(*read.as<public_message>()).value().content.body == message.content.body);
    }
  }

  TEST_CASE("6.1: an external sender's signature is checked") {
    spoken group;
    const auto from = sender{sender_type::external, 0};
    const auto content = group.signed_by(group.signers[0], group.content(removal(), from));
    CHECK(broken(group.open(protect_public(content, {}, group.encoded_context).value())) ==
          rule::bad_signature);
  }

  TEST_CASE("6.1: a client that joins by an external commit may send nothing else") {
    spoken group;
    const auto content =
        group.signed_by(group.outsider, group.content(removal(), {sender_type::new_member_commit}));
    CHECK(broken(protect_public(content, {}, group.encoded_context)) == rule::joiner_not_a_commit);
    CHECK(broken(group.open(public_message{content.content, content.auth, {}})) == rule::joiner_not_a_commit);
  }

  TEST_CASE("12.4.3.2: an external commit needs a path") {
    spoken group;
    const auto content =
        group.signed_by(group.outsider, group.content(commit{}, {sender_type::new_member_commit}));
    CHECK(broken(group.open(public_message{content.content, content.auth, {}})) == rule::joiner_without_path);
  }

  TEST_CASE("6.1: an external commit is signed by the leaf in its path") {
    spoken group;
    const auto from = sender{sender_type::new_member_commit};
    const auto content = group.content(group.commit_with_path(group.outsider), from);
    const auto good = protect_public(group.signed_by(group.outsider, content), {}, group.encoded_context);
    CHECK(group.open(*good));
    const auto bad = protect_public(group.signed_by(group.signers[0], content), {}, group.encoded_context);
    CHECK(broken(group.open(*bad)) == rule::bad_signature);
  }

  TEST_CASE("6.1: the signature of an external commit is valid for one state of the group") {
    spoken group, other;
    const auto from = sender{sender_type::new_member_commit};
    const auto content = group.content(group.commit_with_path(group.outsider), from);
    const auto message = *protect_public(group.signed_by(group.outsider, content), {}, group.encoded_context);
    other.context.tree_hash = bytes(32, 2);
    other.encoded_context = encoded(other.context);
    CHECK(broken(other.open(message)) == rule::bad_signature);
  }

  TEST_CASE("6.1: a new member may propose nothing but an Add") {
    spoken group;
    const auto from = sender{sender_type::new_member_proposal};
    for (const auto& body : {group.content(removal(), from), group.content(commit{}, from)}) {
      const auto content = group.signed_by(group.outsider, body);
      CHECK(broken(protect_public(content, {}, group.encoded_context)) == rule::new_member_not_an_add);
      CHECK(broken(group.open(public_message{content.content, content.auth, {}})) ==
            rule::new_member_not_an_add);
    }
  }

  TEST_CASE("6.1: a new member's Add is signed by the leaf in its key package") {
    spoken group;
    const auto from = sender{sender_type::new_member_proposal};
    const auto content = group.content(proposal{add_proposal{group.package_of(group.outsider)}}, from);
    CHECK(group.open(
        protect_public(group.signed_by(group.outsider, content), {}, group.encoded_context).value()));
    CHECK(
        broken(group.open(
            protect_public(group.signed_by(group.signers[0], content), {}, group.encoded_context).value())) ==
        rule::bad_signature);
  }

  TEST_CASE("6.1: a Commit without a confirmation tag is not sent, nor is anything else with one") {
    spoken group;
    auto sending = group.keys();
    for (const auto format : {wire_format::public_message, wire_format::private_message}) {
      auto without = group.by_alice(group.content(commit{}), format);
      without.auth.confirmation_tag.reset();
      auto with = group.by_alice(group.content(removal()), format);
      with.auth.confirmation_tag = bytes(32);
      for (const auto& content : {without, with})
        CHECK(broken(format == wire_format::public_message
                         ? protect_public(content, group.secrets.membership_key, group.encoded_context)
                               .map([](auto&&) {})
                         : protect_private(content, group.secrets.sender_data, sending, padding::none,
                                           group.random)
                               .map([](auto&&) {})) == rule::confirmation_tag_missing);
    }
  }

  TEST_CASE("6.1: a wrong confirmation tag is refused, whatever its length") {
    spoken group;
    CHECK(check_confirmation_tag(group.secrets.confirmation_key, {}, group.tag));
    for (const auto& tag : {bytes{}, bytes(32), bytes(group.tag.begin(), group.tag.end() - 1)})
      CHECK(broken(check_confirmation_tag(group.secrets.confirmation_key, {}, tag)) ==
            rule::wrong_confirmation_tag);
    CHECK(broken(check_confirmation_tag(group.secrets.confirmation_key, bytes(32), group.tag)) ==
          rule::wrong_confirmation_tag);
  }

} // TEST_SUITE

TEST_SUITE("6.2: public messages") {

  TEST_CASE("6.2: a message without the right membership tag is refused") {
    spoken group;
    const auto good = group.in_public(group.content(removal()));
    REQUIRE(group.open(good));
    for (const auto& tag :
         {bytes{}, bytes(32), bytes(good.membership_tag.begin(), good.membership_tag.end() - 1)}) {
      auto bad = good;
      bad.membership_tag = tag;
      CHECK(broken(group.open(bad)) == rule::wrong_membership_tag);
    }
  }

  TEST_CASE("6.2: the membership tag covers content, signature and confirmation tag") {
    spoken group;
    const auto good = group.in_public(group.content(commit{.proposals = {{removal()}}}));
    REQUIRE(group.open(good));
    auto content = good, signature = good, confirmation = good;
    content.content.authenticated_data.push_back(0);
    signature.auth.signature[0] ^= 1;
    (*confirmation.auth.confirmation_tag)[0] ^= 1;
    for (const auto& bad : {content, signature, confirmation})
      CHECK(broken(group.open(bad)) == rule::wrong_membership_tag);
  }

  TEST_CASE("6.2: the membership tag does not replace the signature") {
    spoken group;
    auto content = group.by_alice(group.content(removal()));
    content.auth.signature[5] ^= 1;
    CHECK(broken(group.open(
              protect_public(content, group.secrets.membership_key, group.encoded_context).value())) ==
          rule::bad_signature);
  }

  TEST_CASE("Without secrets everything but the membership tag is verified") {
    spoken group;
    auto message = group.in_public(group.content(removal()));
    message.membership_tag = bytes(32);
    CHECK(check_public(message, group.view()));
  }

  TEST_CASE("Proposals and Commits of members are accepted") {
    spoken group;
    for (const auto& c : {group.content(removal()), group.content(commit{.proposals = {{removal()}}})}) {
      const auto message = group.in_public(c);
      const auto read = read_message(encoded(mls_message{message})).value();
      const auto opened = group.open(*read.as<public_message>()).value();
      CHECK(opened.content == c);
      CHECK(opened.auth == message.auth);
    }
  }

} // TEST_SUITE

TEST_SUITE("6.3: private messages") {

  TEST_CASE("6.3.1: padding with a byte that is not zero is refused, and consumes no key") {
    spoken group;
    auto receiving = group.keys();
    const auto content = said_by_alice(group);
    for (auto zeros : {bytes{1}, bytes{0, 0, 0, 1}, bytes{1, 0, 0, 0}}) {
      const auto bad =
          sealed_by_hand(group, plaintext_of(content, zeros), content_type::application, spoken::alice);
      CHECK(broken(group.open(bad, receiving)) == rule::padding_not_zero);
    }
    const auto good =
        sealed_by_hand(group, plaintext_of(content, bytes(300)), content_type::application, spoken::alice);
    CHECK(group.open(good, receiving).value().content == content.content);
  }

  TEST_CASE("6.3.1: a plaintext that does not decode is malformed") {
    spoken group;
    auto receiving = group.keys();
    for (const auto& plaintext : {bytes{}, bytes{0x3f}, bytes(40, 0xff)})
      for (const auto type : {content_type::application, content_type::proposal, content_type::commit})
        CHECK(broken(group.open(sealed_by_hand(group, plaintext, type, spoken::alice), receiving)) ==
              rule::malformed);
  }

  TEST_CASE("6.3.1: the signature inside is verified, and a forged one consumes no key") {
    spoken group;
    auto receiving = group.keys();
    auto forged = said_by_alice(group);
    forged.auth.signature[0] ^= 1;
    CHECK(broken(group.open(
              sealed_by_hand(group, plaintext_of(forged, {}), content_type::application, spoken::alice),
              receiving)) == rule::bad_signature);
    auto sending = group.keys();
    CHECK(group.open(group.in_private(sending, group.said("hello")), receiving));
  }

  TEST_CASE("6.3.1: group, epoch, content type and authenticated data are bound to the ciphertext") {
    spoken group;
    auto sending = group.keys(), receiving = group.keys();
    auto data = group.in_private(sending, group.said("hello"));
    data.authenticated_data.push_back(0);
    CHECK(broken(group.open(data, receiving)) == rule::cannot_open);
    auto type = group.in_private(sending, group.said("hello"));
    type.type = content_type::proposal;
    CHECK(broken(group.open(type, receiving)) == rule::cannot_open);
    auto epoch = group.in_private(sending, group.said("hello"));
    ++epoch.epoch;
    ++group.context.epoch;
    CHECK(broken(group.open(epoch, receiving)) == rule::cannot_open);
  }

  TEST_CASE("6.3.1: a changed ciphertext is refused, and consumes no key") {
    spoken group;
    auto sending = group.keys(), receiving = group.keys();
    const auto good = group.in_private(sending, group.said("hello"));
    for (const auto at : {std::size_t{0}, good.ciphertext.size() - 1}) {
      auto bad = good;
      bad.ciphertext[at] ^= 1;
      CHECK(broken(group.open(bad, receiving)) == rule::cannot_open);
    }
    auto bad = good;
    bad.ciphertext.clear();
    CHECK(broken(group.open(bad, receiving)) == rule::cannot_open);
    CHECK(group.open(good, receiving));
  }

  TEST_CASE(
      "6.3.1: the reuse guard is drawn anew for each message, and keeps nonces apart when state was lost") {
    spoken group;
    auto sending = group.keys(), sending_again = group.keys();
    const auto one = group.in_private(sending, group.said("hello"));
    const auto two = group.in_private(sending_again, group.said("hello"));
    CHECK(one.ciphertext != two.ciphertext); // the same key, plaintext and generation
    auto receiving = group.keys(), receiving_again = group.keys();
    CHECK(group.open(one, receiving));
    CHECK(group.open(two, receiving_again));
  }

  TEST_CASE("6.3.1: each message uses a key of its own, from the ratchet for its content") {
    spoken group;
    auto sending = group.keys(), receiving = group.keys();
    const auto one = group.in_private(sending, group.said("hello"));
    const auto two = group.in_private(sending, group.content(removal()));
    const auto three = group.in_private(sending, group.said("world"));
    CHECK(receiving.find(spoken::alice, ratchet_kind::application, 1));
    CHECK(group.open(three, receiving));
    CHECK(group.open(two, receiving));
    CHECK(group.open(one, receiving));
    CHECK(broken(sending.find(spoken::alice, ratchet_kind::application, 1)) == rule::generation_used);
    CHECK(sending.next(spoken::alice, ratchet_kind::application).value().generation == 2);
    CHECK(sending.next(spoken::alice, ratchet_kind::handshake).value().generation == 1);
  }

  TEST_CASE("9.2: a message can be decrypted once") {
    spoken group;
    auto sending = group.keys(), receiving = group.keys();
    const auto message = group.in_private(sending, group.said("hello"));
    CHECK(group.open(message, receiving));
    CHECK(broken(group.open(message, receiving)) == rule::generation_used);
  }

  TEST_CASE("6.1: what was signed for one wire format is not sent in another") {
    spoken group;
    auto sending = group.keys();
    CHECK(broken(protect_private(group.by_alice(group.said("hello")), group.secrets.sender_data, sending,
                                 padding::none, group.random)) == rule::malformed);
    CHECK(broken(protect_public(group.by_alice(group.content(removal()), wire_format::private_message),
                                group.secrets.membership_key, group.encoded_context)) == rule::malformed);
  }

  TEST_CASE("6.3.1: a member cannot send with the keys of another") {
    spoken group;
    auto receiving = group.keys();
    auto by_bob = group.said("hello");
    by_bob.authenticated_data.clear();
    const auto content = group.signed_by(group.signers[1], by_bob, wire_format::private_message);
    CHECK(broken(group.open(
              sealed_by_hand(group, plaintext_of(content, {}), content_type::application, spoken::alice),
              receiving)) == rule::bad_signature);
  }

  TEST_CASE("6.3.2: only a member's content is encrypted") {
    spoken group;
    auto sending = group.keys();
    for (const auto from : {sender{sender_type::external, 0}, sender{sender_type::new_member_proposal, 0},
                            sender{sender_type::new_member_commit, 0}})
      CHECK(
          broken(protect_private(group.by_alice(group.content(removal(), from), wire_format::private_message),
                                 group.secrets.sender_data, sending, padding::none, group.random)) ==
          rule::sender_not_a_member);
    CHECK(sending.next(spoken::alice, ratchet_kind::handshake).value().generation == 0);
  }

  TEST_CASE("6.3.2: a leaf in the sender data that is blank or not in the tree is refused") {
    spoken group;
    auto receiving = group.keys();
    receiving.take_changes();
    const auto plaintext = plaintext_of(said_by_alice(group), {});
    CHECK(broken(group.open(sealed_by_hand(group, plaintext, content_type::application, spoken::nobody),
                            receiving)) == rule::unknown_sender);
    CHECK(receiving.take_changes().empty()); // no key was derived for it
  }

  TEST_CASE("6.3.2: sender data with bytes behind it is malformed") {
    spoken group;
    auto receiving = group.keys();
    const auto plaintext = plaintext_of(said_by_alice(group), {});
    CHECK(broken(group.open(sealed_by_hand(group, plaintext, content_type::application, spoken::alice, {0}),
                            receiving)) == rule::malformed);
  }

  TEST_CASE("6.3.2: sender data that was changed cannot be decrypted") {
    spoken group;
    auto sending = group.keys(), receiving = group.keys();
    auto message = group.in_private(sending, group.said("hello"));
    message.encrypted_sender_data[0] ^= 1;
    CHECK(broken(group.open(message, receiving)) == rule::cannot_open);
    message.encrypted_sender_data.clear();
    CHECK(broken(group.open(message, receiving)) == rule::cannot_open);
  }

  TEST_CASE("6.3.2: sender data can be decrypted only together with its ciphertext") {
    spoken group;
    auto sending = group.keys(), receiving = group.keys();
    const auto one = group.in_private(sending, group.said("hello"));
    auto two = group.in_private(sending, group.said("world"));
    two.encrypted_sender_data = one.encrypted_sender_data;
    CHECK(broken(group.open(two, receiving)) == rule::cannot_open);
  }

  TEST_CASE("15.1: sizes are padded to four classes for each doubling, and never by more than a quarter") {
    CHECK(padded_size(0, padding::none) == 0);
    CHECK(padded_size(168, padding::none) == 168);
    CHECK(padded_size(0, padding::size_classes) == 256);
    CHECK(padded_size(256, padding::size_classes) == 256);
    CHECK(padded_size(257, padding::size_classes) == 320);
    CHECK(padded_size(512, padding::size_classes) == 512);
    CHECK(padded_size(513, padding::size_classes) == 640);
    for (std::size_t n = 256; n < 40000; ++n) {
      const auto padded = padded_size(n, padding::size_classes);
      CHECK_MESSAGE(
          (padded >= n && 4 * (padded - n) <= n && padded_size(padded, padding::size_classes) == padded), n);
    }
  }

  TEST_CASE("15.1: messages of one size class are of one size, and padding is gone when they are read") {
    spoken group;
    auto sending = group.keys(), receiving = group.keys();
    const auto size_of = [&](std::size_t n) {
      const auto message = group.in_private(sending, group.said(std::string(n, 'x')), padding::size_classes);
      CHECK(group.open(message, receiving).value().content.as<application_data>()->data.size() == n);
      return encoded(mls_message{message}).size();
    };
    CHECK(size_of(0) == size_of(180));
    CHECK(size_of(180) < size_of(200));
    CHECK(size_of(200) == size_of(240));
  }

  TEST_CASE("A message with a body of 100 bytes takes no more than 246 bytes") {
    spoken group;
    group.context.group_id = bytes(16, 1);
    group.encoded_context = encoded(group.context);
    auto sending = group.keys();
    auto content = group.said(std::string(100, 'x'));
    content.authenticated_data.clear();
    CHECK(encoded(mls_message{group.in_private(sending, content)}).size() <= 246);
  }

} // TEST_SUITE
