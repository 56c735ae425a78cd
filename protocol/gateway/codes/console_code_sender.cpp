#include "protocol/gateway/codes/console_code_sender.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace parley::gateway {
namespace {

using steady = std::chrono::steady_clock;

bool has_room(int console, steady::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady::now()).count();
    pollfd p{console, POLLOUT, 0};
    const int ready = ::poll(&p, 1, static_cast<int>(std::max<long>(0, left)));
    if (ready > 0)
      return p.revents == POLLOUT; // with an error: nobody will read it
    if (ready == 0 || errno != EINTR)
      return false;
  }
}

/// Writes a line once the console has room for all of it. A pipe reports that it can be written when PIPE_BUF
/// bytes fit, so a line of fewer bytes does not block, and arrives whole.
ec print(int console, const std::string& line, steady::time_point deadline) {
  const bool written = line.size() <= PIPE_BUF && has_room(console, deadline) &&
                       ::write(console, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  return written ? ec::none : ec::code_send_failed;
}

} // namespace

std::string veiled(std::string_view phone) {
  if (phone.size() < 6)
    return "…";
  return std::string{phone.substr(0, 3)} + "…" + std::string{phone.substr(phone.size() - 2)};
}

struct console_code_sender::worker {
  struct request {
    std::uint64_t number = 0;
    std::string line;
    steady::time_point due;
  };

  worker(code_answers& to, const console_config& c) : answers{to}, config{c}, thread{[this] { run(); }} {}
  ~worker() {
    {
      std::lock_guard guard{mutex};
      stopping = true;
    }
    work.notify_one();
    thread.join();
  }

  void add(request r) {
    {
      std::lock_guard guard{mutex};
      waiting.push_back(std::move(r));
    }
    work.notify_one();
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
      const bool late = steady::now() >= next.due;
      answers.report(
          {{next.number, late ? ec::code_send_failed : print(config.descriptor, next.line, next.due)}});
    }
  }

  code_answers& answers;
  const console_config config;
  std::mutex mutex;
  std::condition_variable work;
  std::deque<request> waiting;
  bool stopping = false;
  std::thread thread; ///< last, because it starts when everything above exists
};

console_code_sender::console_code_sender(kj::UnixEventPort& port, const console_config& config)
    : answers_{port, config.waiting_max}, worker_{std::make_unique<worker>(answers_, config)} {}

console_code_sender::~console_code_sender() noexcept(false) = default;

kj::Promise<ec> console_code_sender::send(std::string phone, std::string code) {
  KJ_IF_MAYBE (it, answers_.expect()) {
    worker_->add({it->number, "code for " + veiled(phone) + ": " + code + "\n",
                  steady::now() + worker_->config.deadline});
    return kj::mv(it->outcome);
  }
  return ec::overloaded;
}

} // namespace parley::gateway
