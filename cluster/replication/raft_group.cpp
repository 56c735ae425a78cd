#include "cluster/replication/raft_group.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace parley::cluster {

void broken(std::string_view what, shard_id shard, generation gen, std::uint64_t a, std::uint64_t b) {
  std::fprintf(stderr, "replication: shard %u generation %u: %.*s (%llu, %llu): stopping\n",
               static_cast<unsigned>(number(shard)), static_cast<unsigned>(number(gen)),
               static_cast<int>(what.size()), what.data(), static_cast<unsigned long long>(a),
               static_cast<unsigned long long>(b));
  std::abort();
}

raft_group::raft_group(const settings& s) : shard_{s.shard}, gen_{s.gen} {
  raft_core_settings c{};
  c.self = s.self;
  c.members = s.members.data();
  c.members_n = static_cast<std::uint32_t>(s.members.size());
  c.seed = s.seed;
  c.election_ms = s.election_ms;
  c.heartbeat_ms = s.heartbeat_ms;
  c.install_ms = s.install_ms;
  c.inflight_entries_max = s.inflight_entries_max;
  core_.reset(raft_core_create(&c));
}

const raft_group::update& raft_group::checked(int code, std::string_view step) {
  if (code != 0) {
    std::fprintf(stderr, "replication: libraft: %s\n", raft_core_error(core_.get()));
    broken(step, shard_, gen_, static_cast<std::uint64_t>(code));
  }
  if (term() < term_seen_)
    broken("the term went back", shard_, gen_, term_seen_, term());
  if (library_commit() > last())
    broken("committed beyond the log", shard_, gen_, library_commit(), last());
  term_seen_ = term();
  commit_seen_ = std::max(commit_seen_, library_commit());
  return update_;
}

const raft_group::update& raft_group::start(std::int64_t now, std::uint64_t term, std::uint64_t vote,
                                            std::uint64_t snapshot_index, std::uint64_t snapshot_term,
                                            std::uint64_t first, std::span<const entry> entries) {
  return checked(raft_core_start(core_.get(), static_cast<std::uint64_t>(now), term, vote, snapshot_index,
                                 snapshot_term, first, entries.data(),
                                 static_cast<std::uint32_t>(entries.size()), &update_),
                 "cannot start");
}

const raft_group::update* raft_group::receive(std::int64_t now, const message& m,
                                              std::span<const entry> entries) {
  const int code = raft_core_receive(core_.get(), static_cast<std::uint64_t>(now), &m, entries.data(),
                                     static_cast<std::uint32_t>(entries.size()), &update_);
  return code != 0 ? nullptr : &checked(0, "receive");
}

const raft_group::update* raft_group::submit(std::int64_t now, std::uint8_t type, std::uint32_t n) {
  const int code = raft_core_submit(core_.get(), static_cast<std::uint64_t>(now), type, n, &update_);
  return code != 0 ? nullptr : &checked(0, "submit");
}

const raft_group::update& raft_group::persisted_entries(std::int64_t now, std::uint64_t index) {
  return checked(raft_core_persisted_entries(core_.get(), static_cast<std::uint64_t>(now), index, &update_),
                 "cannot note what was stored");
}

const raft_group::update& raft_group::persisted_snapshot(std::int64_t now, std::uint64_t index,
                                                         std::uint64_t term) {
  return checked(
      raft_core_persisted_snapshot(core_.get(), static_cast<std::uint64_t>(now), index, term, &update_),
      "cannot note an installed snapshot");
}

const raft_group::update& raft_group::snapshot(std::int64_t now, std::uint64_t index, std::uint64_t term,
                                               std::uint32_t trailing) {
  return checked(
      raft_core_snapshot(core_.get(), static_cast<std::uint64_t>(now), index, term, trailing, &update_),
      "cannot note a snapshot");
}

const raft_group::update& raft_group::timeout(std::int64_t now) {
  return checked(raft_core_timeout(core_.get(), static_cast<std::uint64_t>(now), &update_), "timeout failed");
}

const raft_group::update* raft_group::transfer(std::int64_t now, std::uint64_t to) {
  const int code = raft_core_transfer(core_.get(), static_cast<std::uint64_t>(now), to, &update_);
  return code != 0 ? nullptr : &checked(0, "transfer");
}

raft_group::message raft_group::message_at(std::uint32_t i) const {
  message m{};
  raft_core_message_at(core_.get(), i, &m);
  return m;
}

std::int64_t raft_group::deadline(std::int64_t now) const {
  return std::max(now + 1, static_cast<std::int64_t>(raft_core_deadline(core_.get())));
}

} // namespace parley::cluster
