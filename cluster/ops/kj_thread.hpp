#pragma once
// A KJ event loop on a thread of its own, told things through its executor.
#include <kj/async-io.h>

#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace parley::cluster {

/// Owns:   the thread and its loop.
/// Thread: its owner's, one at a time. What lives on the loop is made, told things and destroyed there.
class kj_thread {
public:
  /// What the body sees of the thread it runs on.
  class loop {
  public:
    /// All is set up: the thread can be told things from now on. Returns when it has to stop.
    void serve() { owner_.serve(io); }
    kj::AsyncIoContext io = kj::setupAsyncIo();

  private:
    friend class kj_thread;
    explicit loop(kj_thread& owner) : owner_{owner} {}
    kj_thread& owner_;
  };
  /// Builds what lives on the loop, then calls `serve`; or answers, instead, why it cannot.
  using body = std::function<std::optional<std::string>(loop&)>;

  explicit kj_thread(body b) : thread_{[this, b = std::move(b)] { run(b); }} {}
  ~kj_thread() {
    tell([this] { stop_->fulfill(); });
    thread_.join();
  }
  kj_thread(const kj_thread&) = delete;
  kj_thread& operator=(const kj_thread&) = delete;

  /// Waits until it serves: `none`; or why it does not. Once.
  std::optional<std::string> started() { return started_.get_future().get(); }
  /// Runs `f` on the loop and waits for it; does nothing if it does not serve.
  template <class F>
  void tell(F f) {
    std::lock_guard guard{mutex_};
    KJ_IF_MAYBE (e, executor_)
      (*e)->executeSync(f);
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
    stopped.promise.wait(io.waitScope);
    std::lock_guard guard{mutex_};
    executor_ = nullptr;
  }

  std::promise<std::optional<std::string>> started_;
  bool served_ = false; ///< the loop's
  std::mutex mutex_;
  kj::Maybe<kj::Own<const kj::Executor>> executor_;
  kj::Own<kj::PromiseFulfiller<void>> stop_;
  std::thread thread_; // last: it uses all of the above
};

} // namespace parley::cluster
