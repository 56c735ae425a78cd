#pragma once
// The bounds that users meet, each written once: clients, gateways and the cluster include this file, and
// texts that name a bound are built from it. `actors/core/limits.hpp` adds those that only the cluster
// needs. The schema repeats four of them for readers; protocol/wire checks that they are equal.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley {

/// Of one message. The largest that a client sends encrypted is smaller, because padding and keys need room.
inline constexpr std::size_t body_bytes_max = 64 * 1024;
/// What a message under way is counted for beyond its body, by the node and by the client that keeps to the node's bound.
inline constexpr std::size_t send_overhead_bytes = 1'024;
/// Of one line that `parley` reads from its standard input: a line becomes a message.
inline constexpr std::size_t line_bytes_max = body_bytes_max;
/// Of the name that the owner gives to a device.
inline constexpr std::size_t device_name_bytes_max = 64;
/// Of one user.
inline constexpr std::size_t devices_max = 8;
/// Of one page of an inbox, a conversation or a list of conversations. A page ends at whichever comes first.
inline constexpr std::uint32_t page_items_max = 500;
inline constexpr std::size_t page_bytes_max = 1024 * 1024;
/// Of a phone number: + and this many digits (E.164).
inline constexpr std::size_t phone_digits_min = 7;
inline constexpr std::size_t phone_digits_max = 15;

/// Of a code that confirms a phone number, and of the ticket that belongs to it.
inline constexpr std::size_t code_digits = 6;
inline constexpr std::size_t code_ticket_bytes = 16;

/// How far a session number, which is a time or the number after another, may be ahead of a node's clock. Without a
/// bound a device whose clock once was far ahead could draw a number that leaves none for its next login.
inline constexpr std::chrono::milliseconds session_ahead_max = std::chrono::hours{24};

/// A string literal as an argument of a template.
template <std::size_t N>
struct literal {
  char text[N]{};
  consteval literal(const char (&s)[N]) {
    for (std::size_t i = 0; i < N; ++i)
      text[i] = s[i];
  }
  static constexpr std::size_t size = N - 1; // without the NUL
};

/// A text around a number, "a message holds at most 65,536 bytes", put together by the compiler. Ends in NUL.
template <literal Before, std::size_t Number, literal After>
class text_with {
  static constexpr std::size_t characters() {
    std::size_t digits = 1;
    for (auto n = Number; n >= 10; n /= 10)
      ++digits;
    return digits + (digits - 1) / 3; // a comma between groups of three
  }
  static constexpr std::size_t size = Before.size + characters() + After.size;
  static constexpr std::array<char, size + 1> make() {
    std::array<char, size + 1> out{};
    for (std::size_t i = 0; i < Before.size; ++i)
      out[i] = Before.text[i];
    auto n = Number;
    for (std::size_t i = 0, at = Before.size + characters(); i < characters(); ++i) {
      if (i % 4 == 3) {
        out[--at] = ',';
        continue;
      }
      out[--at] = static_cast<char>('0' + n % 10);
      n /= 10;
    }
    for (std::size_t i = 0; i < After.size; ++i)
      out[Before.size + characters() + i] = After.text[i];
    return out;
  }
  static constexpr auto text = make();

public:
  static constexpr std::string_view value{text.data(), size};
};

} // namespace parley
