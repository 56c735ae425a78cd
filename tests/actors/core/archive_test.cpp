#include "actors/core/commands.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::core;

namespace {

// Two versions of one format: the later one has a kind that the earlier one does not know.
template <int Kind>
struct thing {
  std::uint8_t x = Kind;
  template <class F>
  auto fields(F&& f) {
    return f(x);
  }
};
template <class Things>
struct box {
  std::vector<Things> things;
  std::string label;
  template <class F>
  auto fields(F&& f) {
    return f(things, label);
  }
};
using earlier_box = box<std::variant<thing<0>>>;
using later_box = box<std::variant<thing<0>, thing<1>>>;

// A struct of a shard's state as three programs know it: format 2 brought it a field, format 3 another one.
struct stored_first {
  std::uint32_t a = 0;
  template <class F>
  auto fields(F&& f) {
    return f(a);
  }
};
struct stored_second {
  static constexpr auto inside = nested::grows;
  std::uint32_t a = 0, b = 7;
  template <class F>
  auto fields(F&& f) {
    return f(a, since<2>(b));
  }
};
struct stored_third {
  std::uint32_t a = 0, b = 7;
  std::string c = "none";
  template <class F>
  auto fields(F&& f) {
    return f(a, since<2>(b), since<3>(c));
  }
};
constexpr format_number one{1}, two{2}, three{3};

struct late_kind {
  static constexpr auto since_format = two;
  std::uint8_t x = 9;
  template <class F>
  auto fields(F&& f) {
    return f(x);
  }
};
using kinds = std::variant<thing<0>, late_kind>;

// Version 1 counted seconds. Appending a field would not have been enough.
struct in_seconds {
  std::uint32_t id = 0, seconds = 0;
  template <class F>
  auto fields(F&& f) {
    return f(id, seconds);
  }
};
struct in_milliseconds {
  static constexpr std::uint8_t format_version = 3;
  std::uint32_t id = 0;
  std::uint64_t ms = 0;
  template <class F>
  auto fields(F&& f) {
    return f(id, ms);
  }
  template <class F>
  bool earlier(std::uint8_t version, F&& f) {
    if (version != 1)
      return false;
    std::uint32_t seconds = 0;
    f(id, seconds);
    ms = seconds * std::uint64_t{1000};
    return true;
  }
};

std::string as_version(std::uint8_t version, std::string bytes) {
  bytes[0] = static_cast<char>(version);
  return bytes;
}

} // namespace

TEST_CASE("what a newer program wrote is said to be newer, though nothing behind it can be read either") {
  const auto bytes = encode(later_box{{thing<1>{}, thing<0>{}}, "label"});
  CHECK(decode_whole<later_box>(bytes).why == format_fault::none);
  CHECK(decode_whole<earlier_box>(bytes).why == format_fault::newer);
  auto damaged = encode(earlier_box{{thing<0>{}}, "label"});
  damaged[damaged.size() - 9] = '\x7f'; // how long the label is
  CHECK(decode_whole<earlier_box>(damaged).why == format_fault::damaged);
}

TEST_CASE("in a shard of an earlier format, every program writes the same bytes") {
  CHECK(encode_for(one, stored_third{5, 8, "new"}) == encode(stored_first{5}));
  CHECK(encode_for(one, stored_second{5, 8}) == encode(stored_first{5}));
  CHECK(encode_for(two, stored_third{5, 8, "new"}) == encode_for(two, stored_second{5, 8}));
}

TEST_CASE("what an earlier format left out is read with its default, and what is there is read") {
  const auto from_one = decode_whole<stored_third>(encode_for(one, stored_third{5, 8, "new"})).it;
  REQUIRE(from_one);
  CHECK(from_one->a == 5);
  CHECK(from_one->b == 7);
  CHECK(from_one->c == "none");
  const auto from_three = decode_whole<stored_third>(encode_for(three, stored_third{5, 8, "new"})).it;
  REQUIRE(from_three);
  CHECK(from_three->b == 8);
  CHECK(from_three->c == "new");
}

TEST_CASE("a program that does not know a field refuses to apply it, and a program that does takes it in any "
          "shard") {
  const auto bytes = encode_for(three, stored_third{5, 8, "new"});
  CHECK(decode_whole<stored_second>(bytes).why == format_fault::newer);
  CHECK(decode_whole<stored_third>(bytes).it);
}

TEST_CASE("a growing struct inside another one follows the shard's format, too") {
  const box<stored_second> b{{{5, 8}, {6, 9}}, "label"};
  const auto earlier = encode_for(one, b), later = encode_for(two, b);
  CHECK(earlier.size() + 2 * sizeof(std::uint32_t) == later.size());
  const auto read = decode_whole<box<stored_second>>(earlier).it;
  REQUIRE(read);
  CHECK(read->things[1].a == 6);
  CHECK(read->things[1].b == 7);
  CHECK(read->label == "label");
}

TEST_CASE("a kind cannot be encoded for a shard whose format does not have it") {
  CHECK_FALSE(known_in(one, kinds{late_kind{}}));
  CHECK(known_in(two, kinds{late_kind{}}));
  CHECK(known_in(one, kinds{thing<0>{}}));
  CHECK_THROWS_AS(encode_for(one, kinds{late_kind{}}), cannot_encode);
  CHECK_THROWS_AS(encode_for(one, box<kinds>{{thing<0>{}, late_kind{}}, ""}), cannot_encode);
  CHECK(decode_whole<kinds>(encode_for(two, kinds{late_kind{}})).it);
}

TEST_CASE("a list that no reader would take is not written") {
  box<std::uint8_t> b;
  b.things.resize(list_items_max);
  CHECK(decode_whole<box<std::uint8_t>>(encode(b)).it);
  b.things.emplace_back();
  CHECK_THROWS_AS(encode(b), cannot_encode);
}

TEST_CASE("whether an optional value is there is said by 0 or 1 and by nothing else") {
  box<std::optional<std::uint8_t>> b{{std::optional<std::uint8_t>{7}}, ""};
  auto bytes = encode(b);
  const auto has = bytes.find(std::string{"\x01\x07", 2});
  REQUIRE(has != std::string::npos);
  bytes[has] = 2;
  CHECK(decode_whole<decltype(b)>(bytes).why == format_fault::damaged);
  CHECK_FALSE(decode<decltype(b)>(bytes));
}

TEST_CASE("an earlier version is read by the fields that it had, and a version in between is damage") {
  const auto first = encode(in_seconds{5, 3});
  const auto read = decode_whole<in_milliseconds>(first).it;
  REQUIRE(read);
  CHECK(read->id == 5);
  CHECK(read->ms == 3000);
  CHECK(decode_whole<in_milliseconds>(first + "x").why == format_fault::damaged);
  CHECK(decode_whole<in_milliseconds>(as_version(2, first)).why == format_fault::damaged);
  CHECK(decode_whole<in_milliseconds>(as_version(4, encode(in_milliseconds{5, 6}))).why ==
        format_fault::newer);
  CHECK(decode_whole<in_milliseconds>(encode(in_milliseconds{5, 6})).it->ms == 6);
}
