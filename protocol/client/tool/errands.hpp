#pragma once
// Messages that a command hands to the chat that has its profile open.
//
// Two programs must not use one profile: the second connection would fence the first. So a chat listens on a
// socket in the profile's directory, which its owner alone can reach, and `send` gives it what it has.
#include "protocol/client/tool/commands.hpp"

#include <kj/async-io.h>

namespace parley::tool {

/// One message. Fields may hold any bytes.
struct errand {
  std::string whom; ///< as on a command line
  std::string body;
};
/// What became of it.
struct errand_answer {
  status how = status::local; ///< `done`: `placed` says where it is stored
  std::string sentence;       ///< else why not
  client::sent placed;
  bool kept = false; ///< the chat has it in its outbox, and another answer follows
};
/// How a message was handed over.
struct errand_end {
  std::optional<errand_answer> answer; ///< none if the chat ended meanwhile
  /// False if the chat ended and surely had not read the message: whoever has it may send it by itself. Without an
  /// answer to a message that was read, nobody knows whether the chat has kept it.
  bool read = true;
};
/// What a chat does with it: `now` if that is known at once, else what comes `later`; then it is kept.
struct errand_taken {
  std::optional<errand_answer> now;
  kj::Promise<errand_answer> later = nullptr;
};

/// The chat's side.
///
/// Owns:   the socket and its connections.
/// Thread: that of the loop.
/// Holds:  at most `connections_max` at a time, with one message each; others wait in the kernel's queue.
class errand_desk : private kj::TaskSet::ErrorHandler {
public:
  using handler = std::function<kj::Promise<errand_taken>(errand)>;
  /// Without a socket, on a disk that has no room for example, the desk is closed, and nothing else is lost.
  errand_desk(kj::AsyncIoContext& io, const std::filesystem::path& profile, handler serve);
  ~errand_desk() noexcept(false);
  KJ_DISALLOW_COPY(errand_desk);

private:
  static constexpr unsigned connections_max = 8;
  kj::Promise<void> accept();
  kj::Promise<void> serve_all(kj::AsyncIoStream& with);
  kj::Promise<void> answer(kj::AsyncIoStream& with, errand_taken taken);
  void left();
  void taskFailed(kj::Exception&&) override {}

  std::filesystem::path file_;
  handler serve_;
  kj::Own<kj::ConnectionReceiver> port_;
  unsigned open_ = 0;
  kj::Own<kj::PromiseFulfiller<void>> room_;
  kj::TaskSet served_{*this};
  kj::Promise<void> accepting_ = nullptr;
};

/// The other command's side.
class errand_line {
public:
  /// None if no chat has the profile open.
  static std::optional<errand_line> open(kj::AsyncIoContext& io, const std::filesystem::path& profile);
  /// `kept` is called as soon as the chat says that it has kept the message.
  kj::Promise<errand_end> hand_over(errand what, std::function<void()> kept);

private:
  explicit errand_line(kj::Own<kj::AsyncIoStream> stream) : stream_{kj::mv(stream)} {}
  kj::Promise<errand_end> read_answer(std::function<void()> kept);
  kj::Own<kj::AsyncIoStream> stream_;
};

} // namespace parley::tool
