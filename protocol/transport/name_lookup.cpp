#include "protocol/transport/name_lookup.hpp"

#include <netdb.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

namespace parley::transport {
namespace {

/// After this time without an answer the next address is tried beside (RFC 8305: 100 ms to 2 s).
constexpr auto attempt_delay = 250 * kj::MILLISECONDS;

std::atomic<unsigned> threads{0}; // of the process

kj::Exception unreachable(std::string_view what) {
  return kj::Exception{kj::Exception::Type::DISCONNECTED, "", 0, kj::heapString(what.data(), what.size())};
}

struct lookup_result {
  std::vector<socket_address> found;
  std::string error; ///< the system's words, if nothing was found
};

lookup_result look_up(const server_address& of, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* first = nullptr;
  if (const int code = getaddrinfo(of.host.c_str(), std::to_string(of.port).c_str(), &hints, &first);
      code != 0)
    return {{}, gai_strerror(code)};
  lookup_result all;
  for (const auto* a = first; a; a = a->ai_next) {
    socket_address address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.size = a->ai_addrlen;
    all.found.push_back(address);
  }
  freeaddrinfo(first);
  return all;
}

} // namespace

std::vector<socket_address> in_turn(std::vector<socket_address> found) {
  std::vector<socket_address> out;
  while (!found.empty() && out.size() < addresses_max) {
    auto next = found.begin();
    if (!out.empty())
      next = std::find_if(found.begin(), found.end(), [&](const socket_address& a) {
        return a.storage.ss_family != out.back().storage.ss_family;
      });
    if (next == found.end())
      next = found.begin();
    out.push_back(*next);
    found.erase(next);
  }
  return out;
}

kj::Promise<name_lookup::addresses> name_lookup::find(const server_address& of) {
  if (auto numeric = look_up(of, AI_NUMERICHOST); !numeric.found.empty())
    return in_turn(std::move(numeric.found));
  const auto key = to_string(of);
  if (const auto i = under_way_.find(key); i != under_way_.end())
    return i->second.addBranch();
  if (threads.fetch_add(1) >= threads_max) {
    --threads;
    return unreachable("too many names are being looked up, because the name servers do not answer");
  }
  auto paf = kj::newPromiseAndCrossThreadFulfiller<lookup_result>();
  try {
    using answer = kj::Own<kj::CrossThreadPromiseFulfiller<lookup_result>>;
    std::thread{[of, to = std::make_shared<answer>(kj::mv(paf.fulfiller))] {
      auto result = look_up(of, 0);
      --threads;
      (*to)->fulfill(kj::mv(result));
    }}.detach();
  } catch (const std::system_error& e) {
    --threads;
    return unreachable(e.what());
  }
  auto asked = paf.promise
                   .then([](lookup_result&& r) -> addresses {
                     if (r.found.empty())
                       kj::throwFatalException(unreachable("no address for that name: " + r.error));
                     return in_turn(std::move(r.found));
                   })
                   .fork();
  auto mine = asked.addBranch();
  // In an event of its own, for the promise must not be destroyed by what runs inside it.
  tasks_.add(asked.addBranch().ignoreResult().catch_([](kj::Exception&&) {}).then([this, key] {
    return kj::evalLater([this, key] { under_way_.erase(key); });
  }));
  under_way_.emplace(key, kj::mv(asked));
  return mine;
}

// --- one of several addresses ------------------------------------------------------------------------------

namespace {

class attempts final : private kj::TaskSet::ErrorHandler {
public:
  attempts(kj::UnixEventPort& port, kj::Timer& timer, std::vector<socket_address> addresses,
           std::string peer_name, tls_context tls, const stream_limits& limits, const tcp_options& options,
           kj::Own<kj::PromiseFulfiller<kj::Own<message_stream>>> done)
      : port_{port}, timer_{timer}, addresses_{std::move(addresses)}, name_{std::move(peer_name)},
        tls_{std::move(tls)}, limits_{limits}, options_{options}, done_{kj::mv(done)}, tasks_{*this} {}

  void next() {
    const auto n = begun_++;
    tasks_.add(connect(port_, addresses_[n], name_, tls_, limits_, options_)
                   .then([this](kj::Own<message_stream>&& stream) { done_->fulfill(kj::mv(stream)); },
                         [this, n](kj::Exception&& e) { failed(n, kj::mv(e)); }));
    if (begun_ < addresses_.size())
      tasks_.add(timer_.afterDelay(attempt_delay).then([this, n] {
        if (begun_ == n + 1 && done_->isWaiting())
          next();
      }));
  }

private:
  void failed(std::size_t n, kj::Exception&& e) {
    if (!errors_.empty())
      errors_ += "; ";
    if (addresses_.size() > 1)
      errors_ += to_string(addresses_[n]) + ": ";
    errors_ += e.getDescription().cStr();
    if (++failed_ == addresses_.size())
      done_->reject(unreachable(errors_));
    else if (begun_ < addresses_.size() && failed_ == begun_) // nothing is under way
      next();
  }
  void taskFailed(kj::Exception&& e) override { done_->reject(kj::mv(e)); }

  kj::UnixEventPort& port_;
  kj::Timer& timer_;
  std::vector<socket_address> addresses_;
  std::string name_;
  tls_context tls_;
  const stream_limits& limits_;
  tcp_options options_;
  kj::Own<kj::PromiseFulfiller<kj::Own<message_stream>>> done_;
  std::size_t begun_ = 0;
  std::size_t failed_ = 0;
  std::string errors_;
  kj::TaskSet tasks_;
};

} // namespace

kj::Promise<kj::Own<message_stream>> connect_to_any(kj::UnixEventPort& port, kj::Timer& timer,
                                                    std::vector<socket_address> addresses,
                                                    const std::string& peer_name, const tls_context& tls,
                                                    const stream_limits& limits, const tcp_options& options) {
  if (addresses.empty())
    return unreachable("no address to connect to");
  if (addresses.size() == 1)
    return connect(port, addresses.front(), peer_name, tls, limits, options);
  auto paf = kj::newPromiseAndFulfiller<kj::Own<message_stream>>();
  auto all = kj::heap<attempts>(port, timer, std::move(addresses), peer_name, tls, limits, options,
                                kj::mv(paf.fulfiller));
  all->next();
  return paf.promise.attach(kj::mv(all));
}

} // namespace parley::transport
