#include "protocol/client/tool/commands.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

namespace parley::tool {
namespace {

std::string first_line(const std::filesystem::path& file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

} // namespace

void stop_with(const client::failure& why) {
  auto code = status::refused;
  if (why.code == ec::fenced)
    code = status::fenced;
  else if (why.code == ec::storage_failed)
    code = status::local;
  else if (why.retryable && why.code != ec::rate_limited)
    code = status::unreachable;
  auto sentence = why.sentence;
  if (why.retry_after.count() > 0)
    sentence += fmt::format(" Try again in {} s.", (why.retry_after.count() + 999) / 1000);
  if (code == status::unreachable)
    sentence += " Is the cluster up, and are --seeds right?";
  throw stop{code, sentence};
}

std::filesystem::path context::directory() const {
  if (profile.find('/') != std::string::npos)
    return profile;
  const char* home = std::getenv("HOME");
  if (!home || !*home)
    throw stop{status::local, "HOME is not set: give --profile ./DIRECTORY."};
  return std::filesystem::path{home} / ".parley" / profile;
}

client::config context::settings() const {
  auto list = seeds;
  if (list.empty())
    list = first_line(directory() / "seeds");
  if (list.empty())
    list = "127.0.0.1:7000";
  auto parsed = client::parse_seeds(list);
  if (!parsed)
    throw stop{status::usage, parsed.error().sentence};
  client::config c;
  c.seeds = std::move(*parsed);
  return c;
}

std::string context::ca_file() const {
  if (!ca.empty())
    return ca;
  const auto kept = directory() / "ca.pem";
  if (std::filesystem::exists(kept))
    return kept;
  throw stop{status::usage, "Which authority is to be trusted? Give --ca FILE, the cluster's client-ca.pem."};
}

void context::remember() const {
  const auto dir = directory();
  if (!seeds.empty())
    std::ofstream{dir / "seeds"} << seeds << '\n';
  if (!ca.empty() && ca != dir / "ca.pem")
    std::filesystem::copy_file(ca, dir / "ca.pem", std::filesystem::copy_options::overwrite_existing);
}

void connect(client::blocking_device& device, std::chrono::milliseconds limit) {
  if (!device.it().who().registered())
    throw stop{status::local,
               "This profile is not registered yet: run `parley register --phone +49…` first."};
  device.it().start();
  const auto r = device.wait(device.it().online(), limit);
  if (r)
    return;
  const auto& s = device.it().state();
  stop_with(r.error().code == ec::timed_out && !s.sentence.empty() ? client::failure{s.why, s.sentence, {}}
                                                                   : r.error());
}

conversation_id find_talk(client::blocking_device& device, const std::string& with,
                          std::chrono::milliseconds limit) {
  if (with.empty() || with.front() != '+') {
    const auto c = client::parse_conversation(with);
    if (!c)
      throw stop{status::usage,
                 fmt::format("\"{}\" is neither a phone number (+49…) nor a conversation.", with)};
    return *c;
  }
  const auto opened = device.wait(device.it().open_direct(with), limit);
  if (!opened)
    stop_with(opened.error());
  return opened->conversation;
}

} // namespace parley::tool
