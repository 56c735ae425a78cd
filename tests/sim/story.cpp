#include "tests/sim/story.hpp"

#include "protocol/values/errors.hpp"
#include "tests/sim/judge.hpp"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

namespace parley::sim {
namespace {

using fuzz::event;

/// What a complaint is about, by the words before its numbers.
struct subject {
  std::set<std::uint64_t> devices, users, nodes, shards;
  std::set<std::string> conversations;
  std::set<std::string> messages;
  bool empty() const {
    return devices.empty() && users.empty() && nodes.empty() && shards.empty() && conversations.empty() &&
           messages.empty();
  }
};

/// Calls `take(kind, name)` for each "device 3" of the text.
template <class Take>
void each_name(std::string_view text, Take take) {
  for (const std::string_view kind : {"device", "user", "node", "shard", "conversation", "message"})
    for (auto at = text.find(kind); at != text.npos; at = text.find(kind, at + 1)) {
      auto rest = text.substr(at + kind.size());
      if (rest.empty() || rest.front() != ' ')
        continue;
      rest.remove_prefix(1);
      take(kind, rest.substr(0, rest.find_first_not_of("0123456789abcdef.")));
    }
}

subject subject_of(std::string_view complaint) {
  subject out;
  // What comes behind the first line describes all nodes.
  each_name(complaint.substr(0, complaint.find('\n')), [&](std::string_view kind, std::string_view name) {
    while (name.ends_with('.'))
      name.remove_suffix(1);
    if (kind == "conversation" && name.size() == 8)
      out.conversations.emplace(name);
    if (kind == "message" && name.find('.') != name.npos)
      out.messages.emplace(name);
    std::uint64_t n = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), n).ptr != name.data() + name.size())
      return;
    if (kind == "device")
      out.devices.insert(n);
    else if (kind == "user")
      out.users.insert(n);
    else if (kind == "node")
      out.nodes.insert(n);
    else if (kind == "shard")
      out.shards.insert(n);
  });
  return out;
}

/// How one kind of event is told, and what it is about.
struct telling {
  std::string text;
  std::optional<std::uint64_t> device, node, shard;
  std::string conversation, message;
  bool fault = false; ///< it is told whatever the story is about
};

/// What the events themselves say of users and of messages.
struct cast {
  std::map<std::uint64_t, std::uint64_t> user_of;  ///< by device
  std::map<std::string, std::string> conversation; ///< by message
  std::string device(std::uint64_t d) const {
    const auto u = user_of.find(d);
    return u == user_of.end() ? fmt::format("device {}", d)
                              : fmt::format("device {} (user {})", d, u->second);
  }
};

std::string conversation_name(std::uint64_t hi) {
  return name(conversation_id{hi, 0});
}

std::string message_name(const event& e) {
  return fmt::format("{}.{}", e.a, e.b);
}

telling of_disk(const char* format, std::uint64_t node, std::uint64_t what) {
  telling t{fmt::format(fmt::runtime(format), node, what)};
  t.fault = true;
  return t;
}

using teller = telling (*)(const event& e, const cast& who);

