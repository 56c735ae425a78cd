#include "cluster/links/caf_frames.hpp"

#include <caf/all.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/io/basp/header.hpp>
#include <doctest/doctest.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

using namespace parley::cluster;

namespace {

constexpr std::uint32_t most = 1000;

/// A frame as CAF 0.17.6 writes it, its payload of bytes that look like another huge header.
std::string frame(std::uint32_t announced, std::size_t sent, char operation = 2) {
  std::string out(frame_follower::header_bytes, '\xff');
  out[0] = operation;
  for (int i = 0; i < 4; ++i)
    out[static_cast<std::size_t>(4 + i)] = static_cast<char>(announced >> (24 - 8 * i));
  return out + std::string(sent, '\xff');
}
std::string frame(std::uint32_t payload) {
  return frame(payload, payload);
}

/// Three honest frames of every kind of length, and a fourth that announces `last`.
std::string stream(std::uint32_t last) {
  return frame(5) + frame(0) + frame(0) + frame(most) + frame(256) + frame(last, 0);
}

bool follow_all(frame_follower& f, std::string_view bytes, std::size_t piece) {
  for (; bytes.size() > piece; bytes.remove_prefix(piece))
    if (!f.follow(bytes.substr(0, piece)))
      return false;
  return f.follow(bytes);
}

} // namespace

TEST_CASE("a header that announces too many bytes is refused before it is complete, and nothing after it is "
          "accepted") {
  for (const auto announced : {most + 1, 0x00010000u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
    CAPTURE(announced);
    frame_follower f{most};
    const auto bytes = frame(announced, 0);
    CHECK(f.follow(bytes.substr(0, 7)));
    CHECK_FALSE(f.follow(bytes.substr(7, 1)));
    CHECK(f.announced() == announced);
    CHECK_FALSE(f.follow(bytes.substr(8)));
    CHECK_FALSE(f.follow(frame(1)));
    CHECK_FALSE(f.follow({}));
    CHECK(f.announced() == announced);
  }
}

TEST_CASE(
    "a frame of exactly the bound is accepted and one byte more is refused, behind frames of any length") {
  for (const std::size_t piece :
       std::initializer_list<std::size_t>{1, 2, 3, 7, 8, 31, 32, 33, 64, 1000, 100000}) {
    CAPTURE(piece);
    frame_follower fits{most}, bursts{most};
    CHECK(follow_all(fits, stream(most) + std::string(most, '\xff') + stream(0), piece));
    CHECK_FALSE(follow_all(bursts, stream(most + 1), piece));
    CHECK(bursts.announced() == most + 1);
  }
}

TEST_CASE("the same header is found wherever the reads before it end") {
  const auto good = stream(most), bad = stream(most + 1);
  for (std::size_t at = 0; at <= bad.size(); ++at) {
    CAPTURE(at);
    frame_follower fits{most}, bursts{most};
    CHECK((fits.follow(good.substr(0, at)) && fits.follow(good.substr(at))));
    CHECK_FALSE((bursts.follow(bad.substr(0, at)) && bursts.follow(bad.substr(at))));
  }
}

TEST_CASE("a frame without a payload is followed by a header, and a bound of 0 accepts only such frames") {
  frame_follower f{0};
  for (int i = 0; i < 100; ++i)
    CHECK(f.follow(frame(0)));
  CHECK_FALSE(f.follow(frame(1)));
}

TEST_CASE("random frames in random pieces are refused exactly from the first one that is too long") {
  std::mt19937 random{47};
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    std::string bytes;
    std::size_t refused_from = std::string::npos;
    for (int i = 0; i < 20 && refused_from == std::string::npos; ++i) {
      const auto length = static_cast<std::uint32_t>(random() % (most + most / 20));
      if (length > most)
        refused_from = bytes.size() + 8;
      bytes += frame(length);
    }
    frame_follower f{most};
    for (std::size_t at = 0; at < bytes.size();) {
      const auto n = std::min<std::size_t>(1 + random() % 700, bytes.size() - at);
      at += n;
      REQUIRE(f.follow(std::string_view{bytes}.substr(at - n, n)) == (at < refused_from));
    }
  }
}

TEST_CASE("the header has the size of CAF's, and the length in the same place") {
  caf::actor_system_config config;
  caf::actor_system system{config};
  std::vector<char> written;
  caf::binary_serializer sink{system, written};
  caf::io::basp::header h{caf::io::basp::message_type::routed_message, 0xff, most + 1, ~0ull, ~0ull, ~0ull};
  REQUIRE_FALSE(sink(h));
  CHECK(written.size() == frame_follower::header_bytes);
  frame_follower f{most};
  CHECK(f.follow({written.data(), 7}));
  CHECK_FALSE(f.follow({written.data() + 7, 1}));
  CHECK(f.announced() == most + 1);
}

TEST_CASE("a length within a frame is trusted only as far as the frame reaches") {
  caf::actor_system_config config;
  caf::actor_system system{config};
  const auto read = [&](const std::string& bytes) {
    caf::binary_deserializer source{system, bytes.data(), bytes.size()};
    std::vector<char> out;
    return source(out) ? std::optional<std::size_t>{} : out.size();
  };
  CHECK(read("\xff\xff\xff\xff\x0f" + std::string(1000, 'x')) == std::nullopt);
  CHECK(read("\x04xyz") == std::nullopt);
  CHECK(read("\x03xyz") == 3);
  CHECK(read(std::string(1, '\0')) == 0);
  CHECK(read("\xac\x02" + std::string(300, 'x')) == 300);
  CHECK(read("\xac\x02" + std::string(299, 'x')) == std::nullopt);
  CHECK(read(std::string(64, '\xff')) == std::nullopt); // never ends
  CHECK(read("\x80") == std::nullopt);
  CHECK(read("") == std::nullopt);
}

TEST_CASE("whatever CAF writes, of any length, is read back unchanged") {
  caf::actor_system_config config;
  caf::actor_system system{config};
  for (const std::size_t n :
       std::initializer_list<std::size_t>{0, 1, 127, 128, 16383, 16384, 2097151, 2097152}) {
    CAPTURE(n);
    const std::vector<char> buffer(n, 'b');
    const std::vector<std::string> texts{std::string(n, 't'), "", "end"};
    std::vector<char> written;
    caf::binary_serializer sink{system, written};
    REQUIRE_FALSE(sink(buffer, texts));
    caf::binary_deserializer source{system, written};
    std::vector<char> buffer_read;
    std::vector<std::string> texts_read;
    REQUIRE_FALSE(source(buffer_read, texts_read));
    CHECK((buffer_read == buffer && texts_read == texts));
  }
}
