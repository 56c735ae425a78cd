#include "cluster/ops/startup.hpp"

#include "cluster/ops/help.hpp"
#include "cluster/ops/setting_table.hpp"
#include "protocol/values/suggest.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <limits>

extern char** environ;

namespace parley::cluster {
namespace {

using problem = std::optional<std::string>;
using words = setting_entry::words;

const setting_entry* find_setting(std::string_view key) {
  const auto& all = setting_table();
  const auto s = std::find_if(all.begin(), all.end(), [&](const auto& e) { return e.key == key; });
  return s == all.end() ? nullptr : &*s;
}

/// The items of a list, without the blanks around them.
words split(std::string_view text) {
  constexpr std::string_view blanks = " \t";
  words out;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    auto item = text.substr(0, comma);
    item.remove_prefix(std::min(item.find_first_not_of(blanks), item.size()));
    if (!item.empty())
      out.emplace_back(item.substr(0, item.find_last_not_of(blanks) + 1));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

/// Where a value was given: in a flag, a variable, or a line of the file.
struct origin {
  enum class kind { file, variable, flag } what = kind::file;
  std::string where; ///< "PARLEY_SEEDS", "node.toml:3"
  words value;
};

/// A configuration that is put together, from the least specific place to the most specific one.
struct assembly {
  node_config config;
  std::map<std::string, origin> origins; ///< by key: where the value in `config` was given
  std::vector<std::string> warnings;
};

problem apply(assembly& to, const setting_entry& s, const origin& from) {
  const auto& [kind, where, value] = from;
  if (!s.list && value.size() != 1)
    return fmt::format("{}: {} wants one value, not {}", where, s.key, value.size());
  if (const auto unread = s.set(to.config, value))
    return fmt::format("{}: {} wants {}, not '{}'", where, s.key, s.wants, *unread);
  if (!s.in_bounds(to.config))
    return fmt::format("{}: {} wants {}, not '{}'", where, s.key, s.wants, value.front());
  // A flag is seen on the command line. Of a file and a variable, one may be forgotten.
  const auto before = to.origins.find(s.key);
  if (before != to.origins.end() && kind != origin::kind::flag && before->second.what != kind &&
      before->second.value != value)
    to.warnings.push_back(fmt::format("{} is given by {} and by {}; {} takes precedence", s.key,
                                      before->second.where, where, where));
  to.origins[s.key] = from;
  return {};
}

std::optional<words> scalars(const toml::node& n) {
  if (const auto* list = n.as_array()) {
    words out;
    for (const auto& item : *list) {
      const auto one = item.is_array() ? std::nullopt : scalars(item);
      if (!one)
        return std::nullopt;
      out.push_back(one->front());
    }
    return out;
  }
  if (const auto v = n.value_exact<std::string>())
    return words{*v};
  if (const auto v = n.value_exact<std::int64_t>())
    return words{std::to_string(*v)};
  if (const auto v = n.value_exact<bool>())
    return words{*v ? "true" : "false"};
  return std::nullopt;
}

problem apply_table(assembly& to, const toml::table& table, const std::string& prefix,
                    const std::string& file) {
  words known;
  for (const auto& s : setting_table())
    known.push_back(s.key);
  for (const auto& [name, node] : table) {
    const auto key = prefix + std::string{name.str()};
    const auto where = fmt::format("{}:{}", file, node.source().begin.line);
    const bool is_section =
        std::any_of(known.begin(), known.end(), [&](const auto& k) { return k.starts_with(key + "."); });
    if (const auto* section = node.as_table(); section && (is_section || prefix.empty())) {
      if (const auto p = apply_table(to, *section, key + ".", file))
        return p;
      continue;
    }
    const auto* s = find_setting(key);
    if (!s) {
      const auto near = suggest(key, known);
      return fmt::format("{}: there is no setting '{}'{}", where, key,
                         near ? fmt::format("; did you mean '{}'?", *near) : "");
    }
    const auto value = scalars(node);
    if (!value)
      return fmt::format("{}: {} wants {}", where, key, s->wants);
    if (const auto p = apply(to, *s, {origin::kind::file, where, *value}))
      return p;
  }
  return {};
}

problem apply_file(assembly& to, const std::string& file) {
  std::error_code why; // without it, a directory that must not be looked into would end the node at SIGHUP
  if (!std::filesystem::is_regular_file(file, why))
    return why && why != std::errc::no_such_file_or_directory
               ? fmt::format("the configuration file {} cannot be read: {}", file, why.message())
               : fmt::format("there is no configuration file {}", file);
  try {
    return apply_table(to, toml::parse_file(file), "", file);
  } catch (const toml::parse_error& e) {
    return fmt::format("{}:{}: {}", file, e.source().begin.line, e.description());
  }
}

problem apply_environment(assembly& to, const environment_variables& env) {
  for (const auto& s : setting_table()) {
    const auto i = env.find(s.variable());
    if (i == env.end() || i->second.empty())
      continue;
    const auto value = s.list ? split(i->second) : words{i->second};
    if (const auto p = apply(to, s, {origin::kind::variable, i->first, value}))
      return p;
  }
  return {};
}

problem apply_flags(assembly& to, const std::map<std::string, std::string>& flags) {
  for (const auto& s : setting_table()) {
    const auto i = flags.find(s.key);
    if (i == flags.end())
      continue;
    if (const auto p =
            apply(to, s, {origin::kind::flag, s.flag(), s.list ? split(i->second) : words{i->second}}))
      return p;
  }
  return {};
}

std::vector<std::string> strangers(const environment_variables& env) {
  // `parley` reads variables of its own and may run from the same shell, so they are no mistakes here. Both
  // programs read PARLEY_SEEDS: `parley` expects addresses of clients in it, this program those of nodes. A
  // command line that names its seeds, or a file with them, takes precedence.
  words known{"PARLEY_CONFIG", "PARLEY_CA", "PARLEY_PROFILE", "PARLEY_ADMIN", "PARLEY_KEY_FILE"};
  for (const auto& s : setting_table())
    known.push_back(s.variable());
  std::vector<std::string> out;
  for (auto i = env.lower_bound("PARLEY_"); i != env.end() && i->first.starts_with("PARLEY_"); ++i) {
    if (std::find(known.begin(), known.end(), i->first) != known.end())
      continue;
    const auto near = suggest(i->first, known);
    out.push_back(fmt::format("the environment variable {} is not a setting{}", i->first,
                              near ? fmt::format("; did you mean {}?", *near) : ""));
  }
  return out;
}

/// The variable that gave the setting with which a sentence of `validate` begins: it may be a forgotten one.
std::string blame(const assembly& all, std::string_view sentence) {
  const auto i = all.origins.find(std::string{sentence.substr(0, sentence.find(':'))});
  return i != all.origins.end() && i->second.what == origin::kind::variable
             ? fmt::format(" (the environment variable {} gives it)", i->second.where)
             : "";
}

/// PARLEY_SEEDS means addresses of clients to `parley`. A node that takes them for seeds waits for ever.
problem doubtful_seeds(const assembly& all, const node_config& config) {
  const auto i = all.origins.find("seeds");
  if (i == all.origins.end() || i->second.what != origin::kind::variable ||
      std::find(config.seeds.begin(), config.seeds.end(), config.peer_advertise) != config.seeds.end())
    return {};
  return fmt::format(
      "the seeds are those of the environment variable {}, and this node's own address, {}, is not "
      "among them; if the variable was set for `parley`, give the nodes' addresses with --seeds",
      i->second.where, to_string(config.peer_advertise));
}

/// CLI11 knows the flags; what it calls an error is answered with a suggestion if one is near.
std::string flag_error(const CLI::ParseError& e, int argc, const char* const* argv, const words& known) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word{argv[i]};
    const auto name = word.substr(0, word.find('='));
    if (!name.starts_with("--") || std::find(known.begin(), known.end(), name) != known.end())
      continue;
    const auto near = suggest(name, known);
    return fmt::format("there is no flag {}{}", name,
                       near ? fmt::format("; did you mean {}?", *near) : " (see --help)");
  }
  // Of all values only this one is read by the parser.
  if (dynamic_cast<const CLI::ConversionError*>(&e) != nullptr)
    return fmt::format("--rescue-shard needs the number of a shard, as log lines name it: 0 to {}",
                       std::numeric_limits<decltype(startup::rescue_shard)>::max());
  return fmt::format("{} (see --help)", e.what());
}

startup print(std::string text, int code) {
  startup s;
  s.what = startup::action::print;
  s.text = std::move(text);
  s.exit_code = code;
  return s;
}

startup refuse(const std::string& why) {
  return print("parleyd: " + why + "\n", 2);
}

} // namespace

