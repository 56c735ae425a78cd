// `parley send`: one message, or one for each line of standard input.
#include "protocol/client/tool/commands.hpp"
#include "protocol/client/tool/errands.hpp"
#include "protocol/client/tool/line_input.hpp"
#include "protocol/client/tool/outbox.hpp"
#include "protocol/client/tool/output.hpp"

#include <fmt/format.h>

#include <memory>
#include <set>

namespace parley::tool {
namespace {

struct options {
  std::string to;
  std::vector<std::string> words;
  bool literal = false; ///< the words stood behind `--`: a dash is one
  std::string wait = "sent";
  int seconds = 30;
};

/// In front of a sentence about a line of standard input; nothing for the one message of the command line, which is 0.
std::string about(std::size_t line) {
  return line == 0 ? "" : fmt::format("Line {}: ", line);
}
/// The same where the line was refused: what became of the others.
std::string refused(std::size_t line) {
  if (line < 2)
    return line == 0 ? "" : "Line 1 was refused, and no line after it was sent: ";
  return fmt::format("Line {} was refused. The lines before it were sent, and none after it: ", line);
}

void print_sent(const client::sent& s, context& shared, const palette& colours) {
  if (shared.json)
    json_line{}
        .put("event", "sent")
        .put("conversation", client::text(s.conversation))
        .put("seq", number(s.seq))
        .put("msg_id", client::text(s.id))
        .put("counter", s.counter)
        .put("server_time_ms", static_cast<std::int64_t>(s.at))
        .put("duplicate", s.duplicate)
        .print(shared.out);
  else
    shared.out.line(fmt::format("{}✓{} sent       {}", colours.dim, colours.reset, number(s.seq)));
}

/// Prints a tick as it is earned.
class ticks final : public outbox_watch {
public:
  ticks(context& shared, const palette& colours) : outbox_watch{shared}, colours_{colours} {}

  void on_sent(const client::sent& s) override {
    outbox_watch::on_sent(s);
    outstanding_.insert(s.seq);
    talk_ = s.conversation;
    last_ = std::max(last_, s.seq);
    print_sent(s, shared_, colours_);
    raise();
  }
  void on_delivered(conversation_id c, user_id who, seq_no upto) override {
    remember(c, who, upto, delivered_by_);
    raise();
  }
  void on_read(conversation_id c, user_id who, seq_no upto) override {
    remember(c, who, upto, read_by_);
    raise();
  }
  /// The conversation was known before: watermarks may be too.
  void begin(conversation_id c, user_id own) {
    talk_ = c;
    own_ = own;
  }
  seq_no delivered() const { return std::max(delivered_told_, read_told_); }
  seq_no read() const { return read_told_; }
  seq_no last() const { return last_; }

private:
  struct mark {
    conversation_id conversation;
    seq_no upto{};
  };
  // Marks may come before the answer to the send they are about.
  void remember(conversation_id c, user_id who, seq_no upto, std::vector<mark>& into) {
    if (who != own_)
      into.push_back({c, upto});
  }
  void raise() {
    tell(delivered_by_, delivered_told_, "delivered", colours_.dim);
    tell(read_by_, read_told_, "read", colours_.blue);
  }
  void tell(std::vector<mark>& marks, seq_no& told, const char* what, std::string_view colour) {
    for (const auto& m : marks) {
      const auto upto = std::min(m.upto, last_);
      if (m.conversation != talk_ || upto <= told || outstanding_.empty() || upto < *outstanding_.begin())
        continue;
      told = upto;
      if (shared_.json)
        json_line{}
            .put("event", what)
            .put("conversation", client::text(talk_))
            .put("seq", number(upto))
            .print(shared_.out);
      else
        say(fmt::format("{}✓✓{} {:<9} {}", colour, colours_.reset, what, number(upto)));
    }
    if (last_ != seq_no::none)
      std::erase_if(marks, [&](const mark& m) { return m.upto <= last_; });
  }
  void say(const std::string& line) { shared_.out.line(line); }

  const palette& colours_;
  conversation_id talk_;
  user_id own_{};
  std::set<seq_no> outstanding_;
  seq_no last_{}, delivered_told_{}, read_told_{};
  std::vector<mark> delivered_by_, read_by_;
};

class sending {
public:
  sending(const options& o, context& shared)
      : options_{o}, shown_{shared, colours_}, owned_{open_device(shared, settings(o, shared), shown_)},
        device_{*owned_} {}

  void run() {
    check_whom(device_.store(), options_.to);
    shown_.watch(device_);
    talk_ = find();
    shown_.begin(talk_, device_.it().who().user);
    if (lines(options_))
      send_lines();
    else
      send(text(options_), 0);
    if (options_.wait != "sent")
      wait_for_marks();
    shown_.finish(device_, limit());
    device_.wait(device_.it().stop());
  }

