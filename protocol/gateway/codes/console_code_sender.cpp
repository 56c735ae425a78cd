#include "protocol/gateway/codes/code_sender.hpp"

#include <cstdio>

namespace parley::gateway {

std::string veiled(std::string_view phone) {
  if (phone.size() < 6)
    return "…";
  return std::string{phone.substr(0, 3)} + "…" + std::string{phone.substr(phone.size() - 2)};
}

kj::Promise<ec> console_code_sender::send(std::string phone, std::string code) {
  // One call, so that lines of several threads do not mix.
  std::printf("code for %s: %s\n", veiled(phone).c_str(), code.c_str());
  std::fflush(stdout);
  return ec::none;
}

} // namespace parley::gateway
