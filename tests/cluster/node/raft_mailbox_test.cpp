// What other nodes' replicas send while the store takes nothing.
#include "cluster/node/raft_mailbox.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::cluster;

namespace {

/// One frame of the given messages, each with a body of so many bytes.
std::string frame_of(const std::vector<std::pair<message_type, std::size_t>>& messages) {
  frame_batcher out{1 << 20};
  for (const auto& [type, bytes] : messages) {
    out.start(node_id{1}, frame_batcher::leaves::early, {type, shard_id{3}, generation{1}, 5, 6})
        .append(bytes, 'x');
    out.finish();
  }
  std::vector<frame> frames;
  out.take(frame_batcher::leaves::early, frames);
  return frames.at(0).bytes;
}

std::vector<message_type> types_in(std::string_view frame) {
  std::vector<message_type> out;
  frame_reader in{frame};
  for (message_view m; in.next(m);)
    out.push_back(m.header.type);
  CHECK(in.ok());
  return out;
}

} // namespace

TEST_CASE("without its bulk a frame has no entries and no rows, and all the rest in its order") {
  const auto whole = frame_of({{message_type::vote, 40},
                               {message_type::append, 5'000},
                               {message_type::append, 44}, // a heartbeat
                               {message_type::transfer_chunk, 9'000},
                               {message_type::position, 17}});
  const auto rest = without_bulk(whole);
  CHECK(types_in(rest) == std::vector{message_type::vote, message_type::append, message_type::position});
  CHECK(rest.size() < 400);
  CHECK(without_bulk(rest) == rest);
  CHECK(without_bulk(frame_of({{message_type::append, 5'000}})).empty());
  CHECK(without_bulk("no frame") == "no frame"); // the store refuses and counts it
  CHECK(without_bulk(whole.substr(0, 20)) == whole.substr(0, 20));
}

TEST_CASE(
    "while the store takes nothing its mailbox stays within its bound, and takes everything again later") {
  raft_mailbox box{1'000'000, 100'000};
  std::size_t held = 0;
  std::vector<std::vector<std::string>> waiting;
  for (int i = 0; i < 1'000; ++i) {
    waiting.push_back({frame_of({{message_type::append, 20'000}, {message_type::read_ask, 16}})});
    box.admit(waiting.back());
    for (const auto& f : waiting.back())
      held += f.size();
    CHECK(box.bytes() == held);
    REQUIRE(held <= 1'100'000);
  }
  CHECK(held > 900'000);
  CHECK(types_in(waiting.back().at(0)) ==
        std::vector{message_type::read_ask}); // what asks for little is still heard
  CHECK(box.left_out() > 900 * 20'000);
  for (const auto& frames : waiting)
    box.taken(frames);
  CHECK(box.bytes() == 0);
  std::vector<std::string> again{frame_of({{message_type::append, 20'000}})};
  const auto whole = again;
  box.admit(again);
  CHECK(again == whole);
}

TEST_CASE("a store that takes nothing for hours loses also what is small") {
  raft_mailbox box{10'000, 10'000};
  for (int i = 0; i < 1'000; ++i) {
    std::vector<std::string> frames{frame_of({{message_type::append, 44}})};
    box.admit(frames);
  }
  CHECK(box.bytes() <= 20'000);
}
