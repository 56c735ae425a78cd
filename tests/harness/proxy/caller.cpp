#include "tests/harness/proxy/caller.hpp"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

namespace parley::test {

namespace {

/// Asks the kernel for the inode of one connected socket. To look for it in /proc/net/tcp takes as long as there are
/// connections, also those that ended a minute ago: while seven nodes form a cluster, the proxy did nothing else.
/// 0 if there is none, or the kernel does not answer such questions.
std::uint32_t inode_of(std::uint16_t from, std::uint16_t to) {
  const int fd = ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0)
    return 0;
  struct {
    nlmsghdr head{};
    inet_diag_req_v2 what{};
  } question;
  question.head.nlmsg_len = sizeof question;
  question.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.head.nlmsg_flags = NLM_F_REQUEST;
  question.what.sdiag_family = AF_INET;
  question.what.sdiag_protocol = IPPROTO_TCP;
  question.what.idiag_states = ~0u;
  auto& id = question.what.id;
  id.idiag_sport = htons(from);
  id.idiag_dport = htons(to);
  id.idiag_src[0] = id.idiag_dst[0] = htonl(INADDR_LOOPBACK);
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  std::uint32_t inode = 0;
  alignas(nlmsghdr) std::array<char, 4096> answer{};
  if (::send(fd, &question, sizeof question, 0) == static_cast<ssize_t>(sizeof question)) {
    const auto n =
        ::recv(fd, answer.data(), answer.size(), 0); // the kernel has answered before `send` returns
    nlmsghdr head{};
    inet_diag_msg socket{};
    if (n >= static_cast<ssize_t>(NLMSG_LENGTH(sizeof socket))) {
      std::memcpy(&head, answer.data(), sizeof head);
      std::memcpy(&socket, answer.data() + NLMSG_HDRLEN, sizeof socket);
      if (head.nlmsg_type == SOCK_DIAG_BY_FAMILY)
        inode = socket.idiag_inode;
    }
  }
  ::close(fd);
  return inode;
}

} // namespace

std::optional<pid_t> holder_of(std::uint16_t from, std::uint16_t to, const std::vector<pid_t>& candidates) {
  namespace fs = std::filesystem;
  const auto inode = inode_of(from, to);
  if (inode == 0)
    return std::nullopt;
  const auto socket = "socket:[" + std::to_string(inode) + "]";
  for (const auto pid : candidates) {
    std::error_code gone; // a process may end while it is looked at
    const auto folder = "/proc/" + std::to_string(pid) + "/fd";
    for (fs::directory_iterator i{folder, gone}, end; !gone && i != end; i.increment(gone)) {
      std::error_code closed;
      if (fs::read_symlink(i->path(), closed) == socket)
        return pid;
    }
  }
  return std::nullopt;
}

} // namespace parley::test
