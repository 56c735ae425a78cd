// `parley conversations`: who this user talks with, what is unread, and what was said last.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/names.hpp"
#include "protocol/client/tool/outbox.hpp"
#include "protocol/client/tool/output.hpp"
#include "protocol/values/wall_clock.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

namespace parley::tool {
namespace {

class listing {
public:
  listing(client::blocking_device& device, context& shared)
      : device_{device}, shared_{shared}, names_{device.store()} {}

  void show(const conversation_info& c) {
    const auto& me = device_.it().who();
    seq_no read{};
    for (const auto& mark : device_.it().marks(c.conversation))
      if (mark.user == me.user)
        read = mark.read;
    const auto unread = device_.store().unread_messages(c.conversation, read, me.user);
    const auto last = last_of(c);
    if (shared_.json)
      as_json(c, unread, last);
    else
      as_text(c, unread, last);
  }

private:
  /// From the profile; what was said before this device was registered, from the cluster.
  std::optional<client::message> last_of(const conversation_info& c) {
    auto newest = device_.store().newest(c.conversation, 1);
    if (!newest.empty() && newest[0].seq >= c.last)
      return std::move(newest[0]);
    if (c.last == seq_no::none)
      return std::nullopt;
    auto page = device_.wait(device_.it().sync_conversation(c.conversation, seq_no{number(c.last) - 1}, 1));
    if (!page)
      stop_with(page.error());
    return page->messages.empty() ? std::nullopt : std::optional{std::move(page->messages.front())};
  }

  void as_json(const conversation_info& c, std::size_t unread, const std::optional<client::message>& last) {
    std::string members;
    for (const auto user : c.members)
      members += fmt::format("{}\"{}\"", members.empty() ? "" : ",", number(user));
    json_line line;
    line.put("conversation", client::text(c.conversation))
        .put("name", names_.of(c.members))
        .raw("members", "[" + members + "]")
        .put("last", std::max(number(c.last), last ? number(last->seq) : 0))
        .put("unread", unread);
    if (last)
      line.put("last_from", names_.of(last->sender))
          .put("last_server_time_ms", static_cast<std::int64_t>(last->at))
          .body("last_body", last->body);
    line.print(shared_.out);
  }

  void as_text(const conversation_info& c, std::size_t unread, const std::optional<client::message>& last) {
    auto line = fmt::format("{}  {}", client::text(c.conversation), names_.of(c.members));
    line += unread > 0 ? fmt::format("  ({} unread)", unread) : "";
    if (last)
      line += fmt::format("  {} {}: {}", clock_text(last->at, system_time_of_day.now()),
                          names_.of(last->sender), printable(last->body));
    winsize window{};
    if (::isatty(STDOUT_FILENO) && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 40 &&
        columns(line) > window.ws_col)
      line = std::string{beginning_of(line, window.ws_col - 1U)} + "…"; // one row each
    shared_.out.line(line);
  }

  client::blocking_device& device_;
  context& shared_;
  names names_;
};

void run(context& shared, std::chrono::seconds limit) {
  outbox_watch outbox{shared};
  auto settings = shared.settings();
  settings.how = client::intake::pull;
  settings.ask_timeout = limit;
  const auto owned = open_device(shared, settings, outbox);
  auto& device = *owned;
  outbox.watch(device);
  connect(device, limit);
  const auto fresh = device.wait(device.it().sync_inbox()); // kept, and shown by the next `sync`
  if (!fresh)
    stop_with(fresh.error());
  listing list{device, shared};
  conversation_id after;
  std::size_t shown = 0;
  for (bool more = true; more && !shared.out.failed();) {
    const auto page = device.wait(device.it().conversations(after));
    if (!page)
      stop_with(page.error());
    remember_talks(device.store(), page->items);
    for (const auto& c : page->items) {
      after = c.conversation;
      list.show(c);
      ++shown;
    }
    more = page->more && !page->items.empty();
  }
  if (shown == 0 && !shared.json)
    shared.out.line("No conversations yet. `parley send --to +49… TEXT` begins one.");
  outbox.finish(device, limit);
  device.wait(device.it().stop());
}

} // namespace

command conversations_command(context& shared) {
  const auto seconds = std::make_shared<int>(30);
  return {
      .name = "conversations",
      .summary = "List the conversations of this user, what is unread, and what was said last",
      .details =
          "Each line shows the conversation's id, the names of the other members, how many messages are "
          "unread "
          "and the last message. What is fetched for that is kept, and the next `parley sync` shows it. "
          "`parley contacts` gives people names.\n\nExamples:\n"
          "  parley conversations --profile alice\n"
          "  parley conversations --profile alice --json\n",
      .options = {seconds_option(
          *seconds, 600,
          "How long to wait for the cluster, in seconds. Raise it where the network is slow.")},
      .run = [seconds, &shared] { run(shared, std::chrono::seconds{*seconds}); },
  };
}

} // namespace parley::tool
