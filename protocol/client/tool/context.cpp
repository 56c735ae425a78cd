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

std::vector<option> shared_options(context& shared) {
  return {
      {.name = "--profile",
       .unit = "PROFILE",
       .help = "The profile to use: it holds the device's key, its messages and its settings. "
               "A name stands for a directory under ~/.parley; with a slash it is a directory itself. "
               "Use one profile for each device.",
       .value = &shared.profile,
       .environment = "PARLEY_PROFILE"},
      {.name = "--seeds",
       .unit = "HOST:PORT,...",
       .help = "The nodes to connect to, separated by commas. "
               "Any node of the cluster will do; the next one is tried when one fails. "
               "If none are given, those of the profile's registration are used.",
       .value = &shared.seeds,
       .environment = "PARLEY_SEEDS"},
      {.name = "--ca",
       .unit = "FILE",
       .help = "The certificate of the authority that signs the nodes' certificates for clients. "
               "If none is given, the one of the profile's registration is used.",
       .value = &shared.ca,
       .environment = "PARLEY_CA"},
      {.name = "--key-file",
       .unit = "FILE",
       .help = "The file with the key that the profile's database is encrypted with. "
               "Give one to keep the key apart from the profile. "
               "If none is given, it is the file `key` in the profile.",
       .value = &shared.key_file,
       .environment = "PARLEY_KEY_FILE"},
      {.name = "--json",
       .unit = {},
       .help = "Print one JSON object per line, for programs that read the output.",
       .value = &shared.json},
  };
}

option seconds_option(int& seconds, int highest, std::string help) {
  return {.name = "--seconds",
          .unit = "SECONDS",
          .help = std::move(help),
          .value = &seconds,
          .bounds = std::pair{1.0, double(highest)}};
}

void stop_with(const client::failure& why, const std::string& where) {
  auto code = status::refused;
  if (why.code == ec::fenced)
    code = status::fenced;
  else if (why.code == ec::storage_failed)
    code = status::local;
  else if (why.retryable && why.code != ec::rate_limited)
    code = status::unreachable;
  auto sentence = where + why.sentence;
  if (why.retry_after.count() > 0)
    sentence += fmt::format(" Try again in {} seconds.", (why.retry_after.count() + 999) / 1000);
  if (code == status::unreachable)
    sentence += " Check that the cluster is running and that --seeds names its nodes.";
  throw stop{code, sentence};
}

std::filesystem::path context::directory() const {
  if (profile.find('/') != std::string::npos)
    return profile;
  const char* home = std::getenv("HOME");
  if (!home || !*home)
    throw stop{status::local,
               "The variable HOME is not set, so the profile cannot be found: give --profile ./DIRECTORY."};
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
  throw stop{status::usage, "The profile has no certificate of the cluster's authority yet: "
                            "give --ca FILE, the cluster's client-ca.pem."};
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
    throw stop{
        status::local,
        "This profile is not registered yet, so nothing was done: run `parley register --phone +49…` first."};
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
      throw stop{status::usage, fmt::format("\"{}\" is neither a phone number (+ and 7 to 15 digits) nor a "
                                            "conversation (32 hexadecimal digits).",
                                            with)};
    return *c;
  }
  const auto opened = device.wait(device.it().open_direct(with), limit);
  if (!opened)
    stop_with(opened.error());
  return opened->conversation;
}

} // namespace parley::tool
