#pragma once
#include "protocol/client/device/client_link.hpp"
#include "protocol/client/device/observer.hpp"
#include "protocol/client/store/store.hpp"
#include "protocol/transport/login_proof.hpp"

namespace parley::client {

/// Why a node did not accept the device.
struct login_refusal {
  failure why;
  link_state then = link_state::offline; ///< `offline`: another attempt may succeed; else the device is this
};

struct logged_in {
  kj::Own<client_link> link; ///< with its session
  node_id node{};
  std::vector<std::string> nodes; ///< where other nodes are reached, as this one says
};

/// Opens a connection to one node and proves there who the device is.
///
/// Owns:   nothing between two attempts; the store and the identity outlive it.
/// Thread: that of the loop.
/// Holds:  the number of a session is in the store before it is sent. A number that is not stored could be
///         used again, and its connection would then lose against the earlier one.
/// Errors: what the node or the store refuses is a `login_refusal`; a connection that fails rejects the
///         promise.
class login {
public:
  login(kj::Timer& timer, dialer& dial, const config& settings, client_store& store, const identity& who,
        const kj::Clock& calendar)
      : timer_{timer}, dialer_{dial}, config_{settings}, store_{store}, who_{who}, calendar_{calendar} {}

  using outcome = tl::expected<logged_in, login_refusal>;
  /// Dropping the promise gives up.
  kj::Promise<outcome> establish(const server_address& to);

private:
  /// The node that has accepted the device.
  struct welcome {
    node_id node{};
    std::vector<std::string> nodes;
  };
  using proved = tl::expected<welcome, login_refusal>;
  using signature = std::array<std::uint8_t, login_signature_bytes>;
  kj::Promise<proved> introduce(client_link& link);
  kj::Promise<proved> resume(client_link& link, transport::login_claim claim);
  kj::Promise<proved> log_in(client_link& link, transport::login_claim claim);
  /// Numbers the attempt, keeps the number, then signs.
  tl::expected<signature, login_refusal> prove(transport::login_claim& claim);
  template <class Answer>
  proved enter(client_link& link, node_id node, Answer& answer);

  kj::Timer& timer_;
  dialer& dialer_;
  const config& config_;
  client_store& store_;
  const identity& who_;
  const kj::Clock& calendar_; ///< for session numbers only: waits use the timer
};

} // namespace parley::client
