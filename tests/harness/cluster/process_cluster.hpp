#pragma once
// A cluster of real `parleyd` processes on loopback, for tests that kill, stop and starve them.
//
// Owns:   the processes, their directory (certificates, data, logs) and their ports. The destructor kills
//         all processes and removes the directory unless it is to be kept. If the harness dies, the
//         processes are killed too (PDEATHSIG).
// Thread: one. The thread that starts nodes must outlive them.
#include "protocol/values/types.hpp"
#include "tests/harness/disk/ailing_disk.hpp"
#include "tests/harness/proxy/proxy.hpp"
#include "tests/support/patience.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace parley::test {

using milliseconds = std::chrono::milliseconds;

struct process_cluster_config {
  std::size_t nodes = 3;
  std::string parleyd;            ///< empty: the one in the folder of the running program
  std::string directory;          ///< empty: a new one under TMPDIR, which is removed at the end
  bool keep = false;              ///< keeps the directory
  std::vector<std::string> flags; ///< for every node
  /// False: each user may send what ten people do, because a test has few of them. Flags go first.
  bool standard_rates = false;
  std::map<std::string, std::string> environment; ///< added to the harness's own
  /// Puts a proxy in front of each node's peer port and client port: what the nodes advertise, and what
  /// `client` returns, is the proxy's. Admin ports have none.
  bool proxied = false;
  bool ailing_disks = false; ///< gives each node a disk that can be made slow or full; not with a sanitizer
  bool bind = false; ///< binds each node to one processor, in turn, because three machines share none either
  milliseconds exit_deadline{5000}; ///< of a killed process
  /// Ports are chosen from [first, last). Clusters that begin at the same time need separate ranges.
  std::uint16_t port_first = 20'000, port_last = 31'000;
};

/// An error of the harness or the cluster, described by a sentence.
struct cluster_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct address {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::string text() const { return host + ":" + std::to_string(port); }
};

class process_cluster {
public:
  explicit process_cluster(process_cluster_config config = {});
  ~process_cluster();
  process_cluster(const process_cluster&) = delete;
  process_cluster& operator=(const process_cluster&) = delete;

  std::size_t size() const { return nodes_.size(); }
  const std::string& directory() const { return directory_; }
  void keep_directory() { config_.keep = true; }

  // Nodes are numbered 1 … size(), as for `--node`.
  void start(std::size_t node);
  void start_all();
  /// Sends SIGKILL and waits until the process has ended.
  void kill(std::size_t node);
  /// Sends SIGKILL to every node before it waits for any of them, as when a rack loses its power.
  void kill_all();
  /// Sends SIGSTOP and waits until the kernel reports that the process is stopped.
  void pause(std::size_t node);
  void resume(std::size_t node);
  void signal(std::size_t node, int which);
  /// Sends SIGTERM and returns the exit status. Returns an empty optional after the deadline; the node
  /// is then still running.
  std::optional<int> terminate(std::size_t node, milliseconds deadline);
  /// Removes the data directory of a node that is not running.
  void wipe(std::size_t node);
  /// Gives nodes that are not running other ports for their peers. All nodes that are started later know them as seeds.
  void move_peers(const std::vector<std::size_t>& nodes);
  /// Copies the data directory of a node, running or not, to a place that `name` names, as a careless
  /// operator might.
  void copy_data(std::size_t node, const std::string& name);
  /// Replaces the data directory of a node that is not running by the copy `name`.
  void put_back(std::size_t node, const std::string& name);
  /// How many directories of itself a node has set aside (docs/decisions/0032).
  std::size_t asides(std::size_t node) const;
  void remove_asides(std::size_t node);

  /// Starts a second process of a node, on the copy `name` and on ports of its own. A proxy takes what it calls for
  /// calls of the node. It ends with this object, or when the next one is started.
  void start_beside(std::size_t node, const std::string& name);
  void end_beside();
  /// As `page`, of that process.
  std::string page_beside(const std::string& path, milliseconds timeout = milliseconds{500}) const;

  bool running(std::size_t node);
  bool paused(std::size_t node) const { return nodes_[node - 1].is_paused; }
  /// Queries /readyz once.
  bool ready(std::size_t node, milliseconds timeout = milliseconds{500});
  /// Queries /wholez once: whether its replicas, and the members of the shards that it leads, are all there.
  bool whole(std::size_t node, milliseconds timeout = milliseconds{500});
  /// Polls until every running node is ready. Throws `cluster_error` with the end of the log if one
  /// has exited by itself.
  bool wait_ready(milliseconds deadline);
  /// Nodes that ended although the harness neither killed nor terminated them, with the last
  /// lines of their logs.
  std::vector<std::string> unexpected_exits();

