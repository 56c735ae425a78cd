#include "cluster/ops/logging.hpp"

#include <fmt/format.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>
#include <memory>
#include <thread>

namespace parley::log {
namespace {

std::atomic<level> least_shown{level::warn};
std::atomic<format> shown_as{format::text};

spdlog::level::level_enum theirs(level l) {
  switch (l) {
  case level::trace:
    return spdlog::level::trace;
  case level::debug:
    return spdlog::level::debug;
  case level::info:
    return spdlog::level::info;
  case level::warn:
    return spdlog::level::warn;
  case level::error:
    return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view name_of(level l) {
  static constexpr std::string_view names[] = {"trace", "debug", "info", "warn", "error"};
  return names[static_cast<std::size_t>(l)];
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += '\\', out += c;
    else if (c == '\n')
      out += "\\n";
    else if (u < 0x20 || u == 0x7f) // a stranger's bytes must not draw on an operator's terminal
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", u);
    else
      out += c;
  }
  out += '"';
}

bool is_bare(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u > 0x20 && u != 0x7f && c != '"' && c != '=' && c != '\\';
  });
}

std::string time_now() {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, ms % 1000);
}

std::shared_ptr<spdlog::logger> make_first_logger() {
  auto logger = std::make_shared<spdlog::logger>("parley", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace); // `enabled` has decided already
  return logger;
}

std::shared_ptr<spdlog::logger>& current() {
  static auto logger = make_first_logger();
  return logger;
}

} // namespace

void start(const config& c) {
  least_shown = c.least;
  shown_as = c.as;
  spdlog::init_thread_pool(c.lines_waiting_max, 1);
  auto logger = std::make_shared<spdlog::async_logger>(
      "parley", std::make_shared<spdlog::sinks::stderr_sink_mt>(), spdlog::thread_pool(),
      spdlog::async_overflow_policy::overrun_oldest);
  logger->set_pattern("%v");
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::info);
  current() = std::move(logger);
}

bool stop(std::chrono::milliseconds patience) {
  // The queue's thread may be in a write to a pipe that nobody reads, and spdlog waits for it without end.
  auto written = std::make_shared<std::promise<void>>();
  auto all_written = written->get_future();
  std::thread{[written] {
    current()->flush();
    current() = make_first_logger(); // the last owner of the queue's thread: it ends after the queue
    spdlog::shutdown();
    written->set_value();
  }}.detach();
  return all_written.wait_for(patience) == std::future_status::ready;
}

void set_level(level least) {
  least_shown = least;
}

bool enabled(level at) {
  return at >= least_shown.load(std::memory_order_relaxed);
}

std::string render(format as, std::string_view event, fields facts) {
  std::string out;
  if (as == format::text) {
    out = event;
    for (const auto& f : facts) {
      fmt::format_to(std::back_inserter(out), " {}=", f.key);
      if (!f.quoted || is_bare(f.text))
        out += f.text;
      else
        append_quoted(out, f.text);
    }
    return out;
  }
  out = "\"event\":";
  append_quoted(out, event);
  for (const auto& f : facts) {
    out += ',';
    append_quoted(out, f.key);
    out += ':';
    if (f.quoted)
      append_quoted(out, f.text);
    else
      out += f.text;
  }
  return out;
}

void write(level at, std::string_view event, fields facts) {
  if (!enabled(at))
    return;
  const auto as = shown_as.load(std::memory_order_relaxed);
  const auto said = render(as, event, facts);
  const auto line = as == format::text
                        ? fmt::format("{} {} {}", time_now(), name_of(at), said)
                        : fmt::format(R"({{"t":"{}","level":"{}",{}}})", time_now(), name_of(at), said);
  current()->log(theirs(at), line);
}

level level_named(std::string_view name) {
  for (auto l : {level::trace, level::debug, level::info, level::warn, level::error})
    if (name_of(l) == name)
      return l;
  return level::info;
}

std::int64_t limiter::admit(std::chrono::steady_clock::time_point now) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  auto next = next_ms_.load(std::memory_order_relaxed);
  if (ms < next || !next_ms_.compare_exchange_strong(next, ms + every_.count())) {
    left_out_.fetch_add(1, std::memory_order_relaxed);
    return -1;
  }
  return left_out_.exchange(0);
}

} // namespace parley::log
