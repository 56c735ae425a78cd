// What a failed login is answered with in the place of a session, so that calls that were pipelined behind it
// get the login's error and not an exception about a capability that is not there.
#include "protocol/gateway/rpc_objects.hpp"

namespace parley::gateway {
namespace {

class refused_session final : public rpc::Session::Server {
public:
  refused_session(ec why, std::uint32_t retry_after_ms) : why_{why}, retry_after_ms_{retry_after_ms} {}

  kj::Promise<void> send(SendContext context) override { return answer(context); }
  kj::Promise<void> sync(SyncContext context) override { return answer(context); }
  kj::Promise<void> syncConversation(SyncConversationContext context) override { return answer(context); }
  kj::Promise<void> ackDelivered(AckDeliveredContext context) override { return answer(context); }
  kj::Promise<void> ackRead(AckReadContext context) override { return answer(context); }
  kj::Promise<void> openDirect(OpenDirectContext context) override { return answer(context); }
  kj::Promise<void> conversations(ConversationsContext context) override { return answer(context); }
  kj::Promise<void> receive(ReceiveContext context) override { return answer(context); }
  kj::Promise<void> ping(PingContext) override { return kj::READY_NOW; } // has no error, and nothing to do
  kj::Promise<void> logout(LogoutContext) override { return kj::READY_NOW; }

private:
  template <class Context>
  kj::Promise<void> answer(Context& context) {
    context.releaseParams();
    return refuse(context, why_, retry_after_ms_);
  }

  ec why_;
  std::uint32_t retry_after_ms_;
};

} // namespace

rpc::Session::Client make_refused_session(ec why, std::uint32_t retry_after_ms) {
  return kj::heap<refused_session>(why, retry_after_ms);
}

} // namespace parley::gateway
