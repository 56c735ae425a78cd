// `parley contacts`: what this person calls others.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/names.hpp"
#include "protocol/client/tool/output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

namespace parley::tool {
namespace {

struct options {
  std::string whom;
  std::string name;
  bool forget = false;
};

std::string id_text(user_id user) {
  return number(user) == 0 ? "" : fmt::format("user {}", number(user));
}

void list(const names& known, context& shared) {
  // As lines show them; whoever has neither a name nor a number has the end of an id.
  const auto shown = [&](const client::contact& c) {
    return c.name.empty() && !c.phone.empty() ? std::string{}
           : number(c.user) == 0              ? printable(c.name)
                                              : known.of(c.user);
  };
  std::size_t widest = 0;
  for (const auto& c : known.all())
    widest = std::max(widest, columns(shown(c)));
  for (const auto& c : known.all()) {
    const auto name = shown(c);
    if (shared.json) {
      json_line line;
      line.put("name", c.name).put("phone", c.phone);
      if (number(c.user) != 0) // the cluster was not asked about the number yet
        line.id("user", number(c.user));
      line.print(shared.out);
    } else {
      auto line = fmt::format("{}{}  {:<16}  {}", name, std::string(widest - columns(name), ' '), c.phone,
                              id_text(c.user));
      line.erase(line.find_last_not_of(' ') + 1);
      shared.out.line(line);
    }
  }
  if (known.all().empty() && !shared.json)
    shared.out.line("No contacts yet. Whom you send to by phone number becomes one.");
}

/// A name that could be taken for something else would make `--to NAME` ambiguous.
void check(const std::string& name, const names& known, const std::string& whom) {
  if (name.empty() || name.front() == ' ' || name.back() == ' ')
    throw stop{status::usage, "A name is not empty, and neither begins nor ends with a blank."};
  if (!is_utf8(name) || printable(name) != name)
    throw stop{status::usage, "A name is text without controls and invisible characters. Give another one."};
  if (name.size() > 200)
    throw stop{status::usage, "A name has at most 200 bytes. Give a shorter one."};
  if (name == "you" || phone_number(name) || client::parse_conversation(name) ||
      name.find_first_not_of("0123456789") == std::string::npos)
    throw stop{status::usage, fmt::format("\"{}\" means something else already. Give another name.", name)};
  const auto* taken = known.find(name);
  if (taken && taken != known.find(whom))
    throw stop{status::usage, fmt::format("\"{}\" is the name of somebody else. Give another name.", name)};
}

void run(const options& o, context& shared) {
  const auto store = open_profile(shared);
  names known{*store};
  if (o.whom.empty()) {
    if (!o.name.empty() || o.forget)
      throw stop{status::usage, "Say whose entry is meant: give --whom."};
    list(known, shared);
    return;
  }
  if (o.forget) {
    if (!known.find(o.whom))
      throw stop{status::usage, fmt::format("There is no contact \"{}\".", o.whom)};
    known.forget(o.whom);
    list(names{*store}, shared); // with whom there is a conversation is known by an id
    return;
  } else if (o.name.empty()) {
    throw stop{status::usage, "Say what is wanted: give --name or --forget."};
  } else {
    check(o.name, known, o.whom);
    if (!known.rename(o.whom, o.name))
      throw stop{status::usage,
                 fmt::format("\"{}\" is neither a contact nor a phone number nor the id of a user, so "
                             "nothing was changed.",
                             o.whom)};
  }
  list(known, shared);
}

} // namespace

command contacts_command(context& shared) {
  const auto o = std::make_shared<options>();
  return {
      .name = "contacts",
      .summary = "List whom this profile knows, and give them names",
      .details = "Whom you send to by phone number is a contact from then on. A name of your own choice is "
                 "shown instead of "
                 "the number, and can be given wherever a command asks for somebody. Names stay in this "
                 "profile; nobody "
                 "else sees them, and the cluster does not know them. Whoever wrote first is listed by an "
                 "id.\n\nExamples:\n"
                 "  parley contacts --profile alice\n"
                 "  parley contacts --profile alice --whom +491700000002 --name Bob\n"
                 "  parley send --profile alice --to Bob \"Are you there?\"\n",
      .options =
          {{.name = "--whom",
            .unit = "WHOM",
            .help = "The person: a phone number (+49…), or the name or the id that `parley contacts` shows.",
            .value = &o->whom},
           {.name = "--name",
            .unit = "NAME",
            .help = "What you want to call the person. It replaces an earlier name.",
            .value = &o->name},
           {.name = "--forget",
            .unit = {},
            .help =
                "Forget the person's name and phone number. Conversations and messages stay, and with whom "
                "there is a conversation stays in the list, by an id.",
            .value = &o->forget}},
      .run = [o, &shared] { run(*o, shared); },
  };
}

} // namespace parley::tool
