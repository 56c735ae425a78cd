#include "tests/sim/judge.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace parley::sim {

std::string name(conversation_id c) {
  return fmt::format("{:08x}", c.hi >> 32);
}

namespace {

std::string name(const client_msg_id& id) {
  return fmt::format("{}.{}", number(id.device), id.counter);
}

} // namespace

void tally::add(const tally& o) {
  acked += o.acked, retried += o.retried, received += o.received, synced += o.synced, marked += o.marked;
  opened += o.opened, logins += o.logins, devices += o.devices;
  crashes += o.crashes, power_losses += o.power_losses, lost_batches += o.lost_batches, cuts += o.cuts;
  resets += o.resets, pauses += o.pauses, slow_disks += o.slow_disks;
  client_crashes += o.client_crashes, absences += o.absences, hand_overs += o.hand_overs;
  duels += o.duels, refusals += o.refusals, held_up += o.held_up, last_strikes += o.last_strikes;
  gone_for_good += o.gone_for_good;
  applied += o.applied, frames += o.frames, turns += o.turns, messages += o.messages;
  full_disks += o.full_disks, disk_errors += o.disk_errors, stops += o.stops, flips += o.flips;
  mended += o.mended, lost_disks += o.lost_disks, put_back += o.put_back, fenced += o.fenced;
  trials += o.trials, rescues += o.rescues, not_rescued += o.not_rescued, numbers_lost += o.numbers_lost;
  read_errors += o.read_errors, laggards += o.laggards;
}

void judge::submitted(const client_msg_id& id, conversation_id to, user_id from, std::uint64_t body) {
  sim_.note("submit", number(id.device), id.counter, to.hi);
  messages_.try_emplace(id, submission{to, from, body, reached(to), {}, false, sim_.time.now()});
}

void judge::observe(conversation_id c, seq_no seq, const client_msg_id& id, user_id from, std::uint64_t body,
                    std::string_view where) {
  const auto m = messages_.find(id);
  if (m == messages_.end() || m->second.to != c || m->second.from != from || m->second.body != body)
    return sim_.violate(
        fmt::format("rule 4: {} shows at {} of conversation {} message {}, which nobody sent so", where,
                    number(seq), name(c), name(id)));
  auto& x = m->second;
  const bool is_gone = is_lost(c, seq);
  if (x.seq != seq_no::none && x.seq != seq && !is_gone && !is_lost(c, x.seq))
    return sim_.violate(fmt::format("rule 2: message {} has seq {} of conversation {}, and by {} seq {}",
                                    name(id), number(x.seq), name(c), where, number(seq)));
  const auto [at, is_new] = conversations_[c].at.try_emplace(seq, id);
  if (!is_new && at->second != id)
    return sim_.violate(fmt::format("rule 1: seq {} of conversation {} is message {}, and by {} message {}",
                                    number(seq), name(c), name(at->second), where, name(id)));
  if (seq <= x.above)
    return sim_.violate(
        fmt::format("rule 6: message {} has seq {} of conversation {}, though seq {} was acknowledged "
                    "before it was sent",
                    name(id), number(seq), name(c), number(x.above)));
  if (!is_gone || x.seq == seq_no::none)
    x.seq = seq;
}

void judge::acked(const client_msg_id& id, seq_no seq, bool duplicate) {
  const auto m = messages_.find(id);
  sim_.note("acked", number(id.device), id.counter, number(seq), duplicate);
  if (m == messages_.end())
    return sim_.violate("harness: an unknown message was acknowledged");
  auto& x = m->second;
  observe(x.to, seq, id, x.from, x.body, "an acknowledgement");
  ++count.acked;
  x.acked = true;
  auto& c = conversations_[x.to];
  if (!is_lost(x.to, seq))
    c.acked = std::max(c.acked, seq);
}

seq_no judge::reached(conversation_id c) const {
  const auto i = conversations_.find(c);
  return i == conversations_.end() ? seq_no::none : i->second.acked;
}

void judge::page(conversation_id c, seq_no after, const core::conversation_page& got, seq_no reached) {
  ++count.synced;
  sim_.note("page", c.hi, number(after), got.messages.size(), number(got.last));
  auto last = after;
  for (const auto& m : got.messages) {
    if (m.seq != next(last) && !follows(c, last, m.seq))
      return sim_.violate(fmt::format("rule 7: a sync of conversation {} goes from seq {} to seq {}", name(c),
                                      number(last), number(m.seq)));
    last = m.seq;
    observe(c, m.seq, m.client_id, m.from, fuzz::hash_bytes(m.body), "a sync");
  }
  if (got.last < what_is_left(c, reached)) // what was asked before a rescue may be answered after it
    sim_.violate(
        fmt::format("rule 7: a sync of conversation {} ends at seq {}, and seq {} was acknowledged before it "
                    "was asked",
                    name(c), number(got.last), number(reached)));
  if (got.messages.empty() && last > got.last && is_lost(c, last))
    return;
  if (last > got.last || (got.more == 0 && last != got.last))
    sim_.violate(
        fmt::format("rule 7: a sync of conversation {} brought it to seq {} and says that it ends at {}",
                    name(c), number(last), number(got.last)));
}

bool judge::is_first(user_id user, device_id device) const {
  const auto i = devices_.find(user);
  return i != devices_.end() && !i->second.empty() && i->second.front() == device && !later_.contains(device);
}

bool judge::was_there(user_id user, device_id device, const submission& when) const {
  const auto i = added_at_.find(device);
  return is_first(user, device) || (i != added_at_.end() && i->second < when.at);
}

