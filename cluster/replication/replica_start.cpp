// How a replica begins from what is stored, and how it stops when it meets what it cannot take.
#include "cluster/replication/replica.hpp"
#include "protocol/values/last_words.hpp"
#include "protocol/values/planted_bugs.hpp"

#include <utility>

namespace parley::cluster {

void replica::load(const row_header& h, std::uint64_t sequence, std::string_view row) {
  if (frozen_)
    return;
  if (record_.as != life::live || h.gen != record_.gen || h.index < record_.first_index) {
    erase_later_.push_back(sequence);
    return;
  }
  if (h.term == 0)
    return refuse_to_start("a row of its log is damaged: it has no term");
  if (h.index <= log_.last()) // written again: a crash came between, or the erase was lost with nothing else
    log_.truncate(h.index, [this](std::uint64_t old) { erase_later_.push_back(old); });
  if (h.index != log_.last() + 1)
    return refuse_to_start("its log has a hole");
  // Terms never fall along a log (the Raft paper, 5.3): a row that breaks this was left behind by another log.
  const bool first = log_.last() < log_.first();
  if (h.term <
      (first ? (h.index > record_.snapshot_index ? record_.snapshot_term : 0) : log_.at(log_.last()).term))
    return refuse_to_start("the terms of its log fall");
  log_.append_stored(h, sequence, row, h.index > record_.applied_index);
}

void replica::refuse_to_start(std::string why) {
  if (frozen_)
    return;
  frozen_ = true;
  erase_later_.clear();
  halt({shard_, record_.gen, 0, 0}, std::move(why));
}

void replica::start() {
  if (frozen_)
    return;
  if (!erase_later_.empty() || record_.other_slot_dirty) {
    cleaning_ = record_.other_slot_dirty;
    mark();
  }
  if (record_.as != life::live)
    return;
  if (log_.last() < record_.snapshot_index || log_.last() < record_.applied_index ||
      log_.first() > record_.snapshot_index + 1)
    return refuse_to_start("its log does not reach what its record says");
  lasts_.clear();
  said_.clear();
  note_last();
  for (const auto& m : record_.members) // in the sessions that there are; the others begin with it
    if (m.node != host_.config.node && host_.links->waiting(m.node))
      tell_position(m.node, and_asks::yes);
  // Who needs no votes would lead and serve before a session begins. Others may know that its generation has ended; one
  // that was only founded has nothing that it could have forgotten.
  const bool is_new = record_.term == 1 && record_.vote == 0 && log_.last() == record_.snapshot_index;
  waits_alone_ =
      ids_.size() == 1 && host_.now < host_.votes_from && !is_new && !planted("rollback-unnoticed");
  if (waits_alone_)
    return mark();
  begin_group();
}

void replica::begin_group() {
  const auto& c = host_.config;
  raft_group::settings s;
  s.shard = shard_;
  s.gen = record_.gen;
  s.self = self_;
  s.members = ids_;
  s.seed = static_cast<std::uint32_t>(mix64(c.seed ^ self_ ^ record_.term << 20));
  s.election_ms = static_cast<std::uint32_t>(c.election_timeout.count());
  // A little less than the common tick, so that no tick comes a moment too early to send.
  s.heartbeat_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(1, c.heartbeat_every.count() * 4 / 5));
  s.install_ms = static_cast<std::uint32_t>(c.snapshot_retry_after.count());
  s.inflight_entries_max = c.inflight_entries_max;
  raft_ = std::make_unique<raft_group>(s);
  std::vector<raft_group::entry> entries;
  entries.reserve(log_.size());
  seal_in_log_ = 0;
  for (auto i = log_.first(); i <= log_.last(); ++i) {
    const auto& e = log_.at(i);
    if (e.kind == entry_kind::seal && seal_in_log_ == 0 && i > record_.applied_index)
      seal_in_log_ = i;
    entries.push_back({e.term, static_cast<std::uint8_t>(e.kind == entry_kind::barrier ? RAFT_CORE_BARRIER
                                                                                       : RAFT_CORE_COMMAND)});
  }
  absorb(raft_->start(host_.now, record_.term, record_.vote, record_.snapshot_index, record_.snapshot_term,
                      log_.first(), entries));
  mark();
}

/// Others may count on this entry, so the replica cannot go on as if its log ended before it.
void replica::stop_unreadable(std::uint64_t index) const {
  end_process("parleyd: shard " + std::to_string(number(shard_)) + ": entry " + std::to_string(index) +
              " of its log cannot be read back from " + host_.config.data_file +
              ". The process stops here; what was acknowledged is on the other replicas. Check the disk. " +
              std::string{replace_directory_advice} + ".");
}

/// The replica keeps its rows and the position up to which they are applied, so a program that
/// understands the entry continues from there. Meanwhile it neither votes nor stores entries,
/// because a log that nothing applies would grow.
void replica::halt(log_position at, std::string why) {
  host_.news.halts.push_back({at, why});
  halted_ = std::move(why);
  was_leading_ = waits_alone_ = false;
  led_from_ = 0;
  refuse_all(ec::not_leader, ec::timed_out);
  raft_.reset();
  marker_.reset();
  installing_.reset();
  awaits_state_ = false;
  transfers_to_.clear();
  snapshot_wanted_.clear();
  commit_by_seal_ = 0;
  awaited_end_.reset(); // it keeps its log
  mark();
}

} // namespace parley::cluster
