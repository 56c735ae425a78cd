// `parley sync`: fetches what is new, keeps it, acknowledges it and shows it. With --conversation it shows
// one conversation again.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/output.hpp"

#include <fmt/format.h>

#include <iostream>
#include <map>
#include <memory>

namespace parley::tool {
namespace {

struct options {
  std::string conversation;
  std::uint64_t after = 0;
  bool read = false;
  int seconds = 30;
};

class printer final : public client::observer {
public:
  explicit printer(const context& shared) : shared_{shared} {}
  void on_message(const client::message& m) override {
    if (shared_.json)
      json_line{}
          .put("event", "message")
          .put("conversation", client::text(m.conversation))
          .put("seq", number(m.seq))
          .put("msg_id", client::text(m.id))
          .id("sender", number(m.sender))
          .put("server_time_ms", static_cast<std::int64_t>(m.at))
          .body("body", m.body)
          .print();
    else
      std::cout << fmt::format("{} {} {:>5} {}  {}\n", clock_text(m.at),
                               client::text(m.conversation).substr(0, 8), number(m.seq), number(m.sender),
                               printable(m.body));
    last[m.conversation] = m.seq;
  }
  void on_opened(const client::conversation_info& c) override {
    if (shared_.json)
      json_line{}.put("event", "opened").put("conversation", client::text(c.conversation)).print();
  }
  void tick(const char* what, conversation_id c, user_id who, seq_no upto) {
    if (shared_.json)
      json_line{}
          .put("event", what)
          .put("conversation", client::text(c))
          .id("user", number(who))
          .put("seq", number(upto))
          .print();
  }
  void on_delivered(conversation_id c, user_id who, seq_no upto) override { tick("delivered", c, who, upto); }
  void on_read(conversation_id c, user_id who, seq_no upto) override { tick("read", c, who, upto); }

  std::map<conversation_id, seq_no> last; ///< shown of each conversation

private:
  const context& shared_;
};

void run(const options& o, context& shared) {
  printer shown{shared};
  auto settings = shared.settings();
  settings.how = client::intake::pull;
  settings.ask_timeout = std::chrono::seconds{o.seconds};
  client::blocking_device device{shared.directory(), shared.ca_file(), settings, shown, shared.key_file};
  connect(device, settings.ask_timeout);
  if (!o.conversation.empty()) {
    const auto talk = find_talk(device, o.conversation, settings.ask_timeout);
    auto after = seq_no{o.after};
    for (bool more = true; more;) {
      const auto page = device.wait(device.it().sync_conversation(talk, after));
      if (!page)
        stop_with(page.error());
      for (const auto& m : page->messages) {
        shown.on_message(m);
        after = m.seq;
      }
      more = page->more && !page->messages.empty();
    }
  } else {
    const auto fresh = device.wait(device.it().sync_inbox());
    if (!fresh)
      stop_with(fresh.error());
    if (shared.json)
      json_line{}.put("event", "caught-up").put("messages", *fresh).print();
    else
      std::cout << (*fresh == 0 ? "Nothing new.\n" : fmt::format("{} new.\n", *fresh));
    if (o.read)
      for (const auto& [c, seq] : shown.last)
        device.it().ack_read(c, seq);
    device.wait(device.timer()
                    .afterDelay(5 * kj::SECONDS)
                    .exclusiveJoin(device.it().settled())); // or it is acknowledged next time
  }
  device.wait(device.it().stop());
}

} // namespace

command sync_command(context& shared) {
  const auto o = std::make_shared<options>();
  return {
      .name = "sync",
      .summary = "Fetch and show what is new, or show a conversation again",
      .details =
          "What is fetched is kept in the profile before it is acknowledged, so it is shown once. With "
          "--conversation nothing is kept or acknowledged.\n\nExample:\n  parley sync --profile bob --json\n",
      .options =
          {{.name = "--conversation",
            .unit = "WHICH",
            .help =
                "Show this conversation again, from the cluster: a phone number (+49…) or the 32 hexadecimal "
                "digits of a conversation.",
            .value = &o->conversation},
           {.name = "--after",
            .unit = "NUMBER",
            .help = "With --conversation: "
                    "the number of the message after which to begin; 0 begins with the first.",
            .value = &o->after},
           {.name = "--read",
            .unit = {},
            .help = "Tell the senders that a person has read the messages that are shown.",
            .value = &o->read},
           seconds_option(
               o->seconds, 86'400,
               "How long to wait for the cluster, in seconds. Raise it where the network is slow.")},
      .run = [o, &shared] { run(*o, shared); },
  };
}

} // namespace parley::tool
