#include "tests/cluster/fuzz/oracle.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::fuzz {

std::string oracle::where(node_id on, shard_id shard) const {
  return fmt::format("node {}, shard {}", number(on), number(shard));
}

oracle::question* oracle::ask(std::uint64_t ticket, question q) {
  auto [i, is_new] = questions_.emplace(ticket, std::move(q));
  if (!is_new)
    sim_.violate(fmt::format("harness: ticket {} used twice", ticket));
  pending_.insert(ticket);
  return &i->second;
}

void oracle::proposed(node_id on, shard_id shard, std::uint64_t ticket) {
  ask(ticket, {kind::proposal, on, shard});
}

void oracle::read_asked(node_id on, shard_id shard, std::uint64_t ticket) {
  ask(ticket, {kind::read, on, shard, fate::pending, shards_[shard].acked_count});
}

void oracle::seal_asked(node_id on, shard_id shard, generation gen, std::vector<cluster::member> next,
                        std::uint64_t ticket) {
  shards_[shard].attempts.push_back({gen, next});
  ask(ticket, {kind::seal, on, shard, fate::pending, 0, std::move(next)});
}

void oracle::crashed(node_id node) {
  std::erase_if(pending_, [&](std::uint64_t ticket) {
    auto& q = questions_.at(ticket);
    if (q.on != node)
      return false;
    q.answer = fate::unknown;
    return true;
  });
}

oracle::question* oracle::answer(node_id on, std::uint64_t ticket, kind expected, const char* with) {
  auto i = questions_.find(ticket);
  if (i == questions_.end()) {
    sim_.violate(fmt::format("node {}: {} for ticket {}, which nobody asked", number(on), with, ticket));
    return nullptr;
  }
  auto& q = i->second;
  if (q.on != on || q.what != expected) {
    sim_.violate(
        fmt::format("{}: {} for ticket {} of node {}", where(on, q.shard), with, ticket, number(q.on)));
    return nullptr;
  }
  if (pending_.erase(ticket) == 0) {
    sim_.violate(
        fmt::format("{}: {} for ticket {}, which was answered before", where(on, q.shard), with, ticket));
    return nullptr;
  }
  return &q;
}

void oracle::applied(node_id on, const cluster::log_position& at, std::uint64_t id, const summary& after,
                     std::uint64_t ticket) {
  auto& shard = shards_[at.shard];
  const auto n = after.count;
  const auto here = [&] {
    return fmt::format("{}: command {} as number {} at generation {}, term {}, index {}", where(on, at.shard),
                       id, n, number(at.gen), at.term, at.index);
  };
  sim_.note("apply", number(on), number(at.shard) << 32 | n, id, number(at.gen) << 48 | at.index);
  if (auto end = shard.ended_at.find(at.gen); end != shard.ended_at.end() && n > end->second)
    return sim_.violate(
        fmt::format("applied after the seal (which came after number {}): {}", end->second, here()));
  if (n > shard.history.size() + 1)
    return sim_.violate(
        fmt::format("applied with a gap: {}; the history has {}", here(), shard.history.size()));
  if (n == shard.history.size() + 1) {
    if (auto q = questions_.find(id); q == questions_.end() || q->second.shard != at.shard)
      return sim_.violate(fmt::format("applied what nobody proposed: {}", here()));
    else if (q->second.answer == fate::certainly_not)
      return sim_.violate(fmt::format("applied although refused: {}", here()));
    if (auto [p, is_new] = position_.emplace(id, n); !is_new)
      return sim_.violate(fmt::format("applied twice: {}; it was number {} before", here(), p->second));
    if (!shard.history.empty() && shard.history.back().gen > at.gen)
      return sim_.violate(fmt::format("an ended generation applies: {}; number {} was of generation {}",
                                      here(), n - 1, number(shard.history.back().gen)));
    shard.history.push_back({at.gen, at.term, at.index, id, after});
    ++sim_.count.commits;
  } else if (const auto& was = shard.history[n - 1];
             was.gen != at.gen || was.term != at.term || was.index != at.index || was.id != id) {
    return sim_.violate(
        fmt::format("a committed entry changed: {}; it was command {} at generation {}, term {}, index {}",
                    here(), was.id, number(was.gen), was.term, was.index));
  } else if (was.after != after) {
    return sim_.violate(fmt::format("states differ after {}", here()));
  }
  if (ticket == 0)
    return;
  if (ticket != id)
    return sim_.violate(fmt::format("ticket {} came with another's command: {}", ticket, here()));
  if (auto* q = answer(on, ticket, kind::proposal, "an application")) {
    q->answer = fate::acked;
    shard.acked_count = std::max(shard.acked_count, n);
    ++shard.acks;
    ++sim_.count.acks;
  }
}

