#pragma once
// A hand-written history for the checker's tests: alice and bob in one room.
#include "tests/harness/chaos/checker.hpp"

#include <utility>
#include <vector>

namespace parley::chaos::test {

inline constexpr conversation_id room{0x11, 0x22};
inline constexpr user_id alice{1}, bob{2};
inline constexpr device_id alices{10}, bobs{20};
// Processes: alice's and bob's clients, and one reader of each for syncs of the conversation.
inline constexpr std::uint32_t a = 0, b = 1;

inline body_hash hash_of(std::uint64_t counter) {
  body_hash h{};
  h[0] = static_cast<std::uint8_t>(counter);
  return h;
}

/// Writes a history like a story. Each line takes one millisecond.
struct story {
  std::vector<event> events;
  std::vector<std::pair<std::size_t, replica_head>> heads;
  std::vector<std::pair<std::size_t, replica_message>> rows;
  std::int64_t now_ns = 0;

  story() {
    add(a, phase::ok, action::member).reader = alice;
    add(b, phase::ok, action::member).reader = bob;
    connect(a, alice, alices);
    connect(b, bob, bobs);
  }
  event& add(std::uint32_t process, phase is, action f) {
    event e;
    e.t_mono_ns = now_ns += 1'000'000;
    e.process = process;
    e.is = is;
    e.f = f;
    e.conversation = room;
    events.push_back(e);
    return events.back();
  }
  void connect(std::uint32_t process, user_id user, device_id device) {
    auto& e = add(process, phase::ok, action::connect);
    e.reader = user;
    e.sender = device;
  }
  static void fill(event& e, device_id device, std::uint64_t counter, std::uint64_t seq) {
    e.sender = device;
    e.counter = counter;
    e.hash = hash_of(counter);
    e.seq = seq_no{seq};
    e.msg = derive_message_id(room, seq_no{seq});
  }
  event& invoke(device_id device, std::uint64_t counter) {
    auto& e = add(device == alices ? a : b, phase::invoke, action::send);
    fill(e, device, counter, 0);
    return e;
  }
  event& answer(device_id device, std::uint64_t counter, std::uint64_t seq, phase is = phase::ok) {
    auto& e = add(device == alices ? a : b, is, action::send);
    fill(e, device, counter, seq);
    return e;
  }
  void send(device_id device, std::uint64_t counter, std::uint64_t seq) {
    invoke(device, counter);
    answer(device, counter, seq);
  }
  event& item(action f, std::uint32_t process, device_id device, std::uint64_t counter, std::uint64_t prev,
              std::uint64_t seq) {
    auto& e = add(process, phase::ok, f);
    fill(e, device, counter, seq);
    e.prev = seq_no{prev};
    return e;
  }
  event& push(std::uint32_t process, device_id device, std::uint64_t counter, std::uint64_t prev,
              std::uint64_t seq) {
    return item(action::push, process, device, counter, prev, seq);
  }
  void begin_read(std::uint32_t process, std::uint64_t after = 0) {
    add(process, phase::invoke, action::read).prev = seq_no{after};
  }
  void end_read(std::uint32_t process, phase is = phase::ok) { add(process, is, action::read); }
  /// `process` reads the whole room: alice's messages 1..n at 1..n.
  void read_all(std::uint32_t process, std::uint64_t n) {
    begin_read(process);
    for (std::uint64_t i = 1; i <= n; ++i)
      item(action::read_item, process, alices, i, 0, i);
    end_read(process);
  }
  void dump(std::size_t replica, std::uint64_t n, std::uint64_t applied = 7, const char* state = "s",
            std::uint32_t commands = 0) {
    heads.push_back({replica, {0, 1, applied, state, commands}});
    for (std::uint64_t i = 1; i <= n; ++i)
      row(replica, i, i);
  }
  replica_message& row(std::size_t replica, std::uint64_t counter, std::uint64_t seq) {
    rows.push_back(
        {replica,
         {0, room, seq_no{seq}, derive_message_id(room, seq_no{seq}), alices, counter, hash_of(counter)}});
    return rows.back().second;
  }
  /// Both members read everything, and three replicas hold everything: alice's messages 1..n at 1..n.
  void end_well(std::uint64_t n) {
    read_all(a, n);
    read_all(b, n);
    for (std::size_t r = 0; r < 3; ++r)
      dump(r, n);
  }
  verdict judge(checker_config config = {}) const {
    checker c{config};
    for (const auto& e : events)
      c.take(e);
    for (const auto& [r, h] : heads)
      c.take(r, h);
    for (const auto& [r, m] : rows)
      c.take(r, m);
    return c.finish();
  }
};

} // namespace parley::chaos::test
