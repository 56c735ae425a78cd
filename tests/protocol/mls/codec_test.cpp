#include "protocol/mls/codec.hpp"
#include "tests/protocol/mls/spoken.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;

namespace {

bool is_length(bytes in) {
  decoder d{in};
  d.length();
  return d.done();
}

struct nothing {};
void decode(decoder&, nothing&) {}

} // namespace

TEST_CASE("2.1.1: an optional value whose presence octet is neither 0 nor 1 is malformed") {
  for (const std::uint8_t present : {2, 3, 128, 255}) {
    const bytes in{present, 5};
    decoder d{in};
    CHECK_FALSE(d.optional<std::uint8_t>());
    CHECK_FALSE(d.ok());
  }
}

TEST_CASE("2.1.2: a length that takes more bytes than it needs is malformed") {
  CHECK_FALSE(is_length({0x40, 0x00}));
  CHECK_FALSE(is_length({0x40, 0x3f}));
  CHECK(is_length({0x40, 0x40}));
  CHECK_FALSE(is_length({0x80, 0x00, 0x00, 0x00}));
  CHECK_FALSE(is_length({0x80, 0x00, 0x3f, 0xff}));
  CHECK(is_length({0x80, 0x00, 0x40, 0x00}));
}

TEST_CASE("2.1.2: a length that begins with the prefix 11 is malformed") {
  CHECK_FALSE(is_length({0xc0}));
  CHECK_FALSE(is_length({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
}

TEST_CASE("2.1.2: a length is written in the fewest bytes") {
  const auto written = [](std::size_t n) {
    encoder e;
    e.length(n);
    return std::move(e).out();
  };
  CHECK(written(0) == bytes{0});
  CHECK(written(63) == bytes{0x3f});
  CHECK(written(64) == bytes{0x40, 0x40});
  CHECK(written(16383) == bytes{0x7f, 0xff});
  CHECK(written(16384) == bytes{0x80, 0x00, 0x40, 0x00});
  CHECK(written((1u << 30) - 1) == bytes{0xbf, 0xff, 0xff, 0xff});
}

TEST_CASE("2.1.2: a vector that claims more bytes than there are is malformed") {
  const bytes in{0x05, 1, 2, 3, 4};
  decoder d{in};
  CHECK(d.opaque().empty());
  CHECK_FALSE(d.ok());
  const bytes huge{0xbf, 0xff, 0xff, 0xff, 1};
  decoder of_huge{huge};
  CHECK(of_huge.opaque().empty());
  CHECK_FALSE(of_huge.ok());
}

TEST_CASE("2.1: a vector whose last item is incomplete is malformed") {
  const bytes in{0x03, 0, 1, 0};
  decoder d{in};
  CHECK(d.vector<std::uint16_t>().empty());
  CHECK_FALSE(d.ok());
}

TEST_CASE("2.1: a vector of items that take no bytes ends") {
  const bytes in{0x01, 0};
  decoder d{in};
  CHECK(d.vector<nothing>().empty());
  CHECK_FALSE(d.ok());
}

TEST_CASE("2.1: bytes behind a structure are malformed") {
  bytes in = encoded(sender::member(spoken::alice));
  CHECK(whole<sender>(in));
  in.push_back(0);
  CHECK(broken(whole<sender>(in)) == rule::malformed);
}

TEST_CASE("2.1: no beginning of a message is a message") {
  spoken group;
  auto keys = group.keys();
  for (const mls_message& m : {mls_message{group.in_public(group.content(removal()))},
                               mls_message{group.in_private(keys, group.said("hello"))},
                               mls_message{group.package_of(group.outsider)}}) {
    const auto all = encoded(m);
    CHECK(read_message(all).value() == m);
    for (std::size_t n = 0; n < all.size(); ++n)
      CHECK(broken(read_message(bytes_view{all}.first(n))) == rule::malformed);
  }
}

TEST_CASE("2.1: a value that its enumeration does not have is malformed, also where nothing follows it") {
  const auto is_malformed = [](const auto& structure) {
    using T = std::remove_cvref_t<decltype(structure)>;
    return broken(whole<T>(encoded(structure))) == rule::malformed;
  };
  spoken group;
  for (const auto type : {0, 5})
    CHECK(is_malformed(sender{static_cast<sender_type>(type)}));
  for (const auto type : {0, 3, 6})
    CHECK(is_malformed(authenticated_content{static_cast<wire_format>(type), group.said("hello"), {}}));
  for (const auto type : {0, 4})
    CHECK(is_malformed(private_message{.type = static_cast<content_type>(type)}));
  for (const auto source : {0, 4}) {
    auto leaf = group.leaf_of(group.outsider);
    leaf.source = static_cast<leaf_node_source>(source);
    CHECK(is_malformed(leaf));
  }
  CHECK(broken(whole<mls_message>(bytes{0, 1, 0, 0})) == rule::malformed);
  CHECK(broken(whole<mls_message>(bytes{0, 1, 0, 6})) == rule::malformed);
  CHECK(broken(whole<proposal>(bytes{0, 0})) == rule::malformed);
  CHECK(broken(whole<proposal>(bytes{0, 8})) == rule::malformed);
  CHECK(broken(whole<proposal_or_ref>(bytes{0})) == rule::malformed);
  CHECK(broken(whole<proposal_or_ref>(bytes{3})) == rule::malformed);
  CHECK(broken(whole<pre_shared_key_id>(bytes{0, 0})) == rule::malformed);
  CHECK(broken(whole<pre_shared_key_id>(bytes{3, 0})) == rule::malformed);
  CHECK(broken(whole<credential>(bytes{0x0a, 0x0a})) == rule::malformed);
}

TEST_CASE("6: a message of another version does not decode") {
  spoken group;
  auto in = encoded(mls_message{group.in_public(group.content(removal()))});
  REQUIRE(whole<mls_message>(in));
  in[1] = 2;
  CHECK(broken(whole<mls_message>(in)) == rule::malformed);
  CHECK(broken(read_message(in)) == rule::wrong_version);
}

TEST_CASE("A message larger than the limit is not even decoded") {
  CHECK(broken(read_message(bytes(101), {.message_bytes_max = 100})) == rule::too_large);
}

TEST_CASE("Every rule has its sentence, and its section where the RFC states it") {
  int rules = 0;
  for (std::uint16_t n = 1; n < 1000; ++n) {
    const auto [section, sentence] = describe(static_cast<rule>(n));
    if (sentence == "Refused.")
      continue; // there is no such rule; the compiler checks that each rule has a row
    ++rules;
    CAPTURE(n);
    CHECK(sentence.ends_with('.'));
    CHECK(section.find_first_not_of("0123456789.") == section.npos);
  }
  CHECK(rules > 50);
}
