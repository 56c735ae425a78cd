#pragma once
// `parley`, one command a file: `main` adds each with its `add_…`. A command sets `exit_code` or throws `stop`.
#include "protocol/client/client.hpp"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace parley::tool {

/// What the program answers to a shell. Documented in `parley --help`.
enum class status : int {
  done = 0,
  refused = 1,     ///< the cluster said no, for good
  usage = 2,       ///< the command line cannot be understood
  unreachable = 3, ///< no answer in time; what was to be sent is kept, and sent by the next command
  local = 4,       ///< the profile, a file or the terminal
  fenced = 5       ///< the device connected elsewhere
};

/// Ends the command with a sentence for a person.
struct stop : std::runtime_error {
  stop(status code, const std::string& sentence) : std::runtime_error{sentence}, code{code} {}
  status code;
};
[[noreturn]] void stop_with(const client::failure& why);

/// What all commands share: the options before the command's own.
struct context {
  std::string profile = "default"; ///< a name under ~/.parley, or a directory
  std::string seeds;               ///< empty: the profile's, else 127.0.0.1:7000
  std::string ca;                  ///< empty: the profile's
  std::string key_file;            ///< empty: `key` in the profile
  bool json = false;
  int exit_code = 0;

  std::filesystem::path directory() const;
  client::config settings() const;
  std::string ca_file() const;
  /// So that later commands need neither --seeds nor --ca.
  void remember() const;
};

void add_register(CLI::App& app, context& shared);
void add_send(CLI::App& app, context& shared);
void add_sync(CLI::App& app, context& shared);
void add_chat(CLI::App& app, context& shared);
void add_conversations(CLI::App& app, context& shared);
void add_top(CLI::App& app, context& shared);

/// A device that is registered; connected within `limit`, or `stop`.
void connect(client::blocking_device& device, std::chrono::milliseconds limit);
/// The conversation named on the command line: its id, or a phone number.
conversation_id find_talk(client::blocking_device& device, const std::string& with,
                          std::chrono::milliseconds limit);

} // namespace parley::tool
