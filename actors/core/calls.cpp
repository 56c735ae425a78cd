#include "actors/core/calls.hpp"

#include <openssl/sha.h>

namespace parley::core {
namespace {

template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};

} // namespace

conversation_id direct_conversation(user_id a, user_id b) {
  key_writer w;
  w.raw(std::string_view{"parley direct v1\0", 17}).put(std::min(a, b)).put(std::max(a, b));
  const auto& in = w.bytes();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(in.data()), in.size(), digest);
  key_reader r{{reinterpret_cast<const char*>(digest), 16}};
  return r.get_conversation();
}

shard_id home(const call& c, std::uint16_t shards) {
  return std::visit(
      overloaded{
          [&](const open_conversation& x) { return home_shard(direct_conversation(x.by, x.with), shards); },
          [&](const pull_inbox& x) { return home_shard(x.user, shards); },
          [&](const acknowledge& x) { return home_shard(x.user, shards); },
          [&](const list_conversations& x) { return home_shard(x.user, shards); },
          [&](const attach& x) { return home_shard(x.user, shards); },
          [&](const detach& x) { return home_shard(x.user, shards); },
          [&](const add_device& x) { return home_shard(x.user, shards); },
          [&](const find_device& x) { return home_shard(x.user, shards); },
          [&](const request_code& x) { return home_shard(phone_hash(x.phone), shards); },
          [&](const confirm_code& x) { return home_shard(phone_hash(x.phone), shards); },
          [&](const find_phone& x) { return home_shard(phone_hash(x.phone), shards); },
          [&](const propose& x) { return x.shard; },
          [&](const list_nodes&) { return meta_shard; },
          [&](const auto& x) { return home_shard(x.conversation, shards); },
      },
      c);
}

namespace {

template <std::size_t I = 0>
answer make_refusal(std::size_t index, ec why, std::uint32_t retry_after_ms) {
  if constexpr (I == std::variant_size_v<answer>) {
    return {};
  } else {
    if (index != I)
      return make_refusal<I + 1>(index, why, retry_after_ms);
    answer a{std::in_place_index<I>};
    auto& it = std::get<I>(a);
    it.error = why;
    if constexpr (requires { it.retry_after_ms; })
      it.retry_after_ms = retry_after_ms;
    return a;
  }
}

} // namespace

answer refusal(const call& c, ec why, std::uint32_t retry_after_ms) {
  return make_refusal(c.index(), why, retry_after_ms);
}

answer refusal_of_kind(std::size_t index, ec why, std::uint32_t retry_after_ms) {
  return make_refusal(index, why, retry_after_ms);
}

ec error_of(const answer& a) {
  return std::visit([](const auto& x) { return x.error; }, a);
}

} // namespace parley::core
