#include "cluster/machine/shard_rows.hpp"

#include "protocol/values/overloaded.hpp"

namespace parley::cluster::rows {
namespace {

enum class news_kind : std::uint8_t { message = 1, other = 2 };

template <class T>
std::optional<T> checked(const reader& in, T x) {
  if (!in.done())
    return std::nullopt;
  return x;
}

} // namespace

std::string pack(const core::sender_head& x) {
  writer w{24};
  w.put(x.accepted).put(x.counter_max).put(x.counter_evicted);
  return std::move(w).bytes();
}

std::optional<core::sender_head> unpack_sender(std::string_view v) {
  reader in{v};
  core::sender_head x;
  x.accepted = in.get<std::uint64_t>();
  x.counter_max = in.get<std::uint64_t>();
  x.counter_evicted = in.get<std::uint64_t>();
  return checked(in, x);
}

std::string pack(const core::remembered_id& x) {
  writer w{56};
  w.put(x.counter).put(x.seq).put(x.at).put(x.hash);
  return std::move(w).bytes();
}

std::optional<core::remembered_id> unpack_remembered(std::string_view v) {
  reader in{v};
  core::remembered_id x;
  x.counter = in.get<std::uint64_t>();
  x.seq = in.get<seq_no>();
  x.at = in.get<unix_ms>();
  x.hash = in.get_hash();
  return checked(in, x);
}

std::string pack(const core::progress& x) {
  writer w{16};
  w.put(x.delivered).put(x.read);
  return std::move(w).bytes();
}

std::optional<core::progress> unpack_progress(std::string_view v) {
  reader in{v};
  core::progress x;
  x.delivered = in.get<seq_no>();
  x.read = in.get<seq_no>();
  return checked(in, x);
}

std::string pack(const inbox_mark& x) {
  writer w{24};
  w.put(x.pos).put(x.is.delivered).put(x.is.read);
  return std::move(w).bytes();
}

std::optional<inbox_mark> unpack_mark(std::string_view v) {
  reader in{v};
  inbox_mark x;
  x.pos = in.get<inbox_pos>();
  x.is.delivered = in.get<seq_no>();
  x.is.read = in.get<seq_no>();
  return checked(in, x);
}

std::string pack_message(const core::message& x) {
  writer w{32 + x.body.size()};
  w.put(x.from).put(x.client_id).put(x.at).raw(x.body);
  return std::move(w).bytes();
}

std::optional<core::message> unpack_message(conversation_id c, seq_no seq, std::string_view v) {
  reader in{v};
  core::message x;
  x.conversation = c;
  x.seq = seq;
  x.id = derive_message_id(c, seq);
  x.from = in.get<user_id>();
  x.client_id = in.get_client_msg_id();
  x.at = in.get<unix_ms>();
  if (!in.ok())
    return std::nullopt;
  x.body = in.rest();
  return x;
}

std::string pack_news(const core::news& x) {
  const auto other = [&] {
    writer w{64};
    w.put(news_kind::other);
    core::encode(w, x);
    return std::move(w).bytes();
  };
  return std::visit(overloaded{
                        [](const core::message_news& n) {
                          const auto& m = n.msg;
                          writer w{65 + m.body.size()};
                          w.put(news_kind::message).put(m.conversation).put(m.seq).put(m.from);
                          w.put(n.prev).put(m.client_id).put(m.at).raw(m.body);
                          return std::move(w).bytes();
                        },
                        [&](const core::opened_news&) { return other(); },
                        [&](const core::watermark&) { return other(); },
                    },
                    x);
}

std::optional<core::news> unpack_news(std::string_view v) {
  reader in{v};
  if (const auto kind = in.get<news_kind>(); kind != news_kind::message)
    return kind == news_kind::other ? core::decode<core::news>(in.rest()) : std::nullopt;
  core::message_news n;
  auto& m = n.msg;
  m.conversation = in.get_conversation();
  m.seq = in.get<seq_no>();
  m.id = derive_message_id(m.conversation, m.seq);
  m.from = in.get<user_id>();
  n.prev = in.get<seq_no>();
  m.client_id = in.get_client_msg_id();
  m.at = in.get<unix_ms>();
  if (!in.ok())
    return std::nullopt;
  m.body = in.rest();
  return n;
}

std::optional<news_glance> glance(std::string_view v) {
  reader in{v};
  news_glance g;
  const auto kind = in.get<news_kind>();
  if (kind == news_kind::other)
    return g;
  g.is_message = true;
  g.conversation = in.get_conversation();
  g.seq = in.get<seq_no>();
  g.from = in.get<user_id>();
  if (kind != news_kind::message || !in.ok())
    return std::nullopt;
  return g;
}

} // namespace parley::cluster::rows
