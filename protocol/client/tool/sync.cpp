// `parley sync`: fetches what is new, keeps it, acknowledges it, shows it. With --conversation: reads one
// again.
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
                    .exclusiveJoin(device.it().settled())); // what is left over goes out next time
  }
  device.wait(device.it().stop());
}

} // namespace

void add_sync(CLI::App& app, context& shared) {
  auto* sub = app.add_subcommand("sync", "Fetch and show what is new");
  sub->fallthrough();
  const auto o = std::make_shared<options>();
  sub->add_option("--conversation", o->conversation,
                  "Show this one from the cluster instead: phone number or id");
  sub->add_option("--after", o->after, "… from behind this seq on")->capture_default_str();
  sub->add_flag("--read", o->read, "Tell the senders that a person has seen it");
  sub->add_option("--seconds", o->seconds, "Give up after")
      ->capture_default_str()
      ->check(CLI::Range(1, 86'400));
  sub->footer("Example:\n  parley sync --profile bob --json");
  sub->callback([o, &shared] { run(*o, shared); });
}

} // namespace parley::tool
