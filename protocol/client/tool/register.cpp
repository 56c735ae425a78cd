// `parley register`: a phone number, confirmed by a code, becomes this profile's.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>

namespace parley::tool {
namespace {

using namespace std::chrono_literals;

struct options {
  std::string phone;
  std::string code;                   ///< empty: ask; "-": standard input
  std::vector<std::string> code_from; ///< files that a node's console is written to
  std::string name = "parley tool";
  bool request_only = false;
  int seconds = 30;
};

bool six_digits(std::string_view s) {
  return s.size() == 6 && s.find_first_not_of("0123456789") == std::string_view::npos;
}

std::uintmax_t size_of(const std::string& file) {
  std::error_code ignored;
  const auto size = std::filesystem::file_size(file, ignored);
  return ignored ? 0 : size;
}

/// The last "code for …: 123456" written after `from`. Consoles show only parts of a number, so the first
/// three and last two characters have to do.
std::optional<std::string> code_in(const std::string& file, std::uintmax_t from, const std::string& phone) {
  std::ifstream in{file};
  in.seekg(static_cast<std::streamoff>(from));
  std::optional<std::string> found;
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.rfind(": ");
    const auto word = line.find("code for " + phone.substr(0, 3));
    if (word == std::string::npos || colon == std::string::npos || colon < 2 || colon < word)
      continue;
    const auto code = line.substr(colon + 2, 6);
    if (six_digits(code) && line.substr(colon - 2, 2) == phone.substr(phone.size() - 2))
      found = code;
  }
  return found;
}

/// The command that goes on where this one ends.
std::string again(const options& o, const context& shared) {
  return fmt::format("parley register{} --phone {}", shared.option_text(), o.phone);
}

/// A line of standard input; at a terminal behind `told`.
std::string read_code(const options& o, const context& shared, const std::string& told) {
  if (::isatty(STDIN_FILENO))
    std::cerr << told << "\nCode: ";
  std::string code;
  if (!std::getline(std::cin, code))
    throw stop{
        status::usage,
        fmt::format("No code was given, so nothing was registered: read it from the phone, or from the "
                    "console of the node, and run `{} --code CODE`.",
                    again(o, shared))};
  constexpr std::string_view around = " \t\r"; // what is copied from a message may have some
  const auto first = code.find_first_not_of(around);
  return first == std::string::npos ? "" : code.substr(first, code.find_last_not_of(around) + 1 - first);
}

std::string ask_for_code(const options& o, const context& shared, std::chrono::seconds good_for) {
  return read_code(
      o, shared,
      fmt::format("A code was sent to {}; it is good for {} min. If several come, the last one is good.",
                  o.phone, good_for.count() / 60));
}

/// Whoever ran the command before, and ended it when its code was on its way, need not have another one sent. Empty:
/// there is none, or another one is wanted.
std::string ask_for_earlier_code(const options& o, const context& shared, const client::identity& mine) {
  const bool any = std::ranges::any_of(mine.tickets, [&](const client::code_ticket& t) {
    return t.phone == o.phone &&
           !t.unanswered; // an unanswered request is repeated, and no second code is sent
  });
  if (!any || o.request_only || !o.code.empty() || !o.code_from.empty() || !::isatty(STDIN_FILENO))
    return {};
  return read_code(
      o, shared,
      fmt::format("A code was sent to {} before. Type it in, or press Enter to have another one sent.",
                  o.phone));
}

/// The refusal of a code, and how to go on.
client::failure with_next_step(client::failure why, const options& o, const context& shared) {
  const auto command = again(o, shared);
  if (why.code == ec::code_expired && why.sentence == describe(why.code).sentence)
    why.sentence += " A code also ends after several wrong ones.";
  if (why.code == ec::code_wrong)
    why.sentence +=
        fmt::format(" With the right one, run `{0} --code CODE`; for a new one, run `{0}`.", command);
  else if (why.code == ec::code_expired)
    why.sentence += fmt::format(" Run `{}` for a new one.", command);
  return why;
}

/// Why no code is known to be sent, and how to go on.
client::failure without_answer(client::failure why) {
  if (why.code == ec::unavailable || why.code == ec::timed_out)
    why.sentence =
        for_person(std::move(why.sentence)) +
        " If a code comes all the same, run the command again with --code CODE. Without it, the command "
        "asks again, and no second code is sent.";
  return why;
}

/// Waits for the cluster. If that takes longer than a person expects, it is said who is asked.
template <class T>
client::result<T> patiently(client::blocking_device& device, const options& o, const client::config& settings,
                            kj::Promise<client::result<T>>&& answer) {
  auto& timer = device.timer();
  // After a turn of the loop, because the timer of a program that did something else before stands still.
  const auto saying = timer.afterDelay(0 * kj::SECONDS)
                          .then([&timer] { return timer.afterDelay(1'500 * kj::MILLISECONDS); })
                          .then([&] {
                            std::vector<std::string> nodes;
                            for (const auto& seed : settings.seeds)
                              nodes.push_back(transport::to_string(seed));
                            std::cerr
                                << printable(fmt::format("Not done yet: trying {}. It gives up after {} s.",
                                                         fmt::join(nodes, ", "), o.seconds))
                                << "\n";
                          })
                          .eagerlyEvaluate(nullptr);
  return device.wait(kj::mv(answer));
}

void run(const options& o, context& shared) {
  client::observer silent;
  shared.settle_ca(); // it is read here, and again when it is kept
  const auto limit = std::chrono::seconds{o.seconds};
  auto settings = shared.settings();
  settings.ask_timeout = limit;
  const auto owned = open_device(shared, settings, silent, profile_must::be_writable);
  auto& device = *owned;
  auto code = o.code == "-" ? std::string{} : o.code;
  if (code.empty())
    code = ask_for_earlier_code(o, shared, device.store().who().value_or(client::identity{}));
  if (code.empty()) {
    std::vector<std::uintmax_t> from;
    for (const auto& file : o.code_from)
      from.push_back(size_of(file));
    const auto asked = patiently(device, o, settings, device.it().request_code(o.phone));
    if (!asked)
      stop_with(without_answer(asked.error()));
    if (o.request_only) {
      if (shared.json)
        json_line{}
            .put("event", "code-sent")
            .put("phone", o.phone)
            .put("expires_in_s", asked->count())
            .print(shared.out);
      else
        shared.out.line(
            fmt::format("A code was sent to {}. Run now: {} --code CODE", o.phone, again(o, shared)));
      shared.remember();
      return;
    }
    if (o.code_from.empty())
      code = ask_for_code(o, shared, *asked);
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (code.empty()) {
      for (std::size_t i = 0; i < o.code_from.size() && code.empty(); ++i)
        code = code_in(o.code_from[i], from[i], o.phone).value_or("");
      if (code.empty() && std::chrono::steady_clock::now() > deadline)
        throw stop{
            status::local,
            "No code for that number appeared in the files of --code-from, so nothing was registered: check "
            "that they are the consoles of the nodes, or give the code with --code."};
      if (code.empty())
        device.timer().afterDelay(50 * kj::MILLISECONDS).wait(device.io().waitScope);
    }
  }
  const auto who = patiently(device, o, settings, device.it().register_device(o.phone, code, o.name));
  if (!who)
    stop_with(with_next_step(who.error(), o, shared));
  shared.remember();
  if (shared.json)
    json_line{}
        .put("event", "registered")
        .put("phone", o.phone)
        .id("user", number(who->user))
        .id("device", number(who->device))
        .put("profile", shared.directory().string())
        .print(shared.out);
  else
    shared.out.line(fmt::format("{} is registered; profile {}.", o.phone, shared.directory().string()));
}

} // namespace

command register_command(context& shared) {
  const auto o = std::make_shared<options>();
  return {
      .name = "register",
      .summary = "Make this profile a device of a phone number",
      .details =
          "The cluster sends a code to the phone number. The command asks for the code and registers the "
          "device. It then remembers --seeds and --ca in the profile.\n\nExample:\n"
          "  parley register --profile alice --phone +491700000001 --seeds 127.0.0.1:7001 --ca "
          "certs/client-ca.pem\n",
      .options =
          {{.name = "--phone",
            .unit = "NUMBER",
            .help = "The phone number to register: + and 7 to 15 digits.",
            .value = &o->phone,
            .required = true},
           {.name = "--code",
            .unit = "CODE",
            .help = "The code, if this profile had it sent before. "
                    "With - the command asks for a new code and reads it from standard input.",
            .value = &o->code},
           {.name = "--code-from",
            .unit = "FILE",
            .help = "Files that the nodes' consoles are written to. "
                    "The command waits until the code appears in one of them; "
                    "that is for test clusters, whose nodes print codes instead of sending them.",
            .value = &o->code_from},
           {.name = "--request-only",
            .unit = {},
            .help =
                "Have the code sent and end. Run the command again with --code when the code has arrived.",
            .value = &o->request_only},
           {.name = "--device-name",
            .unit = "NAME",
            .help = "The name of this device in its owner's list of devices.",
            .value = &o->name},
           seconds_option(
               o->seconds, 600,
               "How long to wait for the cluster, and for the code in --code-from, in seconds. Raise it "
               "where the network is slow.")},
      .run =
          [o, &shared] {
            const auto phone = phone_number(o->phone);
            if (!phone)
              throw stop{
                  status::usage,
                  fmt::format("\"{}\" is no phone number with its country: write + and 7 to 15 digits, for "
                              "example +491700000001.",
                              printable(o->phone))};
            o->phone = *phone;
            if (!is_utf8(o->name))
              throw stop{status::usage,
                         "--device-name is not UTF-8, so nobody could read it, and nothing was done. Set "
                         "the terminal to UTF-8."};
            if (o->name.size() > device_name_bytes_max)
              throw stop{status::usage,
                         fmt::format("--device-name is text of at most {} bytes. Give a shorter one.",
                                     device_name_bytes_max)};
            if (o->request_only && (!o->code.empty() || !o->code_from.empty()))
              throw stop{status::usage,
                         "--request-only asks for a code, and --code and --code-from give one. Leave "
                         "one of them out."};
            run(*o, shared);
          },
  };
}

} // namespace parley::tool
