#include "protocol/gateway/codes/code_answers.hpp"

#include <sys/eventfd.h>

namespace parley::gateway {

code_answers::code_answers(kj::UnixEventPort& port, std::size_t waiting_max)
    : waiting_max_{waiting_max}, wake_{::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)},
      readable_{port, wake_.get(), kj::UnixEventPort::FdObserver::OBSERVE_READ}, tasks_{*this} {
  tasks_.add(collect());
}

kj::Maybe<code_answers::expected> code_answers::expect() {
  if (asked_.size() >= waiting_max_)
    return nullptr;
  auto answer = kj::newPromiseAndFulfiller<ec>();
  asked_.emplace(++last_number_, kj::mv(answer.fulfiller));
  return expected{last_number_, kj::mv(answer.promise)};
}

void code_answers::report(const std::vector<answer>& some) {
  if (some.empty())
    return;
  {
    std::lock_guard guard{mutex_};
    reported_.insert(reported_.end(), some.begin(), some.end());
  }
  ::eventfd_write(wake_.get(), 1);
}

kj::Promise<void> code_answers::collect() {
  return readable_.whenBecomesReadable().then([this] {
    eventfd_t ignored = 0;
    ::eventfd_read(wake_.get(), &ignored);
    std::vector<answer> some;
    {
      std::lock_guard guard{mutex_};
      some.swap(reported_);
    }
    for (const auto& a : some)
      if (auto i = asked_.find(a.number); i != asked_.end()) {
        i->second->fulfill(ec{a.outcome});
        asked_.erase(i);
      }
    return collect();
  });
}

} // namespace parley::gateway
