#include "cluster/machine/shard_rows.hpp"

#include "protocol/values/overloaded.hpp"

namespace parley::cluster::rows {
namespace {

using core::format_fault;
using core::reading;

/// What stands in front of the body.
struct message_fields {
  user_id from{};
  client_msg_id client_id;
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(from, client_id, at);
  }
};
struct message_news_fields {
  conversation_id conversation;
  seq_no seq{};
  user_id from{};
  seq_no prev{};
  client_msg_id client_id;
  unix_ms at{};
  template <class F>
  auto fields(F&& f) {
    return f(conversation, seq, from, prev, client_id, at);
  }
};

/// An inbox row begins with the kind of its news, as a variant does; only a
/// message differs behind that.
constexpr std::uint8_t message_kind = 0;
static_assert(std::is_same_v<std::variant_alternative_t<message_kind, core::news>, core::message_news>);

} // namespace

std::string pack_message(core::format_number f, const core::message& x) {
  writer w{40 + x.body.size()};
  core::encode_for(f, w, message_fields{x.from, x.client_id, x.at});
  w.raw(x.body);
  return std::move(w).bytes();
}

core::decoded<core::message> unpack_message(conversation_id c, seq_no seq, std::string_view v, reading how) {
  reader in{v};
  const auto f = core::decode<message_fields>(in, how);
  if (!f.it)
    return {std::nullopt, f.why};
  return {core::message{c, seq, derive_message_id(c, seq), f.it->from, f.it->client_id, f.it->at, in.rest()}};
}

std::string pack_news(core::format_number f, const core::news& x) {
  return std::visit(overloaded{
                        [f](const core::message_news& n) {
                          const auto& m = n.msg;
                          writer w{72 + m.body.size()};
                          w.put(message_kind);
                          core::encode_for(
                              f, w,
                              message_news_fields{m.conversation, m.seq, m.from, n.prev, m.client_id, m.at});
                          w.raw(m.body);
                          return std::move(w).bytes();
                        },
                        [&](const core::opened_news&) { return core::encode_for(f, x); },
                        [&](const core::watermark&) { return core::encode_for(f, x); },
                        [&](const core::device_added&) { return core::encode_for(f, x); },
                    },
                    x);
}

core::decoded<core::news> unpack_news(std::string_view v, reading how) {
  reader in{v};
  if (in.get<std::uint8_t>() != message_kind) {
    reader all{v};
    auto x = core::decode<core::news>(all, how);
    if (x.it && !all.done())
      return {std::nullopt, format_fault::damaged};
    return x;
  }
  const auto f = core::decode<message_news_fields>(in, how);
  if (!f.it)
    return {std::nullopt, f.why};
  return {core::message_news{f.it->prev,
                             {f.it->conversation, f.it->seq, derive_message_id(f.it->conversation, f.it->seq),
                              f.it->from, f.it->client_id, f.it->at, in.rest()}}};
}

core::decoded<news_glance> glance(std::string_view v) {
  reader in{v};
  if (in.get<std::uint8_t>() != message_kind) {
    const auto why = unpack_news(v, reading::whole).why;
    return {why == format_fault::none ? std::optional{news_glance{}} : std::nullopt, why};
  }
  const auto f = core::decode<message_news_fields>(in, reading::whole);
  if (!f.it)
    return {std::nullopt, f.why};
  return {news_glance{true, f.it->conversation, f.it->seq, f.it->from}};
}

} // namespace parley::cluster::rows