const std::map<std::string_view, teller>& tellers() {
  static const std::map<std::string_view, teller> all{
      {"submit",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} has message {} for conversation {}", who.device(e.a), message_name(e),
                               conversation_name(e.c))};
         t.device = e.a, t.conversation = conversation_name(e.c), t.message = message_name(e);
         return t;
       }},
      {"acked",
       [](const event& e, const cast& who) {
         telling t{fmt::format("message {} is acknowledged with seq {}{}", message_name(e), e.c,
                               e.d != 0 ? ", as before" : "")};
         const auto c = who.conversation.find(message_name(e));
         t.device = e.a, t.message = message_name(e);
         t.conversation = c == who.conversation.end() ? "" : c->second;
         return t;
       }},
      {"received",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} is brought seq {} of conversation {}, which follows seq {}",
                               who.device(e.a), e.d, conversation_name(e.b), e.c)};
         t.device = e.a, t.conversation = conversation_name(e.b);
         return t;
       }},
      {"told",
       [](const event& e, const cast& who) {
         telling t{
             fmt::format("{} is told that conversation {} was received up to seq {} and read up to seq {}",
                         who.device(e.a), conversation_name(e.b), e.c, e.d)};
         t.device = e.a, t.conversation = conversation_name(e.b);
         return t;
       }},
      {"page",
       [](const event& e, const cast&) {
         telling t{fmt::format("a sync of conversation {} after seq {} brings {} messages, and says that it "
                               "ends at seq {}",
                               conversation_name(e.a), e.b, e.c, e.d)};
         t.conversation = conversation_name(e.a);
         return t;
       }},
      {"no-page",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} is refused what follows seq {} of conversation {}: {}", who.device(e.a),
                               e.c, conversation_name(e.b),
                               e.d == 0 ? "the connection is lost" : describe(static_cast<ec>(e.d)).name)};
         t.device = e.a, t.conversation = conversation_name(e.b);
         return t;
       }},
      {"joined",
       [](const event& e, const cast&) {
         telling t{fmt::format("device {} is added to user {}", e.b, e.a)};
         t.device = e.b;
         return t;
       }},
      {"connect",
       [](const event& e, const cast& who) {
         telling t;
         if (e.c != 0) {
           t.text = fmt::format("{} connects to node {}, with session number {}", who.device(e.a), e.b, e.c);
           t.device = e.a;
         } else {
           t.text = fmt::format("nodes {} and {} are linked", e.a, e.b);
           t.node = e.a;
         }
         return t;
       }},
      {"login",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} is logged in: it holds position {}, and its inbox ends at {}",
                               who.device(e.a), e.b, e.c)};
         t.device = e.a;
         return t;
       }},
      {"disconnect",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} has lost its connection to node {}", who.device(e.a), e.b)};
         t.device = e.a;
         return t;
       }},
      {"closed",
       [](const event& e, const cast& who) {
         telling t{
             fmt::format("{} is disconnected: {}", who.device(e.a), describe(static_cast<ec>(e.b)).name)};
         t.device = e.a;
         return t;
       }},
      {"client-crash",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} crashes", who.device(e.a))};
         t.device = e.a;
         return t;
       }},
      {"apply",
       [](const event& e, const cast&) {
         telling t{fmt::format("node {} applies entry {} of shard {}", e.a, e.c, e.b)};
         t.shard = e.b;
         return t;
       }},
      {"start",
       [](const event& e, const cast&) {
         telling t{fmt::format("node {} starts", e.a)};
         t.fault = true;
         return t;
       }},
      {"crash",
       [](const event& e, const cast&) {
         telling t{fmt::format("node {} crashes{}", e.a,
                               e.b == e.c ? "" : fmt::format(", and {} commits are lost", e.b - e.c))};
         t.fault = true;
         return t;
       }},
      {"stops",
       [](const event& e, const cast&) {
         telling t{fmt::format("node {} is stopped for {} ms", e.a, e.b / fuzz::one_ms)};
         t.fault = true;
         return t;
       }},
      {"clock",
       [](const event& e, const cast&) {
         telling t{fmt::format("the clock of node {} jumps by {} ms", e.a, e.b / fuzz::one_ms)};
         t.fault = true;
         return t;
       }},
      {"disk",
       [](const event& e, const cast&) {
         telling t{fmt::format("the disk of node {} is {}", e.a, e.b != 0 ? "slow" : "as fast as before")};
         t.fault = true;
         return t;
       }},
      {"room", [](const event& e,
                  const cast&) { return of_disk("the disk of node {} has {} bytes of room", e.a, e.b); }},
      {"flipped", [](const event& e,
                     const cast&) { return of_disk("a row of node {}, of table {}, is damaged", e.a, e.b); }},
      {"damaged",
       [](const event& e, const cast&) {
         return of_disk("node {} has found a damaged row of shard {}", e.a, e.b);
       }},
      {"mended",
       [](const event& e, const cast&) {
         return of_disk("the rows of node {} of shard {} are those of its leader now", e.a, e.b);
       }},
      {"disk-lost",
       [](const event& e, const cast&) {
         return of_disk("node {} gets an empty disk, with the number {}", e.a, e.b);
       }},
      {"put-back",
       [](const event& e, const cast&) {
         return of_disk("node {} gets an older copy of the disk with the number {}", e.a, e.b);
       }},
      {"refused",
       [](const event& e, const cast&) { return of_disk("node {} does not know node {} again", e.a, e.b); }},
      {"fenced", [](const event& e, const cast&) { return of_disk("node {} falls silent", e.a, 0); }},
      {"stopped",
       [](const event& e, const cast&) { return of_disk("node {} cannot go on, and ends", e.a, 0); }},
      {"whole", [](const event& e, const cast&) { return of_disk("node {} has everything again", e.a, 0); }},
      {"rescued", [](const event& e,
                     const cast&) { return of_disk("node {} is to go on alone with shard {}", e.a, e.b); }},
      {"kept",
       [](const event& e, const cast&) {
         telling t{fmt::format("of conversation {} the rescued shard has kept what is up to seq {}",
                               conversation_name(e.a), e.b)};
         t.conversation = conversation_name(e.a);
         return t;
       }},
      {"starts-over",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} compares its history with the cluster's", who.device(e.a))};
         t.device = e.a;
         return t;
       }},
      {"falls",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} gives up what follows seq {} of conversation {}", who.device(e.a), e.c,
                               conversation_name(e.b))};
         t.device = e.a, t.conversation = conversation_name(e.b);
         return t;
       }},
      {"passed",
       [](const event& e, const cast& who) {
         telling t{fmt::format("{} goes on without what lies between seq {} and seq {} of conversation {}",
                               who.device(e.a), e.c, e.d, conversation_name(e.b))};
         t.device = e.a, t.conversation = conversation_name(e.b);
         return t;
       }},
      {"hands-over",
       [](const event& e, const cast&) {
         telling t{fmt::format("node {} hands its leaderships over", e.a)};
         t.fault = true;
         return t;
       }},
      {"block",
       [](const event& e, const cast&) {
         telling t{fmt::format("what node {} sends to node {} {}", e.a, e.b,
                               e.c == 0   ? "arrives again"
                               : e.c == 1 ? "is held up"
                                          : "is lost")};
         t.fault = true;
         return t;
       }},
      {"break",
       [](const event& e, const cast&) {
         telling t{fmt::format("the link of nodes {} and {} breaks", e.a, e.b)};
         t.node = e.a;
         return t;
       }},
  };
  return all;
}

