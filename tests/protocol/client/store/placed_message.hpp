#pragma once
// A message as a store is given it, which several tests of stores share.
#include "protocol/client/store/store.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace parley::test {

inline constexpr conversation_id talk{0xffff'0000'0000'0001ULL, 2}; // beyond a signed integer on purpose

inline client::message placed(std::uint64_t seq, std::uint64_t counter, std::string body = "hello") {
  client::message m;
  m.conversation = talk;
  m.seq = seq_no{seq};
  m.id = derive_message_id(talk, m.seq);
  m.sender = user_id{0x8000'0000'0000'0007ULL};
  m.client_id = {device_id{5}, counter};
  m.at = unix_ms{1'700'000'000'000};
  m.body = std::move(body);
  return m;
}

} // namespace parley::test