  /// Whether each line of standard input is a message.
  static bool lines(const options& o) { return !o.literal && o.words.size() == 1 && o.words[0] == "-"; }
  /// The one message of the command line.
  static std::string text(const options& o) { return fmt::format("{}", fmt::join(o.words, " ")); }

private:
  static client::config settings(const options& o, const context& shared) {
    auto c = shared.settings();
    if (o.wait == "sent")
      c.how = client::intake::pull; // nothing is fetched: `sync` and `chat` are for that
    return c;
  }
  std::chrono::milliseconds limit() const { return std::chrono::seconds{options_.seconds}; }

  /// If the profile knows the conversation, the message is kept first and the connection comes later.
  conversation_id find() {
    if (const auto known = known_talk(device_.store(), options_.to)) {
      start(device_);
      return *known;
    }
    try {
      connect(device_, limit());
      return find_talk(device_, options_.to, limit());
    } catch (const stop& e) {
      if (e.code != status::unreachable)
        throw;
      throw stop{e.code,
                 fmt::format("{} Nothing was kept, because this profile does not know the conversation "
                             "yet: send it again.",
                             e.what())};
    }
  }

  /// The limit is each line's own, and begins when the line is there: whoever writes the lines may take time.
  void send_lines() {
    line_input input{device_.io().unixEventPort, input_mode::lines};
    for (std::size_t number = 1;; ++number) {
      auto line = input.next()
                      .exclusiveJoin(shown_.over().then([]() -> std::optional<input_line> { return {}; }))
                      .wait(device_.io().waitScope);
      if (const auto& s = device_.it().state(); s.final())
        stop_with({s.why, s.sentence, {}});
      if (!line) {
        if (const auto why = input.failure(); !why.empty())
          throw stop{status::local, fmt::format("{} {} lines were read before.", why, number - 1)};
        return;
      }
      if (!*line)
        stop_with(line->error(), refused(number));
      if (!(*line)->empty())
        send(**line, number);
    }
  }

  client::result<client::sent> post(const std::string& body) {
    const auto counter = device_.it().post(talk_, body);
    if (!counter)
      return tl::unexpected{counter.error()};
    return device_.wait(shown_.outcome(*counter), limit());
  }

  /// `line`: as of `about`.
  void send(const std::string& body, std::size_t line) {
    auto r = post(body);
    if (!r && r.error().code == ec::no_such_conversation) { // the cluster was put back, and has lost it
      const auto again = device_.wait(begin_finding_talk(device_, options_.to, look_in::cluster), limit());
      if (again && *again == talk_)
        r = post(body);
    }
    if (!r && r.error().code == ec::timed_out)
      throw stop{
          status::unreachable,
          fmt::format("{}The message is not stored yet. {} It is kept, and the next command of this profile "
                      "sends it.{}",
                      about(line), why_not_yet(device_), line == 0 ? "" : " No line after it was sent.")};
    if (!r)
      stop_with(r.error(), refused(line));
  }

  void wait_for_marks() {
    const auto reached = [&] {
      return (options_.wait == "read" ? shown_.read() : shown_.delivered()) >= shown_.last();
    };
    const auto end = device_.timer().now() + limit().count() * kj::MILLISECONDS;
    while (!reached() && device_.timer().now() < end && !device_.it().state().final())
      device_.timer().afterDelay(5 * kj::MILLISECONDS).wait(device_.io().waitScope);
    if (const auto& s = device_.it().state(); !reached() && s.final())
      stop_with({s.why, s.sentence, {}}, "The cluster has stored the message. ");
    if (!reached())
      throw stop{status::unreachable,
                 fmt::format("The cluster has stored the message, but it was not {} within {} second{}. {}",
                             options_.wait, options_.seconds, options_.seconds == 1 ? "" : "s",
                             shown_.delivered() >= shown_.last()
                                 ? "A device of the recipient has received it."
                                 : "It is delivered as soon as a device of the recipient connects.")};
  }

  const options& options_;
  palette colours_ = palette::for_stdout();
  ticks shown_;
  std::unique_ptr<client::blocking_device> owned_;
  client::blocking_device& device_;
  conversation_id talk_;
};

/// The same by way of a chat that has the profile open.
class sending_by_chat {
public:
  sending_by_chat(const options& o, context& shared)
      : options_{o}, shared_{shared}, io_{kj::setupAsyncIo()}, line_{errand_line::open(io_,
                                                                                       shared.directory())} {}

