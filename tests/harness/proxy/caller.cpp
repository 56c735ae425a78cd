#include "tests/harness/proxy/caller.hpp"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace parley::test {

namespace {

/// The inode of a connected socket, from the kernel's list of TCP sockets. Empty if there is none.
std::string inode_of(std::uint16_t from, std::uint16_t to) {
  std::array<char, 64> ends{}; // addresses are printed in the byte order of the network, ports in ours
  std::snprintf(ends.data(), ends.size(), " 0100007F:%04X 0100007F:%04X ", unsigned{from}, unsigned{to});
  std::ifstream in{"/proc/net/tcp"};
  for (std::string line; std::getline(in, line);) {
    const auto at = line.find(ends.data());
    if (at == std::string::npos)
      continue;
    // After the two ends: state, queues, timer, retransmissions, user, timeout, inode.
    std::istringstream rest{line.substr(at + std::string_view{ends.data()}.size())};
    std::string word;
    for (int i = 0; i < 7; ++i)
      rest >> word;
    return word == "0" ? std::string{} : word;
  }
  return {};
}

} // namespace

std::optional<pid_t> holder_of(std::uint16_t from, std::uint16_t to, const std::vector<pid_t>& candidates) {
  namespace fs = std::filesystem;
  const auto inode = inode_of(from, to);
  if (inode.empty())
    return std::nullopt;
  const auto socket = "socket:[" + inode + "]";
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