environment_variables current_environment() {
  environment_variables out;
  for (char** e = environ; e && *e; ++e) {
    const std::string_view entry{*e};
    if (const auto eq = entry.find('='); eq != std::string_view::npos)
      out.emplace(entry.substr(0, eq), entry.substr(eq + 1));
  }
  return out;
}

startup read_startup(int argc, const char* const* argv, const environment_variables& env,
                     std::string_view version, std::size_t columns) {
  CLI::App app;
  app.set_version_flag("--version", std::string{version});
  startup result;
  std::string file;
  bool print_config = false;
  app.add_option("--config", file);
  app.add_option("--dump", result.dump_dir);
  auto* const rescue = app.add_option("--rescue-shard", result.rescue_shard);
  app.add_flag("--print-config", print_config);
  words known{"--config", "--dump", "--rescue-shard", "--print-config", "--version", "--help"};
  std::map<std::string, std::string> flags;
  for (const auto& s : setting_table()) {
    known.push_back(s.flag());
    if (s.needs_value)
      app.add_option_function<std::string>(s.flag(),
                                           [&flags, &s](const std::string& v) { flags[s.key] = v; });
    else
      app.add_flag_callback(s.flag(), [&flags, &s] { flags[s.key] = "true"; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return print(help_text(columns), 0);
  } catch (const CLI::CallForVersion&) {
    return print(std::string{version} + "\n", 0);
  } catch (const CLI::ParseError& e) {
    return refuse(flag_error(e, argc, argv, known));
  }
  if (!result.dump_dir.empty()) {
    result.what = startup::action::dump;
    return result;
  }

  assembly all;
  if (const auto i = env.find("PARLEY_CONFIG"); file.empty() && i != env.end() && !i->second.empty())
    if (const auto p = apply_file(all, i->second))
      return refuse(*p);
  if (const auto p = apply_environment(all, env))
    return refuse(*p);
  if (!file.empty())
    if (const auto p = apply_file(all, file))
      return refuse(*p);
  if (const auto p = apply_flags(all, flags))
    return refuse(*p);
  auto& config = result.config = std::move(all.config);

  if (rescue->count() > 0) {
    if (config.data_dir.empty())
      return refuse("--rescue-shard needs the data directory of a stopped node (--data-dir)");
    result.what = startup::action::rescue;
    return result;
  }
  if (config.peer_advertise.host.empty())
    config.peer_advertise = config.peer_listen;
  if (config.client_advertise.host.empty())
    config.client_advertise = config.client_listen;
  if (const auto p = validate(config))
    return refuse(*p + blame(all, *p) + (argc < 2 ? "; `parleyd --help` shows a whole command" : ""));
  if (print_config)
    return print(config_text(config), 0);
  result.warnings = std::move(all.warnings);
  for (auto& warning : strangers(env))
    result.warnings.push_back(std::move(warning));
  if (auto warning = doubtful_seeds(all, config))
    result.warnings.push_back(std::move(*warning));
  return result;
}

} // namespace parley::cluster
