#include "tests/harness/bench/attack.hpp"

#include "protocol/values/settings.hpp"
#include "tests/attacks/assaults.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <stdexcept>
#include <thread>
#include <utility>

namespace parley::bench {
namespace {

constexpr std::size_t attackers_max = 256;
constexpr std::size_t attacker_threads = 4;
constexpr std::size_t ordinary_users = attackers_max;
constexpr std::size_t newcomers_in_turn = 8;
/// A page of 1 MiB, for each two attackers.
constexpr std::size_t loot_messages = 17;

/// Two people who talk all the time, at a fixed rate: a slow answer does not delay the next message. What is refused for
/// now is sent again, as a client does, and counts from its first attempt.
class bystanders final : kj::TaskSet::ErrorHandler {
public:
  bystanders(bench_cluster& bench, user& a, user& b, double rate)
      : bench_{bench}, people_{&a, &b}, gap_ns_{static_cast<std::int64_t>(1e9 / rate)}, tasks_{*this} {
    where_ = bench.open_direct(a, b);
    for (auto* u : people_)
      receive(*u);
    tasks_.add(keep_talking(now_ns()));
  }
  /// What is acknowledged and received from now on counts for these; nullptr: for nothing.
  void count_for(histogram* acknowledged, histogram* received) {
    acknowledged_ = acknowledged;
    received_ = received;
  }
  std::size_t under_way() const { return open_.size(); }
  void check() const {
    if (!trouble_.empty())
      throw std::runtime_error{trouble_};
  }

private:
  struct ear final : rpc::Receiver::Server {
    ear(bystanders& all, user& u) : all_{all}, user_{u} {}
    kj::Promise<void> deliver(DeliverContext context) override {
      const auto params = context.getParams();
      for (const auto item : params.getItems())
        if (item.isMessage())
          all_.heard(wire::view(item.getMessage().getIt().getBody()));
      auto call = user_.line->session().ackDeliveredRequest();
      call.setCursor(params.getCursor());
      if (now_ns() - acknowledged_ns_ > 1'000'000'000) {
        acknowledged_ns_ = now_ns();
        all_.tasks_.add(call.send().ignoreResult());
      }
      return kj::READY_NOW;
    }
    kj::Promise<void> closed(ClosedContext context) override {
      all_.trouble_ = "the node closed a bystander's connection: ";
      all_.trouble_ += context.getParams().getError().getName().cStr();
      return kj::READY_NOW;
    }
    bystanders& all_;
    user& user_;
    std::int64_t acknowledged_ns_ = 0;
  };

