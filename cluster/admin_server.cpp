#include "cluster/admin_server.hpp"

#include "cluster/metrics.hpp"

#include <fmt/format.h>
#include <kj/async-io.h>
#include <kj/compat/http.h>
#include <prometheus/text_serializer.h>

#include <future>
#include <mutex>
#include <thread>

namespace parley::cluster {
namespace {

struct reply {
  unsigned status = 200;
  const char* type = "text/plain; charset=utf-8";
  std::string body;
};

const char* role_name(replica_status::role r) {
  constexpr std::array names{"follower", "candidate", "leader", "installing", "sealed", "waiting for state"};
  return names.at(static_cast<std::size_t>(r));
}

reply front_page(node& it) {
  const auto now = it.snapshot();
  std::string rows;
  for (const auto& r : now.replicas)
    rows += fmt::format("<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n", number(r.shard), role_name(r.as),
                        number(r.leader), r.term, number(r.gen), r.applied_index);
  std::string peers;
  for (const auto& l : now.links)
    peers +=
        fmt::format("<li>node {}: {}</li>\n", number(l.peer), l.connected ? "connected" : "not reachable");
  const auto& g = it.metrics();
  return {
      now.serving ? 200U : 503U, "text/html; charset=utf-8",
      fmt::format("<!doctype html><meta charset=utf-8><title>Parley node</title>"
                  "<style>body{{font:15px system-ui;margin:2rem;max-width:60rem}}"
                  "td,th{{padding:.15rem .8rem;text-align:right}}th{{border-bottom:1px solid #999}}</style>"
                  "<h1>Parley node: {}</h1><p>{} sessions, {} messages handed in. "
                  "<a href=/metrics>metrics</a></p><h2>Other nodes</h2><ul>{}</ul><h2>Shards</h2>"
                  "<table><tr><th>shard<th>role<th>leader<th>term<th>generation<th>applied</tr>{}</table>",
                  now.serving ? "serving" : "not ready", g.sessions.load(), g.sends.load(), peers, rows)};
}

reply answer(node& it, kj::StringPtr path) {
  if (path == "/healthz")
    return {200, "text/plain; charset=utf-8", "alive\n"};
  if (path == "/readyz") {
    const auto now = it.snapshot();
    return now.serving ? reply{200, "text/plain; charset=utf-8", "ready\n"}
                       : reply{503, "text/plain; charset=utf-8", "not ready: a shard has no leader\n"};
  }
  if (path == "/metrics")
    return {200, "text/plain; version=0.0.4", prometheus::TextSerializer{}.Serialize(collect(it))};
  if (path == "/")
    return front_page(it);
  return {404, "text/plain; charset=utf-8", "There are /, /metrics, /healthz and /readyz.\n"};
}

class service final : public kj::HttpService {
public:
  service(node& it, const kj::HttpHeaderTable& table) : it_{it}, table_{table} {}
  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders&,
                            kj::AsyncInputStream&, Response& response) override {
    auto r = method == kj::HttpMethod::GET ? answer(it_, url)
                                           : reply{405, "text/plain; charset=utf-8", "Only GET.\n"};
    kj::HttpHeaders headers{table_};
    headers.set(kj::HttpHeaderId::CONTENT_TYPE, r.type);
    const auto body = kj::heap<std::string>(std::move(r.body));
    auto stream = response.send(r.status, r.status == 200 ? "OK" : "See body", headers, body->size());
    auto written = stream->write(body->data(), body->size());
    return written.attach(kj::mv(stream), kj::mv(const_cast<kj::Own<std::string>&>(body)));
  }

private:
  node& it_;
  const kj::HttpHeaderTable& table_;
};

class server final : public admin_server {
public:
  server(endpoint listen, node& it) : thread_{[this, listen, &it] { run(listen, it); }} {}
  ~server() noexcept override {
    {
      std::lock_guard guard{mutex_};
      KJ_IF_MAYBE (e, executor_)
        (*e)->executeSync([this] { stop_->fulfill(); });
    }
    thread_.join();
  }
  tl::expected<std::uint16_t, std::string> started() { return started_.get_future().get(); }
  std::uint16_t port() const override { return port_; }

private:
  void run(const endpoint& listen, node& it) {
    auto io = kj::setupAsyncIo();
    auto stopped = kj::newPromiseAndFulfiller<void>();
    stop_ = kj::mv(stopped.fulfiller);
    kj::HttpHeaderTable::Builder builder;
    const auto table = builder.build();
    service pages{it, *table};
    kj::HttpServer http{io.provider->getTimer(), *table, pages};
    kj::Own<kj::ConnectionReceiver> port;
    try {
      auto address =
          io.provider->getNetwork().parseAddress(listen.host.c_str(), listen.port).wait(io.waitScope);
      port = address->listen();
    } catch (const kj::Exception&) {
      started_.set_value(
          tl::unexpected{fmt::format("the admin port {} cannot be listened on", to_string(listen))});
      return;
    }
    port_ = static_cast<std::uint16_t>(port->getPort());
    {
      std::lock_guard guard{mutex_};
      executor_ = kj::getCurrentThreadExecutor().addRef();
    }
    started_.set_value(port_);
    auto serving = http.listenHttp(*port).eagerlyEvaluate([](kj::Exception&&) {});
    stopped.promise.wait(io.waitScope);
    std::lock_guard guard{mutex_};
    executor_ = nullptr;
  }

  std::promise<tl::expected<std::uint16_t, std::string>> started_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  kj::Maybe<kj::Own<const kj::Executor>> executor_;
  kj::Own<kj::PromiseFulfiller<void>> stop_;
  std::thread thread_; // last: it uses all of the above
};

} // namespace

tl::expected<std::unique_ptr<admin_server>, std::string> start_admin_server(const endpoint& listen,
                                                                            node& it) {
  auto s = std::make_unique<server>(listen, it);
  if (const auto port = s->started(); !port)
    return tl::unexpected{port.error()};
  return s;
}

} // namespace parley::cluster
