#include "protocol/gateway/codes/code_queue.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace parley::gateway {

struct code_queue::worker {
  struct request {
    std::uint64_t number;
    std::string phone, code;
    code_outlet::clock::time_point asked_at;
  };
  struct result {
    std::uint64_t number;
    ec outcome;
  };

  worker(std::unique_ptr<code_outlet> o, const code_queue_config& c)
      : config{c}, outlet{std::move(o)}, wake{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)}, thread{[this] {
          run();
        }} {}
  ~worker() {
    {
      std::lock_guard guard{mutex};
      stopping = true;
    }
    work.notify_one();
    thread.join();
  }

  void run() {
    for (;;) {
      request next;
      {
        std::unique_lock lock{mutex};
        work.wait(lock, [this] { return stopping || !waiting.empty(); });
        if (stopping)
          return;
        next = std::move(waiting.front());
        waiting.pop_front();
      }
      const auto now = code_outlet::clock::now();
      const auto deadline = (config.waiting_counts ? next.asked_at : now) + config.deadline;
      const auto outcome =
          now < deadline ? outlet->hand_over(next.phone, next.code, deadline) : ec::code_send_failed;
      {
        std::lock_guard guard{mutex};
        results.push_back({next.number, outcome});
      }
      eventfd_write(wake.get(), 1);
    }
  }

  const code_queue_config config;
  const std::unique_ptr<code_outlet> outlet;
  kj::AutoCloseFd wake;
  std::map<std::uint64_t, kj::Own<kj::PromiseFulfiller<ec>>> asked; ///< used by the loop only
  std::uint64_t last_number = 0;                                    ///< used by the loop only
  std::mutex mutex;
  std::condition_variable work;
  std::deque<request> waiting;
  std::vector<result> results;
  bool stopping = false;
  std::thread thread; ///< last, because it starts when everything above exists
};

code_queue::code_queue(kj::UnixEventPort& port, std::unique_ptr<code_outlet> outlet,
                       const code_queue_config& config)
    : worker_{std::make_unique<worker>(std::move(outlet), config)},
      done_{port, worker_->wake.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ}, tasks_{*this} {
  tasks_.add(collect());
}

code_queue::~code_queue() noexcept(false) = default;

kj::Promise<ec> code_queue::send(std::string phone, std::string code) {
  auto& w = *worker_;
  if (w.asked.size() >= w.config.waiting_max)
    return ec::overloaded;
  const auto number = ++w.last_number;
  auto answer = kj::newPromiseAndFulfiller<ec>();
  w.asked.emplace(number, kj::mv(answer.fulfiller));
  {
    std::lock_guard guard{w.mutex};
    w.waiting.push_back({number, std::move(phone), std::move(code), code_outlet::clock::now()});
  }
  w.work.notify_one();
  return kj::mv(answer.promise);
}

kj::Promise<void> code_queue::collect() {
  return done_.whenBecomesReadable().then([this] {
    auto& w = *worker_;
    eventfd_t ignored = 0;
    eventfd_read(w.wake.get(), &ignored);
    std::vector<worker::result> results;
    {
      std::lock_guard guard{w.mutex};
      results.swap(w.results);
    }
    for (const auto& r : results) {
      if (const auto i = w.asked.find(r.number); i != w.asked.end()) {
        i->second->fulfill(ec{r.outcome});
        w.asked.erase(i);
      }
    }
    return collect();
  });
}

} // namespace parley::gateway
