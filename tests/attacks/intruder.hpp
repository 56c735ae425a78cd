#pragma once
// A stranger with an account: it logs in by hand, and may then say anything.
#include "tests/attacks/stranger.hpp"
#include "tests/harness/cluster/lean_client.hpp"

namespace parley::test {

struct intruder {
  stranger line;
  bool answered = false; ///< its login was
  bool inside = false;
};

/// Logs in by hand, with a session number that no device of this process has had. Questions 0 to 2 are taken. Blocks.
/// `from` and `receive_buffer` as of a stranger.
intruder log_in_by_hand(const address& node, const lean_device& who, unsigned from = 0,
                        int receive_buffer = 0);

/// A call whose answer is a page of the conversation, from its beginning. `keep`: the node is to keep the answer.
std::string page_call(std::uint32_t question, const conversation_id& of, bool keep = false);
/// A message to the conversation; `counter` makes it a new one.
std::string send_call(std::uint32_t question, const conversation_id& to, std::uint64_t counter,
                      std::string_view body);
std::string ping_call(std::uint32_t question, std::uint32_t of = 2);

} // namespace parley::test