  void receive(user& u) {
    auto call = u.line->session().receiveRequest();
    call.setReceiver(kj::heap<ear>(*this, u));
    call.send().ignoreResult().wait(bench_.io.waitScope);
  }
  void heard(std::string_view body) {
    std::uint64_t counter = 0;
    if (body.size() >= sizeof counter)
      std::memcpy(&counter, body.data(), sizeof counter);
    const auto began = open_.extract(counter);
    if (!began.empty() && received_ != nullptr)
      received_->add(static_cast<std::uint64_t>(now_ns() - began.mapped()) / 1'000);
  }
  void send(user& from, std::uint64_t counter, std::int64_t began_ns) {
    std::string body(200, 'b');
    std::memcpy(body.data(), &counter, sizeof counter);
    auto call = from.line->session().sendRequest();
    wire::write(call.initConversation(), where_);
    call.initId().setCounter(counter);
    call.setBody(wire::as_data(body));
    tasks_.add(
        call.send().then([this, &from, counter, began_ns](capnp::Response<rpc::Session::SendResults> r) {
          const auto why = wire::to_code(r.getError());
          if (why == ec::none) {
            if (acknowledged_ != nullptr)
              acknowledged_->add(static_cast<std::uint64_t>(now_ns() - began_ns) / 1'000);
            return;
          }
          if (why != ec::rate_limited && !describe(why).retryable) {
            trouble_ = "a bystander's message is refused: " + std::string{describe(why).name};
            return;
          }
          const auto pause = std::max(20u, r.getError().getRetryAfterMs());
          tasks_.add(bench_.timer.afterDelay(pause * kj::MILLISECONDS).then([this, &from, counter, began_ns] {
            send(from, counter, began_ns);
          }));
        }));
  }
  kj::Promise<void> keep_talking(std::int64_t next_ns) {
    const auto now = now_ns();
    for (; next_ns <= now; next_ns += gap_ns_) {
      open_.emplace(++last_, next_ns);
      send(*people_[last_ % 2], last_, next_ns);
    }
    return bench_.timer.afterDelay((next_ns - now) * kj::NANOSECONDS).then([this, next_ns] {
      return keep_talking(next_ns);
    });
  }
  void taskFailed(kj::Exception&& e) override {
    if (trouble_.empty())
      trouble_ = std::string{"a bystander's connection failed: "} + e.getDescription().cStr();
  }

  bench_cluster& bench_;
  std::array<user*, 2> people_;
  std::int64_t gap_ns_;
  conversation_id where_;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::int64_t> open_; ///< when each was sent first
  histogram* acknowledged_ = nullptr;
  histogram* received_ = nullptr;
  std::string trouble_;
  kj::TaskSet tasks_; ///< must be last, so that it is destroyed first
};

/// Looks at the nodes' memory all the time, because peaks are short.
class lookout {
public:
  explicit lookout(const test::process_cluster& nodes)
      : nodes_{nodes}, peaks_(nodes.size()), thread_{[this] {
          while (!over_) {
            for (std::size_t n = 0; n < peaks_.size(); ++n)
              peaks_[n] = std::max(peaks_[n], nodes_.anonymous_bytes(n + 1));
            test::nap(std::chrono::milliseconds{10});
          }
        }} {}
  /// The most that each node had.
  std::vector<std::uint64_t> end() {
    over_ = true;
    thread_.join();
    return peaks_;
  }

private:
  const test::process_cluster& nodes_;
  std::vector<std::uint64_t> peaks_;
  std::atomic<bool> over_{false};
  std::thread thread_; ///< last: it uses the others
};

/// The attackers, in a process of their own that takes only what the processors have left: in earnest they would have
/// machines of their own. A thread of the lowest ordinary priority would not do. On a kernel since 6.6 who wakes up waits until
/// the one that runs has had its slice, up to 2.4 ms, and ten threads hand a message on one after the other. In this
/// process such a thread could be put aside while it holds a lock that the bystanders need.
/// To be made while this process has no other thread, or the child might inherit a lock that nobody releases.
class raid {
public:
  raid(const test::assault& what, const test::address& node, std::span<const test::attacker> attackers,
       std::size_t lines)
      : field_{new (shared_memory()) test::battlefield{node, attackers, attacker_threads}} {
    child_ = fork();
    if (child_ < 0)
      throw std::runtime_error{std::string{"cannot start the attackers: "} + std::strerror(errno)};
    if (child_ != 0)
      return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const sched_param none{};
    if (sched_setscheduler(0, SCHED_IDLE, &none) != 0) // threads inherit it
      setpriority(PRIO_PROCESS, 0, 19);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < field_->threads; ++t)
      threads.emplace_back([this, &what, t, lines] { what.run(*field_, t, lines); });
    for (auto& t : threads)
      t.join();
    _exit(0); // without what this process has to tidy up at its end
  }
  raid(const raid&) = delete;
  raid& operator=(const raid&) = delete;
  ~raid() {
    end();
    field_->~battlefield();
    munmap(field_, sizeof *field_);
  }
  /// Ends the attack. Returns how many connections were opened.
  std::size_t end() {
    field_->over = true;
    if (child_ > 0)
      waitpid(std::exchange(child_, 0), nullptr, 0);
    return field_->opened;
  }

private:
  static void* shared_memory() {
    void* p =
        mmap(nullptr, sizeof(test::battlefield), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
      throw std::runtime_error{std::string{"no memory for the attackers: "} + std::strerror(errno)};
    return p;
  }
  test::battlefield* field_;
  pid_t child_ = 0;
};

void wait(bench_cluster& bench, unsigned seconds) {
  bench.timer.afterDelay(seconds * kj::SECONDS).wait(bench.io.waitScope);
}

std::vector<std::uint64_t> memory_of(const bench_cluster& bench) {
  std::vector<std::uint64_t> all;
  for (std::size_t n = 1; n <= bench.cluster.size(); ++n)
    all.push_back(bench.cluster.anonymous_bytes(n));
  return all;
}

/// The least that each node has in the last ten of these seconds: logs are trimmed now and then, which takes some MiB for
/// some seconds, and it should not matter whether that is just now.
std::vector<std::uint64_t> settle(bench_cluster& bench, unsigned seconds) {
  wait(bench, seconds - std::min(seconds, 10u));
  auto least = memory_of(bench);
  for (unsigned s = 0; s < std::min(seconds, 10u); ++s) {
    wait(bench, 1);
    const auto now = memory_of(bench);
    for (std::size_t n = 0; n < now.size(); ++n)
      least[n] = std::min(least[n], now[n]);
  }
  return least;
}

/// Of both who are in the conversation, one after the other, because nobody may send so much soon.
kj::Promise<void> store_loot(user& by, user& other, conversation_id at, std::size_t left) {
  if (left == 0)
    return kj::READY_NOW;
  auto call = by.line->session().sendRequest();
  wire::write(call.initConversation(), at);
  call.initId().setCounter(1 + loot_messages - left);
  const std::string body(body_bytes_max, 'l');
  call.setBody(wire::as_data(body));
  return call.send().then([&by, &other, at, left](capnp::Response<rpc::Session::SendResults> r) {
    return wire::to_code(r.getError()) == ec::none ? store_loot(other, by, at, left - 1)
                                                   : store_loot(by, other, at, left);
  });
}

/// Everybody opens a conversation with the next one and fills it, as fast as they may.
std::vector<test::attacker> make_attackers(bench_cluster& bench, std::size_t count) {
  std::vector<test::attacker> all;
  auto users = bench.make_users(count / 2 * 2);
  kj::Vector<kj::Promise<void>> filled;
  for (std::size_t i = 0; i < users.size(); i += 2) {
    const auto loot = bench.open_direct(*users[i], *users[i + 1]);
    filled.add(store_loot(*users[i], *users[i + 1], loot, loot_messages));
    all.push_back({users[i]->who, loot});
    all.push_back({users[i + 1]->who, loot});
  }
  kj::joinPromises(filled.releaseAsArray()).wait(bench.io.waitScope);
  return all;
}

/// As many messages as everybody may send at once.
kj::Promise<void> chat(user& by, conversation_id at, std::uint64_t counter, std::uint64_t until) {
  if (counter == until)
    return kj::READY_NOW;
  auto call = by.line->session().sendRequest();
  wire::write(call.initConversation(), at);
  call.initId().setCounter(counter);
  const std::string body(counter % 8 == 0 ? 8'000 : 200, 'o');
  call.setBody(wire::as_data(body));
  return call.send().then([&by, at, counter, until](auto&&) { return chat(by, at, counter + 1, until); });
}

/// People who talk, read what there is and leave again. They are as many as the attackers, and for some seconds the node
/// works as fast as it can, but nobody does what people do not do. So what is left of being busy (parts of pages that
/// the allocator cannot give back, its lists of pages, Raft's index of the log) counts for no assault, as it would not on
/// a node that has run for a day; what grows only under attack does, and what the next assault adds, too.
void use_ordinarily(bench_cluster& bench) {
  auto users = bench.make_users(ordinary_users);
  constexpr std::uint64_t lanes = 8, rounds = 6;
  const std::uint64_t in_a_lane = settings::user_sends_burst.standard / lanes; // one after the other
  for (std::uint64_t round = 0; round < rounds; ++round) {
    kj::Vector<kj::Promise<void>> chats;
    for (std::size_t i = 0; i + 1 < users.size(); i += 2) {
      const auto c = bench.open_direct(*users[i], *users[i + 1]);
      for (std::uint64_t lane = 0; lane < 2 * lanes; ++lane) { // of both
        const auto first = 1 + (round * lanes + lane / 2) * in_a_lane;
        chats.add(chat(*users[i + lane % 2], c, first, first + in_a_lane));
      }
      auto page = users[i + 1]->line->session().syncConversationRequest();
      wire::write(page.initConversation(), c);
      chats.add(page.send().ignoreResult());
    }
    kj::joinPromises(chats.releaseAsArray()).wait(bench.io.waitScope);
    bench.log_in(users);
    wait(bench, settings::user_sends_burst.standard / settings::user_sends_per_second.standard);
  }
}

assault_result measure(bench_cluster& bench, const bench_options& o, bystanders& people, newcomers& comers,
                       const test::assault& what, std::span<const test::attacker> attackers) {
  assault_result r;
  r.name = what.name;
  r.lines = what.accounts ? std::min(what.lines, attackers.size()) : what.lines;
  people.count_for(&r.calm_ack_us, &r.calm_us);
  comers.take();
  wait(bench, o.seconds);
  people.count_for(nullptr, nullptr);
  r.calm = comers.take();
  const auto before = memory_of(bench);

  raid attack{what, bench.cluster.client(1), attackers, r.lines};
  lookout memory{bench.cluster};
  bench.start_measuring();
  people.count_for(&r.attacked_ack_us, &r.attacked_us);
  wait(bench, o.seconds);
  people.count_for(nullptr, nullptr);
  r.attacked = comers.take();
  r.cores = bench.measured().nodes_us[0] / 1e6 / bench.measured().seconds;
  r.opened = attack.end();
  const auto peaks = memory.end();
  for (const auto end = now_ns() + 10'000'000'000; people.under_way() > 10 && now_ns() < end;)
    wait(bench, 1);
  r.unanswered = people.under_way();
  const auto after = settle(bench, o.settle_seconds);
  const auto grown = [](std::uint64_t now, std::uint64_t then) { return now > then ? now - then : 0; };
  r.before = before[0];
  r.peak = peaks[0];
  r.after = after[0];
  for (std::size_t n = 1; n < before.size(); ++n) {
    r.others_peak = std::max(r.others_peak, grown(peaks[n], before[n]));
    r.others_after = std::max(r.others_after, grown(after[n], before[n]));
  }
  people.check();
  return r;
}

} // namespace

attack_result measure_attacks(bench_cluster& bench, const bench_options& options) {
  std::vector<const test::assault*> chosen;
  for (const auto& a : test::all_assaults())
    if (options.only.empty() || std::ranges::count(options.only, a.name) > 0)
      chosen.push_back(&a);
  if (chosen.empty())
    throw std::runtime_error{"there is no such assault"};
  attack_result all;
  all.fresh = bench.cluster.anonymous_bytes(1);
  use_ordinarily(bench);
  const auto attackers = make_attackers(bench, std::min(options.users, attackers_max));
  auto users = bench.register_users(2);
  for (auto& u : users)
    u->node = 1; // the one that is attacked
  bench.log_in(users);
  bystanders people{bench, *users[0], *users[1], options.rate};
  std::vector<test::lean_device> come;
  for (const auto& u : bench.register_users(newcomers_in_turn))
    come.push_back(u->who);
  const auto node = transport::parse_server_address(bench.cluster.client_seeds().front()).value();
  newcomers comers{bench, std::move(come), transport::resolve(node).value()};
  all.baseline = settle(bench, options.settle_seconds)[0];
  if (!options.json_only)
    std::printf("node 1 has %.1f MiB after its start, %.1f after ordinary use\n",
                static_cast<double>(all.fresh) / (1 << 20), static_cast<double>(all.baseline) / (1 << 20));
  for (const auto* a : chosen) {
    all.assaults.push_back(measure(bench, options, people, comers, *a, attackers));
    if (!options.json_only)
      print(all, all.assaults.back());
  }
  return all;
}

void print(const attack_result& all, const assault_result& r) {
  const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  const auto ms = [](const histogram& h) { return static_cast<double>(h.quantile(0.99)) / 1e3; };
  std::printf(
      "%-17s %5zu lines %7zu opened  before %6.1f MiB  peak %+7.1f  after %+6.1f (%+5.1f %% of %.1f)  "
      "others %+6.1f %+6.1f  p99 %6.1f -> %7.1f ms (%4.1f x; acknowledged %6.1f -> %7.1f)  login %5.1f -> "
      "%6.1f (p99 %6.1f) ms, %zu "
      "failed  "
      "%.2f cores%s\n",
      std::string{r.name}.c_str(), r.lines, r.opened, mib(r.before), mib(r.peak) - mib(all.baseline),
      mib(r.after) - mib(all.baseline), 100 * (mib(r.after) / mib(all.baseline) - 1), mib(all.baseline),
      mib(r.others_peak), mib(r.others_after), ms(r.calm_us), ms(r.attacked_us),
      ms(r.attacked_us) / std::max(0.001, ms(r.calm_us)), ms(r.calm_ack_us), ms(r.attacked_ack_us),
      static_cast<double>(r.calm.us.quantile(0.5)) / 1e3,
      static_cast<double>(r.attacked.us.quantile(0.5)) / 1e3, ms(r.attacked.us), r.attacked.failed, r.cores,
      r.unanswered > 10 ? "  MESSAGES LATE" : "");
  std::fflush(stdout);
}

} // namespace parley::bench
