#pragma once
// A KJ event loop on its own thread; other threads run functions on it through its executor.
#include <kj/async-io.h>
#include <kj/debug.h>

#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace parley::cluster {

/// Owns:   the thread and its loop.
/// Thread: its owner's, one at a time. Objects of the loop are created, used and destroyed on the loop.
class kj_thread {
public:
  /// The part of this object that the thread's body may use.
  class loop {
  public:
    /// To be called when everything is set up: from now on `tell` works. Returns when the thread has to stop.
    void serve() { owner_.serve(io); }
    kj::AsyncIoContext io = kj::setupAsyncIo();

  private:
    friend class kj_thread;
    explicit loop(kj_thread& owner) : owner_{owner} {}
    kj_thread& owner_;
  };
  /// Sets up the objects of the loop, then calls `serve`; or returns the reason why it cannot.
  using body = std::function<std::optional<std::string>(loop&)>;

  explicit kj_thread(body b) : thread_{[this, b = std::move(b)] { run(b); }} {}
  ~kj_thread() {
    tell([this] { stop_->fulfill(); });
    thread_.join();
  }
  kj_thread(const kj_thread&) = delete;
  kj_thread& operator=(const kj_thread&) = delete;

  /// Waits until the loop serves and returns `none`, or the reason why it does not. To be called once.
  std::optional<std::string> started() { return started_.get_future().get(); }
  /// Runs `f` on the loop and waits for its end; does nothing if the loop does not serve.
  template <class F>
  void tell(F f) {
    std::lock_guard guard{mutex_};
    KJ_IF_MAYBE (e, executor_)
      (*e)->executeSync(f);
  }
  /// Runs `f` on the loop. The promise belongs to the caller's loop, which goes on meanwhile; to drop it waits for
  /// the end of `f`. To be called only while the loop serves.
  template <class F>
  auto ask(F f) {
    std::lock_guard guard{mutex_};
    return KJ_REQUIRE_NONNULL(executor_, "the loop does not serve")->executeAsync(kj::mv(f));
  }

private:
  void run(const body& b) {
    loop here{*this};
    std::optional<std::string> why;
    try {
      why = b(here);
    } catch (const kj::Exception& e) {
      why = std::string{e.getDescription().cStr()};
    }
    if (why && !served_)
      started_.set_value(std::move(why));
  }
  void serve(kj::AsyncIoContext& io) {
    auto stopped = kj::newPromiseAndFulfiller<void>();
    stop_ = kj::mv(stopped.fulfiller);
    {
      std::lock_guard guard{mutex_};
      executor_ = kj::getCurrentThreadExecutor().addRef();
    }
    served_ = true;
    started_.set_value(std::nullopt);
    // KJ looks at its sockets only when it has nothing to do, unless it is told otherwise. As long as some keep it busy,
    // it would not hear from the others. An event takes a microsecond or, with much to decrypt, a hundred of them.
    constexpr unsigned events_between_polls = 32;
    io.waitScope.setBusyPollInterval(events_between_polls);
    stopped.promise.wait(io.waitScope);
    std::lock_guard guard{mutex_};
    executor_ = nullptr;
  }

  std::promise<std::optional<std::string>> started_;
  bool served_ = false; ///< used on the loop only
  std::mutex mutex_;
  kj::Maybe<kj::Own<const kj::Executor>> executor_;
  kj::Own<kj::PromiseFulfiller<void>> stop_;
  std::thread thread_; // last: it uses all of the above
};

} // namespace parley::cluster
