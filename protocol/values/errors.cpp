#include "protocol/values/errors.hpp"

#include <array>

namespace parley {
namespace {

constexpr std::array table{
    error_info{ec::none, "none", "No error.", false},
    error_info{ec::rate_limited, "rate-limited", "Too many requests: wait as long as retryAfter says.", true},
    error_info{ec::not_a_member, "not-a-member", "You are not a member of this conversation.", false},
    error_info{ec::no_such_conversation, "no-such-conversation",
               "There is no such conversation: open it first.", false},
    error_info{ec::no_such_user, "no-such-user", "Nobody is registered under that number or id.", false},
    error_info{ec::too_large, "too-large", "Too large: a message holds at most 65,536 bytes.", false},
    error_info{ec::conflict, "conflict",
               "This client message id was used for another body; its first answer is included.", false},
    error_info{ec::retry_too_old, "retry-too-old",
               "This client message id is older than the server remembers; it was not stored.", false},
    error_info{ec::bad_cursor, "bad-cursor",
               "That cursor is not one of yours: start again from an empty one.", false},
    error_info{ec::bad_request, "bad-request", "The request cannot be understood.", false},
    error_info{ec::bad_phone, "bad-phone", "A phone number is + and 7 to 15 digits.", false},
    error_info{ec::code_wrong, "code-wrong", "That code is wrong: check it, or ask for a new one.", false},
    error_info{ec::code_expired, "code-expired", "That code has expired or was used: ask for a new one.",
               false},
    error_info{ec::not_authenticated, "not-authenticated", "Log in first.", false},
    error_info{ec::bad_signature, "bad-signature",
               "The login was not signed by this device's key for this connection.", false},
    error_info{ec::unsupported_version, "unsupported-version", "Client and cluster speak different versions.",
               false},
    error_info{ec::fenced, "fenced", "This device connected again elsewhere; that connection goes on.",
               false},
    error_info{ec::session_closed, "session-closed", "This session has ended: log in or resume.", true},
    error_info{ec::wrong_cluster, "wrong-cluster", "That device or token belongs to another cluster.", false},
    error_info{ec::bad_text, "bad-text", "Text must be UTF-8.", false},
    error_info{ec::code_send_failed, "code-send-failed", "The code could not be sent: try again later.",
               true},
    error_info{ec::not_leader, "not-leader", "Another node leads this shard now: try again.", true},
    error_info{ec::overloaded, "overloaded", "The node has too much to do: try again shortly.", true},
    error_info{ec::timed_out, "timed-out", "No answer in time; try again with the same client message id.",
               true},
    error_info{ec::unavailable, "unavailable", "No majority of replicas can be reached: try again.", true},
    error_info{ec::sealed, "sealed", "The shard is moving to its next generation: try again.", true},
    error_info{ec::draining, "draining", "This node is stopping: reconnect to another.", true},
    error_info{ec::disk_full, "disk-full", "The disk is full; what is stored stays readable: free space.",
               true},
    error_info{ec::gap, "gap", "The append does not follow what the inbox holds.", true},
    error_info{ec::stale, "stale", "The request belongs to an earlier membership.", false},
    error_info{ec::moved, "moved", "The conversation lives in another shard now: try again.", true},
    error_info{ec::bad_config, "bad-config", "A setting cannot be run with.", false},
    error_info{ec::storage_failed, "storage-failed", "The disk failed; the node stops and rejoins.", true},
    error_info{ec::corrupt, "corrupt", "Stored data fails its checksum.", false},
    error_info{ec::internal, "internal", "Something is wrong in the server; it was logged.", true},
};

constexpr error_info unknown{ec::internal, "unknown",
                             "A newer server reports something this one does not know.", true};

} // namespace

const error_info& describe(ec code) {
  for (const auto& entry : table)
    if (entry.code == code)
      return entry;
  return unknown;
}

} // namespace parley
