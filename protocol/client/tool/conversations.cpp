// `parley conversations`: who this user talks with.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/outbox.hpp"
#include "protocol/client/tool/output.hpp"

#include <fmt/format.h>

#include <memory>

namespace parley::tool {
namespace {

void run(context& shared, std::chrono::seconds limit) {
  outbox_watch outbox{shared};
  auto settings = shared.settings();
  settings.how = client::intake::pull;
  settings.ask_timeout = limit;
  client::blocking_device device{shared.directory(), shared.ca_file(), settings, outbox, shared.key_file};
  outbox.watch(device);
  connect(device, limit);
  conversation_id after;
  for (bool more = true; more;) {
    const auto page = device.wait(device.it().conversations(after));
    if (!page)
      stop_with(page.error());
    for (const auto& c : page->items) {
      after = c.conversation;
      std::string members;
      for (auto user : c.members)
        members += fmt::format("{}\"{}\"", members.empty() ? "" : ",", number(user));
      if (shared.json) {
        json_line{}
            .put("conversation", client::text(c.conversation))
            .raw("members", "[" + members + "]")
            .put("last", number(c.last))
            .print(shared.out);
        continue;
      }
      std::erase(members, '"');
      shared.out.line(
          fmt::format("{}  {:>6} messages  {}", client::text(c.conversation), number(c.last), members));
    }
    more = page->more && !page->items.empty();
  }
  outbox.finish(device, limit);
  device.wait(device.it().stop());
}

} // namespace

command conversations_command(context& shared) {
  const auto seconds = std::make_shared<int>(30);
  return {
      .name = "conversations",
      .summary = "List the conversations of this user",
      .details =
          "Each line shows the conversation's id, the number of its messages and the ids of its members.\n",
      .options = {seconds_option(
          *seconds, 600,
          "How long to wait for the cluster, in seconds. Raise it where the network is slow.")},
      .run = [seconds, &shared] { run(shared, std::chrono::seconds{*seconds}); },
  };
}

} // namespace parley::tool
