#include "cluster/links/node_start.hpp"

#include "protocol/values/planted_bugs.hpp"

#include <algorithm>
#include <utility>

namespace parley::cluster {

std::optional<std::uint64_t> node_start::word_of(std::uint64_t n) const {
  if (n > number || number - n >= words.size())
    return std::nullopt;
  return words[words.size() - 1 - static_cast<std::size_t>(number - n)];
}

std::string_view describe(start_verdict v) {
  switch (v) {
  case start_verdict::fits:
    return "its directory is the one that was seen before";
  case start_verdict::older:
  case start_verdict::other:
    return "its data directory is an older copy of the one that was seen before, or a second process runs on "
           "a copy: "
           "what it acknowledged since may be missing there";
  case start_verdict::replaced:
    return "another process has started for this node since, with another data directory";
  case start_verdict::twice:
    return "another process of this node is running and answers: this one was started on a copy of its data "
           "directory";
  }
  return "its start was judged by a newer version of this program";
}

start_verdict judge(const seen_node& seen, const node_start& start) {
  if (planted("rollback-unnoticed"))
    return start_verdict::fits;
  const auto known = std::find_if(seen.disks.begin(), seen.disks.end(),
                                  [&](const seen_start& s) { return s.disk == start.disk; });
  if (known == seen.disks.end())
    return start_verdict::fits;
  if (start.number < known->number)
    return start_verdict::older;
  // More starts than a greeting has words for, and none of them seen here: nobody can tell.
  if (const auto word = start.word_of(known->number); word && *word != known->word)
    return start_verdict::other;
  if (start.number == known->number && std::next(known) != seen.disks.end())
    return start_verdict::replaced;
  return start_verdict::fits;
}

bool note(seen_node& seen, const node_start& start) {
  const seen_start now{start.disk, start.number, start.word()};
  if (!seen.disks.empty()) {
    const auto& last = seen.disks.back();
    if (last.disk == now.disk && last.number == now.number && last.word == now.word)
      return false;
  }
  std::erase_if(seen.disks, [&](const seen_start& s) { return s.disk == now.disk; });
  if (seen.disks.size() >= seen_node::disks_max)
    seen.disks.erase(seen.disks.begin());
  seen.disks.push_back(now);
  return true;
}

start_book::start_book(const std::vector<row>& rows) {
  for (const auto& [node, bytes] : rows) {
    if (auto seen = core::decode_whole<seen_node>(bytes); seen.it)
      nodes_[node].seen = std::move(*seen.it);
    else
      unread_.push_back(node);
  }
}

void start_book::kept_by(keeper keep) {
  std::lock_guard guard{mutex_};
  keep_ = std::move(keep);
}

void start_book::judge(node_id peer, const node_start& start, std::function<void(start_verdict)> done) {
  std::lock_guard in_order{order_};
  std::unique_lock lock{mutex_};
  auto& e = nodes_[peer];
  const auto verdict = start.number == 0 ? start_verdict::fits : cluster::judge(e.seen, start);
  if (verdict == start_verdict::fits && start.number != 0 && keep_ && note(e.seen, start)) {
    const auto upto = ++e.asked;
    e.waiting.emplace_back(upto, std::move(done));
    const auto keep = keep_;
    auto bytes = core::encode(e.seen);
    lock.unlock();
    keep({peer, std::move(bytes)}, [this, peer, upto] { durable(peer, upto); });
    return;
  }
  if (verdict == start_verdict::fits && e.kept < e.asked) { // known, and not durable yet
    e.waiting.emplace_back(e.asked, std::move(done));
    return;
  }
  lock.unlock();
  done(verdict);
}

void start_book::durable(node_id peer, std::uint64_t upto) {
  std::vector<std::function<void(start_verdict)>> ready;
  {
    std::lock_guard guard{mutex_};
    auto& e = nodes_[peer];
    e.kept = std::max(e.kept, upto);
    for (auto& [number, done] : e.waiting)
      if (number <= e.kept)
        ready.push_back(std::move(done));
    std::erase_if(e.waiting, [&](const auto& w) { return w.first <= e.kept; });
  }
  for (auto& done : ready)
    done(start_verdict::fits);
}

bool start_book::tell(node_id peer, const node_start& start, start_verdict why) {
  std::lock_guard guard{mutex_};
  auto& e = nodes_[peer];
  if (e.told == why && e.told_word == start.word())
    return false;
  e.told = why;
  e.told_word = start.word();
  return true;
}

} // namespace parley::cluster
