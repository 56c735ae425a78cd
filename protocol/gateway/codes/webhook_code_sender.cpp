#include "protocol/gateway/codes/webhook_code_sender.hpp"

#include <curl/curl.h>
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

config_check validate(const webhook_config& c) {
  if (!c.url.starts_with("https://") && !c.url.starts_with("http://"))
    return config_fault{"url"};
  if (c.deadline.count() < 1)
    return config_fault{"deadline"};
  if (c.waiting_max < 1)
    return config_fault{"waiting_max"};
  return std::nullopt;
}

struct webhook_code_sender::worker {
  struct request {
    std::uint64_t number;
    std::string body;
  };
  struct result {
    std::uint64_t number;
    ec outcome;
  };

  explicit worker(webhook_config c)
      : config{std::move(c)}, wake{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)}, thread{[this] { run(); }} {}
  ~worker() {
    {
      std::lock_guard guard{mutex};
      stopping = true;
    }
    work.notify_one();
    thread.join();
  }

  void run() {
    auto* curl = curl_easy_init();
    auto* headers = curl_slist_append(nullptr, "Content-Type: application/json");
    if (!config.authorization.empty())
      headers = curl_slist_append(headers, ("Authorization: " + config.authorization).c_str());
    for (;;) {
      request next;
      {
        std::unique_lock lock{mutex};
        work.wait(lock, [this] { return stopping || !waiting.empty(); });
        if (stopping)
          break;
        next = std::move(waiting.front());
        waiting.pop_front();
      }
      const auto outcome = post(curl, headers, next.body);
      {
        std::lock_guard guard{mutex};
        results.push_back({next.number, outcome});
      }
      eventfd_write(wake.get(), 1);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
  }

  ec post(CURL* curl, curl_slist* headers, const std::string& body) const {
    if (curl == nullptr)
      return ec::code_send_failed;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, config.url.c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(config.deadline.count()));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); // a code goes to the address given, nowhere else
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(
        curl, CURLOPT_WRITEFUNCTION, +[](char*, std::size_t size, std::size_t n, void*) { return size * n; });
    long status = 0;
    if (curl_easy_perform(curl) != CURLE_OK ||
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
      return ec::code_send_failed;
    return status >= 200 && status < 300 ? ec::none : ec::code_send_failed;
  }

  const webhook_config config;
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

webhook_code_sender::webhook_code_sender(kj::UnixEventPort& port, webhook_config config)
    : worker_{std::make_unique<worker>(std::move(config))},
      done_{port, worker_->wake.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ}, tasks_{*this} {
  tasks_.add(collect());
}

webhook_code_sender::~webhook_code_sender() noexcept(false) = default;

kj::Promise<ec> webhook_code_sender::send(std::string phone, std::string code) {
  auto& w = *worker_;
  if (w.asked.size() >= w.config.waiting_max)
    return ec::overloaded;
  const auto number = ++w.last_number;
  auto answer = kj::newPromiseAndFulfiller<ec>();
  w.asked.emplace(number, kj::mv(answer.fulfiller));
  {
    std::lock_guard guard{w.mutex};
    // Both consist of digits, which was checked before, so there is nothing to escape.
    w.waiting.push_back({number, R"({"phone":")" + phone + R"(","code":")" + code + R"("})"});
  }
  w.work.notify_one();
  return kj::mv(answer.promise);
}

kj::Promise<void> webhook_code_sender::collect() {
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
