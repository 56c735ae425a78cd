#include "tests/sim/census.hpp"

#include "actors/core/commands.hpp"
#include "actors/core/peer_payload.hpp"
#include "cluster/replication/peer_bodies.hpp"
#include "protocol/values/overloaded.hpp"

namespace parley::sim {
namespace {

/// "submit" for core::submit.
template <class T>
std::string_view type_name() {
  std::string_view all = __PRETTY_FUNCTION__; // "… [with T = parley::core::submit; …]"
  all.remove_prefix(all.find("T = ") + 4);
  all = all.substr(0, all.find_first_of(";]"));
  const auto colon = all.rfind(':');
  return colon == all.npos ? all : all.substr(colon + 1);
}

template <class Variant>
std::string_view name_of(const Variant& v) {
  return std::visit([](const auto& x) { return type_name<std::decay_t<decltype(x)>>(); }, v);
}

const char* name_of(cluster::message_type t, std::string_view body) {
  using type = cluster::message_type;
  switch (t) {
  case type::append: {
    const auto a = cluster::get_body<cluster::append_body>(body);
    return a && a->entries == 0 ? "heartbeat" : "entries";
  }
  case type::append_result:
    return "answer to a heartbeat or entries";
  case type::vote:
  case type::vote_result:
  case type::timeout_now:
    return "election";
  case type::read_ask:
  case type::read_answer:
    return "read";
  case type::install:
  case type::transfer_begin:
  case type::transfer_chunk:
  case type::transfer_ack:
  case type::transfer_stop:
  case type::fetch:
    return "state";
  case type::sealed:
  case type::confirmed:
    return "succession";
  case type::position:
    return "position";
  }
  return "unknown";
}

} // namespace

void census::raft_frame(std::string_view frame) {
  cluster::frame_reader in{frame};
  for (cluster::message_view m; in.next(m);)
    add("raft", name_of(m.header.type, m.body));
}

void census::calls_payload(std::string_view bytes) {
  const auto payload = core::decode<core::peer_payload>(bytes);
  if (!payload)
    return add("payload", "unreadable");
  std::visit(overloaded{
                 [&](const core::calls_payload& p) {
                   for (const auto& c : p.items)
                     add("call", name_of(c.what));
                 },
                 [&](const core::answers_payload& p) {
                   for (std::size_t i = 0; i < p.items.size(); ++i)
                     add("call", "answer");
                 },
                 [&](const core::deliveries_payload& p) {
                   for (std::size_t i = 0; i < p.items.size(); ++i)
                     add("push", "to a session");
                 },
                 [&](const core::leads_payload&) { add("announcement", "leaders"); },
                 [&](const core::clock_payload&) { add("announcement", "clock"); },
                 [&](const core::room_payload&) { add("announcement", "room"); },
             },
             *payload);
}

void census::proposal(std::string_view command) {
  const auto c = core::decode_whole<core::command>(command).it;
  add("proposal", c ? name_of(*c) : "unreadable");
}

} // namespace parley::sim