  /// The network between the nodes (places 1 … size()) and from all clients (place 0). Only if `proxied`.
  proxy& network();

  /// The disk of a node. Only if there are `ailing_disks`.
  ailing_disk& disk(std::size_t node) { return *disks_.at(node - 1); }

  /// Where clients connect.
  address client(std::size_t node) const { return nodes_[node - 1].doors.client; }
  address admin(std::size_t node) const { return nodes_[node - 1].admin; }
  std::vector<std::string> client_seeds() const;
  std::string client_ca() const { return certs() + "/client-ca.pem"; }
  std::string certs() const { return directory_ + "/certs"; }
  std::string data(std::size_t node) const;
  std::string log(std::size_t node) const; ///< stderr; stdout is in the file beside it that ends in `.out`

  /// Returns the newest confirmation code that any node printed for `phone`, once. Consoles show only
  /// the ends of a number, so use `test_phone`s.
  std::optional<std::string> code_for(const std::string& phone);
  /// GET from the admin port: returns the body of a 200, or an empty optional.
  std::optional<std::string> get(std::size_t node, const std::string& path,
                                 milliseconds timeout = milliseconds{500}) const;
  /// As `get`, whatever the status is, and with it: "503 …". Empty if there is no answer.
  std::string page(std::size_t node, const std::string& path, milliseconds timeout = milliseconds{500}) const;

  /// How many shards a node leads, by its own metrics; 0 if it does not answer.
  std::size_t leads(std::size_t node) const;

  /// Of the running process, since its start; 0 if it is not running.
  std::chrono::nanoseconds cpu(std::size_t node) const;
  std::uint64_t rss_bytes(std::size_t node) const;
  /// Of its memory, what is not pages of files: LMDB's map is the kernel's cache, which takes those back when it likes.
  std::uint64_t anonymous_bytes(std::size_t node) const;

  /// Writes `parleyd --dump` of a node that is not running into `file`.
  bool dump(std::size_t node, const std::string& file);

private:
  struct process {
    pid_t pid = -1;
    bool is_paused = false;
    bool expected_gone = true;
    int status = 0;
    address peer, client, admin; ///< where it listens
    struct {
      address peer, client;
    } doors; ///< what others are told
    std::streamoff codes_read = 0;
  };
  process& at(std::size_t node);
  std::vector<std::string> command(std::size_t node, const process& p, const std::string& data) const;
  static std::string page_at(const address& admin, const std::string& path, milliseconds timeout);
  /// A port below the ephemeral range: while a node is down, no outgoing connection may get its port.
  std::uint16_t free_port() const;
  void choose_ports();
  void open_doors();
  std::optional<place> caller(std::uint16_t from, std::uint16_t door);
  void started(std::size_t node, pid_t pid);
  bool reap(process& p, bool block);
  pid_t spawn(const std::vector<std::string>& argv, const std::string& out, const std::string& err,
              bool append, std::optional<unsigned> processor = {},
              std::map<std::string, std::string> more = {}) const;
  std::string tail(std::size_t node) const;

  process_cluster_config config_;
  std::string directory_;
  std::vector<process> nodes_;
  process beside_;
  std::vector<std::unique_ptr<ailing_disk>> disks_;
  std::map<std::string, std::string> codes_;
  std::mutex callers_mutex_;
  std::map<pid_t, place>
      callers_; ///< the newest process of each node, and the one beside it, for the proxy's thread
  std::unique_ptr<proxy> network_; ///< must be last: its thread uses the two above
};

/// The phone number of somebody. A console shows only the ends of a number, and by them 9,000 can be told apart: of two
/// people who are that far from each other only one may wait for a code.
std::string test_phone(std::size_t n);
/// The folder of the running program: build/bin.
std::string program_folder();
/// Polls `done` every few milliseconds until it is true or the deadline has passed.
template <class F>
bool poll_until(milliseconds deadline, F&& done, milliseconds every = milliseconds{20});
void nap(milliseconds time);

template <class F>
bool poll_until(milliseconds deadline, F&& done, milliseconds every) {
  const auto end = std::chrono::steady_clock::now() + patient(deadline);
  for (;;) {
    if (done())
      return true;
    if (std::chrono::steady_clock::now() >= end)
      return false;
    nap(every);
  }
}

} // namespace parley::test
