#pragma once
// How a thread that hands codes over tells the gateway's loop what became of them.
#include "protocol/values/errors.hpp"

#include <kj/async-unix.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace parley::gateway {

/// Owns:   the promises of codes without an answer, and the eventfd by which answers come.
/// Thread: that of the event port, but for `report`. It outlives every thread that reports to it.
class code_answers final : private kj::TaskSet::ErrorHandler {
public:
  struct answer {
    std::uint64_t number; ///< of the code
    ec outcome;
  };
  struct expected {
    std::uint64_t number;
    kj::Promise<ec> outcome;
  };

  /// `waiting_max`: codes without an answer.
  code_answers(kj::UnixEventPort& port, std::size_t waiting_max);
  KJ_DISALLOW_COPY(code_answers);

  /// Numbers one more code. None: as many as may wait do so.
  kj::Maybe<expected> expect();
  /// From any thread, once for each number.
  void report(const std::vector<answer>& some);

private:
  kj::Promise<void> collect();
  void taskFailed(kj::Exception&&) override {}

  const std::size_t waiting_max_;
  std::map<std::uint64_t, kj::Own<kj::PromiseFulfiller<ec>>> asked_;
  std::uint64_t last_number_ = 0;
  std::mutex mutex_;
  std::vector<answer> reported_; ///< guarded by `mutex_`
  kj::AutoCloseFd wake_;
  kj::UnixEventPort::FdObserver readable_;
  kj::TaskSet tasks_;
};

} // namespace parley::gateway
