#include "protocol/gateway/codes/webhook_code_sender.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace parley::gateway {
namespace {

using steady = std::chrono::steady_clock;

/// Whether whoever listens there is this machine. Other names are not resolved: what they name may change.
bool is_loopback(std::string host) {
  if (host.size() > 2 && host.front() == '[')
    host = host.substr(1, host.size() - 2);
  in_addr four{};
  in6_addr six{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1)
    return ntohl(four.s_addr) >> 24 == 127;
  if (::inet_pton(AF_INET6, host.c_str(), &six) == 1)
    return IN6_IS_ADDR_LOOPBACK(&six);
  return host == "localhost";
}

std::string part_of(CURLU* url, CURLUPart what) {
  char* text = nullptr;
  if (curl_url_get(url, what, &text, 0) != CURLUE_OK)
    return {};
  std::string out{text};
  curl_free(text);
  return out;
}

} // namespace

std::string objection_to(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> u{curl_url(), &curl_url_cleanup};
  if (!u || curl_url_set(u.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
    return "it is not a URL";
  const auto scheme = part_of(u.get(), CURLUPART_SCHEME);
  if (scheme != "https" && scheme != "http")
    return "it is not an http(s) URL";
  if (!part_of(u.get(), CURLUPART_USER).empty() || !part_of(u.get(), CURLUPART_PASSWORD).empty())
    return "it holds a password, which every user of this machine could read; use code.authorization_file";
  if (scheme == "http" && !is_loopback(part_of(u.get(), CURLUPART_HOST)))
    return "phone numbers and codes would cross the network in the clear; http:// is for this machine only, "
           "use "
           "https://";
  return {};
}

config_check validate(const webhook_config& c) {
  if (!objection_to(c.url).empty())
    return config_fault{"url"};
  if (std::any_of(c.authorization.begin(), c.authorization.end(),
                  [](unsigned char x) { return x < 0x20 || x == 0x7f; }))
    return config_fault{"authorization"};
  if (c.deadline.count() < 1)
    return config_fault{"deadline"};
  if (c.waiting_max < 1)
    return config_fault{"waiting_max"};
  if (c.at_once_max < 1)
    return config_fault{"at_once_max"};
  return std::nullopt;
}

tl::expected<std::string, std::string> read_authorization(const std::string& file) {
  constexpr std::size_t bytes_max = 4096;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in{std::fopen(file.c_str(), "re"), &std::fclose};
  std::string text(bytes_max + 1, '\0');
  if (in)
    text.resize(std::fread(text.data(), 1, text.size(), in.get()));
  if (!in || std::ferror(in.get()))
    return tl::unexpected("the file " + file + " cannot be read");
  if (text.size() > bytes_max)
    return tl::unexpected("the file " + file + " is larger than 4 KiB");
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.pop_back();
  if (text.empty())
    return tl::unexpected("the file " + file + " is empty");
  if (validate(webhook_config{"https://x", text}))
    return tl::unexpected("the file " + file + " holds more than one line of text");
  return text;
}

struct webhook_code_sender::worker {
  struct request {
    std::uint64_t number = 0;
    std::string body;
    steady::time_point due;
  };
  struct transfer {
    std::uint64_t number;
    std::string body; ///< curl reads it until the end
  };

  worker(code_answers& to, webhook_config c)
      : answers{to}, config{std::move(c)}, multi{curl_multi_init()}, thread{[this] { run(); }} {}
  ~worker() {
    stopping = true;
    if (multi != nullptr)
      curl_multi_wakeup(multi);
    thread.join();
    curl_multi_cleanup(multi);
  }

  void add(request r) {
    {
      std::lock_guard guard{mutex};
      waiting.push_back(std::move(r));
    }
    if (multi != nullptr)
      curl_multi_wakeup(multi);
  }

  void run() {
    auto* headers = curl_slist_append(nullptr, "Content-Type: application/json");
    if (!config.authorization.empty())
      headers = curl_slist_append(headers, ("Authorization: " + config.authorization).c_str());
    std::map<CURL*, transfer> under_way;
    while (multi != nullptr && !stopping) {
      begin(under_way, headers);
      int running = 0;
      curl_multi_perform(multi, &running);
      collect_ended(under_way);
      // It wakes for a new request, for what a request under way waits for, and in time for one that waits.
      curl_multi_poll(multi, nullptr, 0, until_first_due(), nullptr);
    }
    for (auto& [curl, t] : under_way) {
      curl_multi_remove_handle(multi, curl);
      curl_easy_cleanup(curl);
    }
    curl_slist_free_all(headers);
  }

  /// Begins what may be under way, and gives up what has waited for too long.
  void begin(std::map<CURL*, transfer>& under_way, curl_slist* headers) {
    std::vector<code_answers::answer> late;
    const auto now = steady::now();
    for (;;) {
      request next;
      {
        std::lock_guard guard{mutex};
        if (waiting.empty() || (waiting.front().due > now && under_way.size() >= config.at_once_max))
          break;
        next = std::move(waiting.front());
        waiting.pop_front();
      }
      // With hardly any time left, the code would go out and its asker be told that it did not.
      const auto left = std::chrono::floor<std::chrono::milliseconds>(next.due - now);
      auto* curl = left > config.deadline / 10 ? curl_easy_init() : nullptr;
      if (curl == nullptr) {
        late.push_back({next.number, ec::code_send_failed});
        continue;
      }
      auto& t = under_way.emplace(curl, transfer{next.number, std::move(next.body)}).first->second;
      prepare(curl, headers, t.body, left);
      curl_multi_add_handle(multi, curl);
    }
    answers.report(late);
  }

  void prepare(CURL* curl, curl_slist* headers, const std::string& body,
               std::chrono::milliseconds left) const {
    curl_easy_setopt(curl, CURLOPT_URL, config.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(left.count()));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); // a code goes to the address given, nowhere else
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(
        curl, CURLOPT_WRITEFUNCTION, +[](char*, std::size_t size, std::size_t n, void*) { return size * n; });
  }

  void collect_ended(std::map<CURL*, transfer>& under_way) {
    std::vector<code_answers::answer> ended;
    int left = 0;
    while (auto* m = curl_multi_info_read(multi, &left)) {
      if (m->msg != CURLMSG_DONE)
        continue;
      auto* curl = m->easy_handle;
      long status = 0;
      const bool answered =
          m->data.result == CURLE_OK && curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK;
      const auto i = under_way.find(curl);
      ended.push_back(
          {i->second.number, answered && status >= 200 && status < 300 ? ec::none : ec::code_send_failed});
      curl_multi_remove_handle(multi, curl);
      curl_easy_cleanup(curl);
      under_way.erase(i);
    }
    if (!ended.empty() && !waiting_is_empty())
      curl_multi_wakeup(multi); // one that waits may begin at once
    answers.report(ended);
  }

  bool waiting_is_empty() {
    std::lock_guard guard{mutex};
    return waiting.empty();
  }

  /// In milliseconds; a minute if nobody waits.
  int until_first_due() {
    std::lock_guard guard{mutex};
    constexpr std::int64_t minute = 60'000;
    if (waiting.empty())
      return static_cast<int>(minute);
    const auto in = std::chrono::ceil<std::chrono::milliseconds>(waiting.front().due - steady::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(in, 0, minute));
  }

  code_answers& answers;
  const webhook_config config;
  CURLM* multi; ///< used by the worker, but for waking it
  std::mutex mutex;
  std::deque<request> waiting;
  std::atomic<bool> stopping{false};
  std::thread thread; ///< last, because it starts when everything above exists
};

webhook_code_sender::webhook_code_sender(kj::UnixEventPort& port, webhook_config config)
    : answers_{port, config.waiting_max}, worker_{std::make_unique<worker>(answers_, std::move(config))} {}

webhook_code_sender::~webhook_code_sender() noexcept(false) = default;

kj::Promise<ec> webhook_code_sender::send(std::string phone, std::string code) {
  auto& w = *worker_;
  if (w.multi == nullptr)
    return ec::overloaded;
  KJ_IF_MAYBE (it, answers_.expect()) {
    // Both consist of digits, which was checked before, so there is nothing to escape.
    w.add({it->number, R"({"phone":")" + phone + R"(","code":")" + code + R"("})",
           steady::now() + w.config.deadline});
    return kj::mv(it->outcome);
  }
  return ec::overloaded;
}

} // namespace parley::gateway
