// `parley sync`: fetches what is new, keeps it, acknowledges it and shows it. With --conversation it shows
// one conversation again.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/outbox.hpp"
#include "protocol/client/tool/output.hpp"
#include "protocol/values/wall_clock.hpp"

#include <fmt/format.h>

#include <algorithm>
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

/// Shows what arrives, and what earlier commands have fetched and nobody has shown.
///
/// Holds:  a message counts as shown once it is written. If standard output fails, nothing more is
///         acknowledged, and the next `sync` shows what is missing.
class printer final : public outbox_watch {
public:
  explicit printer(context& shared) : outbox_watch{shared} {}
  void watch(client::blocking_device& device) {
    outbox_watch::watch(device);
    store_ = &device.store();
    names_.emplace(*store_);
  }

  void show(const client::message& m) {
    if (shared_.json)
      json_line{}
          .put("event", "message")
          .put("conversation", client::text(m.conversation))
          .put("seq", number(m.seq))
          .put("msg_id", client::text(m.id))
          .id("sender", number(m.sender))
          .put("from", names_->of(m.sender))
          .put("server_time_ms", static_cast<std::int64_t>(m.at))
          .body("body", m.body)
          .print(shared_.out);
    else
      shared_.out.line(fmt::format("{} {} {:>5}  {}", clock_text(m.at, system_time_of_day.now()), sender(m),
                                   number(m.seq), printable(m.body)));
  }
  /// The conversation that is shown is the one with `whom`, as the command line calls them.
  void with(const std::string& whom) {
    names_.emplace(*store_); // a number that was used is a contact now
    const auto* contact = names_->find(whom);
    with_ = contact ? names_->of(contact->user) : "";
  }
  /// The profile knows more people and conversations than before.
  void learnt() { names_.emplace(*store_); }
  /// Who says it, and to whom if that is somebody else than this person.
  std::string sender(const client::message& m) const {
    const auto with = with_.empty() ? names_->of(m.conversation) : with_, from = names_->of(m.sender);
    return with == from ? from : fmt::format("{} to {}", from, with);
  }
  /// Shows what is in the store and was not shown, oldest first.
  void show_all() {
    constexpr std::size_t at_once = 1'024;
    for (bool more = true; more && !shared_.out.failed();) {
      const auto some = store_->unshown(at_once);
      std::map<conversation_id, seq_no> upto;
      for (const auto& m : some) {
        show(m);
        if (shared_.out.failed())
          break;
        upto[m.conversation] = last[m.conversation] = m.seq;
        ++messages;
      }
      store_->shown(upto);
      more = some.size() == at_once;
    }
    waiting_ = 0;
  }
  void on_message(const client::message&) override {
    if (++waiting_ == some_max)
      show_all();
  }
  bool may_acknowledge() override {
    if (waiting_ > 0)
      show_all();
    return !shared_.out.failed();
  }
  void on_opened(const client::conversation_info& c) override {
    names_.emplace(*store_); // who is in it
    if (shared_.json)
      json_line{}.put("event", "opened").put("conversation", client::text(c.conversation)).print(shared_.out);
  }
  void on_device_added(const client::device_added& d) override {
    if (shared_.json)
      device_event(d).print(shared_.out);
    else
      shared_.out.line(fmt::format("— {}", device_text(d)));
    other_news = true;
  }
  void tick(const char* what, conversation_id c, user_id who, seq_no upto) {
    if (shared_.json)
      json_line{}
          .put("event", what)
          .put("conversation", client::text(c))
          .id("user", number(who))
          .put("seq", number(upto))
          .print(shared_.out);
  }
  void on_delivered(conversation_id c, user_id who, seq_no upto) override { tick("delivered", c, who, upto); }
  void on_read(conversation_id c, user_id who, seq_no upto) override { tick("read", c, who, upto); }

  std::size_t messages = 0;               ///< that were shown
  std::map<conversation_id, seq_no> last; ///< shown of each conversation
  bool other_news = false;                ///< shown, and no message

private:
  static constexpr std::size_t some_max = 256;
  client::client_store* store_ = nullptr;
  std::optional<names> names_;
  std::string with_;
  std::size_t waiting_ = 0; ///< messages that are stored and not shown
};

