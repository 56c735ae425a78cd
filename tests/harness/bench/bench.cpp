#include "tests/harness/bench/bench.hpp"

#include "tests/harness/bench/attack.hpp"
#include "tests/harness/bench/direct.hpp"
#include "tests/harness/bench/lag.hpp"
#include "tests/harness/bench/offline.hpp"

#include <cinttypes>
#include <cstdio>
#include <exception>
#include <memory>

namespace parley::bench {

namespace {

/// The last line: one JSON object. A measurement decides which keys are present, not how they are named.
class json_line {
public:
  void add(const char* key, double value, int digits = 0) {
    char text[96];
    std::snprintf(text, sizeof text, "%s\"%s\":%.*f", out_.empty() ? "" : ",", key, digits, value);
    out_ += text;
  }
  void add(const char* key, const cpu_use& cpu, int digits = 2) {
    out_ += std::string{out_.empty() ? "" : ","} + "\"" + key + "\":{";
    char text[64];
    for (std::size_t n = 0; n < cpu.nodes_us.size(); ++n) {
      std::snprintf(text, sizeof text, "\"node_%zu\":%.*f,", n + 1, digits,
                    cpu.nodes_us[n] / 1e6 / cpu.seconds);
      out_ += text;
    }
    std::snprintf(text, sizeof text, "\"generator\":%.*f}", digits, cpu.generator_us / 1e6 / cpu.seconds);
    out_ += text;
  }
  void add(const char* key, const std::vector<json_line>& all) {
    out_ += std::string{out_.empty() ? "" : ","} + "\"" + key + "\":[";
    for (std::size_t i = 0; i < all.size(); ++i)
      out_ += (i == 0 ? "{" : ",{") + all[i].out_ + "}";
    out_ += "]";
  }
  void add_text(const char* key, std::string_view value) {
    out_ += std::string{out_.empty() ? "" : ","} + "\"" + key + "\":\"" + std::string{value} + "\"";
  }
  void print() const { std::printf("{%s}\n", out_.c_str()); }

private:
  std::string out_;
};

void print_cpu(const cpu_use& cpu) {
  std::printf("cores      ");
  for (std::size_t n = 0; n < cpu.nodes_us.size(); ++n)
    std::printf("node %zu %.2f  ", n + 1, cpu.nodes_us[n] / 1e6 / cpu.seconds);
  std::printf("load generator %.2f\n", cpu.generator_us / 1e6 / cpu.seconds);
}

void report_direct(const bench_options& o, const direct_result& r) {
  const auto per_s = static_cast<double>(r.delivered) / r.cpu.seconds;
  const auto cpu_us = r.delivered == 0 ? 0 : r.cpu.all_nodes_us() / static_cast<double>(r.delivered);
  const auto us = [](const histogram& h, double q) { return static_cast<double>(h.quantile(q)); };
  if (!o.json_only) {
    std::printf(
        "messages   %.0f/s stored on %zu nodes, acknowledged and delivered; %.0f µs of server CPU each\n",
        per_s, std::min(o.replicas, o.nodes), cpu_us);
    std::printf("ack        p50 %.2f ms  p99 %.2f ms\n", us(r.ack_us, 0.5) / 1e3, us(r.ack_us, 0.99) / 1e3);
    std::printf("end to end p50 %.2f ms  p99 %.2f ms\n", us(r.e2e_us, 0.5) / 1e3, us(r.e2e_us, 0.99) / 1e3);
    std::printf("refused %" PRIu64 ", sent again %" PRIu64 ", undelivered at the end %" PRIu64 "\n",
                r.refused, r.repeated, r.undelivered_end);
    for (const auto& [why, n] : r.refusals)
      std::printf("answered %" PRIu64 " times: %s\n", n, std::string{describe(why).name}.c_str());
    print_cpu(r.cpu);
  }
  json_line j;
  j.add("messages_per_s", per_s);
  j.add("server_cpu_us_per_message", cpu_us, 1);
  j.add("ack_p50_us", us(r.ack_us, 0.5));
  j.add("ack_p99_us", us(r.ack_us, 0.99));
  j.add("e2e_p50_us", us(r.e2e_us, 0.5));
  j.add("e2e_p99_us", us(r.e2e_us, 0.99));
  j.add("refused", static_cast<double>(r.refused));
  j.add("sent_again", static_cast<double>(r.repeated));
  j.add("undelivered_end", static_cast<double>(r.undelivered_end));
  j.add("cores", r.cpu);
  j.print();
}

void report_idle(const bench_options& o, const idle_result& r) {
  if (!o.json_only) {
    std::printf("idle       %zu connections, %.1f KiB of server memory each\n", r.connections,
                r.kib_per_connection);
    std::printf(
        "logins     %.0f/s, %.0f µs of server CPU each (%.0f with what the nodes use anyway, %.2f cores)\n",
        r.logins_per_s, r.login_cpu_us, r.login_cpu_all_us, r.cores_before);
    print_cpu(r.cpu);
  }
  json_line j;
  j.add("connections", static_cast<double>(r.connections));
  j.add("kib_per_connection", r.kib_per_connection, 1);
  j.add("logins_per_s", r.logins_per_s);
  j.add("login_cpu_us", r.login_cpu_us);
  j.add("login_cpu_all_us", r.login_cpu_all_us);
  j.add("cores_before", r.cores_before, 3);
  j.add("cores", r.cpu);
  j.print();
}

void report_drain(const bench_options& o, const drain_result& r) {
  if (!o.json_only) {
    std::printf("drain      %.0f messages/s fetched by %zu users\n", r.drain_per_s, o.users);
    std::printf("stored     %.0f/s before that\n", r.store_per_s);
    print_cpu(r.cpu);
  }
  json_line j;
  j.add("drain_per_s", r.drain_per_s);
  j.add("store_per_s", r.store_per_s);
  j.add("server_cpu_us_per_message",
        r.messages == 0 ? 0 : r.cpu.all_nodes_us() / static_cast<double>(r.messages), 1);
  j.add("cores", r.cpu);
  j.print();
}

void report_lag(const bench_options& o, const lag_result& r) {
  if (!o.json_only) {
    std::printf("missed     %" PRIu64 " messages with %" PRIu64 " MiB of bodies\n", r.messages, o.lag_mib);
    std::printf("idle       caught up after %.1f s, %" PRIu64 " link resets\n", r.idle.caught_up_s,
                r.idle.resets);
    if (o.rate > 0)
      std::printf("under load caught up after %.1f s, %" PRIu64 " link resets; %.0f/s acknowledged, %" PRIu64
                  " refused\n",
                  r.under_load.caught_up_s, r.under_load.resets, r.under_load.acked_per_s,
                  r.under_load.refused);
    std::printf("with a dead node and nothing to do:\n");
    print_cpu(r.dead);
  }
  json_line j;
  j.add("mib", static_cast<double>(o.lag_mib));
  j.add("messages", static_cast<double>(r.messages));
  j.add("idle_caught_up_s", r.idle.caught_up_s, 2);
  j.add("idle_resets", static_cast<double>(r.idle.resets));
  if (o.rate > 0) {
    j.add("rate", o.rate);
    j.add("loaded_caught_up_s", r.under_load.caught_up_s, 2);
    j.add("loaded_resets", static_cast<double>(r.under_load.resets));
    j.add("loaded_acked_per_s", r.under_load.acked_per_s);
    j.add("loaded_refused", static_cast<double>(r.under_load.refused));
  }
  j.add("dead_cores", r.dead, 4);
  j.print();
}

void report_attack(const bench_options& o, const attack_result& r) {
  const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  const auto ms = [](const histogram& h) { return static_cast<double>(h.quantile(0.99)) / 1e3; };
  std::vector<json_line> all;
  for (const auto& a : r.assaults) {
    json_line j;
    j.add_text("assault", a.name);
    j.add("lines", static_cast<double>(a.lines));
    j.add("opened", static_cast<double>(a.opened));
    j.add("before_mib", mib(a.before), 1);
    j.add("peak_mib", mib(a.peak), 1);
    j.add("after_mib", mib(a.after), 1);
    j.add("others_peak_growth_mib", mib(a.others_peak), 1);
    j.add("others_after_growth_mib", mib(a.others_after), 1);
    j.add("calm_p99_ms", ms(a.calm_us), 1);
    j.add("attacked_p99_ms", ms(a.attacked_us), 1);
    j.add("calm_ack_p99_ms", ms(a.calm_ack_us), 1);
    j.add("attacked_ack_p99_ms", ms(a.attacked_ack_us), 1);
    j.add("late", static_cast<double>(a.unanswered));
    j.add("calm_login_p50_ms", static_cast<double>(a.calm.us.quantile(0.5)) / 1e3, 1);
    j.add("attacked_login_p50_ms", static_cast<double>(a.attacked.us.quantile(0.5)) / 1e3, 1);
    j.add("attacked_login_p99_ms", ms(a.attacked.us), 1);
    j.add("attacked_logins", static_cast<double>(a.attacked.us.total()));
    j.add("attacked_logins_failed", static_cast<double>(a.attacked.failed));
    j.add("cores", a.cores, 2);
    all.push_back(std::move(j));
  }
  json_line j;
  j.add("nodes", static_cast<double>(o.nodes));
  j.add("fresh_mib", mib(r.fresh), 1);
  j.add("baseline_mib", mib(r.baseline), 1);
  j.add("assaults", all);
  j.print();
}

} // namespace

int run_bench(const bench_options& options) {
  try {
    bench_cluster bench{options};
    switch (options.measure) {
    case bench_options::what::direct:
    case bench_options::what::latency:
      report_direct(options, measure_direct(bench, options));
      break;
    case bench_options::what::idle:
      report_idle(options, measure_idle(bench, options));
      break;
    case bench_options::what::drain:
      report_drain(options, measure_drain(bench, options));
      break;
    case bench_options::what::attack:
      report_attack(options, measure_attacks(bench, options));
      break;
    case bench_options::what::lag:
      report_lag(options, measure_lag(bench, options));
      break;
    }
    std::fflush(stdout);
    return 0;
  } catch (const kj::Exception& e) {
    std::fprintf(stderr, "bench: %s\n", e.getDescription().cStr());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench: %s\n", e.what());
  }
  return 2;
}

} // namespace parley::bench
