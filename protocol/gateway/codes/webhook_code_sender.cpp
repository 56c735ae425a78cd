#include "protocol/gateway/codes/webhook_code_sender.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <memory>

namespace parley::gateway {
namespace {

class webhook final : public code_outlet {
public:
  explicit webhook(webhook_config c)
      : config_{std::move(c)}, curl_{curl_easy_init(), curl_easy_cleanup}, headers_{nullptr,
                                                                                    curl_slist_free_all} {
    add_header("Content-Type: application/json");
    if (!config_.authorization.empty())
      add_header("Authorization: " + config_.authorization);
  }

  ec hand_over(const std::string& phone, const std::string& code, clock::time_point deadline) override {
    auto* curl = curl_.get();
    if (curl == nullptr)
      return ec::code_send_failed;
    // Both consist of digits, which was checked before, so there is nothing to escape.
    const auto body = R"({"phone":")" + phone + R"(","code":")" + code + R"("})";
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now()).count();
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, config_.url.c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers_.get());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, std::max<long>(1, left)); // 0 would mean: for ever
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

private:
  void add_header(const std::string& line) {
    headers_.reset(curl_slist_append(headers_.release(), line.c_str()));
  }

  const webhook_config config_;
  std::unique_ptr<CURL, void (*)(CURL*)> curl_;
  std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers_;
};

} // namespace

config_check validate(const webhook_config& c) {
  if (!c.url.starts_with("https://") && !c.url.starts_with("http://"))
    return config_fault{"url"};
  if (c.deadline.count() < 1)
    return config_fault{"deadline"};
  if (c.waiting_max < 1)
    return config_fault{"waiting_max"};
  return std::nullopt;
}

webhook_code_sender::webhook_code_sender(kj::UnixEventPort& port, const webhook_config& config)
    : code_queue{port, std::make_unique<webhook>(config), {config.deadline, false, config.waiting_max}} {}

} // namespace parley::gateway
