#pragma once
#include "protocol/client/device/history.hpp"
#include "protocol/client/device/link_host.hpp"
#include "protocol/client/rules/ask_rules.hpp"
#include "protocol/wire/codec.hpp"

#include <functional>

namespace parley::client {

/// Where a cursor is, compared with what this device acknowledged last.
struct cursor_standing {
  rpc::CursorPlace place = rpc::CursorPlace::UNKNOWN;
  cursor acknowledged; ///< if `place` is before or after it
};
template <class Answer>
cursor_standing standing_in(const Answer& answer) {
  return {answer.getPlace(), wire::bytes(answer.getAcknowledged())};
}

/// One page of the inbox, as the cluster has it.
struct inbox_page {
  std::vector<inbox_row> rows;
  cursor next;
  bool more = false;
  cursor_standing asked;
};

/// Calls that ask the cluster something. Each is made when there is a session, and again while another
/// attempt may help, until `ask_timeout` is over.
///
/// Owns:   the promises that its callers hold; it rejects them when it is destroyed.
/// Thread: that of the loop.
/// Holds:  a final refusal is not asked again; nothing is asked of a device that is halted.
class session_calls {
public:
  session_calls(kj::Timer& timer, link_host& host, const config& settings, history_writer& history,
                dice& chance)
      : timer_{timer}, host_{host}, config_{settings}, history_{history}, dice_{chance} {}
  ~session_calls() noexcept(false) { close(); }
  KJ_DISALLOW_COPY(session_calls);

  /// With `user` 0 the phone number says with whom.
  kj::Promise<result<opened_direct>> open_direct(user_id user, std::string phone);
  kj::Promise<result<conversation_list>> conversations(conversation_id after, std::uint32_t limit);
  kj::Promise<result<conversation_page>> sync_conversation(conversation_id c, seq_no after,
                                                           std::uint32_t limit);
  kj::Promise<result<inbox_page>> sync_inbox(cursor from, std::uint32_t limit);
  void close() { promises_.cancel("the client was closed"); }

private:
  template <class T>
  using call_on = std::function<kj::Promise<result<T>>(client_link&)>;
  template <class T>
  kj::Promise<result<T>> ask(call_on<T> make);
  template <class T>
  kj::Promise<result<T>> attempt(std::shared_ptr<call_on<T>> make, ask_rules rules);

  kj::Timer& timer_;
  link_host& host_;
  const config& config_;
  history_writer& history_;
  dice& dice_;
  kj::Canceler promises_;
};

} // namespace parley::client
