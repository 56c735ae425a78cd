#include "tests/harness/proxy/proxy.hpp"

#include "tests/harness/proxy/flow.hpp"
#include "tests/harness/proxy/sockets.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

namespace parley::test {

namespace {

using clock = std::chrono::steady_clock;

/// One forwarded connection. Direction 0 is from the caller to the one who was called.
struct connection {
  struct side {
    owned_fd fd;
    bool read_ended = false; ///< nothing more comes from it
    bool dead = false;       ///< nothing more can be written to it
    bool shut = false;       ///< it was told that nothing more comes
    std::uint32_t watched = 0;
  };
  std::uint64_t number = 0;
  std::array<place, 2> places{}; ///< the caller, and the one who was called
  std::array<side, 2> sides;
  std::vector<flow> flows; ///< by direction, two
  std::optional<clock::time_point> alarm;

  place from(std::size_t direction) const { return places[direction]; }
  place to(std::size_t direction) const { return places[1 - direction]; }
};

struct door {
  owned_fd fd;
  std::uint16_t port = 0, target = 0;
  place to = 0;
  proxy::who_calls who;
};

/// What epoll reports: the kind in the lowest bits, a number above them.
enum class source : std::uint64_t { mailbox, door, caller, called };
std::uint64_t tag(source s, std::uint64_t number) {
  return number << 2 | static_cast<std::uint64_t>(s);
}

} // namespace

class proxy::impl {
public:
  impl(std::size_t places, std::uint64_t seed)
      : places_{places}, seed_{seed}, paths_(places * places),
        counters_(places * places), epoll_{checked(epoll_create1(EPOLL_CLOEXEC), "no epoll")},
        bell_{checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "no eventfd")} {
    watch(bell_.get(), EPOLLIN, tag(source::mailbox, 0));
    thread_ = std::thread{[this] { run(); }};
  }
  ~impl() {
    try {
      post([this] { stop_ = true; });
    } catch (...) { // the thread has failed, and ended
    }
    thread_.join();
  }

  /// Runs `what` on the proxy's thread and waits for it.
  template <class F>
  auto ask(F what) -> decltype(what()) {
    auto task = std::make_shared<std::packaged_task<decltype(what())()>>(std::move(what));
    auto answer = task->get_future();
    post([task] { (*task)(); });
    return answer.get();
  }

  std::uint16_t open(place to, std::uint16_t target, who_calls who, std::uint16_t port) {
    (void)paths_.at(to);
    door d;
    d.fd = listen_on(port);
    d.port = port_of(d.fd.get());
    d.target = target;
    d.to = to;
    d.who = std::move(who);
    doors_.push_back(std::move(d));
    watch(doors_.back().fd.get(), EPOLLIN, tag(source::door, doors_.size() - 1));
    return doors_.back().port;
  }

  void set(const path_settings& settings) {
    const auto now = clock::now();
    std::set<std::pair<place, place>> changed;
    for (const auto& s : settings) {
      paths_.at(index(s.from, s.to)) = s.as;
      changed.insert({s.from, s.to});
    }
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, c] : connections_)
      numbers.push_back(number);
    for (const auto number : numbers) {
      auto& c = *connections_.at(number);
      bool torn = false;
      for (std::size_t d = 0; d < 2; ++d) {
        if (changed.contains({c.from(d), c.to(d)}))
          c.flows[d].set(at(c.from(d), c.to(d)), now);
        if (c.flows[d].torn()) {
          ++count(c.from(d), c.to(d)).torn;
          torn = true;
        }
      }
      if (torn) {
        finish(c, flow::ending::reset);
      } else if (at(c.from(0), c.to(0)).how == path::mode::cut) {
        ++count(c.from(0), c.to(0)).cut;
        finish(c, flow::ending::reset);
      } else {
        pump(c, now);
      }
    }
  }

  path& at(place from, place to) { return paths_.at(index(from, to)); }
  path_counters& count(place from, place to) { return counters_.at(index(from, to)); }
  std::size_t connections() const { return connections_.size(); }
  std::uint64_t strangers() const { return strangers_; }

