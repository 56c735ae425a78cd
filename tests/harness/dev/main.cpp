// `parley dev`: starts a cluster of its own on loopback, for trying things out.
#include "protocol/client/tool/output.hpp"
#include "tests/harness/cluster/process_cluster.hpp"
#include "tests/harness/dev/command_line.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace parley;

struct options {
  std::size_t nodes = 3;
  std::string directory;
  bool json = false;
};

volatile std::sig_atomic_t asked_to_stop = 0;

/// Login codes are printed on the nodes' consoles, which are not visible here, so this class shows them.
class consoles {
public:
  explicit consoles(std::vector<std::string> files) : files_{std::move(files)}, read_(files_.size()) {}
  void show(bool json) {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      std::ifstream in{files_[i]};
      in.seekg(read_[i]);
      for (std::string line; std::getline(in, line) && !in.eof();) {
        read_[i] = in.tellg();
        if (line.find("code for ") == std::string::npos)
          continue;
        if (json)
          tool::json_line{}.put("event", "code").put("node", i + 1).put("text", line).print();
        else
          std::cout << fmt::format("node {}: {}", i + 1, line) << std::endl;
      }
    }
  }

private:
  std::vector<std::string> files_;
  std::vector<std::streamoff> read_;
};

/// What makes `parley` a command in a terminal where it is none yet: it stands beside this program.
std::string path_line() {
  std::error_code failed;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path().string();
  const char* path = std::getenv("PATH");
  if (failed || (":" + std::string{path ? path : ""} + ":").find(":" + own + ":") != std::string::npos)
    return {};
  return fmt::format("  export PATH={}:$PATH\n", own);
}

void run(const options& o) {
  test::process_cluster_config config;
  config.nodes = o.nodes;
  config.standard_rates = true;
  config.directory = o.directory;
  config.keep = !o.directory.empty();
  test::process_cluster cluster{config};
  std::signal(SIGINT, [](int) { asked_to_stop = 1; });
  std::signal(SIGTERM, [](int) { asked_to_stop = 1; });
  cluster.start_all();
  if (!cluster.wait_ready(test::milliseconds{30'000}))
    throw test::cluster_error{"The nodes did not become ready. Their logs show the reason: " +
                              cluster.log(1)};
  const auto seeds = fmt::format("{}", fmt::join(cluster.client_seeds(), ","));
  std::string admin;
  std::vector<std::string> files;
  for (std::size_t n = 1; n <= cluster.size(); ++n) {
    admin += (n > 1 ? "," : "") + cluster.admin(n).text();
    auto file = std::filesystem::path{cluster.log(n)};
    files.push_back(file.replace_extension(".out").string());
  }
  if (o.json)
    tool::json_line{}
        .put("event", "ready")
        .put("seeds", seeds)
        .put("ca", cluster.client_ca())
        .put("admin", admin)
        .put("directory", cluster.directory())
        .print();
  else
    std::cout << fmt::format("{0} nodes are up. In other terminals:\n\n"
                             "{6}  export PARLEY_SEEDS={1}\n  export PARLEY_CA={2}\n"
                             "  parley register --profile alice --phone +491700000001\n"
                             "  parley register --profile bob   --phone +491700000002\n"
                             "  parley chat --profile alice --with +491700000002\n"
                             "  parley top --admin {3}\n\n"
                             "Login codes appear here. Logs: {4}. Ctrl-C ends the cluster{5}.",
                             cluster.size(), seeds, cluster.client_ca(), admin, cluster.directory(),
                             config.keep ? "" : " and removes everything", path_line())
              << std::endl;
  consoles shown{files};
  while (!asked_to_stop) {
    shown.show(o.json);
    for (const auto& exit : cluster.unexpected_exits())
      std::cerr << exit << std::endl;
    test::nap(test::milliseconds{200});
  }
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Starts a cluster of its own on this machine, for trying things out.", "parley dev"};
  options o;
  app.add_option("--nodes", o.nodes, "The number of nodes")->check(CLI::Range(1, 9))->capture_default_str();
  app.add_option(
      "--directory", o.directory,
      "Keeps data, certificates and logs in this directory; by default they are removed at the end");
  app.add_flag("--json", o.json, "Prints one JSON object per line");
  app.footer(
      "The program prints the commands for other terminals, and the login codes of users who register.\n"
      "Ctrl-C ends it.\n\n"
      "Example:\n  parley dev --nodes 3");
  if (const auto ended = parley::harness::read_command_line(app, argc, argv))
    return *ended;
  try {
    run(o);
    return 0;
  } catch (const std::exception& e) {
    std::cerr << "parley dev: " << e.what() << std::endl;
    return 2;
  }
}
