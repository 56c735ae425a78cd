#include "cluster/replication/peer_frames.hpp"

#include "protocol/values/codec.hpp"

#include <algorithm>

namespace parley::cluster {
namespace {

constexpr std::uint32_t frame_magic = 0x31465250; // "PRF1"
constexpr std::size_t header_bytes = 1 + 2 + 4 + 8 + 8;

} // namespace

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
    put_raw(frames.back(), frame_magic);
  }
  open_ = &frames.back();
  open_at_ = open_->size();
  put_raw(*open_, std::uint32_t{0});
  put_raw(*open_, h.type);
  put_raw(*open_, h.shard);
  put_raw(*open_, h.gen);
  put_raw(*open_, h.from);
  put_raw(*open_, h.to);
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

frame_reader::frame_reader(std::string_view bytes) : left_{bytes} {
  reader in{left_};
  ok_ = in.get<std::uint32_t>() == frame_magic && in.ok();
  left_ = in.rest();
}

bool frame_reader::next(message_view& out) {
  if (!ok_ || left_.empty())
    return false;
  reader in{left_};
  const auto bytes = in.get<std::uint32_t>();
  if (!in.ok() || bytes < header_bytes || bytes > in.rest().size()) {
    ok_ = false;
    return false;
  }
  reader body{in.raw(bytes)};
  out.header.type = body.get<message_type>();
  out.header.shard = body.get<shard_id>();
  out.header.gen = body.get<generation>();
  out.header.from = body.get<std::uint64_t>();
  out.header.to = body.get<std::uint64_t>();
  out.body = body.rest();
  left_ = in.rest();
  return true;
}

} // namespace parley::cluster