private:
  std::size_t index(place from, place to) const {
    return from < places_ && to < places_ ? from * places_ + to : paths_.size();
  }

  void post(std::function<void()> task) {
    {
      const std::lock_guard guard{mutex_};
      if (failure_)
        std::rethrow_exception(failure_);
      mailbox_.push_back(std::move(task));
    }
    const std::uint64_t one = 1;
    (void)!write(bell_.get(), &one, sizeof one);
  }

  /// With no event wanted, the descriptor is not watched: epoll would report its end again and again.
  void watch(int fd, std::uint32_t events, std::uint64_t as, std::uint32_t before = 0) {
    epoll_event e{};
    e.events = events;
    e.data.u64 = as;
    const int how = events == 0 ? EPOLL_CTL_DEL : before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    checked(epoll_ctl(epoll_.get(), how, fd, &e), "epoll");
  }

  void run() noexcept {
    try {
      while (!stop_)
        turn();
    } catch (...) {
      const std::lock_guard guard{mutex_};
      failure_ = std::current_exception();
      mailbox_.clear(); // whoever waits gets a broken promise
    }
    connections_.clear();
    doors_.clear();
  }

  void turn() {
    std::array<epoll_event, 64> events{};
    const int n = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), patience());
    if (n < 0 && errno != EINTR)
      checked(n, "epoll");
    const auto now = clock::now();
    bool letters = false;
    for (int i = 0; i < n; ++i) {
      const auto data = events[static_cast<std::size_t>(i)].data.u64;
      switch (static_cast<source>(data & 3)) {
      case source::mailbox:
        letters = true;
        break;
      case source::door:
        admit(doors_.at(data >> 2), now);
        break;
      case source::caller:
      case source::called:
        if (const auto c = connections_.find(data >> 2); c != connections_.end())
          pump(*c->second, now);
        break;
      }
    }
    while (!alarms_.empty() && alarms_.begin()->first <= now)
      pump(*connections_.at(alarms_.begin()->second), now);
    if (letters)
      read_letters();
  }

  /// Milliseconds until the next alarm, rounded up; -1: for ever.
  int patience() const {
    if (alarms_.empty())
      return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(alarms_.begin()->first - clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
  }

  void read_letters() {
    std::uint64_t rung = 0;
    (void)!read(bell_.get(), &rung, sizeof rung);
    std::vector<std::function<void()>> tasks;
    {
      const std::lock_guard guard{mutex_};
      tasks.swap(mailbox_);
    }
    for (auto& task : tasks)
      task();
  }

  void admit(door& d, clock::time_point now) {
    for (;;) {
      auto [fd, caller] = accept_from(d.fd.get());
      if (fd.get() < 0)
        return;
      const auto who = connections_.size() < connections_max ? d.who(caller.port, d.port) : std::nullopt;
      if (!who || *who >= places_) {
        ++strangers_;
        reset_on_close(fd.get());
        continue;
      }
      const auto& forth = at(*who, d.to);
      if (forth.how == path::mode::cut) {
        ++count(*who, d.to).refused;
        reset_on_close(fd.get());
        continue;
      }
      ++count(*who, d.to).opened;
      auto c = std::make_unique<connection>();
      c->number = ++last_connection_;
      c->places = {*who, d.to};
      c->sides[0].fd = std::move(fd);
      for (std::size_t direction = 0; direction < 2; ++direction)
        c->flows.emplace_back(at(c->from(direction), c->to(direction)), seed_ + c->number * 2 + direction,
                              count(c->from(direction), c->to(direction)), now);
      if (forth.how == path::mode::blackhole)
        c->flows[0].lose(); // the one who is called never hears of it
      else if (auto called = connect_from(caller.host, d.target); called.get() >= 0)
        c->sides[1].fd = std::move(called);
      else
        c->flows[1].end(flow::ending::reset, now);
      pump(*connections_.emplace(c->number, std::move(c)).first->second, now);
    }
  }

  /// Moves what may move, and then watches for what has to happen before more can. May destroy `c`.
  void pump(connection& c, clock::time_point now) {
    std::array<std::uint32_t, 2> wanted{};
    for (std::size_t d = 0; d < 2; ++d) {
      auto& f = c.flows[d];
      auto& from = c.sides[d];
      auto& to = c.sides[1 - d];
      receive(f, from, now);
      bool blocked = false;
      for (auto bytes = f.due(now); !bytes.empty() && !blocked; bytes = f.due(now)) {
        if (const auto n = deliver(bytes, to); n > 0)
          f.took(n);
        else
          blocked = true;
      }
      if (to.dead && to.fd.get() >= 0) // no orderly end: whoever wrote to it hears of it the way back
        c.flows[1 - d].end(flow::ending::reset, now);
      if (f.spent()) {
        ++count(c.from(d), c.to(d)).cut;
        reset_on_close(from.fd.get());
        return finish(c, flow::ending::orderly);
      }
      const auto ended = f.ended(now);
      if (ended == flow::ending::reset)
        return finish(c, ended);
      if (ended == flow::ending::orderly && !to.shut) {
        shut_down(to.fd.get());
        to.shut = true;
      }
      if (!from.read_ended && f.room() > 0)
        wanted[d] |= EPOLLIN;
      if (blocked)
        wanted[1 - d] |= EPOLLOUT;
    }
    if (c.sides[0].shut && c.sides[1].shut)
      return finish(c, flow::ending::orderly);
    settle(c, wanted, now);
  }

  void receive(flow& f, connection::side& from, clock::time_point now) {
    if (from.read_ended || from.fd.get() < 0 || f.room() == 0)
      return;
    const auto n = read(from.fd.get(), buffer_.data(), std::min(buffer_.size(), f.room()));
    if (n > 0)
      return f.put({buffer_.data(), static_cast<std::size_t>(n)}, now);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    from.read_ended = true;
    from.dead = from.dead || n < 0;
    f.end(n < 0 ? flow::ending::reset : flow::ending::orderly, now);
  }

  /// Returns how many bytes are done with; 0: it takes none now.
  static std::size_t deliver(std::string_view bytes, connection::side& to) {
    if (to.dead || to.shut || to.fd.get() < 0)
      return bytes.size(); // nobody is there to take them
    const auto n = send_some(to.fd.get(), bytes);
    if (n >= 0)
      return static_cast<std::size_t>(n);
    if (errno == EAGAIN || errno == EINTR)
      return 0;
    to.dead = true;
    return bytes.size();
  }

  void settle(connection& c, const std::array<std::uint32_t, 2>& wanted, clock::time_point now) {
    for (std::size_t d = 0; d < 2; ++d) {
      auto& s = c.sides[d];
      if (s.fd.get() >= 0 && wanted[d] != s.watched) {
        watch(s.fd.get(), wanted[d], tag(d == 0 ? source::caller : source::called, c.number), s.watched);
        s.watched = wanted[d];
      }
    }
    forget_alarm(c);
    for (auto& f : c.flows) {
      if (const auto at = f.next(now); at && (!c.alarm || *at < *c.alarm))
        c.alarm = at;
    }
    if (c.alarm)
      alarms_.insert({*c.alarm, c.number});
  }

  void forget_alarm(connection& c) {
    if (c.alarm)
      alarms_.erase({*c.alarm, c.number});
    c.alarm.reset();
  }

  void finish(connection& c, flow::ending how) {
    forget_alarm(c);
    if (how == flow::ending::reset) {
      for (auto& s : c.sides)
        reset_on_close(s.fd.get());
    }
    connections_.erase(c.number);
  }

  std::size_t places_;
  std::uint64_t seed_;
  std::vector<path> paths_;
  std::vector<path_counters> counters_; ///< never grows: flows point into it
  owned_fd epoll_, bell_;
  std::vector<door> doors_;
  std::map<std::uint64_t, std::unique_ptr<connection>> connections_;
  std::set<std::pair<clock::time_point, std::uint64_t>> alarms_;
  std::uint64_t last_connection_ = 0, strangers_ = 0;
  std::array<char, 64 * 1024> buffer_{};
  bool stop_ = false;

  std::mutex mutex_; ///< guards the two below
  std::vector<std::function<void()>> mailbox_;
  std::exception_ptr failure_;
  std::thread thread_; ///< must be last: it uses all members above
};

proxy::proxy(std::size_t places, std::uint64_t seed) : impl_{std::make_unique<impl>(places, seed)} {}
proxy::~proxy() = default;

std::uint16_t proxy::open(place to, std::uint16_t target, who_calls who, std::uint16_t port) {
  return impl_->ask([&] { return impl_->open(to, target, std::move(who), port); });
}
void proxy::set(path_settings settings) {
  impl_->ask([&] { impl_->set(settings); });
}
path proxy::as(place from, place to) {
  return impl_->ask([&] { return impl_->at(from, to); });
}
path_counters proxy::counters(place from, place to) {
  return impl_->ask([&] { return impl_->count(from, to); });
}
std::size_t proxy::connections() {
  return impl_->ask([&] { return impl_->connections(); });
}
std::uint64_t proxy::strangers() {
  return impl_->ask([&] { return impl_->strangers(); });
}

} // namespace parley::test
