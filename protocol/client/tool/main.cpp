#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/output.hpp"
#include "protocol/client/tool/programs.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace {

constexpr auto footer = R"(Examples:
  parley register --profile alice --phone +491700000001 --seeds 127.0.0.1:7001,127.0.0.1:7002 --ca certs/client-ca.pem
  parley send --profile alice --to +491700000002 "Are you there?"
  parley chat --profile alice --with +491700000002
  parley sync --profile bob --json

Exit status:
  0  done
  1  the cluster refused, for good
  2  the command line cannot be understood
  3  no answer in time; what was to be sent is kept and sent by the next command
  4  the profile, a file or the terminal failed
  5  the device connected elsewhere)";

bool has_command(CLI::App& app, std::string_view name) {
  return std::ranges::any_of(app.get_subcommands({}),
                             [&](const CLI::App* sub) { return sub->get_name() == name; });
}

} // namespace

int main(int argc, char** argv) {
  using namespace parley::tool;
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"Parley: chats, and scripts for chats."};
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of all commands");
  context shared;
  app.add_option("--profile", shared.profile, "Name under ~/.parley, or a directory (with a /)")
      ->envname("PARLEY_PROFILE")
      ->capture_default_str();
  app.add_option("--seeds", shared.seeds, "Nodes to connect to: host:port,host:port; default: the profile's")
      ->envname("PARLEY_SEEDS");
  app.add_option("--ca", shared.ca,
                 "The authority that signs the nodes' certificates; default: the profile's")
      ->envname("PARLEY_CA");
  app.add_option("--key-file", shared.key_file,
                 "The key that the profile's database is encrypted with; default: `key` in the profile")
      ->envname("PARLEY_KEY_FILE");
  app.add_flag("--json", shared.json, "One JSON object per line");

  add_register(app, shared);
  add_send(app, shared);
  add_sync(app, shared);
  add_chat(app, shared);
  add_conversations(app, shared);
  add_top(app, shared);

  // As git does: `parley NAME …` runs the program `parley-NAME`, if no command has that name.
  if (argc > 1 && argv[1][0] != '-' && !has_command(app, argv[1]))
    run_program(argv[1], argv + 1);

  app.footer(programs_help() + footer); // after the commands, which would inherit it
  for (auto* sub : app.get_subcommands({}))
    sub->footer(sub->get_footer() + (sub->get_footer().empty() ? "" : "\n\n") +
                "--profile, --seeds, --ca, --key-file and --json go with every command: parley --help");

  try {
    app.parse(argc, argv);
    return shared.exit_code;
  } catch (const CLI::RuntimeError& e) { // a command that has said all it had to say
    return e.get_exit_code();
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(status::usage);
  } catch (const stop& e) {
    std::fprintf(stderr, "parley: %s\n", e.what());
    return static_cast<int>(e.code);
  } catch (const kj::Exception& e) {
    std::fprintf(stderr, "parley: %s\n", e.getDescription().cStr());
    return static_cast<int>(status::unreachable);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "parley: %s\n", e.what());
    return static_cast<int>(status::local);
  }
}
