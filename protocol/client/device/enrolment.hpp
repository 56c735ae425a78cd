#pragma once
#include "protocol/client/device/client_link.hpp"
#include "protocol/client/rules/enrolment_rules.hpp"
#include "protocol/client/rules/ticket_rules.hpp"
#include "protocol/client/store/store.hpp"

#include <functional>

namespace parley::client {

/// Makes the device one of a user: asks for a code, then registers. Each call opens a connection of its own,
/// to one seed after another until one answers, until `ask_timeout` is over.
///
/// Owns:   the promises that its callers hold; it rejects them when it is destroyed.
/// Thread: that of the loop.
/// Holds:  the device's key is in the store before a node sees it, so a registration whose answer is lost can
///         be repeated with the same key. So is a ticket before a node is asked for its code: if the answer is lost,
///         the next attempt, also one of another process, repeats the request with it, and no second code is sent.
///         The cluster may have it wait until it knows what became of the first attempt. A code is tried with all
///         tickets of its number, newest first: who asked twice does not know which of the two codes is in his hand.
/// Errors: a `failure`; `storage_failed` if the store did not keep the key or the answer.
class enrolment {
public:
  /// All references outlive it. `who` becomes the identity that the cluster has given.
  enrolment(kj::Timer& timer, dialer& dial, const config& settings, client_store& store, identity& who,
            dice& chance, std::size_t first_seed)
      : timer_{timer}, dialer_{dial}, config_{settings}, store_{store}, who_{who}, dice_{chance},
        first_seed_{first_seed} {}
  ~enrolment() noexcept(false) { close(); }
  KJ_DISALLOW_COPY(enrolment);

  kj::Promise<result<std::chrono::seconds>> request_code(std::string phone);
  kj::Promise<result<identity>> register_device(std::string phone, std::string code, std::string name);
  void close() { promises_.cancel("the client was closed"); }

private:
  template <class T>
  using call_on = std::function<kj::Promise<result<T>>(rpc::Gateway::Client&)>;
  struct attempted {
    identity mine;
    std::string phone, code, name;
    code_trial trial;
  };
  kj::Promise<result<identity>> try_tickets(kj::Own<attempted> a);
  template <class T>
  kj::Promise<result<T>> ask(call_on<T> make);
  template <class T>
  kj::Promise<result<T>> attempt(std::shared_ptr<call_on<T>> make, enrolment_rules rules);
  template <class T>
  kj::Promise<result<T>> ask_node(std::shared_ptr<call_on<T>> make, const server_address& at);

  kj::Timer& timer_;
  dialer& dialer_;
  const config& config_;
  client_store& store_;
  identity& who_;
  dice& dice_;
  std::size_t first_seed_;
  kj::Canceler promises_;
};

} // namespace parley::client
