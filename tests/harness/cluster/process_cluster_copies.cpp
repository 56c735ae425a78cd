// Copies of a node's directory, and what becomes of them.
#include "tests/harness/cluster/process_cluster.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <filesystem>
#include <mutex>
#include <vector>

namespace parley::test {

namespace fs = std::filesystem;

void process_cluster::copy_data(std::size_t node, const std::string& name) {
  const auto to = directory_ + "/copies/" + name;
  fs::remove_all(to);
  fs::create_directories(directory_ + "/copies");
  const bool runs = running(node) && !paused(node);
  if (runs)
    pause(node); // so that the files are of one moment
  fs::copy(data(node), to, fs::copy_options::recursive);
  if (runs)
    resume(node);
}

void process_cluster::put_back(std::size_t node, const std::string& name) {
  wipe(node);
  fs::copy(directory_ + "/copies/" + name, data(node), fs::copy_options::recursive);
}

void process_cluster::start_beside(std::size_t node, const std::string& name) {
  end_beside();
  for (auto* a : {&beside_.peer, &beside_.client, &beside_.admin})
    a->port = free_port();
  beside_.doors = {beside_.peer, beside_.client};
  const auto log = directory_ + "/logs/beside.log";
  beside_.pid = spawn(command(node, beside_, directory_ + "/copies/" + name), log, log, true);
  const std::lock_guard guard{callers_mutex_};
  callers_.emplace(beside_.pid, node);
}

void process_cluster::end_beside() {
  if (beside_.pid <= 0)
    return;
  ::kill(beside_.pid, SIGKILL);
  waitpid(beside_.pid, nullptr, 0);
  const std::lock_guard guard{callers_mutex_};
  callers_.erase(beside_.pid);
  beside_.pid = -1;
}

std::string process_cluster::page_beside(const std::string& path, milliseconds timeout) const {
  return page_at(beside_.admin, path, timeout);
}

namespace {

std::vector<fs::path> asides_of(const std::string& data) {
  const fs::path at{data};
  std::vector<fs::path> out;
  std::error_code none_yet;
  for (const auto& e : fs::directory_iterator{at.parent_path(), none_yet})
    if (e.path().filename().string().starts_with(at.filename().string() + ".aside-"))
      out.push_back(e.path());
  return out;
}

} // namespace

std::size_t process_cluster::asides(std::size_t node) const {
  return asides_of(data(node)).size();
}

void process_cluster::remove_asides(std::size_t node) {
  for (const auto& d : asides_of(data(node)))
    fs::remove_all(d);
}

} // namespace parley::test
