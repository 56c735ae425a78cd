#include "tests/harness/cluster/process_cluster.hpp"

#include "tests/harness/proxy/caller.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace parley::test {

namespace fs = std::filesystem;

namespace {

class descriptor {
public:
  explicit descriptor(int fd) : fd_{fd} {}
  ~descriptor() {
    if (fd_ >= 0)
      close(fd_);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  int get() const { return fd_; }

private:
  int fd_;
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

bool is_free(std::uint16_t port) {
  const descriptor s{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int yes = 1;
  setsockopt(s.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const auto a = loopback(port);
  return bind(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
}

} // namespace

std::uint16_t process_cluster::free_port() const {
  const auto [first, last] = std::pair{config_.port_first, config_.port_last};
  static std::mt19937 random{std::random_device{}()};
  for (int tries = 0; tries < 200; ++tries) {
    const auto port = static_cast<std::uint16_t>(first + random() % (last - first));
    if (is_free(port))
      return port;
  }
  throw cluster_error{"no free port between " + std::to_string(first) + " and " + std::to_string(last)};
}

namespace {

/// Whether the answer is complete: the headers, and as much of a body as they promise.
bool is_whole(const std::string& answer) {
  constexpr std::string_view length = "\r\nContent-Length: ";
  const auto end = answer.find("\r\n\r\n");
  const auto at = answer.find(length);
  return end != std::string::npos && at < end &&
         answer.size() - end - 4 >= std::strtoul(answer.c_str() + at + length.size(), nullptr, 10);
}

std::string read_text(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

} // namespace

std::string program_folder() {
  return fs::read_symlink("/proc/self/exe").parent_path().string();
}

std::string test_phone(std::size_t n) {
  char text[48];
  std::snprintf(text, sizeof text, "+%02zu%07zu%02zu", 10 + n / 100 % 90, n / 9'000 % 10'000'000, n % 100);
  return text;
}

void nap(milliseconds time) {
  std::this_thread::sleep_for(time);
}

process_cluster::process_cluster(process_cluster_config config) : config_{std::move(config)} {
  if (config_.parleyd.empty())
    config_.parleyd = program_folder() + "/parleyd";
  if (!fs::exists(config_.parleyd))
    throw cluster_error{"there is no " + config_.parleyd + ": build it first"};
  if (config_.directory.empty()) {
    auto name = (fs::temp_directory_path() / "parley-cluster-XXXXXX").string();
    if (!mkdtemp(name.data()))
      throw cluster_error{"cannot create a temporary directory: " + std::string{std::strerror(errno)}};
    directory_ = name;
  } else {
    directory_ = fs::absolute(config_.directory).string();
    fs::create_directories(directory_);
  }
  fs::create_directories(directory_ + "/logs");
  std::vector<std::string> argv{PARLEY_SOURCE_DIR "/scripts/make_certs.sh", certs()};
  for (std::size_t n = 1; n <= config_.nodes; ++n)
    argv.push_back(std::to_string(n));
  const auto pid =
      spawn(argv, directory_ + "/logs/make_certs.log", directory_ + "/logs/make_certs.log", true);
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0)
    throw cluster_error{"creating certificates failed:\n" + read_text(directory_ + "/logs/make_certs.log")};
  choose_ports();
  if (config_.proxied)
    open_doors();
  for (std::size_t n = 1; n <= config_.nodes && config_.ailing_disks; ++n)
    disks_.push_back(std::make_unique<ailing_disk>(directory_ + "/disk-" + std::to_string(n)));
}

void process_cluster::choose_ports() {
  std::set<std::uint16_t> given;
  for (std::size_t n = 0; n < config_.nodes; ++n) {
    process p;
    for (auto* a : {&p.peer, &p.client, &p.admin, &p.doors.peer, &p.doors.client}) {
      do // no port is used twice: no process listens on any of them yet, so all would count as free
        a->port = free_port();
      while (!given.insert(a->port).second);
    }
    if (!config_.proxied)
      p.doors = {p.peer, p.client};
    nodes_.push_back(p);
  }
}

void process_cluster::open_doors() {
  network_ = std::make_unique<proxy>(config_.nodes + 1);
  for (std::size_t n = 1; n <= size(); ++n) {
    const auto& p = at(n);
    network_->open(
        n, p.peer.port, [this](std::uint16_t from, std::uint16_t door) { return caller(from, door); },
        p.doors.peer.port);
    network_->open(
        n, p.client.port, [](std::uint16_t, std::uint16_t) { return clients_place; }, p.doors.client.port);
  }
}

proxy& process_cluster::network() {
  if (!network_)
    throw cluster_error{"this cluster has no proxy"};
  return *network_;
}

std::optional<place> process_cluster::caller(std::uint16_t from, std::uint16_t door) {
  const std::lock_guard guard{callers_mutex_};
  std::vector<pid_t> all;
  for (const auto& [pid, _] : callers_)
    all.push_back(pid);
  const auto pid = holder_of(from, door, all);
  return pid ? std::optional{callers_.at(*pid)} : std::nullopt;
}

void process_cluster::started(std::size_t node, pid_t pid) {
  const std::lock_guard guard{callers_mutex_};
  std::erase_if(callers_, [&](const auto& c) { return c.second == node && c.first != beside_.pid; });
  callers_.emplace(pid, node);
}

process_cluster::~process_cluster() {
  end_beside();
  for (auto& p : nodes_) {
    if (p.pid > 0) {
      ::kill(p.pid, SIGKILL);
      waitpid(p.pid, nullptr, 0);
    }
  }
  if (!config_.keep && config_.directory.empty()) {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
}

process_cluster::process& process_cluster::at(std::size_t node) {
  if (node == 0 || node > nodes_.size())
    throw cluster_error{"there is no node " + std::to_string(node)};
  return nodes_[node - 1];
}

std::string process_cluster::data(std::size_t node) const {
  return directory_ + "/data/" + std::to_string(node);
}
std::string process_cluster::log(std::size_t node) const {
  return directory_ + "/logs/node-" + std::to_string(node) + ".log";
}

std::vector<std::string> process_cluster::client_seeds() const {
  std::vector<std::string> out;
  for (const auto& p : nodes_)
    out.push_back(p.doors.client.text());
  return out;
}

pid_t process_cluster::spawn(const std::vector<std::string>& argv, const std::string& out,
                             const std::string& err, bool append, std::optional<unsigned> processor,
                             std::map<std::string, std::string> more) const {
  std::vector<char*> args;
  for (const auto& a : argv)
    args.push_back(const_cast<char*>(a.c_str()));
  args.push_back(nullptr);
  std::vector<std::string> variables;
  more.insert(config_.environment.begin(), config_.environment.end());
  for (auto** v = environ; *v; ++v) {
    const std::string text{*v};
    if (!more.contains(text.substr(0, text.find('='))))
      variables.push_back(text);
  }
  for (const auto& [name, value] : more)
    variables.push_back(name + "=" + value);
  std::vector<char*> envp;
  for (auto& v : variables)
    envp.push_back(v.data());
  envp.push_back(nullptr);
  const int how = O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC);
  const descriptor out_fd{open(out.c_str(), how, 0600)};
  const descriptor err_fd{open(err.c_str(), how, 0600)};
  if (out_fd.get() < 0 || err_fd.get() < 0)
    throw cluster_error{"cannot write logs into " + directory_ + ": " + std::strerror(errno)};
  cpu_set_t processors;
  CPU_ZERO(&processors);
  if (processor)
    CPU_SET(*processor, &processors);
  const auto parent = getpid();
  const auto pid = fork();
  if (pid < 0)
    throw cluster_error{"cannot start " + argv.front() + ": " + std::strerror(errno)};
  if (pid == 0) { // between fork and exec only calls are allowed that a signal handler may make
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(126);
    if (processor)
      sched_setaffinity(0, sizeof processors, &processors); // if not permitted, it runs anywhere
    setpgid(0, 0); // Ctrl-C is meant for the harness, which then ends the nodes itself
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(out_fd.get(), 1);
    dup2(err_fd.get(), 2);
    execve(args[0], args.data(), envp.data());
    _exit(127);
  }
  return pid;
}

void process_cluster::start(std::size_t node) {
  auto& p = at(node);
  if (running(node))
    return;
  fs::create_directories(data(node));
  const auto argv = command(node, p, data(node));
  std::optional<unsigned> processor;
  if (config_.bind)
    processor = static_cast<unsigned>(node - 1) % std::max(1u, std::thread::hardware_concurrency());
  std::map<std::string, std::string> more;
  if (config_.ailing_disks)
    more = {{"LD_PRELOAD", disk_shim()}, {"PARLEY_DISK_CONTROL", disk(node).path()}};
  p.pid = spawn(argv, directory_ + "/logs/node-" + std::to_string(node) + ".out", log(node), true, processor,
                std::move(more));
  started(node, p.pid);
  p.is_paused = false;
  p.expected_gone = false;
}

std::vector<std::string> process_cluster::command(std::size_t node, const process& p,
                                                  const std::string& data) const {
  std::string seeds;
  for (const auto& q : nodes_)
    seeds += (seeds.empty() ? "" : ",") + q.doors.peer.text();
  std::vector<std::string> argv{config_.parleyd,
                                "--node",
                                std::to_string(node),
                                "--data-dir",
                                data,
                                "--certs-dir",
                                certs(),
                                "--seeds",
                                seeds,
                                "--peer-listen",
                                p.peer.text(),
                                "--client-listen",
                                p.client.text(),
                                "--admin-listen",
                                p.admin.text()};
  if (config_.proxied)
    argv.insert(argv.end(),
                {"--peer-advertise", p.doors.peer.text(), "--client-advertise", p.doors.client.text()});
  argv.insert(argv.end(), config_.flags.begin(), config_.flags.end());
  for (const auto& [flag, value] :
       {std::pair{"--limits-user-sends-per-second", "200"}, std::pair{"--limits-user-sends-burst", "400"}})
    if (!config_.standard_rates && std::ranges::find(argv, flag) == argv.end())
      argv.insert(argv.end(), {flag, value});
  return argv;
}

void process_cluster::start_all() {
  for (std::size_t n = 1; n <= size(); ++n)
    start(n);
}

bool process_cluster::reap(process& p, bool block) {
  if (p.pid <= 0)
    return true;
  if (waitpid(p.pid, &p.status, block ? 0 : WNOHANG) != p.pid)
    return false;
  p.pid = -1;
  p.is_paused = false;
  return true;
}

bool process_cluster::running(std::size_t node) {
  return !reap(at(node), false);
}

void process_cluster::kill_all() {
  for (auto& p : nodes_) {
    if (p.pid > 0)
      ::kill(p.pid, SIGKILL);
  }
  for (std::size_t n = 1; n <= nodes_.size(); ++n)
    kill(n);
}

void process_cluster::kill(std::size_t node) {
  auto& p = at(node);
  if (p.pid <= 0)
    return;
  p.expected_gone = true;
  ::kill(p.pid, SIGKILL);
  if (!poll_until(
          config_.exit_deadline, [&] { return reap(p, false); }, milliseconds{1}))
    throw cluster_error{"node " + std::to_string(node) + " survived SIGKILL"};
}

void process_cluster::pause(std::size_t node) {
  auto& p = at(node);
  if (p.pid <= 0 || p.is_paused)
    return;
  ::kill(p.pid, SIGSTOP);
  const auto state = "/proc/" + std::to_string(p.pid) + "/stat";
  p.is_paused = poll_until(
      config_.exit_deadline,
      [&] {
        const auto text = read_text(state);
        const auto at = text.rfind(')');
        return at != std::string::npos && at + 2 < text.size() && text[at + 2] == 'T';
      },
      milliseconds{1});
  if (!p.is_paused)
    throw cluster_error{"node " + std::to_string(node) + " did not stop"};
}

void process_cluster::resume(std::size_t node) {
  auto& p = at(node);
  if (p.pid > 0)
    ::kill(p.pid, SIGCONT);
  p.is_paused = false;
}

void process_cluster::signal(std::size_t node, int which) {
  if (const auto pid = at(node).pid; pid > 0)
    ::kill(pid, which);
}

std::optional<int> process_cluster::terminate(std::size_t node, milliseconds deadline) {
  auto& p = at(node);
  if (p.pid <= 0)
    return p.status;
  p.expected_gone = true;
  ::kill(p.pid, SIGTERM);
  if (!poll_until(deadline, [&] { return reap(p, false); }))
    return std::nullopt;
  return WIFEXITED(p.status) ? WEXITSTATUS(p.status) : 128 + WTERMSIG(p.status);
}

void process_cluster::wipe(std::size_t node) {
  if (running(node))
    throw cluster_error{"a running node's disk cannot be wiped"};
  fs::remove_all(data(node));
}

void process_cluster::move_peers(const std::vector<std::size_t>& nodes) {
  for (const auto node : nodes) {
    if (running(node) || config_.proxied)
      throw cluster_error{"a node that runs, or is behind a proxy, cannot move"};
    auto& p = at(node);
    p.peer.port = free_port();
    p.doors.peer = p.peer;
  }
}

std::optional<std::string> process_cluster::get(std::size_t node, const std::string& path,
                                                milliseconds timeout) const {
  auto answer = page(node, path, timeout);
  if (!answer.starts_with("200 "))
    return std::nullopt;
  return answer.substr(4);
}

std::string process_cluster::page(std::size_t node, const std::string& path, milliseconds timeout) const {
  return page_at(nodes_[node - 1].admin, path, timeout);
}
std::string process_cluster::page_at(const address& admin, const std::string& path, milliseconds timeout) {
  const descriptor s{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const auto a = loopback(admin.port);
  const auto end = std::chrono::steady_clock::now() + timeout;
  const auto wait_for = [&](short what) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - std::chrono::steady_clock::now());
    pollfd p{s.get(), what, 0};
    return left.count() > 0 && ::poll(&p, 1, static_cast<int>(left.count())) == 1;
  };
  if (connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0 && errno != EINPROGRESS)
    return {};
  const auto request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  if (!wait_for(POLLOUT) ||
      ::send(s.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    return {};
  std::string answer;
  char buffer[16384];
  while (wait_for(POLLIN)) {
    const auto n = recv(s.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN)
      continue;
    if (n <= 0)
      break;
    answer.append(buffer, static_cast<std::size_t>(n));
    if (is_whole(answer)) // does not wait for the other end to close
      break;
  }
  const auto body = answer.find("\r\n\r\n");
  const auto space = answer.find(' ');
  if (body == std::string::npos || space == std::string::npos)
    return {};
  return answer.substr(space + 1, 3) + " " + answer.substr(body + 4);
}

bool process_cluster::ready(std::size_t node, milliseconds timeout) {
  return running(node) && !at(node).is_paused && get(node, "/readyz", timeout).has_value();
}

std::string process_cluster::tail(std::size_t node) const {
  auto text = read_text(log(node));
  for (const auto* report : {"ERROR: AddressSanitizer", "runtime error: "}) // what has happened stands first
    if (const auto at = text.find(report); at != std::string::npos)
      return text.substr(text.rfind('\n', at) + 1, 6000);
  return text.substr(text.size() - std::min<std::size_t>(text.size(), 2000));
}

std::vector<std::string> process_cluster::unexpected_exits() {
  std::vector<std::string> out;
  for (std::size_t n = 1; n <= size(); ++n) {
    auto& p = at(n);
    if (!reap(p, false) || p.expected_gone)
      continue;
    p.expected_gone = true; // reported once
    const auto how = WIFSIGNALED(p.status) ? "signal " + std::to_string(WTERMSIG(p.status))
                                           : "status " + std::to_string(WEXITSTATUS(p.status));
    out.push_back("node " + std::to_string(n) + " ended by itself with " + how + ":\n" + tail(n));
  }
  return out;
}

bool process_cluster::whole(std::size_t node, milliseconds timeout) {
  return running(node) && !at(node).is_paused && get(node, "/wholez", timeout).has_value();
}

bool process_cluster::wait_ready(milliseconds deadline) {
  return poll_until(
      deadline,
      [this] {
        if (const auto gone = unexpected_exits(); !gone.empty())
          throw cluster_error{gone.front()};
        for (std::size_t n = 1; n <= size(); ++n) {
          if (running(n) && !ready(n))
            return false;
        }
        return true;
      },
      milliseconds{50});
}

std::optional<std::string> process_cluster::code_for(const std::string& phone) {
  constexpr std::string_view before = "code for ";
  for (std::size_t n = 1; n <= size(); ++n) {
    auto& p = at(n);
    std::ifstream in{directory_ + "/logs/node-" + std::to_string(n) + ".out"};
    in.seekg(p.codes_read);
    std::string line;
    while (std::getline(in, line) && !in.eof()) { // an incomplete line is read again later
      p.codes_read = in.tellg();
      const auto start = line.find(before);
      const auto colon = line.find(": ", start);
      if (start == std::string::npos || colon == std::string::npos)
        continue;
      const auto number = start + before.size();
      codes_[line.substr(number, colon - number)] = line.substr(colon + 2, 6);
    }
  }
  const auto i = codes_.find(phone.substr(0, 3) + "…" + phone.substr(phone.size() - 2));
  if (i == codes_.end())
    return std::nullopt;
  auto code = std::move(i->second);
  codes_.erase(i);
  return code;
}

std::size_t process_cluster::leads(std::size_t node) const {
  const auto page = get(node, "/metrics");
  constexpr std::string_view line = "\nparley_replicas{role=\"leader\"} ";
  const auto at = page ? page->find(line) : std::string::npos;
  return at == std::string::npos ? 0 : std::strtoul(page->c_str() + at + line.size(), nullptr, 10);
}

std::chrono::nanoseconds process_cluster::cpu(std::size_t node) const {
  const auto& p = nodes_[node - 1];
  clockid_t clock{};
  timespec t{};
  if (p.pid <= 0 || clock_getcpuclockid(p.pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
    return {};
  return std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
}

std::uint64_t process_cluster::rss_bytes(std::size_t node) const {
  const auto& p = nodes_[node - 1];
  if (p.pid <= 0)
    return 0;
  std::istringstream in{read_text("/proc/" + std::to_string(p.pid) + "/statm")};
  std::uint64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::uint64_t process_cluster::anonymous_bytes(std::size_t node) const {
  const auto& p = nodes_[node - 1];
  if (p.pid <= 0)
    return 0;
  const auto status = read_text("/proc/" + std::to_string(p.pid) + "/status");
  constexpr std::string_view line = "\nRssAnon:";
  const auto at = status.find(line);
  return at == std::string::npos ? 0 : std::strtoull(status.c_str() + at + line.size(), nullptr, 10) * 1024;
}

bool process_cluster::dump(std::size_t node, const std::string& file) {
  if (running(node))
    throw cluster_error{"a running node cannot be dumped"};
  const auto pid = spawn({config_.parleyd, "--dump", data(node)}, file, file + ".err", false);
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

} // namespace parley::test