void judge::received(user_id user, device_id device, const core::message_news& news) {
  const auto& m = news.msg;
  ++count.received;
  sim_.note("received", number(device), m.conversation.hi, number(news.prev), number(m.seq));
  observe(m.conversation, m.seq, m.client_id, m.from, fuzz::hash_bytes(m.body), "an inbox");
  auto& seqs = streams_[{device, m.conversation}].seqs;
  const auto last = seqs.empty() ? seq_no::none : seqs.back();
  if (m.seq <= last && is_rescued(user) && (m.from == user || std::ranges::binary_search(seqs, m.seq)))
    return; // the inbox had forgotten it, and was filled again
  if (m.seq <= last)
    return sim_.violate(
        fmt::format("rule 7: the inbox of user {} brings device {} seq {} of conversation {} after seq {}",
                    number(user), number(device), number(m.seq), name(m.conversation), number(last)));
  if (news.prev > last && (!seqs.empty() || is_first(user, device)))
    return sim_.violate(fmt::format(
        "rule 7: the inbox of user {} brings device {} seq {} of conversation {}, which follows seq {}, and "
        "the device has seq {}",
        number(user), number(device), number(m.seq), name(m.conversation), number(news.prev), number(last)));
  seqs.push_back(m.seq);
}

void judge::read_whole(conversation_id c, user_id by, seq_no last) {
  conversations_[c].read[by] = last;
}

void judge::opened(conversation_id c, user_id a, user_id b) {
  if (!conversations_[c].members.empty())
    return;
  ++count.opened;
  conversations_[c].members = {a, b};
  pairs_.emplace_back(a, b);
}

void judge::added(user_id user, device_id device) {
  ++count.devices;
  devices_[user].push_back(device);
  added_at_[device] = sim_.time.now();
}

void judge::came(user_id user, device_id device, bool first) {
  if (!first) {
    later_.insert(device);
    return;
  }
  auto& all = devices_[user];
  if (const auto i = std::ranges::find(all, device); i != all.end())
    std::rotate(all.begin(), i, i + 1);
}

void judge::told_of(user_id user, device_id device, device_id other) {
  sim_.note("told-of", number(device), number(other));
  const bool is_news = told_of_[device].insert(other).second;
  if (other == device || (!is_news && !is_rescued(user)))
    sim_.violate(fmt::format("devices: device {} of user {} is told that {} was added{}", number(device),
                             number(user), other == device ? "it" : fmt::format("device {}", number(other)),
                             is_news ? "" : " once more"));
}

void judge::applied(node_id node, const cluster::log_position& at, std::uint64_t which,
                    std::uint64_t command) {
  ++count.applied;
  sim_.note("apply", number(node), number(at.shard), at.index, command);
  const auto [i, is_new] = log_.try_emplace({at.shard, at.gen, at.index, which}, command);
  if (!is_new && i->second != command)
    sim_.violate(
        fmt::format("rule 11: node {} applies another entry {} of shard {}, generation {}, than others did",
                    number(node), at.index, number(at.shard), number(at.gen)));
}

std::string judge::missing() const {
  for (const auto& [id, c] : conversations_) {
    for (const auto user : c.members) {
      const auto d = devices_.find(user);
      if (d == devices_.end())
        continue;
      for (const auto device : d->second) {
        const auto s = streams_.find({device, id});
        const auto& seqs = s == streams_.end() ? std::vector<seq_no>{} : s->second.seqs;
        const bool first = is_first(user, device);
        for (const auto& [seq, message] : c.at) {
          if (!was_there(user, device, messages_.at(message)) && (seqs.empty() || seq < seqs.front()))
            continue;
          if (is_lost(id, seq))
            continue;
          const bool own = messages_.at(message).from == user;
          if ((!own || !first) && !std::ranges::binary_search(seqs, seq))
            return fmt::format("device {} of user {} lacks seq {} of conversation {}", number(device),
                               number(user), number(seq), name(id));
        }
      }
    }
  }
  for (const auto& [user, all] : devices_) { // its owner has to learn of one that somebody else has added
    if (all.empty() || !is_first(user, all.front()))
      continue;
    const auto told = told_of_.find(all.front());
    for (const auto other : all)
      if (other != all.front() && (told == told_of_.end() || !told->second.contains(other)))
        return fmt::format("device {} of user {} was not told of device {}", number(all.front()),
                           number(user), number(other));
  }
  return {};
}

void judge::finish() {
  for (const auto& [id, m] : messages_)
    if (!m.acked)
      return sim_.violate(fmt::format("liveness: message {} of conversation {} was never acknowledged",
                                      name(id), name(m.to)));
  for (const auto& [id, c] : conversations_) {
    seq_no last{};
    for (const auto& [seq, message] : c.at) {
      if (is_lost(id, seq))
        continue;
      if (seq != next(last) && !follows(id, last, seq))
        return sim_.violate(
            fmt::format("rule 5: conversation {} has seq {}, and nothing between it and seq {}", name(id),
                        number(seq), number(last)));
      last = seq;
    }
    if (last < kept(id))
      return sim_.violate(
          fmt::format("rule 5: conversation {} ends at seq {}, and when it was rescued it had seq {}",
                      name(id), number(last), number(kept(id))));
    for (const auto user : c.members)
      if (const auto r = c.read.find(user);
          devices_.contains(user) && (r == c.read.end() || r->second != last))
        return sim_.violate(fmt::format("rule 3: user {} reads conversation {} up to seq {}, and it has {}",
                                        number(user), name(id), r == c.read.end() ? 0 : number(r->second),
                                        number(last)));
  }
  if (const auto what = missing(); !what.empty())
    sim_.violate("rule 7: " + what);
}

} // namespace parley::sim
