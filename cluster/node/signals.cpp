#include "cluster/node/signals.hpp"

#include "cluster/ops/logging.hpp"
#include "protocol/values/last_words.hpp"

#include <cstdlib>
#include <thread>

namespace parley::cluster {

signals::signals(std::chrono::seconds leave_within) : leave_within_{leave_within} {
  sigemptyset(&set_);
  for (const int which : {SIGTERM, SIGINT, SIGQUIT, SIGHUP})
    sigaddset(&set_, which);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  for (const int which : {SIGUSR1, SIGUSR2, SIGALRM, SIGPIPE, SIGXFSZ})
    std::signal(which, SIG_IGN);
}

void signals::watch(std::function<void()> reload, std::function<void()> remind) {
  std::thread{[this, reload = std::move(reload), remind = std::move(remind)] {
    const timespec minute{60, 0};
    int which = 0;
    while ((which = sigtimedwait(&set_, nullptr, &minute)) < 0 || which == SIGHUP)
      which == SIGHUP ? reload() : remind();
    log::info("stopping", {{"signal", which}});
    asked.store(true);
    asked.notify_all();
    end();
    sigset_t again = set_; // a second one ends the process at once; a terminal that goes away does not
    sigdelset(&again, SIGHUP);
    const timespec patience{static_cast<time_t>(leave_within_.count()), 0};
    if (sigtimedwait(&again, nullptr, &patience) < 0)
      last_words(
          "parleyd: the node did not stop in time, so it ends now; nothing that was acknowledged is lost");
    std::_Exit(1);
  }}.detach();
}

void signals::end() {
  stop.store(true);
  stop.notify_all();
}

} // namespace parley::cluster
