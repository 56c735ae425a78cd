#include "actors/core/calls.hpp"

#include "protocol/values/overloaded.hpp"
#include "protocol/values/sha256.hpp"

#include <array>

namespace parley::core {

conversation_id direct_conversation(user_id a, user_id b) {
  key_writer w;
  w.raw(std::string_view{"parley direct v1\0", 17}).put(std::min(a, b)).put(std::max(a, b));
  const auto& in = w.bytes();
  const auto digest = sha256(in);
  key_reader r{{reinterpret_cast<const char*>(digest.data()), 16}};
  return r.get_conversation();
}

shard_id home(const call& c, std::uint16_t shards) {
  return std::visit(
      overloaded{
          [&](const submit& x) { return home_shard(x.what.conversation, shards); },
          [&](const sync_conversation& x) { return home_shard(x.conversation, shards); },
          [&](const mark_read& x) { return home_shard(x.conversation, shards); },
          [&](const open_conversation& x) { return home_shard(direct_conversation(x.by, x.with), shards); },
          [&](const pull_inbox& x) { return home_shard(x.user, shards); },
          [&](const acknowledge& x) { return home_shard(x.user, shards); },
          [&](const list_conversations& x) { return home_shard(x.user, shards); },
          [&](const attach& x) { return home_shard(x.user, shards); },
          [&](const detach& x) { return home_shard(x.user, shards); },
          [&](const log_in& x) { return home_shard(x.user, shards); },
          [&](const add_device& x) { return home_shard(x.user, shards); },
          [&](const find_device& x) { return home_shard(x.user, shards); },
          [&](const request_code& x) { return home_shard(phone_hash(x.phone), shards); },
          [&](const report_code& x) { return home_shard(phone_hash(x.phone), shards); },
          [&](const confirm_code& x) { return home_shard(phone_hash(x.phone), shards); },
          [&](const find_phone& x) { return home_shard(phone_hash(x.phone), shards); },
          [&](const propose& x) { return x.shard; },
          [&](const list_nodes&) { return meta_shard; },
      },
      c);
}

std::uint32_t sends_of(const submission& s) {
  return static_cast<std::uint32_t>(1 + (s.body.empty() ? 0 : (s.body.size() - 1) / rated_bytes));
}

std::uint32_t sends_of(const call& c) {
  using n = std::uint32_t;
  return std::visit(overloaded{
                        [](const submit& s) { return sends_of(s.what); },
                        // These are bounded by the rate of all calls of a user.
                        [](const open_conversation&) { return n{0}; },
                        [](const sync_conversation&) { return n{0}; },
                        [](const mark_read&) { return n{0}; },
                        [](const pull_inbox&) { return n{0}; },
                        [](const acknowledge&) { return n{0}; },
                        [](const list_conversations&) { return n{0}; },
                        [](const attach&) { return n{0}; },
                        [](const detach&) { return n{0}; },
                        [](const log_in&) { return n{0}; },
                        [](const add_device&) { return n{0}; },
                        [](const find_device&) { return n{0}; },
                        [](const request_code&) { return n{0}; }, // the gateway and the account bound codes
                        [](const report_code&) { return n{0}; },
                        [](const confirm_code&) { return n{0}; },
                        [](const find_phone&) { return n{0}; },
                        [](const propose&) { return n{0}; },
                        [](const list_nodes&) { return n{0}; },
                    },
                    c);
}

namespace {

template <class Answer>
answer make_refusal(ec why, std::uint32_t retry_after_ms) {
  Answer a;
  a.what.error = why;
  if constexpr (requires { a.what.retry_after_ms; })
    a.what.retry_after_ms = retry_after_ms;
  return a;
}

/// How each kind of call is refused, in the order of `answer`, which is the order of `call`.
template <class Answers>
struct refusals;
template <class... Answers>
struct refusals<std::variant<Answers...>> {
  static constexpr std::array by_kind{&make_refusal<Answers>...};
};

} // namespace

call_kind kind_of(const call& c) {
  return call_kind{static_cast<std::uint8_t>(c.index())};
}

call_kind kind_of(const answer& a) {
  return call_kind{static_cast<std::uint8_t>(a.index())};
}

answer refusal(call_kind kind, ec why, std::uint32_t retry_after_ms) {
  return refusals<answer>::by_kind[number(kind)](why, retry_after_ms);
}

ec error_of(const answer& a) {
  return std::visit([](const auto& x) { return x.what.error; }, a);
}

} // namespace parley::core
