#include "protocol/values/settings.hpp"
#include "tests/harness/bench/bench.hpp"
#include "tests/harness/dev/command_line.hpp"

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
    sub->add_option("--nodes", o->nodes, "The number of nodes")
        ->check(CLI::Range(1, 9))
        ->capture_default_str();
    sub->add_option("--replicas", o->replicas,
                    "The number of nodes that store each shard, if there are so many")
        ->check(CLI::IsMember({1, 3, 5, 7}))
        ->capture_default_str();
    sub->add_option("--seconds", o->seconds, "The duration of the measurement in seconds")
        ->check(CLI::Range(1, 3'600))
        ->capture_default_str();
    sub->add_option("--body", o->body_bytes, "The size of each message body in bytes")
        ->check(CLI::Range(8, 65'536))
        ->capture_default_str();
    sub->add_option("--parleyd", o->parleyd, "The path of parleyd, if it is not beside this program");
    sub->add_option("--keep", o->keep, "A directory in which data and logs are kept");
    sub->add_option("--node-flag", o->node_flags, "A flag for every node; repeat the option for each word")
        ->allow_extra_args(false);
    sub->add_flag(
        "--bind,!--no-bind", o->bind,
        "Binds each node to one processor, in turn, because machines do not share theirs (default)");
    sub->add_flag("--json", o->json_only, "Prints only the last line");
    sub->callback([o, &status] { status = run_bench(*o); });
    return std::pair{sub, o};
  };
  const auto talk = [](CLI::App* sub, const std::shared_ptr<bench_options>& o) {
    sub->add_option("--pairs", o->pairs, "The number of pairs of users; one user of each pair sends")
        ->check(CLI::Range(1, 4'000))
        ->capture_default_str();
    sub->add_option("--warm-up", o->warm_up_seconds, "Seconds of load before the measurement")
        ->capture_default_str();
    sub->add_option("--ack-every", o->ack_every_ms,
                    "The interval in milliseconds at which recipients confirm")
        ->check(CLI::Range(20, 60'000))
        ->capture_default_str();
    sub->add_option("--rate", o->rate,
                    "Messages per second of all pairs together; 0: as many as the windows allow")
        ->capture_default_str();
    sub->add_option("--idle", o->idle, "The number of further connections, which do nothing meanwhile")
        ->check(CLI::Range(0, 15'000))
        ->capture_default_str();
    sub->add_option("--away", o->away,
                    "The number of further users who exist and are not connected: what --idle costs beyond "
                    "this is the price of connections, and not of a larger cluster")
        ->check(CLI::Range(0, 15'000))
        ->capture_default_str();
    sub->add_option("--window", o->window, "Unanswered messages of a pair (without --rate)")
        ->check(CLI::Range(1, 128))
        ->capture_default_str();
  };
  {
    const auto [sub, o] =
        add("direct", "Measures messages per second between pairs of users", bench_options::what::direct);
    talk(sub, o);
  }
  {
    const auto [sub, o] = add("latency", "Measures latencies between pairs of users at a low, fixed rate",
                              bench_options::what::latency);
    o->rate = 100;
    talk(sub, o);
  }
  {
    const auto [sub, o] =
        add("idle", "Measures the memory of logged-in, idle connections", bench_options::what::idle);
    sub->add_option("--connections", o->connections, "The number of connections")
        ->check(CLI::Range(1, 9'000))
        ->capture_default_str();
  }
  {
    const auto [sub, o] = add("drain", "Measures messages per second fetched by users who were offline",
                              bench_options::what::drain);
    sub->add_option("--users", o->users, "The number of users")
        ->check(CLI::Range(1, 4'000))
        ->capture_default_str();
    sub->add_option("--messages", o->messages, "The number of stored messages of all users together")
        ->capture_default_str();
  }
  {
    const auto [sub, o] =
        add("lag",
            "Measures how a node catches up that was dead while messages were written, first on an idle "
            "cluster and then under load, and what the others cost while it is dead (3 nodes)",
            bench_options::what::lag);
    o->pairs = 64;
    o->rate = 1'000;
    sub->add_option("--mib", o->lag_mib, "MiB of message bodies of mixed sizes that the dead node misses")
        ->check(CLI::Range(1, 4'096))
        ->capture_default_str();
    sub->add_option("--pairs", o->pairs, "The number of pairs of users; one user of each pair sends")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    sub->add_option("--rate", o->rate, "Messages per second of the load; 0: no second round under load")
        ->capture_default_str();
  }
  {
    const auto [sub, o] =
        add("attack",
            "Measures a node's memory, and the messages of two bystanders, while the node is "
            "attacked and afterwards, with the node's own limits",
            bench_options::what::attack);
    o->nodes = 1;
    o->bind = false;
    o->rate = 20;
    o->users = 256;
    sub->add_option("--only", o->only, "The name of an assault; repeat the option for more (default: all)")
        ->allow_extra_args(false);
    sub->add_option("--users", o->users, "The number of attackers who have an account")
        ->check(CLI::Range(4, 256))
        ->capture_default_str();
    sub->add_option("--rate", o->rate, "Messages per second of the two bystanders")
        ->check(CLI::Range(
            1.0,
            2.0 * parley::settings::user_sends_per_second.standard)) // above, they are refused themselves
        ->capture_default_str();
    sub->add_option("--settle", o->settle_seconds,
                    "Seconds from the end of an assault until the memory is read that is left")
        ->capture_default_str();
  }
  if (const auto ended = parley::harness::read_command_line(app, argc, argv))
    return *ended;
  return status;
}
