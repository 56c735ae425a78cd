#include "cluster/replication/peer_frames.hpp"

#include <algorithm>

namespace parley::cluster {
namespace {

constexpr std::uint32_t frame_magic = 0x31465250; // "PRF1"
constexpr std::uint8_t message_version = 1;
constexpr std::size_t header_bytes = 1 + 1 + 2 + 4 + 8 + 8;

} // namespace

bool is_known(message_type t) {
  switch (t) {
  case message_type::append:
  case message_type::append_result:
  case message_type::vote:
  case message_type::vote_result:
  case message_type::install:
  case message_type::timeout_now:
  case message_type::read_ask:
  case message_type::read_answer:
  case message_type::transfer_begin:
  case message_type::transfer_chunk:
  case message_type::transfer_ack:
  case message_type::transfer_stop:
  case message_type::fetch:
  case message_type::sealed:
  case message_type::confirmed:
  case message_type::position:
    return true;
  }
  return false;
}

frame_batcher::peer& frame_batcher::of(node_id node) {
  for (auto& p : peers_)
    if (p.node == node)
      return p;
  peers_.push_back({node, {}});
  return peers_.back();
}

std::string& frame_batcher::start(node_id to, leaves when, const message_header& h,
                                  std::size_t bytes_expected) {
  auto& frames = of(to).frames[static_cast<int>(when)];
  if (frames.empty() || frames.back().size() + header_bytes + 4 + bytes_expected > frame_bytes_max_) {
    frames.emplace_back();
    append_number(frames.back(), frame_magic);
  }
  open_ = &frames.back();
  open_at_ = open_->size();
  append_number(*open_, std::uint32_t{0});
  append_number(*open_, message_version);
  append_number(*open_, h.type);
  append_number(*open_, h.shard);
  append_number(*open_, h.gen);
  append_number(*open_, h.from);
  append_number(*open_, h.to);
  return *open_;
}

void frame_batcher::finish() {
  const auto bytes = static_cast<std::uint32_t>(open_->size() - open_at_ - 4);
  std::memcpy(open_->data() + open_at_, &bytes, sizeof bytes);
  open_ = nullptr;
  ++messages_;
}

void frame_batcher::take(leaves when, std::vector<frame>& into) {
  for (auto& p : peers_) {
    for (auto& bytes : p.frames[static_cast<int>(when)])
      into.push_back({p.node, std::move(bytes)});
    p.frames[static_cast<int>(when)].clear();
  }
  if (std::all_of(peers_.begin(), peers_.end(),
                  [](const peer& p) { return p.frames[0].empty() && p.frames[1].empty(); }))
    messages_ = 0;
}

void frame_batcher::drop(node_id node) {
  for (auto& p : peers_)
    if (p.node == node)
      p.frames[0].clear(), p.frames[1].clear();
}

std::size_t frame_batcher::bytes_for(node_id node) const {
  std::size_t bytes = 0;
  for (const auto& p : peers_)
    if (p.node == node)
      for (const auto& frames : p.frames)
        for (const auto& f : frames)
          bytes += f.size();
  return bytes;
}

std::string without_bulk(std::string_view frame) {
  constexpr std::size_t small = 256; // a heartbeat, or one with an entry that is no trouble
  reader in{frame};
  if (in.get<std::uint32_t>() != frame_magic || !in.ok())
    return std::string{frame};
  std::string out;
  append_number(out, frame_magic);
  const auto empty = out.size();
  while (!in.rest().empty()) {
    const auto bytes = in.get<std::uint32_t>();
    if (!in.ok() || bytes < header_bytes || bytes > in.rest().size())
      return std::string{frame};
    const auto message = in.raw(bytes);
    reader header{message};
    header.get<std::uint8_t>(); // the version
    const auto type = header.get<message_type>();
    if (bytes > small && (type == message_type::append || type == message_type::transfer_chunk))
      continue;
    append_number(out, bytes);
    out.append(message);
  }
  return out.size() == empty ? std::string{} : out;
}

frame_reader::frame_reader(std::string_view bytes) : left_{bytes} {
  reader in{left_};
  ok_ = in.get<std::uint32_t>() == frame_magic && in.ok();
  left_ = in.rest();
}

bool frame_reader::next(message_view& out) {
  while (ok_ && !left_.empty()) {
    reader in{left_};
    const auto bytes = in.get<std::uint32_t>();
    if (!in.ok() || bytes < header_bytes || bytes > in.rest().size()) {
      ok_ = false;
      break;
    }
    reader body{in.raw(bytes)};
    left_ = in.rest();
    const auto version = body.get<std::uint8_t>();
    out.header.type = body.get<message_type>();
    out.header.shard = body.get<shard_id>();
    out.header.gen = body.get<generation>();
    out.header.from = body.get<std::uint64_t>();
    out.header.to = body.get<std::uint64_t>();
    out.body = body.rest();
    if (version == message_version && is_known(out.header.type))
      return true;
    ++refused_;
  }
  return false;
}

} // namespace parley::cluster