  /// False if there is none, or if it ended before it had read the message.
  bool run() {
    if (!line_)
      return false;
    if (!sending::lines(options_))
      return send(sending::text(options_), 0);
    line_input input{io_.unixEventPort, input_mode::lines};
    for (std::size_t number = 1; auto line = input.next().wait(io_.waitScope); ++number) {
      if (!*line)
        stop_with(line->error(), refused(number));
      if (!(*line)->empty() && !send(**line, number))
        throw stop{status::unreachable,
                   about(number) +
                       "The chat that had the profile open ended before it read this line. Neither it nor a "
                       "line after it was sent."};
    }
    if (const auto why = input.failure(); !why.empty())
      throw stop{status::local, why};
    return true;
  }

private:
  /// False if the chat ended before it had read the message.
  bool send(const std::string& body, std::size_t line) {
    const auto name = about(line);
    if (body.size() > body_bytes_max)
      stop_with(client::refuse(ec::too_large), refused(line));
    bool late = false, kept = false;
    const auto end = io_.provider->getTimer()
                         .afterDelay(options_.seconds * kj::SECONDS)
                         .then([&late] {
                           late = true;
                           return errand_end{};
                         })
                         .exclusiveJoin(line_->hand_over({options_.to, body}, [&kept] { kept = true; }))
                         .wait(io_.waitScope);
    if (!end.read && !kept)
      return false;
    if (late)
      throw stop{status::unreachable,
                 name + (kept ? "The message is not stored yet. The chat that has the profile open keeps it "
                                "and goes on trying."
                              : "The chat that has the profile open has not kept the message yet, and may "
                                "still do it: look at the conversation before you send it again.")};
    if (!end.answer)
      throw stop{status::unreachable,
                 name + (kept ? "The chat that had the profile open has kept the message and ended. The next "
                                "command of this profile sends it."
                              : "The chat that had the profile open ended. If it has kept the message, the "
                                "next command of this profile sends it: look at the conversation before "
                                "you send it again.")};
    if (end.answer->how != status::done)
      throw stop{end.answer->how,
                 (end.answer->how == status::refused ? refused(line) : name) + end.answer->sentence};
    print_sent(end.answer->placed, shared_, colours_);
    return true;
  }

  const options& options_;
  context& shared_;
  palette colours_ = palette::for_stdout();
  kj::AsyncIoContext io_;
  std::optional<errand_line> line_;
};

} // namespace

command send_command(context& shared) {
  const auto o = std::make_shared<options>();
  return {
      .name = "send",
      .summary = "Send a message",
      .details =
          "A message is kept in the profile before it is sent. If the command ends without an answer, "
          "the next command of this profile sends it; it is stored once. The first message to somebody "
          "is kept once the cluster has said in which conversation it is.\n"
          "While a chat has the profile open, the chat sends the message. It alone hears of the recipient "
          "then, so --wait delivered and --wait read are refused.\n"
          "A line that is refused ends the command: no line after it is sent.\n"
          "Messages are not yet end-to-end encrypted.\n\nExamples:\n"
          "  parley send --profile alice --to +491700000002 --wait read \"Are you there?\"\n"
          "  tail -f events.log | parley send --profile robot --to +491700000002 -\n",
      .options =
          {{.name = "--to",
            .unit = "WHOM",
            .help = "The recipient: a phone number (+49…), the name of a contact, or the 32 hexadecimal "
                    "digits of a "
                    "conversation.",
            .value = &o->to,
            .required = true},
           {.name = "TEXT",
            .unit = "TEXT",
            .help =
                "The words of the message. With - each line of standard input that is not empty "
                "is sent as one message. Write -- before a text that begins with a dash; behind it a - is "
                "text as well.",
            .value = &o->words,
            .required = true,
            .behind_dashes = &o->literal},
           {.name = "--wait",
            .unit = "UNTIL",
            .help =
                "When to return: once the cluster has stored the message, once a device of the recipient has "
                "received it, or once a person has read it.",
            .value = &o->wait,
            .choices = {"sent", "delivered", "read"}},
           seconds_option(o->seconds, 86'400,
                          "How long to wait for that, in seconds, before giving up. Raise it with --wait "
                          "read. With - it "
                          "counts for each line, from the moment when the line is read.")},
      .run =
          [o, &shared] {
            if (sending::text(*o).empty())
              throw stop{status::usage,
                         "The message is empty, so nothing was sent. Give its words, or - to send "
                         "the lines of standard input."};
            if (!is_utf8(sending::text(*o)))
              throw stop{status::usage,
                         "The message is not UTF-8, so nothing was sent: nobody could read it. Set the "
                         "terminal to UTF-8."};
            // Marks of the recipient are told to the chat only.
            if (o->wait != "sent" || !sending_by_chat{*o, shared}.run())
              sending{*o, shared}.run();
          },
  };
}

} // namespace parley::tool
