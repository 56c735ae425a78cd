#pragma once
// What a refusal says about the session in which it came, and about the login before it. Functions of values
// alone.
#include "protocol/client/values.hpp"

namespace parley::client {

/// Whether making the call again may help: at another time, at another node, or in another session.
inline bool may_help_to_repeat(const failure& why) {
  return why.retryable || speaks_of_the_session(why.code);
}

/// What becomes of the session in which a call was refused.
enum class session_fate : std::uint8_t {
  stays,
  ends,  ///< this connection is of no use any more, the next one may be
  fenced ///< another program has this device's key and a higher number: the device stays away for good
};
constexpr session_fate fate_of_session(ec refused) {
  if (refused == ec::fenced)
    return session_fate::fenced;
  return refused == ec::session_closed || refused == ec::draining || refused == ec::not_authenticated
             ? session_fate::ends
             : session_fate::stays;
}

/// What a device does after a node refused to let it in.
enum class login_fate : std::uint8_t {
  later,   ///< another attempt, here or at another node, may succeed
  anew,    ///< it forgets its resume token and logs in without one, on the same connection
  refused, ///< final: the cluster does not accept this device
  fenced   ///< final
};
/// The call that was refused.
enum class login_step : std::uint8_t { hello, resume, login };

inline login_fate fate_of_login(login_step step, const failure& why) {
  if (step == login_step::hello)
    return why.code == ec::unsupported_version ? login_fate::refused : login_fate::later;
  if (why.retryable)
    return login_fate::later;
  if (why.code == ec::fenced)
    return login_fate::fenced;
  // A token that is too old, for example, proves nothing anyway. But another cluster than the one that gave
  // the token has no device of this key: to log in there would be refused, too, for a reason that misleads.
  // The token stays then, because it is good in its own cluster.
  return step == login_step::resume && why.code != ec::wrong_cluster ? login_fate::anew : login_fate::refused;
}

} // namespace parley::client