void oracle::refused(node_id on, const cluster::refused& r) {
  auto i = questions_.find(r.ticket);
  const auto expected = i == questions_.end() ? kind::proposal : i->second.what;
  auto* q = answer(on, r.ticket, expected, "a refusal");
  if (!q)
    return;
  sim_.note("refused", number(on), r.ticket, number(r.why), number(q->shard));
  if (r.why == ec::timed_out || q->what == kind::read) {
    q->answer = fate::unknown;
    ++sim_.count.unknown;
    return;
  }
  ++sim_.count.refusals;
  switch (r.why) {
  case ec::not_leader:
  case ec::overloaded:
  case ec::sealed:
  case ec::disk_full:
  case ec::too_large:
    break;
  default:
    // A seal may also be refused because of its contents.
    if (q->what != kind::seal)
      return sim_.violate(fmt::format("{}: ticket {} refused with code {}, which a proposal cannot get",
                                      where(on, q->shard), r.ticket, number(r.why)));
  }
  q->answer = fate::certainly_not;
  auto& attempts = shards_[q->shard].attempts;
  if (q->what == kind::seal)
    if (auto a = std::ranges::find(attempts, q->next, &attempt::next); a != attempts.end())
      attempts.erase(a);
  if (auto p = position_.find(r.ticket); p != position_.end())
    sim_.violate(fmt::format("{}: ticket {} refused with code {} although it was applied as number {}",
                             where(on, q->shard), r.ticket, number(r.why), p->second));
}

void oracle::read_ready(node_id on, std::uint64_t ticket, const std::optional<summary>& seen) {
  auto* q = answer(on, ticket, kind::read, "a read");
  if (!q)
    return;
  ++sim_.count.reads;
  q->answer = fate::acked;
  sim_.note("read", number(on), ticket, number(q->shard), seen ? seen->count : 0);
  if (!seen && q->must_see > 0)
    sim_.violate(fmt::format("{}: a read was answered where there is no state", where(on, q->shard)));
  else if (seen && seen->count < q->must_see)
    sim_.violate(
        fmt::format("{}: a stale read: it sees {} commands, {} were acknowledged before it was asked",
                    where(on, q->shard), seen->count, q->must_see));
}

void oracle::leads(node_id on, shard_id shard, generation gen, std::uint64_t term, node_id leader) {
  auto [i, is_new] = leaders_.emplace(std::tuple{shard, gen, term}, leader);
  if (is_new) {
    ++sim_.count.elections;
    sim_.note("leader", number(leader), number(shard), number(gen), term);
  } else if (i->second != leader) {
    sim_.violate(fmt::format("two leaders in generation {}, term {}: {} was known, {} says it is {}",
                             number(gen), term, number(i->second), where(on, shard), number(leader)));
  }
}

void oracle::led(node_id on, const cluster::leadership& news) {
  // A node's report is binding only about itself; about other nodes it repeats what it last received.
  if (news.leader == on)
    leads(on, news.shard, news.gen, news.term, news.leader);
  if (!news.ready)
    return;
  if (news.leader != on)
    return sim_.violate(
        fmt::format("{}: ready although node {} leads", where(on, news.shard), number(news.leader)));
  auto& shard = shards_[news.shard];
  shard.served = std::max(shard.served, news.gen);
}

// Reported by a seal, or by a member: a node may have crashed after it applied a seal and before
// it reported the seal.
void oracle::knows_members(node_id on, shard_id id, generation gen,
                           const std::vector<cluster::member>& members) {
  auto& shard = shards_[id];
  auto [i, is_new] = shard.members.emplace(gen, members);
  if (!is_new) {
    if (i->second != members)
      sim_.violate(fmt::format("{}: generation {} has two sets of members", where(on, id), number(gen)));
    return;
  }
  const auto asked = std::ranges::any_of(shard.attempts, [&](const attempt& a) {
    return number(a.gen) + 1 == number(gen) && a.next == members;
  });
  if (!asked)
    sim_.violate(
        fmt::format("{}: generation {} has members that nobody asked for", where(on, id), number(gen)));
}

void oracle::sealed(node_id on, const cluster::generation_sealed& news, const std::optional<summary>& state) {
  auto& shard = shards_[news.shard];
  const auto gone = generation{static_cast<std::uint32_t>(number(news.next_gen)) - 1};
  if (!shard.members.contains(news.next_gen)) {
    ++sim_.count.seals;
    sim_.note("sealed", number(on), number(news.shard), number(news.next_gen), news.next.size());
  }
  knows_members(on, news.shard, news.next_gen, news.next);
  std::erase_if(pending_, [&](std::uint64_t ticket) {
    auto& q = questions_.at(ticket);
    if (q.what != kind::seal || q.on != on || q.shard != news.shard || q.next != news.next)
      return false;
    q.answer = fate::acked;
    return true;
  });
  if (state)
    ended(on, news.shard, gone, state->count);
}

