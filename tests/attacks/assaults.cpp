#include "tests/attacks/assaults.hpp"

#include "tests/attacks/intruder.hpp"
#include "tests/protocol/gateway/hand_made.hpp"

#include <array>
#include <chrono>
#include <memory>
#include <string>

namespace parley::test {
namespace {

/// One connection, and what its owner still wants to send on it.
struct trench {
  explicit trench(stranger s) : line{std::move(s)} {}
  stranger line;
  std::string out;
  std::size_t sent = 0;
  std::uint32_t question = 10; ///< the next; those below are taken by the login
  std::chrono::steady_clock::time_point rested{};

  bool all_sent() const { return sent == out.size(); }
  void say(std::string bytes) {
    out = std::move(bytes);
    sent = 0;
  }
  bool push() { return (sent += line.push(std::string_view{out}.substr(sent))), !line.hung_up(); }
  /// True once in `every`.
  bool is_time(milliseconds every) {
    const auto now = std::chrono::steady_clock::now();
    if (now - rested < every)
      return false;
    rested = now;
    return true;
  }
};

/// Addresses that have no /24 in common, as those of many customers.
unsigned far_apart(std::size_t i) {
  return static_cast<unsigned>(2 * 65'536 + (i % 60'000) * 256 + 1 + i / 60'000 % 250);
}

/// A share of `lines` connections is kept open: what the node ends is opened again. `open(i)` may fail and return null.
/// `drive(trench, i)` does one round without waiting, and returns false if the connection has ended.
template <class Open, class Drive>
void hold(battlefield& field, std::size_t thread, std::size_t lines, Open open, Drive drive) {
  std::vector<std::unique_ptr<trench>> mine((lines + field.threads - 1 - thread) / field.threads);
  while (!field.over) {
    for (std::size_t k = 0; k < mine.size() && !field.over; ++k) {
      const auto i = thread + k * field.threads;
      if (!mine[k]) {
        ++field.opened;
        mine[k] = open(i);
      }
      if (mine[k] && !drive(*mine[k], i))
        mine[k].reset();
    }
    nap(milliseconds{1});
  }
}

/// Somebody without an account, from an address of its own each time.
template <class Prepare, class Drive>
void strangers(battlefield& field, std::size_t thread, std::size_t lines, Prepare prepare, Drive drive) {
  std::size_t n = thread;
  hold(
      field, thread, lines,
      [&](std::size_t) -> std::unique_ptr<trench> {
        auto t = std::make_unique<trench>(stranger{field.node, far_apart(n)});
        n += field.threads;
        if (!prepare(*t))
          t.reset();
        return t;
      },
      [&](trench& t, std::size_t) { return drive(t); });
}

/// People with accounts. `buffer`: of their kernels, for those who do not read.
template <class Drive>
void people(battlefield& field, std::size_t thread, std::size_t lines, int buffer, Drive drive) {
  hold(
      field, thread, lines,
      [&](std::size_t i) -> std::unique_ptr<trench> {
        auto in = log_in_by_hand(field.node, field.attackers[i].who, far_apart(i), buffer);
        return in.inside ? std::make_unique<trench>(std::move(in.line)) : nullptr;
      },
      drive);
}

constexpr int small_buffer = 4'096;

/// Reads and forgets.
bool swallow(trench& t) {
  const bool open = t.line.listen(milliseconds{0});
  t.line.received.clear();
  return open;
}

std::uint64_t next_counter() {
  static std::atomic<std::uint64_t> last{
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count())};
  return ++last;
}

/// Messages to the conversation, `at_once` in a piece. The questions are finished in the same breath, so nothing has
/// to be remembered of them.
std::string volley(trench& t, const conversation_id& to, unsigned at_once, std::string_view body) {
  std::string all;
  for (unsigned n = 0; n < at_once; ++n, ++t.question)
    all += send_call(t.question, to, next_counter(), body) + finish_message(t.question);
  return all;
}

std::string pages(trench& t, const conversation_id& of, unsigned at_once) {
  std::string all;
  for (unsigned n = 0; n < at_once; ++n, ++t.question)
    all += page_call(t.question, of) + finish_message(t.question);
  return all;
}

/// The first words of a message of 512 KiB, and all of it but the end.
std::string half_a_message(std::size_t bytes) {
  std::string out(bytes, '\0');
  const std::uint32_t table[2] = {0, 64 * 1024};
  std::memcpy(out.data(), table, sizeof table);
  return out;
}

const std::string& large_body() {
  static const std::string body(body_bytes_max, 'm');
  return body;
}

/// A call of 500 KB that the node has to read before it refuses it.
std::string largest_call(std::uint32_t question, const conversation_id& to) {
  static const std::string body(500'000, 'm');
  return send_call(question, to, next_counter(), body) + finish_message(question);
}

void receive(trench& t) {
  t.say(receive_call(t.question, 2, [](auto c) { c.setSenderHosted(1); }) + finish_message(t.question));
  ++t.question;
}

const assault assaults[] = {
    {"silent", "strangers connect and say nothing", 1'000, false,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       strangers(
           f, thread, lines, [](trench&) { return true; }, swallow);
     }},
    {"half-open", "strangers begin a handshake and stop", 1'000, false,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       strangers(
           f, thread, lines,
           [](trench& t) {
             t.line.begin_handshake();
             return true;
           },
           [](trench& t) { return !t.line.hung_up(); });
     }},
    {"handshakes", "strangers shake hands and leave", 8, false,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       strangers(
           f, thread, lines, [](trench& t) { return t.line.handshake(); }, [](trench&) { return false; });
     }},
    {"half-frame", "strangers shake hands and send half a message", 1'000, false,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       strangers(
           f, thread, lines,
           [](trench& t) {
             t.say(half_a_message(16'000));
             return t.line.handshake();
           },
           [](trench& t) { return t.push(); });
     }},
    {"many-networks", "connections come from tens of thousands of networks and end at once", 64, false,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       strangers(
           f, thread, lines, [](trench&) { return true; }, [](trench&) { return false; });
     }},
    {"codes", "strangers from everywhere ask for confirmation codes", 64, false,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       strangers(
           f, thread, lines,
           [&](trench& t) {
             if (!t.line.handshake())
               return false;
             t.say(bootstrap_message() + door_call<rpc::Gateway::RequestCodeParams>(
                                             1, door_method::request_code, [&](auto&, auto p) {
                                               const auto n = 10'000'000 + f.opened % 10'000'000;
                                               p.setPhone(("+4915" + std::to_string(n)).c_str());
                                             }));
             return true;
           },
           [](trench& t) { return t.push() && swallow(t) && t.line.bytes_received < 100; });
     }},
    {"logins", "people log in, again and again", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [](trench&, std::size_t) { return false; });
     }},
    {"sends-small", "people send short messages as fast as they can", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [&f](trench& t, std::size_t i) {
         if (t.all_sent())
           t.say(volley(t, f.attackers[i].loot, 100, "flood"));
         return t.push() && swallow(t);
       });
     }},
    {"sends-large", "people send messages of 64 KiB as fast as they can", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [&f](trench& t, std::size_t i) {
         if (t.all_sent())
           t.say(volley(t, f.attackers[i].loot, 8, large_body()));
         return t.push() && swallow(t);
       });
     }},
    {"half-messages", "people send all of a message of 512 KiB but its end", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [](trench& t, std::size_t) {
         if (t.out.empty())
           t.say(half_a_message(64 * 8 * 1024));
         return t.push();
       });
     }},
    {"pages-unread", "people ask for pages of 1 MiB, four at a time, and do not read", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, small_buffer, [&f](trench& t, std::size_t i) {
         if (t.all_sent() && t.question < 500)
           t.say(pages(t, f.attackers[i].loot, 4));
         return t.push();
       });
     }},
    {"pages-slow", "people ask for pages of 1 MiB, and read 16 KiB of them a second", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, small_buffer, [&f](trench& t, std::size_t i) {
         if (t.all_sent() && t.question < 13)
           t.say(pages(t, f.attackers[i].loot, 3));
         return t.push() && (!t.is_time(milliseconds{1'000}) || t.line.read_once());
       });
     }},
    {"deaf", "people receive, and do not read; others send them messages of 64 KiB", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, small_buffer, [&f](trench& t, std::size_t i) {
         if (i % 2 == 0) {
           if (t.question == 10)
             receive(t);
           return t.push();
         }
         if (t.all_sent() && t.is_time(milliseconds{500}))
           t.say(volley(t, f.attackers[i].loot, 1, large_body()));
         return t.push() && swallow(t);
       });
     }},
    {"restarts", "people begin to receive from the start, again and again, and do not read", 256, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, small_buffer, [](trench& t, std::size_t) {
         if (t.all_sent() && t.is_time(milliseconds{50}))
           receive(t);
         return t.push();
       });
     }},
    {"few-pages", "four people ask for pages of 1 MiB, four at a time, and read them", 4, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [&f](trench& t, std::size_t i) {
         if (t.all_sent())
           t.say(pages(t, f.attackers[i].loot, 4));
         return t.push() && swallow(t);
       });
     }},
    {"few-unfinished", "four people make calls and never finish them", 4, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [](trench& t, std::size_t) {
         if (t.all_sent()) {
           std::string all;
           for (int n = 0; n < 200; ++n)
             all += ping_call(t.question++);
           t.say(std::move(all));
         }
         return t.push() && swallow(t);
       });
     }},
    {"few-calls", "four people make calls that cost nothing, as fast as they can", 4, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [](trench& t, std::size_t) {
         if (t.all_sent()) {
           std::string all;
           for (int n = 0; n < 200; ++n, ++t.question)
             all += ping_call(t.question) + finish_message(t.question);
           t.say(std::move(all));
         }
         return t.push() && swallow(t);
       });
     }},
    {"few-largest", "four people send calls of 500 KB as fast as they can", 4, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [&f](trench& t, std::size_t i) {
         if (t.all_sent())
           t.say(largest_call(t.question++, f.attackers[i].loot));
         return t.push() && swallow(t);
       });
     }},
    {"few-tiny-records", "four people send messages of 64 KiB, in records of one byte", 4, true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, 0, [&f](trench& t, std::size_t i) {
         if (t.all_sent())
           t.say(volley(t, f.attackers[i].loot, 1, large_body()));
         for (int n = 0; n < 1'000 && !t.all_sent(); ++n)
           t.sent += t.line.push(std::string_view{t.out}.substr(t.sent, 1));
         return swallow(t);
       });
     }},
    {"few-to-slow", "two people send messages of 64 KiB at full speed to two who read 16 KiB a second", 4,
     true,
     [](battlefield& f, std::size_t thread, std::size_t lines) {
       people(f, thread, lines, small_buffer, [&f](trench& t, std::size_t i) {
         if (i % 2 == 0) {
           if (t.question == 10)
             receive(t);
           return t.push() && (!t.is_time(milliseconds{1'000}) || t.line.read_once());
         }
         if (t.all_sent())
           t.say(volley(t, f.attackers[i].loot, 8, large_body()));
         return t.push() && swallow(t);
       });
     }},
};

} // namespace

std::span<const assault> all_assaults() {
  return assaults;
}

} // namespace parley::test
