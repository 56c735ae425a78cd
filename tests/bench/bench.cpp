#include "tests/bench/bench.hpp"

#include "tests/bench/direct.hpp"
#include "tests/bench/offline.hpp"

#include <CLI/CLI.hpp>

#include <cinttypes>
#include <cstdio>
#include <exception>
#include <memory>

namespace parley::bench {

namespace {

/// The last line: one object, whose keys do not depend on what was measured except by their presence.
class json_line {
public:
  void add(const char* key, double value, int digits = 0) {
    char text[96];
    std::snprintf(text, sizeof text, "%s\"%s\":%.*f", out_.empty() ? "" : ",", key, digits, value);
    out_ += text;
  }
  void add(const char* key, const cpu_use& cpu) {
    out_ += std::string{out_.empty() ? "" : ","} + "\"" + key + "\":{";
    char text[64];
    for (std::size_t n = 0; n < cpu.nodes_us.size(); ++n) {
      std::snprintf(text, sizeof text, "\"node_%zu\":%.2f,", n + 1, cpu.nodes_us[n] / 1e6 / cpu.seconds);
      out_ += text;
    }
    std::snprintf(text, sizeof text, "\"generator\":%.2f}", cpu.generator_us / 1e6 / cpu.seconds);
    out_ += text;
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
        per_s, std::min<std::size_t>(3, o.nodes), cpu_us);
    std::printf("ack        p50 %.2f ms  p99 %.2f ms\n", us(r.ack_us, 0.5) / 1e3, us(r.ack_us, 0.99) / 1e3);
    std::printf("end to end p50 %.2f ms  p99 %.2f ms\n", us(r.e2e_us, 0.5) / 1e3, us(r.e2e_us, 0.99) / 1e3);
    std::printf("refused %" PRIu64 ", undelivered at the end %" PRIu64 "\n", r.refused, r.undelivered_end);
    for (const auto& [why, n] : r.refusals)
      std::printf("refused %" PRIu64 ": %s\n", n, std::string{describe(why).name}.c_str());
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
  j.add("undelivered_end", static_cast<double>(r.undelivered_end));
  j.add("cores", r.cpu);
  j.print();
}

void report_idle(const bench_options& o, const idle_result& r) {
  if (!o.json_only) {
    std::printf("idle       %zu connections, %.1f KiB of server memory each\n", r.connections,
                r.kib_per_connection);
    std::printf("logins     %.0f/s, %.0f µs of server CPU each\n", r.logins_per_s, r.login_cpu_us);
    print_cpu(r.cpu);
  }
  json_line j;
  j.add("connections", static_cast<double>(r.connections));
  j.add("kib_per_connection", r.kib_per_connection, 1);
  j.add("logins_per_s", r.logins_per_s);
  j.add("login_cpu_us", r.login_cpu_us);
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

void add_bench(CLI::App& app) {
  auto* bench = app.add_subcommand("bench", "Start a cluster of its own on this machine and measure it");
  bench->require_subcommand(1);
  const auto add = [bench](const char* name, const char* about, bench_options::what what) {
    auto* sub = bench->add_subcommand(name, about);
    const auto o = std::make_shared<bench_options>();
    o->measure = what;
    sub->add_option("--nodes", o->nodes, "Nodes of the cluster")
        ->check(CLI::Range(1, 9))
        ->capture_default_str();
    sub->add_option("--seconds", o->seconds, "How long to measure")
        ->check(CLI::Range(1, 3'600))
        ->capture_default_str();
    sub->add_option("--body", o->body_bytes, "Bytes of each message")
        ->check(CLI::Range(8, 65'536))
        ->capture_default_str();
    sub->add_option("--parleyd", o->parleyd, "The node's program, if it is not beside this one");
    sub->add_option("--keep", o->keep, "Directory for data and logs, which are then left there");
    sub->add_option("--node-flag", o->node_flags, "Handed to every node, once for each word")
        ->allow_extra_args(false);
    sub->add_flag("--bind,!--no-bind", o->bind,
                  "Each node on one processor, in turn, as machines do not share theirs (default)");
    sub->add_flag("--json", o->json_only, "Print the last line only");
    sub->callback([o] {
      if (const int status = run_bench(*o); status != 0)
        throw CLI::RuntimeError(status);
    });
    return std::pair{sub, o};
  };
  const auto talk = [](CLI::App* sub, const std::shared_ptr<bench_options>& o) {
    sub->add_option("--pairs", o->pairs, "Pairs of users; one of each writes")
        ->check(CLI::Range(1, 4'000))
        ->capture_default_str();
    sub->add_option("--warm-up", o->warm_up_seconds, "Seconds before measuring")->capture_default_str();
    sub->add_option("--ack-every", o->ack_every_ms, "Recipients confirm once in so many ms")
        ->check(CLI::Range(20, 60'000))
        ->capture_default_str();
    sub->add_option("--rate", o->rate,
                    "Messages a second, all pairs together; 0: as many as the windows allow")
        ->capture_default_str();
    sub->add_option("--window", o->window, "Messages of a pair under way (without --rate)")
        ->check(CLI::Range(1, 128))
        ->capture_default_str();
  };
  {
    const auto [sub, o] =
        add("direct", "Messages a second between pairs of users", bench_options::what::direct);
    talk(sub, o);
  }
  {
    const auto [sub, o] = add("latency", "The same at a low, fixed rate", bench_options::what::latency);
    o->rate = 100;
    talk(sub, o);
  }
  {
    const auto [sub, o] =
        add("idle", "Memory of logged-in connections that do nothing", bench_options::what::idle);
    sub->add_option("--connections", o->connections, "How many")
        ->check(CLI::Range(1, 9'000))
        ->capture_default_str();
  }
  {
    const auto [sub, o] =
        add("drain", "Messages a second fetched by users who were away", bench_options::what::drain);
    sub->add_option("--users", o->users, "How many")->check(CLI::Range(1, 4'000))->capture_default_str();
    sub->add_option("--messages", o->messages, "Stored for all of them together")->capture_default_str();
  }
}

} // namespace parley::bench