// The first node that reports a seal and still has the state has applied the seal, so its count is
// where the generation ended. Later ones may lag behind, but none may be ahead.
void oracle::ended(node_id on, shard_id id, generation gen, std::uint64_t count) {
  auto& shard = shards_[id];
  count = std::min<std::uint64_t>(count, shard.history.size());
  while (count > 0 && shard.history[count - 1].gen > gen)
    --count;
  auto [i, is_new] = shard.ended_at.emplace(gen, count);
  const bool went_on =
      is_new ? shard.history.size() > count && shard.history[count].gen == gen : count > i->second;
  if (went_on)
    sim_.violate(fmt::format("{}: generation {} was sealed after number {}, but went on to {}", where(on, id),
                             number(gen), i->second, std::max<std::uint64_t>(count, i->second + 1)));
}

void oracle::put_back(node_id node, disk_id disk) {
  std::erase_if(durable_, [&](const auto& d) {
    return std::get<node_id>(d.first) == node && std::get<disk_id>(d.first) == disk;
  });
}

void oracle::durable_status(node_id on, disk_id disk, const cluster::replica_status& now) {
  using role = cluster::replica_status::role;
  if (!now.members.empty())
    knows_members(on, now.shard, now.gen, now.members);
  if (now.as == role::leader)
    leads(on, now.shard, now.gen, now.term, on);
  if (now.applied_index > now.commit_index)
    sim_.violate(fmt::format("{}: applied {} of {} committed", where(on, now.shard), now.applied_index,
                             now.commit_index));
  auto& was = durable_[{on, disk, now.shard, now.gen}];
  if (now.term < was.term)
    sim_.violate(fmt::format("{}: the term fell from {} to {}, and {} was synced", where(on, now.shard),
                             was.term, now.term, was.term));
  if (now.applied_index < was.applied)
    sim_.violate(fmt::format("{}: the applied index fell from {} to {}", where(on, now.shard), was.applied,
                             now.applied_index));
  was = {now.term, now.applied_index};
}

void oracle::state_found(node_id on, shard_id shard, const summary& said, std::uint64_t digest_of_rows) {
  if (said.digest != digest_of_rows)
    return sim_.violate(
        fmt::format("{}: rows do not match their summary at number {}", where(on, shard), said.count));
  const auto expected = at_count(shard, said.count);
  if (!expected)
    sim_.violate(fmt::format("{}: a state of {} commands, of which {} are known", where(on, shard),
                             said.count, last_count(shard)));
  else if (*expected != said)
    sim_.violate(
        fmt::format("{}: the state at number {} is not what the others have", where(on, shard), said.count));
}

void oracle::founded(shard_id shard, std::vector<cluster::member> members) {
  shards_[shard].members[generation{1}] = std::move(members);
  shards_[shard].served = generation{1};
}

std::uint64_t oracle::last_count(shard_id shard) const {
  auto i = shards_.find(shard);
  return i == shards_.end() ? 0 : i->second.history.size();
}

std::optional<summary> oracle::at_count(shard_id shard, std::uint64_t count) const {
  if (count == 0)
    return summary{};
  auto i = shards_.find(shard);
  if (i == shards_.end() || count > i->second.history.size())
    return std::nullopt;
  return i->second.history[count - 1].after;
}

std::uint64_t oracle::acks(shard_id shard) const {
  auto i = shards_.find(shard);
  return i == shards_.end() ? 0 : i->second.acks;
}

bool oracle::is_acked(std::uint64_t ticket) const {
  auto i = questions_.find(ticket);
  return i != questions_.end() && i->second.answer == fate::acked;
}

std::optional<shard_id> oracle::shard_of(std::uint64_t ticket) const {
  auto i = questions_.find(ticket);
  return i == questions_.end() ? std::nullopt : std::optional{i->second.shard};
}

const std::vector<cluster::member>* oracle::members_of(shard_id shard, generation gen) const {
  const auto& all = shards_.at(shard).members;
  auto i = all.find(gen);
  return i == all.end() ? nullptr : &i->second;
}

std::vector<std::vector<cluster::member>> oracle::members_that_matter(shard_id id) const {
  const auto& shard = shards_.at(id);
  std::vector<std::vector<cluster::member>> out;
  for (auto i = shard.members.lower_bound(shard.served); i != shard.members.end(); ++i)
    out.push_back(i->second);
  for (const auto& a : shard.attempts)
    if (a.gen >= shard.served &&
        !shard.members.contains(generation{static_cast<std::uint32_t>(number(a.gen) + 1)}))
      out.push_back(a.next);
  return out;
}

std::string oracle::describe_pending() const {
  std::string out;
  for (auto ticket : pending_) {
    const auto& q = questions_.at(ticket);
    out += fmt::format(" {} {} on node {} for shard {};",
                       q.what == kind::read   ? "read"
                       : q.what == kind::seal ? "seal"
                                              : "proposal",
                       ticket, number(q.on), number(q.shard));
    if (out.size() > 300)
      return out + " …";
  }
  return out;
}

} // namespace parley::fuzz
