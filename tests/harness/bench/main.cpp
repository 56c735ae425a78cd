#include "tests/harness/bench/bench.hpp"

#include <CLI/CLI.hpp>

#include <memory>
#include <utility>

using namespace parley::bench;

int main(int argc, char** argv) {
  CLI::App app{"Starts a cluster of its own on this machine and measures it.", "parley bench"};
  app.require_subcommand(1);
  int status = 0;
  const auto add = [&app, &status](const char* name, const char* about, bench_options::what what) {
    auto* sub = app.add_subcommand(name, about);
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
    sub->callback([o, &status] { status = run_bench(*o); });
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
  CLI11_PARSE(app, argc, argv);
  return status;
}
