#pragma once
// `parley`, one command a file. A command declares its options as a table and knows nothing of how a command
// line is parsed: `main` alone does.
#include "protocol/client/client.hpp"
#include "protocol/client/tool/names.hpp"
#include "protocol/client/tool/output.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace parley::tool {

/// What the program answers to a shell. Documented in `parley --help`.
enum class status : int {
  done = 0,
  refused = 1,     ///< the cluster refused, for good
  usage = 2,       ///< the command line cannot be understood
  unreachable = 3, ///< no answer in time; the sentence says whether what was to be sent is kept
  local = 4,       ///< the profile, a file or the terminal
  fenced = 5       ///< the device connected elsewhere
};

/// Ends the command with a sentence for a person.
struct stop : std::runtime_error {
  stop(status code, const std::string& sentence) : std::runtime_error{sentence}, code{code} {}
  status code;
};
status status_of(const client::failure& why);
/// The failure's sentence, and what to do about it.
std::string sentence_of(const client::failure& why);
/// The sentence without what only a program that numbers messages itself has to know: this one does that.
std::string for_person(std::string sentence);
/// `where`: what the sentence is about, in front of it.
[[noreturn]] void stop_with(const client::failure& why, const std::string& where = {});

/// Where the value of an option is stored. The value before that is the default. A `bool` is a flag without a
/// value; a list takes several.
using option_value =
    std::variant<bool*, int*, unsigned*, std::uint64_t*, double*, std::string*, std::vector<std::string>*>;

/// One option of a command, declared once: for parsing, for the bounds, and for the help.
struct option {
  std::string name;   ///< "--to"; without the dashes, an argument that is given by its place
  std::string unit{}; ///< what the value is: "SECONDS", "FILE"; in capitals, as the help shows it
  std::string help{}; ///< whole sentences: what it controls, and when to change it
  option_value value{};
  bool required = false;
  std::optional<std::pair<double, double>> bounds{}; ///< of a number: lowest and highest
  std::vector<std::string> choices{};                ///< of a text
  bool existing_file = false;
  std::string environment{}; ///< a variable that the value is read from if the option is not given
  bool* behind_dashes =
      nullptr; ///< of an argument by its place: set if it was given behind `--`; may be null
};

struct command {
  std::string name;
  std::string summary{}; ///< one sentence without a full stop, for the list of commands
  std::string details{}; ///< paragraphs and examples after the options
  std::vector<option> options{};
  bool uses_profile = true;    ///< false: the shared options say nothing to it, but for --json
  std::function<void()> run{}; ///< does what the options say, or throws `stop`
};

/// What all commands share: the options that go with every command.
struct context {
  std::string profile = "default"; ///< a name under ~/.parley, or a directory
  std::string seeds;               ///< empty: the profile's, else 127.0.0.1:7000
  std::string ca;                  ///< empty: the profile's
  std::string key_file;            ///< empty: `key` in the profile
  int profile_seconds = 0;         ///< how long to wait while another process has the profile open
  bool json = false;
  bool connected = false; ///< a node has let the device in, so its address and the authority were right
  standard_output out;    ///< of all commands; `main` ends with `local` if a write failed

  std::filesystem::path directory() const;
  client::config settings() const;
  std::string ca_file() const;
  /// A `ca` that is a pipe is read once, and is a file of this process from then on.
  void settle_ca();
  /// So that later commands need neither --seeds nor --ca.
  void remember() const;
  /// What a failure may come from without being seen on the command line: variables of the environment, and what
  /// the profile says instead of them. Empty, or sentences with a blank in front.
  std::string unseen(status code, const std::vector<std::string>& variables) const;
  /// The profile as it is named on a command line: in front of what a person is told to run.
  std::string option_text() const;
};
std::vector<option> shared_options(context& shared);

/// The profile of a registered device; `stop` if there is none, so that a name that was mistyped makes no new
/// one. Waits for `profile_seconds` while another process has it open.
std::unique_ptr<client::sqlite_store> open_profile(const context& shared);
enum class profile_must { be_registered, be_writable };
/// The same with a device on it.
std::unique_ptr<client::blocking_device> open_device(const context& shared, client::config settings,
                                                     client::observer& events,
                                                     profile_must what = profile_must::be_registered);

// Each returns its declaration; `shared` outlives it and is filled before `run`.
command register_command(context& shared);
command send_command(context& shared);
command sync_command(context& shared);
command chat_command(context& shared);
command conversations_command(context& shared);
command contacts_command(context& shared);
command top_command(context& shared);
/// All of them, in the order in which the help lists them.
std::vector<command> all_commands(context& shared);

/// The option that most commands have: how long to wait for the cluster.
option seconds_option(int& seconds, int highest, std::string help);

/// A device that is registered begins to connect; `stop` if it is not registered.
void start(client::blocking_device& device);
/// The same; connected within `limit`, or `stop`.
void connect(client::blocking_device& device, std::chrono::milliseconds limit);
/// Why messages are not stored yet, as a sentence: the last refusal, else the lost connection.
std::string why_not_yet(const client::blocking_device& device);
/// `stop` if `with` is neither somebody else nor a conversation: before anybody is asked.
void check_whom(client::client_store& store, const std::string& with);
/// Keeps conversations that were opened before this device was registered, so that they and the people in them
/// are found by the names that are shown.
void remember_talks(client::client_store& store, const std::vector<conversation_info>& talks);
/// The conversation with a person, or with an id, as far as the profile knows it: nobody is asked.
std::optional<conversation_id> known_talk(client::client_store& store, const std::string& with);

/// The conversation named on the command line: its id, a phone number, or the name of a contact. The cluster is
/// asked only if the profile does not know it, because such questions are limited; it is known from then on. A
/// phone number that was used becomes a contact.
conversation_id find_talk(client::blocking_device& device, const std::string& with,
                          std::chrono::milliseconds limit);

/// Where to look for a conversation first.
enum class look_in : std::uint8_t { profile, cluster };
/// The same for a program that must not wait. `bad_config`: it is none of these.
kj::Promise<client::result<conversation_id>> begin_finding_talk(client::blocking_device& device,
                                                                const std::string& with,
                                                                look_in first = look_in::profile);

} // namespace parley::tool
