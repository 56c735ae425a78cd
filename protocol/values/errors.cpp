#include "protocol/values/errors.hpp"

#include "protocol/values/limits.hpp"

#include <array>

namespace parley {
namespace {

constexpr bool once = false;     // the same request gets the same answer
constexpr bool retryable = true; // the same request may succeed later, here or elsewhere
constexpr auto unknown = was_stored::unknown;
constexpr auto no = was_stored::no;

/// The last number of a band, which no error gets: its row describes the codes of the band that are not
/// known.
constexpr ec unknown_in(error_band band) {
  switch (band) {
  case error_band::none:
    return ec::none;
  case error_band::outcome:
    return ec{999};
  case error_band::condition:
    return ec{1999};
  case error_band::fault:
    break;
  }
  return ec{2999};
}

static_assert(phone_digits_min == 7 && phone_digits_max == 15, "bad-phone's sentence names them");

constexpr auto table = std::to_array<error_info>({
    {ec::none, "none", "No error.", unknown, once},
    {ec::rate_limited, "rate-limited",
     "Too many requests came in a short time, and this one was not carried out. Wait as long as the answer "
     "advises, then try again.",
     unknown, retryable},
    {ec::not_a_member, "not-a-member",
     "You are not a member of this conversation, so nothing was stored. Check which conversation you mean.",
     no, once},
    {ec::no_such_conversation, "no-such-conversation",
     "There is no conversation with this id, so nothing was stored. Open it first.", no, once},
    {ec::no_such_user, "no-such-user",
     "Nobody is registered under this phone number or user id. Check it, or ask the person to register.", no,
     once},
    {ec::too_large, "too-large",
     text_with<"This is larger than the cluster accepts, so nothing was stored. "
               "Send less: a message holds at most ",
               body_bytes_max, " bytes.">::value,
     no, once},
    {ec::conflict, "conflict",
     "This client message id belongs to an earlier message with another body, so the new body was "
     "not stored. The answer names the earlier message; send the new body under a new id.",
     no, once},
    {ec::retry_too_old, "retry-too-old",
     "This attempt stored nothing, and whether an earlier attempt did is no longer known. "
     "Look for the message in the conversation before you send it again under a new id.",
     unknown, once},
    {ec::bad_cursor, "bad-cursor",
     "This cursor does not belong to your inbox. Start again from an empty cursor.", no, once},
    {ec::bad_request, "bad-request",
     "The request cannot be understood, so nothing was done. Correct it, or update the client.", no, once},
    {ec::bad_phone, "bad-phone", "This is not a phone number. Write + and 7 to 15 digits.", no, once},
    {ec::code_wrong, "code-wrong", "This code is wrong. Check it, or ask for a new one.", no, once},
    {ec::code_expired, "code-expired", "This code has expired or was already used. Ask for a new one.", no,
     once},
    {ec::not_authenticated, "not-authenticated", "This connection has not logged in. Log in first.", no,
     once},
    {ec::bad_signature, "bad-signature",
     "The login was not signed by this device's key for this connection. "
     "Check the profile, or register the device again.",
     no, once},
    {ec::unsupported_version, "unsupported-version",
     "The client and the cluster speak different versions of the protocol. Update the older one.", no, once},
    {ec::fenced, "fenced",
     "This device connected again elsewhere, and the newer connection goes on. If that was not you, another "
     "program has this device's key: register a new device.",
     unknown, once},
    {ec::session_closed, "session-closed", "This session has ended. Log in again, or resume it.", unknown,
     retryable},
    {ec::wrong_cluster, "wrong-cluster",
     "The device or its token belongs to another cluster. Check the address that you connect to.", no, once},
    {ec::bad_text, "bad-text", "A text is not UTF-8, so nothing was done. Send it as UTF-8.", no, once},
    {ec::code_send_failed, "code-send-failed",
     "The code could not be sent to the phone. Try again later, and tell the operator if it goes on.", no,
     retryable},
    {ec::device_limit, "device-limit",
     text_with<"This number has ", devices_max,
               " devices already, and no user may have more, so this one was not registered. "
               "Use one of the others.">::value,
     no, once},
    {ec::session_ahead, "session-ahead",
     "This device numbered its session by a clock that is more than a day ahead of the node's. "
     "Set the device's clock, then log in again.",
     no, retryable},
    {ec::not_leader, "not-leader",
     "Another node leads this part of the data now. Try again with the same client message id.", unknown,
     retryable},
    {ec::overloaded, "overloaded",
     "The node has too much to do. Try again after a short while, with the same client message id.", unknown,
     retryable},
    {ec::timed_out, "timed-out",
     "No answer came in time, and whether anything was stored is not known. "
     "Try again with the same client message id.",
     unknown, retryable},
    {ec::unavailable, "unavailable",
     "No majority of the replicas can be reached. Try again with the same client message id, and tell the "
     "operator if it goes on.",
     unknown, retryable},
    {ec::sealed, "sealed",
     "This part of the data is moving to other nodes. Try again with the same client message id.", unknown,
     retryable},
    {ec::draining, "draining", "This node is stopping. Connect to another node and try again.", unknown,
     retryable},
    {ec::disk_full, "disk-full",
     "The disk of a node is full; what is stored stays readable. "
     "The operator has to free space; then try again.",
     unknown, retryable},
    {ec::gap, "gap",
     "The rows do not follow what the inbox holds, so they were not stored. "
     "Send them again from where the inbox ends.",
     no, retryable},
    {ec::stale, "stale", "The rows belong to an earlier membership, so they were not stored. Drop them.", no,
     once},
    {ec::bad_config, "bad-config", "A setting cannot be used. Correct it and start again.", no, once},
    {ec::storage_failed, "storage-failed",
     "The disk of a node failed, and the node stops. "
     "Try again at another node with the same client message id; the operator has to check the disk.",
     unknown, retryable},
    {ec::corrupt, "corrupt",
     "Stored data on a node does not match its checksum, so it was not used. Try again: another node takes "
     "over. "
     "The operator has to replace the node's data.",
     unknown, retryable},
    {ec::internal, "internal",
     "Something is wrong in the server, and it was counted. "
     "Try again later, and tell the operator if it goes on.",
     unknown, retryable},
    {unknown_in(error_band::outcome), "unknown-outcome",
     "The cluster refuses this for a reason that this client does not know. Update the client.", unknown,
     once},
    {unknown_in(error_band::condition), "unknown-condition",
     "The cluster cannot do this now, for a reason that this client does not know. "
     "Try again later with the same client message id.",
     unknown, retryable},
    {unknown_in(error_band::fault), "unknown-fault",
     "Something is wrong in the cluster that this client does not know. "
     "Try again later, and tell the operator if it goes on.",
     unknown, retryable},
});
static_assert(table.size() == error_rows, "error_rows (errors.hpp) is the number of rows in this table");

// An enumerator that is missing here does not compile; one that is here and not in the table does not,
// either.
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
constexpr bool has_name(ec code) {
  switch (code) {
  case ec::none:
  case ec::rate_limited:
  case ec::not_a_member:
  case ec::no_such_conversation:
  case ec::no_such_user:
  case ec::too_large:
  case ec::conflict:
  case ec::retry_too_old:
  case ec::bad_cursor:
  case ec::bad_request:
  case ec::bad_phone:
  case ec::code_wrong:
  case ec::code_expired:
  case ec::not_authenticated:
  case ec::bad_signature:
  case ec::unsupported_version:
  case ec::fenced:
  case ec::session_closed:
  case ec::wrong_cluster:
  case ec::bad_text:
  case ec::code_send_failed:
  case ec::device_limit:
  case ec::session_ahead:
  case ec::not_leader:
  case ec::overloaded:
  case ec::timed_out:
  case ec::unavailable:
  case ec::sealed:
  case ec::draining:
  case ec::disk_full:
  case ec::gap:
  case ec::stale:
  case ec::bad_config:
  case ec::storage_failed:
  case ec::corrupt:
  case ec::internal:
    return true;
  }
  return false;
}
#pragma GCC diagnostic pop

/// The number of rows if there is none for exactly this code.
constexpr std::size_t row_at(ec code) {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (table[i].code == code)
      return i;
  return table.size();
}

constexpr std::size_t row_of(ec code) {
  return row_at(has_name(code) ? code : unknown_in(band_of(code)));
}

constexpr bool every_enumerator_has_its_row() {
  std::size_t rows = 0;
  for (std::uint16_t n = 0; n < 3000; ++n) {
    const bool is_row = row_at(ec{n}) < table.size();
    if (is_row != (has_name(ec{n}) || unknown_in(band_of(ec{n})) == ec{n}))
      return false;
    rows += is_row ? 1 : 0;
  }
  return rows == table.size(); // no code has two
}
static_assert(every_enumerator_has_its_row());

} // namespace

std::span<const error_info, error_rows> error_table() {
  return table;
}

const error_info& describe(ec code) {
  return table[row_of(code)];
}

bool is_known(ec code) {
  return has_name(code);
}

std::size_t error_row(ec code) {
  return row_of(code);
}

} // namespace parley
