#pragma once
// How the values of a profile that are no columns of a table are written. Those that have fields stand in an
// envelope (docs/formats.md), so that later versions can append fields.
//
//   identity (version 1) := user u64, device u64, private key 32 bytes, public key 32 bytes, phone,
//                           count u32 of tickets, then phone and ticket of each
//   members  (version 1) := count u32, then a user u64 for each
//   number               := u64, without an envelope
//
// A program writes these values again, so it reads only what it understands completely. Shorter ones are from
// an older program: fields that are missing keep their defaults. Longer ones and those of a higher version
// are from a newer program. `unpack_…` throws a `store_error` for them, and for damaged ones; the sentence
// says which.
#include "protocol/client/values.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace parley::client {

std::string pack_identity(const identity& who);
identity unpack_identity(std::string_view stored);

/// Of one conversation.
std::string pack_members(const std::vector<user_id>& members);
std::vector<user_id> unpack_members(std::string_view stored);

/// The counter of messages, or the last session's number. A number that is not whole must not read as a lower
/// one, because what was given out would be given out again. So it is damaged, as is one with nothing above
/// it. `what` is the subject of the sentence.
std::string pack_number(std::uint64_t number);
std::uint64_t unpack_number(std::string_view stored, std::string_view what);

} // namespace parley::client
