#include "protocol/client/tool/commands.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

namespace parley::tool {
namespace {

std::string first_line(const std::filesystem::path& file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

/// Whether there is something. A file that cannot be looked at is no absence: `stop` says why.
bool is_there(const std::filesystem::path& file) {
  std::error_code failed;
  const bool there = std::filesystem::exists(file, failed);
  if (failed)
    throw stop{status::local, fmt::format("{} cannot be looked at: {}.", file.string(), failed.message())};
  return there;
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
      {.name = "--wait-for-profile",
       .unit = "SECONDS",
       .help = "How long to wait, in seconds, while another parley has the profile open. "
               "Only one can have it at a time, an open chat for example.",
       .value = &shared.profile_seconds,
       .bounds = std::pair{0.0, 86'400.0}},
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

namespace {

/// Replaces the first `what`, if there is one.
bool replace_in(std::string& text, std::string_view what, std::string_view by) {
  const auto at = text.find(what);
  if (at != std::string::npos)
    text.replace(at, what.size(), by);
  return at != std::string::npos;
}

/// What to look at if no node could be used; a sentence with a blank in front, or nothing.
std::string remedy(const client::failure& why) {
  if (status_of(why) != status::unreachable)
    return {};
  const auto says = [&](const char* words) { return why.sentence.find(words) != std::string::npos; };
  if (says("certificate") && (says("expired") || says("not yet valid")))
    return " Check the clock of this machine, and ask the operator to renew the node's certificate.";
  if (says("certificate"))
    return " Check that --ca names the certificate of this cluster's authority, its client-ca.pem.";
  // The words of the table are a node's own: it was reached. A time-out alone has them, too.
  if (why.code != ec::timed_out && why.sentence == describe(why.code).sentence)
    return {};
  return " Check that the cluster is running and that --seeds names its nodes.";
}

} // namespace

std::string for_person(std::string sentence) {
  for (const auto* words : {", with the same client message id", " with the same client message id"})
    replace_in(sentence, words, "");
  if (!sentence.empty() && std::string_view{".!?"}.find(sentence.back()) == std::string_view::npos)
    sentence += '.';
  return sentence;
}

status status_of(const client::failure& why) {
  if (why.code == ec::bad_config)
    return status::usage;
  if (why.code == ec::fenced)
    return status::fenced;
  if (why.code == ec::storage_failed)
    return status::local;
  return why.retryable && why.code != ec::rate_limited ? status::unreachable : status::refused;
}

std::string sentence_of(const client::failure& why) {
  auto sentence = for_person(why.sentence);
  const auto seconds = (why.retry_after.count() + 999) / 1000;
  const auto time = seconds > 120  ? fmt::format("{} minutes", (seconds + 59) / 60)
                    : seconds == 1 ? "1 second"
                                   : fmt::format("{} seconds", seconds);
  if (seconds > 0 && !replace_in(sentence, "Wait as long as the answer advises, then try again.",
                                 "Try again in " + time + "."))
    sentence += sentence.find("ry again") == std::string::npos ? " Try again in " + time + "."
                                                               : " The node advises to wait " + time + ".";
  return sentence + remedy(why);
}

void stop_with(const client::failure& why, const std::string& where) {
  throw stop{status_of(why), where + sentence_of(why)};
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
  if (is_there(kept))
    return kept;
  throw stop{status::usage, "The profile has no certificate of the cluster's authority yet: "
                            "give --ca FILE, the cluster's client-ca.pem."};
}

namespace {

/// Replaces the file as a whole, or says why not.
void replace(const std::filesystem::path& file, const std::string& text) {
  auto written = file;
  written += ".new";
  std::ofstream out{written, std::ios::binary};
  out << text;
  out.close();
  std::error_code failed;
  if (out)
    std::filesystem::rename(written, file, failed);
  if (!out || failed)
    throw stop{status::local,
               fmt::format(
                   "The device is registered, but {} cannot be written: {}. Check whether the disk has room. "
                   "Until then, give --seeds and --ca to each command.",
                   file.string(), failed ? failed.message() : std::strerror(errno))};
}

std::string whole(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// Refuses to turn a directory that is used for something else into a profile: its mode would change, and files
/// would appear in it.
void check_directory(const std::filesystem::path& directory) {
  constexpr std::array ours{"lock", "key", "key.new", "seeds", "seeds.new", "ca.pem", "ca.pem.new", "socket"};
  if (!is_there(directory) || is_there(directory / "parley.db"))
    return; // a new one, or a profile, whatever else is in it
  std::error_code failed;
  if (!std::filesystem::is_directory(directory, failed))
    throw stop{status::local,
               fmt::format("{} is a file, and a profile is a directory. Give another --profile.",
                           directory.string())};
  for (const auto& entry : std::filesystem::directory_iterator{directory, failed}) {
    const auto name = entry.path().filename().string();
    if (std::ranges::count(ours, name) == 0)
      throw stop{
          status::local,
          fmt::format(
              "The directory {} holds other files ({}) and is no profile, so nothing was changed in it. "
              "Give a new directory, or an empty one, with --profile.",
              directory.string(), name)};
  }
}

void must_be_registered(const context& shared) {
  const auto directory = shared.directory();
  if (is_there(directory / "parley.db"))
    return;
  throw stop{status::local,
             fmt::format("There is no registered profile in {}, so nothing was done: check --profile, or run "
                         "`parley register{} --phone +49…` first.",
                         directory.string(), shared.option_text())};
}

template <class Open>
auto when_free(const context& shared, Open&& open) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{shared.profile_seconds};
  for (;;) {
    try {
      return open();
    } catch (const client::profile_in_use& e) {
      if (std::chrono::steady_clock::now() >= end)
        throw stop{status::local,
                   std::string{e.what()} + " With --wait-for-profile SECONDS this command waits for it."};
    }
    std::this_thread::sleep_for(
        std::chrono::milliseconds{50}); // the lock of a file tells nobody that it is free
  }
}

} // namespace

void context::settle_ca() {
  std::error_code failed;
  if (ca.empty() || !(std::filesystem::is_fifo(ca, failed) || std::filesystem::is_character_file(ca, failed)))
    return;
  const auto text = whole(ca);
  if (text.empty())
    throw stop{status::usage,
               fmt::format("Nothing can be read from {}: give the cluster's client-ca.pem with --ca.", ca)};
  const int fd = ::memfd_create("ca", MFD_CLOEXEC); // for as long as this process lives
  if (fd < 0 || ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw stop{status::local, fmt::format("{} cannot be read into memory: {}.", ca, std::strerror(errno))};
  ca = fmt::format("/proc/self/fd/{}", fd);
}

void context::remember() const {
  const auto dir = directory();
  if (!seeds.empty())
    replace(dir / "seeds", seeds + "\n");
  std::error_code none;
  if (!ca.empty() && !std::filesystem::equivalent(ca, dir / "ca.pem", none))
    replace(dir / "ca.pem", whole(ca));
}

std::string context::unseen(status code, const std::vector<std::string>& variables) const {
  const auto used = [&](const char* name) { return std::ranges::count(variables, name) > 0; };
  std::string out;
  if (code == status::unreachable && !connected && used("PARLEY_SEEDS")) {
    out += fmt::format(" The variable PARLEY_SEEDS gave the nodes ({})", seeds);
    const auto own = first_line(directory() / "seeds");
    out += own.empty() || own == seeds ? "." : fmt::format("; the profile was registered with {}.", own);
  }
  if (code == status::unreachable && !connected && used("PARLEY_CA"))
    out += fmt::format(" The variable PARLEY_CA gave the authority ({}).", ca);
  if (code == status::local && used("PARLEY_PROFILE"))
    out += fmt::format(" The variable PARLEY_PROFILE gave the profile ({}).", profile);
  if (code == status::local && used("PARLEY_KEY_FILE"))
    out += fmt::format(" The variable PARLEY_KEY_FILE gave the key ({}).", key_file);
  return out;
}

std::string context::option_text() const {
  return profile == context{}.profile ? "" : " --profile " + profile;
}

std::unique_ptr<client::sqlite_store> open_profile(const context& shared) {
  check_directory(shared.directory());
  must_be_registered(shared);
  return when_free(shared, [&] {
    return std::make_unique<client::sqlite_store>(shared.directory(), std::filesystem::path{shared.key_file});
  });
}

std::unique_ptr<client::blocking_device> open_device(const context& shared, client::config settings,
                                                     client::observer& events, profile_must what) {
  check_directory(shared.directory());
  if (what == profile_must::be_registered)
    must_be_registered(shared);
  const auto ca = shared.ca_file();
  auto device = when_free(shared, [&] {
    return std::make_unique<client::blocking_device>(shared.directory(), ca, settings, events,
                                                     shared.key_file);
  });
  if (what == profile_must::be_registered && !device->it().who().registered())
    throw stop{status::local, fmt::format("This profile is not registered yet, so nothing was done: run "
                                          "`parley register{} --phone +49…` first.",
                                          shared.option_text())};
  return device;
}

void start(client::blocking_device& device) {
  device.it().start();
}

void connect(client::blocking_device& device, std::chrono::milliseconds limit) {
  start(device);
  const auto r = device.wait(device.it().online(), limit);
  if (r)
    return;
  const auto& s = device.it().state();
  stop_with(r.error().code == ec::timed_out && !s.sentence.empty() ? client::failure{s.why, s.sentence, {}}
                                                                   : r.error());
}

std::string why_not_yet(const client::blocking_device& device) {
  const auto why = device.it().why_unsettled();
  return why.code == ec::none ? "There was no answer in time."
                              : "The last reason: " + for_person(why.sentence);
}

namespace {

/// Why nobody need be asked about `with`; nothing if it may be somebody, or a conversation.
std::optional<client::failure> nobody(client::client_store& store, const std::string& with) {
  const names known{store};
  const auto* contact = known.find(with);
  const auto phone = phone_number(with);
  const auto me = store.who().value_or(client::identity{});
  if (me.registered() && ((contact && contact->user == me.user) || (phone && *phone == me.phone)))
    return client::failure{
        ec::bad_config,
        fmt::format("{} is your own number, and a conversation is with somebody else. Give "
                    "another number or the name of a contact.",
                    printable(with)),
        {}};
  if (contact || phone || client::parse_conversation(with))
    return std::nullopt;
  return client::failure{
      ec::bad_config,
      fmt::format(
          "\"{}\" is neither a phone number (+ and 7 to 15 digits, with the country) nor the name of a "
          "contact (`parley contacts` lists them) nor a conversation (32 hexadecimal digits).",
          printable(with)),
      {}};
}

} // namespace

void check_whom(client::client_store& store, const std::string& with) {
  if (const auto why = nobody(store, with))
    stop_with(*why);
}

void remember_talks(client::client_store& store, const std::vector<conversation_info>& talks) {
  const auto known = store.conversations();
  client::applied_batch batch;
  for (const auto& c : talks)
    if (std::ranges::count(known, c.conversation, &conversation_info::conversation) == 0)
      batch.opened.push_back({c.conversation, c.members, {}});
  if (!batch.opened.empty())
    store.apply(batch);
}

std::optional<conversation_id> known_talk(client::client_store& store, const std::string& with) {
  const names known{store};
  const auto* contact = known.find(with);
  if (!contact) {
    const auto c = client::parse_conversation(with);
    return c && !phone_number(with) ? std::optional{*c} : std::nullopt;
  }
  const auto me = store.who().value_or(client::identity{}).user;
  if (number(contact->user) == 0 || contact->user == me)
    return std::nullopt;
  for (const auto& c : store.conversations())
    if (c.members.size() == 2 && std::ranges::count(c.members, me) == 1 &&
        std::ranges::count(c.members, contact->user) == 1)
      return c.conversation;
  return std::nullopt;
}

kj::Promise<client::result<conversation_id>> begin_finding_talk(client::blocking_device& device,
                                                                const std::string& with, look_in first) {
  using answer = client::result<conversation_id>;
  if (first == look_in::profile)
    if (const auto c = known_talk(device.store(), with))
      return answer{*c};
  if (auto why = nobody(device.store(), with))
    return answer{tl::unexpected{std::move(*why)}};
  const names known{device.store()};
  const auto* contact = known.find(with);
  const auto phone =
      contact && number(contact->user) == 0 ? std::optional{contact->phone} : phone_number(with);
  if (!phone && !contact)
    return answer{*client::parse_conversation(with)};
  auto opened = phone ? device.it().open_direct(*phone) : device.it().open_direct(contact->user);
  return opened.then([&device, phone](client::result<client::opened_direct>&& o) -> answer {
    if (!o)
      return tl::unexpected{std::move(o.error())};
    auto& store = device.store();
    if (phone)
      names{store}.met(o->with, *phone);
    // The inbox brings it as well, to whoever receives.
    remember_talks(store, {{o->conversation, {device.it().who().user, o->with}, {}}});
    return o->conversation;
  });
}

conversation_id find_talk(client::blocking_device& device, const std::string& with,
                          std::chrono::milliseconds limit) {
  const auto found = device.wait(begin_finding_talk(device, with), limit);
  if (!found)
    stop_with(found.error());
  return *found;
}

} // namespace parley::tool
