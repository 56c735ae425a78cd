#pragma once
// How far a leader has put its log on the link to one follower, and what may follow.
//
// libraft decides what a follower is sent, and takes it for sent at once: everything that the follower
// lacks, in one message, and while it probes, the same again with each heartbeat. A link holds less than a
// log. So what libraft wants sent is only noted here, and leaves in frames as there is credit:
//
//     match <= sent <= wanted      entries up to `match` are acknowledged, up to `sent` on the link
//
// The link is FIFO and loses nothing within a session, so nothing is sent twice in a session. Each message
// continues at `sent`, also a heartbeat: a follower that lacks what was sent refuses it, and is then sent
// everything behind `match` again. Only results move libraft's own indexes, so it does not notice that a
// message carries less than it wanted.
//
// A follower that has not acknowledged an entry in this session gets one frame: it may be dead or halted. Nor does it
// get another one because the log went on meanwhile and no longer has what was sent: it answers first.
//
// Pure. Thread: its owner's.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace parley::cluster {

class send_cursor {
public:
  using index = std::uint64_t;

  /// libraft wants `n` entries sent behind `previous`, or a heartbeat. `lowest` is the lowest index behind
  /// which this node can send.
  void want(index previous, std::uint32_t n, index lowest) {
    const auto last = std::max(previous + n, lowest);
    previous = std::max(previous, lowest);
    if (n != 0)
      anchored_ = false;
    if (anchored_ || previous > wanted_ || previous < base_)
      misplace(); // it has gone elsewhere: to a snapshot, or back after a refusal that seemed late here
    if (!placed_) {
      placed_ = true;
      base_ = sent_ = !anchored_ && match_ != 0 && match_ >= lowest ? match_ : previous;
      wanted_ = sent_;
    }
    wanted_ = std::max(wanted_, last);
    asked_ = true;
  }
  /// Its state is sent instead: until libraft wants entries sent again, heartbeats go where it says.
  void anchor() {
    anchored_ = true;
    misplace();
  }
  /// The follower has stored everything up to `match`.
  void acknowledged(index match) {
    if (match <= match_)
      return;
    match_ = match;
    for (; !in_flight_.empty() && in_flight_.front().last <= match; in_flight_.pop_front()) {
      bytes_in_flight_ -= in_flight_.front().bytes;
      confirmed_ = true;
    }
    if (placed_) {
      sent_ = std::max(sent_, match);
      wanted_ = std::max(wanted_, sent_);
    }
  }
  /// The follower has answered something, so it takes what it is sent.
  void answered() { unanswered_ = false; }
  /// The follower lacks the entry `at`, or has another one there. Late refusals concern nothing any more.
  void refused(index at) {
    if (placed_ && at > match_ && at <= sent_) {
      misplace();
      unanswered_ = false;
    }
  }
  /// What was on the link is lost.
  void lost() {
    misplace();
    unanswered_ = false;
  }
  /// The log begins behind `lowest` now. If what has to follow is gone, libraft learns it by a refusal.
  void trimmed(index lowest) {
    if (placed_ && sent_ < lowest)
      misplace();
  }

  /// Whether entries may leave, as far as this follower is concerned.
  bool may_send(std::size_t in_flight_max) const {
    return placed_ && sent_ < wanted_ && !unanswered_ &&
           (in_flight_.empty() || (confirmed_ && bytes_in_flight_ < in_flight_max));
  }
  /// The index behind which the next message continues, and how far entries are wanted.
  index sent() const { return sent_; }
  index wanted() const { return wanted_; }
  void put(index last, std::size_t bytes) {
    in_flight_.push_back({last, bytes});
    bytes_in_flight_ += bytes;
    sent_ = last;
  }
  std::size_t bytes_in_flight() const { return bytes_in_flight_; }
  /// Whether libraft wanted a message since the last call.
  bool take_asked() {
    const bool was = placed_ && asked_;
    asked_ = false;
    return was;
  }

private:
  struct frame {
    index last = 0;
    std::size_t bytes = 0;
  };
  void misplace() {
    unanswered_ = unanswered_ || !in_flight_.empty();
    placed_ = confirmed_ = false;
    base_ = sent_ = wanted_ = 0;
    in_flight_.clear();
    bytes_in_flight_ = 0;
  }

  bool placed_ = false;    ///< `sent_` means something: libraft has wanted something since it was lost
  bool anchored_ = false;  ///< its state is sent
  bool confirmed_ = false; ///< an entry that was sent since it was placed is acknowledged
  bool asked_ = false;
  bool unanswered_ = false; ///< it was sent entries before it was misplaced, and has answered nothing since
  index match_ = 0;         ///< 0: nothing in this term
  index base_ = 0;          ///< where it was placed
  index sent_ = 0;
  index wanted_ = 0;
  std::deque<frame> in_flight_; ///< put and not acknowledged
  std::size_t bytes_in_flight_ = 0;
};

} // namespace parley::cluster
