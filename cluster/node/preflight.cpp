#include "cluster/node/preflight.hpp"

#include "cluster/ops/admin_server.hpp"
#include "cluster/ops/certificates.hpp"
#include "protocol/transport/socket.hpp"
#include "protocol/transport/tls.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace parley::cluster {
namespace {

namespace fs = std::filesystem;
using problem = std::optional<std::string>;

problem unreadable(const node_config& c) {
  std::vector<std::string> files{c.peer_ca(), c.peer_cert(), c.peer_key(), c.client_cert(), c.client_key()};
  if (!is_loopback(c.admin_listen.host))
    files.insert(files.end(), {c.admin_ca(), c.admin_cert(), c.admin_key()});
  for (const auto& file : files) {
    if (::access(file.c_str(), R_OK) == 0)
      continue;
    const int error = errno;
    if (error == EACCES)
      return fmt::format("the certificate file {} cannot be read by this user: "
                         "run the node as the user who owns it, or give this user a copy (--certs-dir)",
                         file);
    return fmt::format(
        "there is no {}: create the certificates of node {} with `scripts/make_certs.sh {} {}`, or name the "
        "directory that has them (--certs-dir)",
        file, number(c.node), c.certs_dir, number(c.node));
  }
  const auto unfit = [&](const std::string& certificate, const std::string& key, const char* who) -> problem {
    const auto tls = transport::make_server_context({certificate, key});
    const auto why = tls ? date_objection(certificate, std::chrono::system_clock::now())
                         : std::optional{tls.error().detail};
    if (!why)
      return {};
    return fmt::format(
        "{} cannot be served: {}. Delete both files and run `scripts/make_certs.sh {} {}` again", who, *why,
        c.certs_dir, number(c.node));
  };
  if (auto p = unfit(c.client_cert(), c.client_key(), "clients"))
    return p;
  if (!is_loopback(c.admin_listen.host))
    return unfit(c.admin_cert(), c.admin_key(), "the admin port");
  return {};
}

/// The sockets of the gateway's threads share their port, and would share it with another process as well. So
/// this check binds a socket that does not share.
problem taken(const endpoint& e, const char* flag) {
  const auto at = transport::resolve({e.host, e.port});
  if (!at)
    return fmt::format(
        "{} {}: the name of this host cannot be resolved. Give an address of this machine, such as 127.0.0.1",
        flag, to_string(e));
  const kj::AutoCloseFd fd{::socket(at->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (fd.get() >= 0 && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at->storage), at->size) == 0)
    return {};
  const int error = errno;
  if (error == EADDRINUSE)
    return fmt::format(
        "{} {}: another process listens there. Stop it (`ss -ltnp` names it), or choose another port", flag,
        to_string(e));
  if (error == EADDRNOTAVAIL)
    return fmt::format(
        "{} {}: this machine has no such address. Give one that it has, or 0.0.0.0 for all of them", flag,
        to_string(e));
  if (error == EACCES)
    return fmt::format("{} {}: this user may not listen at ports below 1024. Choose a higher one", flag,
                       to_string(e));
  return fmt::format("{} {}: {}. Choose another address or port", flag, to_string(e), std::strerror(error));
}

/// The directory, or the closest one above it that exists.
fs::path existing(const std::string& dir) {
  std::error_code ignored;
  auto there = fs::absolute(dir, ignored);
  while (!fs::exists(there, ignored) && there.has_relative_path())
    there = there.parent_path();
  return there;
}

problem unusable(const std::string& dir) {
  std::error_code ignored;
  const auto advice = ": choose a directory that this user can write to (--data-dir)";
  if (fs::exists(dir, ignored) && !fs::is_directory(dir, ignored))
    return fmt::format("the data directory {} is a file{}", dir, advice);
  const auto there = existing(dir);
  if (!fs::is_directory(there, ignored))
    return fmt::format("the data directory {} cannot be created, because {} is a file{}", dir, there.string(),
                       advice);
  if (::access(there.c_str(), W_OK | X_OK) != 0)
    return fmt::format("the data directory {} cannot be {} ({}: {}){}", dir,
                       fs::equivalent(there, dir, ignored) ? "written" : "created", there.string(),
                       std::strerror(errno), advice);
  return {};
}

} // namespace

std::optional<std::string> objection(const node_config& c) {
  if (auto p = unusable(c.data_dir))
    return p;
  if (auto p = unreadable(c))
    return p;
  for (const auto& [at, flag] : {std::pair{c.peer_listen, "--peer-listen"},
                                 {c.client_listen, "--client-listen"},
                                 {c.admin_listen, "--admin-listen"}})
    if (at.port != 0)
      if (auto p = taken(at, flag))
        return p;
  return {};
}

bool copies_on_write(std::int64_t file_system) {
  // From the kernel's uapi/linux/magic.h and from OpenZFS; headers do not name all of them.
  constexpr std::int64_t btrfs = 0x9123683e, zfs = 0x2fc12fc1, bcachefs = 0xca451a4e;
  return file_system == btrfs || file_system == zfs || file_system == bcachefs;
}

std::vector<std::string> doubts(const node_config& c) {
  std::vector<std::string> out;
  struct statfs where {};
  if (::statfs(existing(c.data_dir).c_str(), &where) == 0 && copies_on_write(where.f_type))
    out.push_back(fmt::format("the data directory {} is on a file system that copies what is overwritten "
                              "(btrfs, ZFS, bcachefs): the "
                              "journal needs new space for each write, also when the disk is full, and is "
                              "slower. Put it on ext4 or xfs",
                              c.data_dir));
  for (const auto& s : c.seeds)
    if (!transport::resolve({s.host, s.port}))
      out.push_back(fmt::format("the name of the seed {} cannot be resolved now: if that does not change, "
                                "this node waits for it; correct --seeds",
                                to_string(s)));
  return out;
}

} // namespace parley::cluster
