#include "tests/harness/bench/newcomers.hpp"

#include <utility>

namespace parley::bench {
namespace {

constexpr std::int64_t comes_every_ns = 100'000'000;
constexpr auto gives_up_after = 5 * kj::SECONDS;
/// A network in which nobody else of this bench is, so that only what is meant for all holds them up.
constexpr unsigned comes_from = 50'000;

kj::Promise<void> come(test::lean_context& lean, const transport::socket_address& node,
                       const test::lean_device& who, unsigned from) {
  return test::lean_connection::open(lean, node, from).then([&who](kj::Own<test::lean_connection> line) {
    auto& it = *line;
    return it.login(who).attach(kj::mv(line));
  });
}

} // namespace

newcomers::newcomers(const bench_cluster& bench, std::vector<test::lean_device> who,
                     transport::socket_address node)
    : ca_file_{bench.cluster.client_ca()}, who_{std::move(who)}, node_{node}, thread_{[this] { run(); }} {}

newcomers::~newcomers() {
  over_ = true;
  thread_.join();
}

logins newcomers::take() {
  std::lock_guard guard{mutex_};
  return std::exchange(since_, {});
}

void newcomers::run() {
  auto io = kj::setupAsyncIo();
  auto lean = test::make_lean_context(io, ca_file_);
  lean.login_timeout = gives_up_after;
  for (std::size_t n = 0; !over_; ++n) {
    const auto i = n % who_.size();
    const auto began = now_ns();
    bool in = true;
    try {
      come(lean, node_, who_[i], comes_from + static_cast<unsigned>(i)).wait(io.waitScope);
    } catch (const kj::Exception&) {
      in = false;
    }
    const auto took = now_ns() - began;
    {
      std::lock_guard guard{mutex_};
      if (in)
        since_.us.add(static_cast<std::uint64_t>(took) / 1'000);
      else
        ++since_.failed;
    }
    if (took < comes_every_ns)
      lean.timer.afterDelay((comes_every_ns - took) * kj::NANOSECONDS).wait(io.waitScope);
  }
}

} // namespace parley::bench
