// `parley chat`: a conversation, live. Works on a terminal and in a pipe.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/errands.hpp"
#include "protocol/client/tool/line_input.hpp"
#include "protocol/client/tool/outbox.hpp"
#include "protocol/client/tool/screen.hpp"
#include "protocol/client/tool/typed_words.hpp"
#include "protocol/values/wall_clock.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

namespace parley::tool {
namespace {

struct options {
  std::string with;
  unsigned lines = 20;
  std::string wait = "sent";
  int seconds = 30;
};

class chat final : public outbox_watch {
public:
  chat(const options& o, context& shared)
      : outbox_watch{shared}, options_{o}, owned_{open_device(shared, settings(shared), *this)},
        device_{*owned_}, input_{device_.io().unixEventPort,
                                 shared.json ? input_mode::lines : input_mode::keys},
        screen_{shared.out, input_.reads_keys(), shared.json, [this] { return input_.typed(); }} {
    input_.on_change([this] { screen_.prompt(); });
  }

  void run() {
    check_whom(device_.store(), options_.with);
    screen_.note("messages are not yet end-to-end encrypted");
    if (input_.reads_keys())
      screen_.note("/quit ends the chat, /help says more");
    watch(device_);
    const auto limit = std::chrono::seconds{options_.seconds};
    connect(device_, limit);
    talk_ = find_talk(device_, options_.with, limit);
    names_.emplace(device_.store());
    show_history();
    open_ = true;
    for (const auto& m : early_)
      show(m);
    early_.clear();
    screen_.prompt();
    const errand_desk desk{device_.io(), shared_.directory(),
                           [this](errand e) { return serve(std::move(e)); }};
    type().exclusiveJoin(over()).wait(device_.io().waitScope);
    end();
  }

private:
  static client::config settings(const context& shared) {
    auto c = shared.settings();
    c.reconnect.max = std::chrono::milliseconds{5'000}; // a person is waiting
    return c;
  }

  void show_history() {
    const auto& own = device_.it().who();
    seq_no theirs{};
    for (const auto& mark : device_.it().marks(talk_))
      if (mark.user != own.user) {
        screen_.raise(mark.delivered, tick::delivered);
        screen_.raise(mark.read, tick::read);
      }
    for (const auto& m : device_.store().newest(talk_, options_.lines)) {
      if (m.sender == own.user)
        screen_.own(0, m.seq, m.at, m.body, tick::sent);
      else
        screen_.theirs(m, names_->of(m.sender));
      shown_ = std::max(shown_, m.seq);
      if (m.sender != own.user)
        theirs = m.seq;
    }
    has_shown(shown_, theirs);
    for (const auto& o : device_.store().waiting())
      if (o.conversation == talk_)
        screen_.own(o.counter, seq_no::none, unix_ms{}, *o.body, tick::waiting);
  }

  kj::Promise<void> type() {
    return input_.next().then([this](std::optional<input_line>&& line) -> kj::Promise<void> {
      if (!line)
        return kj::READY_NOW;
      const auto name = input_.reads_keys() ? "What you typed" : fmt::format("Line {}", ++lines_);
      if (!*line) {
        refuse(name, line->error().sentence);
        return type();
      }
      auto text = std::move(**line);
      if (text.empty() || (input_.reads_keys() && text.find_first_not_of(" \n") == std::string::npos)) {
        screen_.prompt(); // Enter, and nothing typed
        return type();
      }
      if (a_person_types()) {
        auto words = meaning_of(text);
        switch (words.what) {
        case typed_words::kind::message:
          text = std::move(words.text);
          break;
        case typed_words::kind::quit:
          return kj::READY_NOW;
        case typed_words::kind::help:
          help();
          return type();
        case typed_words::kind::unknown:
          ask_about(text);
          return type();
        }
      }
      const auto counter = device_.it().post(talk_, text);
      if (counter) {
        call(*counter, input_.reads_keys() ? "The message " + quoted_beginning(text) : name);
        screen_.own(*counter, seq_no::none, system_time_of_day.now(), text, tick::waiting);
      } else {
        refuse(name, counter.error().sentence);
      }
      return room().then([this] { return type(); });
    });
  }

  /// What a program writes is sent as it is.
  bool a_person_types() const { return !shared_.json && ::isatty(STDIN_FILENO) != 0; }

  void help() {
    screen_.note("/quit, or Ctrl-D on an empty line, ends the chat; //x sends /x");
    if (input_.reads_keys())
      screen_.note("up and down: what you typed before; Ctrl-A, Ctrl-E: to the begin, to the end; Alt-B, "
                   "Alt-F: by a word; Ctrl-W, Ctrl-U, Ctrl-K: remove a word, the begin, the end");
    screen_.note("· kept in the profile, ✓ stored by the cluster, ✓✓ delivered, ✓✓ in blue (without colours: "
                 "✔✔) read");
  }

  /// The line comes back as one that is sent, so that Enter answers yes.
  void ask_about(const std::string& text) {
    screen_.note(
        fmt::format("{} is no command (/help lists them); {}", quoted_beginning(text),
                    input_.reads_keys() ? "to send it as it is, press Enter" : "to send it, begin with //"));
    input_.offer("/" + text);
    screen_.prompt();
  }

  /// A pipe brings lines faster than a cluster takes them: no more than a few wait here, and the rest in the
  /// pipe. A person's lines are few, and are kept while there is no cluster.
  kj::Promise<void> room() {
    constexpr std::size_t unsettled_max = 64;
    if (input_.reads_keys() || device_.it().unsettled() < unsettled_max)
      return kj::READY_NOW;
    return device_.timer().afterDelay(5 * kj::MILLISECONDS).then([this] { return room(); });
  }

  /// Another command of this profile wants this sent.
  kj::Promise<errand_taken> serve(errand e) {
    const auto no = [](const client::failure& why) {
      return errand_answer{status_of(why), sentence_of(why), {}};
    };
    return begin_finding_talk(device_, e.whom)
        .then([this, e, no](client::result<conversation_id>&& to) -> errand_taken {
          if (!to)
            return {no(to.error())};
          const auto counter = device_.it().post(*to, e.body);
          if (!counter)
            return {no(counter.error())};
          if (*to == talk_)
            screen_.own(*counter, seq_no::none, system_time_of_day.now(), e.body, tick::waiting);
          auto later =
              outcome(*counter).then([this, no, counter = *counter](client::result<client::sent>&& r) {
                if (r)
                  return errand_answer{status::done, {}, *r};
                screen_.failed(counter, r.error().sentence);
                return no(r.error());
              });
          return {std::nullopt, kj::mv(later)};
        });
  }

  /// Resolves when the device will never be online again, or when nobody can read what is shown.
  kj::Promise<void> over() {
    return device_.timer().afterDelay(100 * kj::MILLISECONDS).then([this]() -> kj::Promise<void> {
      return device_.it().state().final() || shared_.out.failed() ? kj::Promise<void>{kj::READY_NOW} : over();
    });
  }

  void end() {
    const auto wanted = options_.wait == "read"        ? tick::read
                        : options_.wait == "delivered" ? tick::delivered
                                                       : tick::sent;
    const auto begin = device_.timer().now(), end = begin + options_.seconds * kj::SECONDS;
    const auto& state = device_.it().state();
    bool told = !input_.reads_keys(); // a pipe has nobody who wonders
    while (!state.final() && !shared_.out.failed() &&
           (screen_.lowest() < wanted || device_.it().unsettled() > 0) && device_.timer().now() < end) {
      device_.timer().afterDelay(5 * kj::MILLISECONDS).wait(device_.io().waitScope);
      if (!told && device_.timer().now() >= begin + 1 * kj::SECONDS) {
        told = true;
        screen_.note(fmt::format("not all messages are {} yet; the chat waits for {} s at most, and Ctrl-C "
                                 "ends it at once",
                                 options_.wait, options_.seconds));
      }
    }
    const bool reached = screen_.lowest() >= wanted || shared_.out.failed();
    screen_.end();
    if (state.final())
      stop_with({state.why, state.sentence, {}});
    finish(device_, std::chrono::milliseconds{0});
    device_.wait(device_.it().stop());
    if (const auto why = input_.failure(); !why.empty())
      throw stop{status::local, why};
    if (!reached)
      throw stop{
          status::unreachable,
          fmt::format("Not all messages were {} within {} seconds.{} What is not stored yet is kept, and the "
                      "next command of this profile sends it.",
                      options_.wait, options_.seconds,
                      device_.it().unsettled() > 0 ? " " + why_not_yet(device_) : "")};
  }

  void show(const client::message& m) {
    if (m.conversation != talk_ || m.seq <= shown_)
      return;
    if (shared_.out.failed())
      return; // it stays unread, and `sync` shows it
    shown_ = m.seq;
    if (m.sender == device_.it().who().user) // typed on another of this user's devices
      screen_.own(0, m.seq, m.at, m.body, tick::sent);
    else
      screen_.theirs(m, names_->of(m.sender));
    has_shown(m.seq, m.sender == device_.it().who().user ? seq_no::none : m.seq);
  }

  /// `theirs`: the newest of these that another person wrote, if any.
  void has_shown(seq_no upto, seq_no theirs) {
    if (shared_.out.failed() || upto == seq_no::none)
      return;
    if (theirs != seq_no::none)
      device_.it().ack_read(talk_, theirs);
    device_.store().shown({{talk_, upto}});
  }

  bool may_acknowledge() override { return !shared_.out.failed(); }
  void on_message(const client::message& m) override {
    if (open_)
      show(m);
    else
      early_.push_back(m); // before the history is shown
  }
  void on_sent(const client::sent& s) override {
    outbox_watch::on_sent(s);
    if (s.conversation == talk_)
      screen_.sent(s);
  }
  void tell(std::uint64_t counter, const std::string& sentence) override {
    screen_.failed(counter, sentence);
  }
  void warn(std::string_view event, const std::string& sentence) override {
    if (shared_.json)
      outbox_watch::warn(event, sentence);
    else
      screen_.note(sentence);
  }
  void on_device_added(const client::device_added& d) override { screen_.device_added(d); }
  void on_delivered(conversation_id c, user_id who, seq_no upto) override {
    if (c == talk_ && who != device_.it().who().user)
      screen_.raise(upto, tick::delivered);
  }
  void on_read(conversation_id c, user_id who, seq_no upto) override {
    if (c == talk_ && who != device_.it().who().user)
      screen_.raise(upto, tick::read);
  }
  void on_state(const client::connection_state& s) override {
    outbox_watch::on_state(s);
    if (s.state == client::link_state::online)
      screen_.note(fmt::format("connected to node {} at {}", number(s.node), transport::to_string(s.at)));
    else if (s.state == client::link_state::offline && was_online_)
      screen_.note("not connected; what you type is kept and sent as soon as possible");
    if (s.state == client::link_state::online || s.state == client::link_state::offline)
      was_online_ = s.state == client::link_state::online;
  }

  const options& options_;
  std::unique_ptr<client::blocking_device> owned_;
  client::blocking_device& device_;
  line_input input_;
  screen screen_;
  conversation_id talk_;
  std::optional<names> names_; ///< once the conversation is found
  seq_no shown_{};
  std::uint64_t lines_ = 0; ///< that were read
  bool open_ = false;
  bool was_online_ = false;
  std::vector<client::message> early_;
};

} // namespace

command chat_command(context& shared) {
  const auto o = std::make_shared<options>();
  return {
      .name = "chat",
      .summary = "Talk in a conversation, live, on a terminal or in a pipe",
      .details =
          "The marks before your own messages: · is kept in the profile, ✓ is stored by the cluster, ✓✓ has "
          "reached a device of the recipient, a blue ✓✓ (without colours: ✔✔) was read.\n"
          "/quit, Ctrl-D on an empty line, or the end of the input ends the chat once all messages are "
          "stored. Ctrl-C ends it at once and Ctrl-Z stops it; what is not stored yet is kept and sent "
          "later. Text that is pasted is one message, line breaks and all. On a terminal, the arrow keys "
          "move in the line and through what was typed before, /help lists the keys, and a message that "
          "begins with / is typed with two.\n"
          "Messages of others are shown in the order of the conversation, your own when you type them. If "
          "one of yours is stored after others that came below it, a note says so. The next chat shows "
          "all in the order of the conversation.\n\nExamples:\n"
          "  parley chat --profile alice --with +491700000002\n"
          "  tail -f events.log | parley chat --profile robot --with +491700000002\n",
      .options =
          {{.name = "--with",
            .unit = "WHOM",
            .help = "The other person: a phone number (+49…), the name of a contact, or the 32 hexadecimal "
                    "digits of "
                    "a conversation.",
            .value = &o->with,
            .required = true},
           {.name = "--lines",
            .unit = "NUMBER",
            .help = "How many of the earlier messages are shown at the start.",
            .value = &o->lines,
            .bounds = std::pair{0.0, 10'000.0}},
           {.name = "--wait",
            .unit = "UNTIL",
            .help = "At the end of the input, when to return: once all messages are stored by the cluster, "
                    "once they have reached a device of the recipient, or once they were read.",
            .value = &o->wait,
            .choices = {"sent", "delivered", "read"}},
           seconds_option(
               o->seconds, 86'400,
               "How long to wait for the first connection, and at the end of the input, in seconds.")},
      .run =
          [o, &shared] {
            chat{*o, shared}.run();
          },
  };
}

} // namespace parley::tool
