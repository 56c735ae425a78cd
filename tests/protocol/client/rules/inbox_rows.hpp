#pragma once
// Rows of two conversations, as the tests of the rules deliver them.
#include "protocol/client/values.hpp"

namespace parley::test {

inline constexpr conversation_id talk{1, 2};
inline constexpr conversation_id other{3, 4};

inline client::inbox_row row(std::uint64_t prev, std::uint64_t seq, conversation_id c = talk) {
  message_row r;
  r.prev = seq_no{prev};
  r.msg.conversation = c;
  r.msg.seq = seq_no{seq};
  return r;
}

} // namespace parley::test
