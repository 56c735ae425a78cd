#pragma once
// What becomes of the messages that a profile keeps until their outcome is known.
#include "protocol/client/tool/commands.hpp"

#include <map>

namespace parley::tool {

/// Enough of a message, in quotes, to tell which one it was.
std::string quoted_beginning(const std::string& body);

/// The base of the observers of all commands. Whichever command hears that a message will never be stored says
/// so, and says which one; the message may have been typed for an earlier command. Only then is it forgotten.
///
/// Thread: that of the device's loop.
class outbox_watch : public client::observer {
public:
  explicit outbox_watch(context& shared) : shared_{shared} {}

  /// Tells what an earlier command was refused and did not live to tell. To be called before `start`.
  void watch(client::blocking_device& device);
  /// How a person calls a message of this run: "line 3".
  void call(std::uint64_t counter, std::string name) { names_[counter] = std::move(name); }
  /// A message of this run that never got as far as the outbox.
  void refuse(const std::string& name, const std::string& why);
  /// Waits until nothing is left in the outbox, for `limit` at most, and says what is left. Ends with `refused`
  /// if a message was refused.
  void finish(client::blocking_device& device, std::chrono::milliseconds limit);
  std::size_t refused() const { return refused_; }
  /// Resolves when the device will never be online again.
  kj::Promise<void> over();
  /// The outcome of a message that was posted just now; none if the device will never be online again.
  kj::Promise<client::result<client::sent>> outcome(std::uint64_t counter);

  void on_sent(const client::sent& s) override;
  void on_failed(const client::outgoing& o, const client::failure& why) override;
  void on_state(const client::connection_state& s) override;
  void on_old_copy() override;
  void on_lost(const client::message& was) override;
  void on_gap(conversation_id c, seq_no after, seq_no upto) override;

protected:
  /// Says on standard error, or as JSON, that a message was refused for good.
  virtual void tell(std::uint64_t counter, const std::string& sentence);
  /// Says in the same way what concerns no message that waits. `event` is its name as JSON.
  virtual void warn(std::string_view event, const std::string& sentence);

  context& shared_;

private:
  std::string called(std::uint64_t counter) const;
  void answer(std::uint64_t counter, client::result<client::sent> outcome);

  client::client_store* store_ = nullptr;
  std::map<std::uint64_t, std::string> names_; ///< of messages of this run that have no outcome
  std::map<std::uint64_t, kj::Own<kj::PromiseFulfiller<client::result<client::sent>>>> awaited_;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> over_;
  std::size_t refused_ = 0;
};

} // namespace parley::tool
