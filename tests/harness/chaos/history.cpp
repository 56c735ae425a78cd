#include "tests/harness/chaos/history.hpp"

#include <charconv>
#include <cstring>
#include <string_view>

namespace parley::chaos {

namespace {

constexpr std::string_view magic = "parley history 1\n";

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

std::optional<std::uint64_t> hex64(std::string_view s) {
  std::uint64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v, 16);
  if (error != std::errc{} || end != s.data() + s.size())
    return std::nullopt;
  return v;
}

/// The value of `key` in a flat JSON object: a number, or a string without escapes. A
/// dump contains nothing else.
std::string_view field(std::string_view line, std::string_view key) {
  for (std::size_t at = 0; (at = line.find(key, at)) != std::string_view::npos; at += key.size()) {
    const auto after = at + key.size();
    if (at == 0 || line[at - 1] != '"' || after >= line.size() || line[after] != '"')
      continue;
    auto rest = line.substr(after + 1);
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == ':'))
      rest.remove_prefix(1);
    if (rest.empty())
      return {};
    if (rest.front() == '"') {
      rest.remove_prefix(1);
      return rest.substr(0, rest.find('"'));
    }
    return rest.substr(0, rest.find_first_of(",} \r\n"));
  }
  return {};
}

template <class T>
bool number_field(std::string_view line, std::string_view key, T& out) {
  const auto text = field(line, key);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

template <class Id>
bool id_field(std::string_view line, std::string_view key, Id& out) {
  const auto text = field(line, key);
  if (text.size() != 32)
    return false;
  const auto hi = hex64(text.substr(0, 16));
  const auto lo = hex64(text.substr(16));
  if (!hi || !lo)
    return false;
  out = {*hi, *lo};
  return true;
}

bool hash_field(std::string_view line, std::string_view key, body_hash& out) {
  const auto text = field(line, key);
  if (text.size() != 2 * out.size())
    return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

} // namespace

history_writer::history_writer(const std::string& path) : out_{std::fopen(path.c_str(), "wb")} {
  if (!out_)
    return;
  std::setvbuf(out_.get(), nullptr, _IOFBF, 1 << 20);
  ok_ = std::fwrite(magic.data(), 1, magic.size(), out_.get()) == magic.size();
}

bool history_writer::put(const event& e) {
  ok_ = ok_ && std::fwrite(&e, sizeof e, 1, out_.get()) == 1;
  return ok_;
}

bool history_writer::flush() {
  ok_ = ok_ && std::fflush(out_.get()) == 0;
  return ok_;
}

history_reader::history_reader(const std::string& path) : in_{std::fopen(path.c_str(), "rb")} {
  if (!in_)
    return;
  std::setvbuf(in_.get(), nullptr, _IOFBF, 1 << 20);
  char head[magic.size()];
  ok_ = std::fread(head, 1, sizeof head, in_.get()) == sizeof head &&
        std::string_view{head, sizeof head} == magic;
}

std::optional<event> history_reader::next() {
  if (!ok_)
    return std::nullopt;
  event e;
  const auto n = std::fread(&e, 1, sizeof e, in_.get());
  if (n == sizeof e && e.is <= phase::info && e.f <= action::healed)
    return e;
  ok_ = n == 0 && std::feof(in_.get()) != 0; // an incomplete last record means that the file is broken
  return std::nullopt;
}

bool parse_dump_line(std::string_view line, std::optional<replica_head>& head,
                     std::optional<replica_message>& message) {
  head.reset();
  message.reset();
  if (!field(line, "delivered").empty() ||
      (!field(line, "life").empty() && field(line, "applied_index").empty()))
    return !field(line, "shard").empty();
  if (!field(line, "conversation").empty()) {
    replica_message m;
    std::uint64_t seq = 0, device = 0;
    if (!number_field(line, "shard", m.shard) || !id_field(line, "conversation", m.conversation) ||
        !number_field(line, "seq", seq) || !id_field(line, "msg_id", m.msg) ||
        !number_field(line, "device", device) || !number_field(line, "client_counter", m.counter) ||
        !hash_field(line, "body_sha256", m.hash))
      return false;
    m.seq = seq_no{seq};
    m.sender = device_id{device};
    message = m;
    return true;
  }
  replica_head h;
  if (!number_field(line, "shard", h.shard) || !number_field(line, "generation", h.gen) ||
      !number_field(line, "applied_index", h.applied_index) ||
      !number_field(line, "applied_commands", h.applied_commands))
    return false;
  h.state_hash = std::string{field(line, "state_hash")};
  head = h;
  return true;
}

} // namespace parley::chaos
