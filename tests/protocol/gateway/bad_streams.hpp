#pragma once
// The bad streams, one for each number that is bytes; see README.md.
#include "tests/protocol/gateway/fixture.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

namespace parley::test {

inline constexpr user_id hostile_user{9};
inline constexpr device_id hostile_device{9};

/// How far a peer keeps to the rules before its bytes begin.
enum class stage { connected, encrypted, logged_in };

struct bad_stream {
  const char* name;
  stage after;
  std::string bytes;
};

std::vector<bad_stream> streams();

/// The bytes of a decent call to a session that question 2 is answered with.
std::string of_session(session_method m, std::uint32_t question);

/// Logs in by hand, so that what follows may be any bytes.
bool log_in(raw_client& it, fixture& f, const device_key& key);

} // namespace parley::test