/// A kind that has no words of its own is a fault, or something that users do.
telling tell_one(const event& e, const cast& who) {
  if (const auto i = tellers().find(e.what); i != tellers().end())
    return i->second(e, who);
  telling t{e.a == 0 && e.b == 0 && e.c == 0 ? fmt::format("({})", e.what)
                                             : fmt::format("({}: {} {} {} {})", e.what, e.a, e.b, e.c, e.d)};
  t.fault = e.a == 0;
  return t;
}

bool concerns(const telling& t, const subject& about, const cast& who) {
  if (t.fault || about.empty())
    return true;
  // Of a conversation that is named, all that is known is told, and nothing of others.
  if (!t.message.empty() && about.messages.contains(t.message))
    return true;
  if (!t.conversation.empty() && !about.conversations.empty())
    return about.conversations.contains(t.conversation);
  if (t.device) {
    const auto u = who.user_of.find(*t.device);
    return about.devices.contains(*t.device) || (u != who.user_of.end() && about.users.contains(u->second));
  }
  return (t.node && about.nodes.contains(*t.node)) || (t.shard && about.shards.contains(*t.shard));
}

} // namespace

std::string tell(const std::deque<event>& events, std::string_view complaint, std::size_t lines_max) {
  cast who;
  for (const auto& e : events) {
    if (std::string_view{e.what} == "joined")
      who.user_of[e.b] = e.a;
    if (std::string_view{e.what} == "submit")
      who.conversation[message_name(e)] = conversation_name(e.c);
  }
  const auto about = subject_of(complaint);
  std::vector<std::string> lines; // the newest first
  for (auto e = events.rbegin(); e != events.rend() && lines.size() < lines_max; ++e)
    if (const auto t = tell_one(*e, who); concerns(t, about, who))
      lines.push_back(fmt::format("{:10.3f} ms  {}\n", static_cast<double>(e->at) / fuzz::one_ms, t.text));
  std::string out;
  for (auto l = lines.rbegin(); l != lines.rend(); ++l)
    out += *l;
  return out;
}

} // namespace parley::sim