void show_again(const options& o, client::blocking_device& device, printer& shown, context& shared,
                std::chrono::milliseconds limit) {
  const auto talk = find_talk(device, o.conversation, limit);
  shown.with(o.conversation);
  auto after = seq_no{o.after};
  for (bool more = true; more && !shared.out.failed();) {
    const auto page = device.wait(device.it().sync_conversation(talk, after));
    if (!page && page.error().code == ec::no_such_conversation)
      throw stop{status::refused, "There is no conversation with this id, so nothing is shown. `parley "
                                  "conversations` lists those of this profile."};
    if (!page && page.error().code == ec::not_a_member)
      throw stop{status::refused, "You are not a member of this conversation, so nothing is shown. `parley "
                                  "conversations` lists those of this profile."};
    if (!page)
      stop_with(page.error());
    for (const auto& m : page->messages) {
      shown.show(m);
      after = m.seq;
    }
    more = page->more && !page->messages.empty();
  }
  if (after == seq_no{o.after} && !shared.json)
    shared.out.line(o.after == 0 ? "No messages yet."
                                 : fmt::format("There is no message after number {}.", o.after));
}

/// A device that was registered after the conversations were opened: who is in them is for the cluster to say.
/// If it cannot now, messages are shown all the same.
void learn_talks(client::blocking_device& device, std::chrono::milliseconds limit) {
  limit = std::min<std::chrono::milliseconds>(limit, std::chrono::seconds{5});
  conversation_id after;
  for (bool more = true; more;) {
    const auto page = device.wait(device.it().conversations(after), limit);
    if (!page || page->items.empty())
      return;
    remember_talks(device.store(), page->items);
    after = page->items.back().conversation;
    more = page->more;
  }
}

void run(const options& o, context& shared) {
  printer shown{shared};
  auto settings = shared.settings();
  settings.how = client::intake::pull;
  settings.ask_timeout = std::chrono::seconds{o.seconds};
  const auto owned = open_device(shared, settings, shown);
  auto& device = *owned;
  shown.watch(device);
  if (o.conversation.empty())
    shown.show_all(); // what was kept and could not be written, or was fetched by another command
  connect(device, settings.ask_timeout);
  if (!o.conversation.empty()) {
    show_again(o, device, shown, shared, settings.ask_timeout);
  } else {
    if (device.store().conversations().empty())
      learn_talks(device, settings.ask_timeout);
    shown.learnt();
    const auto fresh = device.wait(device.it().sync_inbox());
    shown.show_all();
    if (!fresh)
      stop_with(fresh.error());
    if (shared.json)
      json_line{}.put("event", "caught-up").put("messages", shown.messages).print(shared.out);
    else if (shown.messages != 0 || !shown.other_news)
      shared.out.line(shown.messages == 0 ? "Nothing new." : fmt::format("{} new.", shown.messages));
    if (shared.out.failed())
      throw stop{status::local,
                 shared.out.why() +
                     " What was not written is shown by the next `parley sync` of this profile."};
    if (o.read)
      for (const auto& [c, seq] : shown.last)
        device.it().ack_read(c, seq);
  }
  shown.finish(device, settings.ask_timeout);
  device.wait(device.it().stop());
}

} // namespace

command sync_command(context& shared) {
  const auto o = std::make_shared<options>();
  return {
      .name = "sync",
      .summary = "Fetch and show what is new, or show a conversation again",
      .details =
          "What is fetched is kept in the profile before it is acknowledged, so it is shown once. What could "
          "not be written, to a full disk for example, is shown by the next `parley sync`. With "
          "--conversation "
          "nothing is kept or acknowledged.\n\nExample:\n  parley sync --profile bob --json\n",
      .options = {{.name = "--conversation",
                   .unit = "WHICH",
                   .help = "Show this conversation again, from the cluster: a phone number (+49…), the name "
                           "of a contact, or "
                           "the 32 hexadecimal digits of a conversation.",
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
      .run =
          [o, &shared] {
            if (o->conversation.empty() && o->after > 0)
              throw stop{status::usage, "--after goes with --conversation. Say which one is meant."};
            if (!o->conversation.empty() && o->read)
              throw stop{status::usage,
                         "--read goes with what is new, and --conversation shows what was there. Leave "
                         "one of them out."};
            run(*o, shared);
          },
  };
}

} // namespace parley::tool
