#include "cluster/ops/admin_server.hpp"

#include "cluster/ops/certificates.hpp"
#include "cluster/ops/kj_thread.hpp"
#include "protocol/values/renewable.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <kj/compat/http.h>
#include <kj/compat/tls.h>
#include <kj/debug.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <iterator>
#include <map>

namespace parley::cluster {
namespace {

constexpr auto plain_text = "text/plain; charset=utf-8";

struct reply {
  unsigned status = 200;
  const char* reason = "OK";
  const char* type = plain_text;
  std::string body;
};

/// The pages that the node has to be asked for. It may wait, for the store for example.
constexpr std::array<std::string_view, 4> asked_pages{"/readyz", "/wholez", "/metrics", "/"};

reply answer(admin_source& source, std::string_view path) {
  if (path == "/readyz" || path == "/wholez") {
    const auto now = path == "/readyz" ? source.state() : source.whole();
    return {now.ready ? 200U : 503U, now.ready ? "OK" : "Service Unavailable", plain_text, now.why + "\n"};
  }
  if (path == "/metrics")
    return {200, "OK", "text/plain; version=0.0.4; charset=utf-8", source.metrics()};
  return {200, "OK", "text/html; charset=utf-8", source.page()};
}

/// Asks the node for pages. All who ask for one while it waits for its turn share it, so a probe waits for one page of each
/// kind at most, however many have asked before it, and is never told what was so before it asked.
///
/// Owns:   the questions that are under way, also those whose askers have gone: to drop one waits for its end.
/// Thread: that of the server's loop; `source` is asked on `pages`.
class page_answers final : private kj::TaskSet::ErrorHandler {
public:
  using answered = std::shared_ptr<const reply>; // GCC 12 takes a reply inside of a promise for uninitialized

  page_answers(admin_source& source, kj_thread& pages) : source_{source}, pages_{pages}, under_way_{*this} {}

  kj::Promise<answered> ask(std::string_view path) {
    auto& last = last_[path];
    if (last.begun == nullptr || *last.begun) {
      auto begun = std::make_shared<std::atomic<bool>>(false);
      last.answer = pages_
                        .ask([&source = source_, path, begun]() -> answered {
                          *begun = true;
                          return std::make_shared<reply>(answer(source, path));
                        })
                        .fork();
      last.begun = std::move(begun);
      under_way_.add(last.answer.addBranch().ignoreResult());
    }
    return last.answer.addBranch();
  }

private:
  struct question {
    std::shared_ptr<std::atomic<bool>> begun; ///< set on `pages`
    kj::ForkedPromise<answered> answer = nullptr;
  };
  void taskFailed(kj::Exception&&) override {} // those who asked are told

  admin_source& source_;
  kj_thread& pages_;
  std::map<std::string_view, question> last_; ///< by path, of `asked_pages`
  kj::TaskSet under_way_;
};

/// Whether a browser on this machine can have meant this machine: a page of a stranger whose name has come to
/// mean 127.0.0.1 sends that name (DNS rebinding).
bool names_loopback(std::string_view host) {
  const auto end = host.starts_with('[') ? host.find(']') : host.find(':');
  std::string name{host.starts_with('[') ? host.substr(1, end - 1) : host.substr(0, end)};
  for (auto& c : name)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  if (name.ends_with('.'))
    name.pop_back();
  return is_loopback(name);
}

/// What a connection is doing.
enum class stage : std::uint8_t {
  asks,  ///< the handshake is not done, or the request is not complete
  reads, ///< its answer is being sent
  waits  ///< for the source
};

/// The connections that are open. When all places are taken, a client that does nothing gives its place to the next one,
/// so that no number of them keeps a probe waiting. It is one whose request is not complete, or one that has its answer and
/// has not read it, of whichever there are more, and of these the oldest: a probe that has just connected is neither
/// among many nor old. Those that wait for the source are never closed for others.
///
/// Owns:   a place for each connection.
/// Thread: that of the loop.
class places {
public:
  explicit places(std::size_t max) : max_{max} {}

  struct ticket {
    std::uint64_t number;
    kj::Promise<void> gives_way; ///< when somebody else needs the place
  };
  /// None: all are taken, by connections that wait for the source.
  kj::Maybe<ticket> take() {
    if (all_.size() >= max_) {
      const auto in = [this](stage s) {
        return std::ranges::count_if(all_, [s](const auto& p) { return p.second.now == s; });
      };
      const auto idle = in(stage::asks) > in(stage::reads) ? stage::asks : stage::reads;
      const auto oldest = std::ranges::find_if(all_, [idle](const auto& p) { return p.second.now == idle; });
      if (oldest == all_.end())
        return nullptr;
      oldest->second.give_way->fulfill(); // it ends when the loop turns
      all_.erase(oldest);
    }
    auto way = kj::newPromiseAndFulfiller<void>();
    all_.emplace(++last_, place{stage::asks, kj::mv(way.fulfiller)});
    return ticket{last_, kj::mv(way.promise)};
  }
  void set(std::uint64_t number, stage now) {
    if (const auto i = all_.find(number); i != all_.end())
      i->second.now = now;
  }
  void leave(std::uint64_t number) { all_.erase(number); }

private:
  struct place {
    stage now;
    kj::Own<kj::PromiseFulfiller<void>> give_way;
  };
  std::size_t max_;
  std::map<std::uint64_t, place> all_; ///< the oldest first
  std::uint64_t last_ = 0;
};

/// Of one connection.
class service final : public kj::HttpService {
public:
  /// `only_loopback`: whoever says that this is another machine is refused.
  service(page_answers& pages, const kj::HttpHeaderTable& table, bool only_loopback, places& all,
          std::uint64_t place)
      : pages_{pages}, table_{table}, only_loopback_{only_loopback}, all_{all}, place_{place} {}
  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders& asked,
                            kj::AsyncInputStream&, Response& response) override {
    all_.set(place_, stage::waits);
    return begin(method, url, asked).then([this, method, &response](answered r) {
      all_.set(place_, stage::reads);
      return send(method, std::move(r), response);
    });
  }

private:
  using answered = page_answers::answered;

  kj::Promise<answered> begin(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders& asked) {
    const auto with = [](reply r) { return answered{std::make_shared<reply>(std::move(r))}; };
    if (method != kj::HttpMethod::GET && method != kj::HttpMethod::HEAD)
      return with({405, "Method Not Allowed", plain_text, "Only GET.\n"});
    if (only_loopback_)
      KJ_IF_MAYBE (host, asked.get(kj::HttpHeaderId::HOST))
        if (!names_loopback(host->cStr()))
          return with({403, "Forbidden", plain_text, "This port answers to 127.0.0.1, ::1 and localhost.\n"});
    const std::string_view path{url.cStr(), std::min(url.size(), std::string_view{url.cStr()}.find('?'))};
    if (path == "/healthz") // that a node waits for its disk is no reason to restart it
      return with({200, "OK", plain_text, "alive\n"});
    const auto page = std::ranges::find(asked_pages, path);
    if (page == asked_pages.end())
      return with({404, "Not Found", plain_text, "There are /, /metrics, /healthz, /readyz and /wholez.\n"});
    return pages_.ask(*page);
  }
  kj::Promise<void> send(kj::HttpMethod method, answered r, Response& response) {
    kj::HttpHeaders headers{table_};
    headers.set(kj::HttpHeaderId::CONTENT_TYPE, r->type);
    auto stream = response.send(r->status, r->reason, headers, r->body.size());
    if (method == kj::HttpMethod::HEAD)
      return kj::READY_NOW;
    auto written = stream->write(r->body.data(), r->body.size());
    return written.attach(kj::mv(stream), kj::mv(r));
  }

  page_answers& pages_;
  const kj::HttpHeaderTable& table_;
  bool only_loopback_;
  places& all_;
  std::uint64_t place_;
};

/// A client that does not send HTTP gets an error and is disconnected. Clients that disconnect are not
/// logged.
class quiet_errors final : public kj::HttpServerErrorHandler {
public:
  kj::Promise<void> handleApplicationError(kj::Exception, kj::Maybe<kj::HttpService::Response&>) override {
    return kj::READY_NOW;
  }
};

class close_after_one final : public kj::HttpServerCallbacks {
public:
  bool shouldClose() override { return true; }
};

kj::Duration span(std::chrono::milliseconds d) {
  return static_cast<std::int64_t>(d.count()) * kj::MILLISECONDS;
}

/// The files that a TLS port needs, read once.
struct tls_files {
  kj::String certificate, key, ca;
};

tl::expected<tls_files, std::string> read_tls(const admin_config& c) {
  tls_files files;
  for (auto [name, into] : {std::pair{&c.certificate_file, &files.certificate},
                            {&c.key_file, &files.key},
                            {&c.ca_file, &files.ca}}) {
    std::ifstream in{*name};
    const std::string text{std::istreambuf_iterator<char>{in}, {}};
    if (!in.is_open() || text.empty())
      return tl::unexpected{fmt::format("the admin port {} is not on loopback, so it needs TLS, and {} "
                                        "cannot be read: create certificates with "
                                        "scripts/make_certs.sh, or keep the port on 127.0.0.1",
                                        to_string(c.listen), name->empty() ? "its certificate" : *name)};
    *into = kj::str(text.c_str());
  }
  return files;
}

class server final : public admin_server, private kj::TaskSet::ErrorHandler {
public:
  server(admin_config config, admin_source& source)
      : config_{std::move(config)}, source_{source}, pages_{[](kj_thread::loop& here) {
          here.serve();
          return std::optional<std::string>{};
        }},
        pages_failed_{pages_.started()}, thread_{[this](kj_thread::loop& here) { return run(here); }} {}
  ~server() noexcept override {} // a KJ destructor may throw, ours may not
  std::optional<std::string> started() {
    const auto why = thread_.started();
    return pages_failed_ ? pages_failed_ : why;
  }
  std::uint16_t port() const override { return port_; }
  std::optional<std::string> renew_certificate() override {
    if (is_loopback(config_.listen.host))
      return std::nullopt;
    auto made = make_tls();
    if (!made)
      return made.error();
    tls_.replace(std::move(*made));
    return std::nullopt;
  }

private:
  struct on_loop {
    kj::Timer& timer;
    page_answers& pages;
    const kj::HttpHeaderTable& table;
    kj::HttpServerSettings& settings; ///< copied for each connection
    kj::TaskSet& connections;
  };

  std::optional<std::string> run(kj_thread::loop& here) {
    auto& timer = here.io.provider->getTimer();
    if (auto why = renew_certificate())
      return why;
    kj::Own<kj::ConnectionReceiver> port;
    try {
      port = here.io.provider->getNetwork()
                 .parseAddress(config_.listen.host.c_str(), config_.listen.port)
                 .wait(here.io.waitScope)
                 ->listen();
    } catch (const kj::Exception& e) {
      return fmt::format("the admin port {} cannot be listened on ({}): "
                         "free it, or choose another with --admin-listen",
                         to_string(config_.listen), e.getDescription().cStr());
    }
    port_ = static_cast<std::uint16_t>(port->getPort());
    kj::HttpHeaderTable::Builder builder;
    const auto table = builder.build();
    quiet_errors errors;
    close_after_one callbacks;
    kj::HttpServerSettings settings;
    settings.headerTimeout = span(config_.request_within);
    settings.pipelineTimeout = 50 * kj::MILLISECONDS; // "Connection: close" was said: no second request comes
    settings.canceledUploadGracePeriod = 100 * kj::MILLISECONDS;
    settings.canceledUploadGraceBytes = 4096;
    settings.errorHandler = errors;
    settings.callbacks = callbacks;
    page_answers pages{source_, pages_};
    kj::TaskSet connections{*this};
    on_loop parts{timer, pages, *table, settings, connections};
    auto accepting = accept(*port, parts).eagerlyEvaluate(nullptr);
    here.serve();
    return std::nullopt;
  }

  tl::expected<std::shared_ptr<kj::TlsContext>, std::string> make_tls() const {
    const auto files = read_tls(config_);
    if (!files)
      return tl::unexpected{files.error()};
    if (auto why = key_objection(config_.certificate_file, config_.key_file)) // KJ does not compare them
      return tl::unexpected{std::move(*why)};
    try {
      kj::TlsKeypair pair{kj::TlsPrivateKey{files->key}, kj::TlsCertificate{files->certificate}};
      const kj::TlsCertificate authority{files->ca};
      kj::TlsContext::Options options;
      options.useSystemTrustStore = false;
      options.verifyClients = true;
      options.trustedCertificates = kj::arrayPtr(&authority, 1);
      options.defaultKeypair = pair;
      return std::make_shared<kj::TlsContext>(kj::mv(options));
    } catch (const kj::Exception& e) {
      return tl::unexpected{
          fmt::format("the admin port's certificate {}, its key or {} cannot be used ({}): create them "
                      "again with scripts/make_certs.sh",
                      config_.certificate_file, config_.ca_file, e.getDescription().cStr())};
    }
  }

  kj::Promise<void> accept(kj::ConnectionReceiver& port, on_loop& here) {
    // `accept` throws at once, not in its promise, if a connection waits and file descriptors have run out.
    return kj::evalNow([&port] { return port.accept(); })
        .then(
            [this, &here](kj::Own<kj::AsyncIoStream> stream) -> kj::Promise<void> {
              KJ_IF_MAYBE (place, places_.take())
                here.connections.add(serve(kj::mv(stream), kj::mv(*place), here));
              return kj::READY_NOW;
            },
            // For instance, file descriptors ran out: clients that disconnect free some.
            [&here](kj::Exception&&) { return here.timer.afterDelay(100 * kj::MILLISECONDS); })
        .then([this, &port, &here] { return accept(port, here); });
  }

  kj::Promise<void> serve(kj::Own<kj::AsyncIoStream> stream, places::ticket place, on_loop& here) {
    auto tls = tls_.now();
    auto secured =
        tls ? here.timer.timeoutAfter(span(config_.request_within), tls->wrapServer(kj::mv(stream)))
            : kj::Promise<kj::Own<kj::AsyncIoStream>>{kj::mv(stream)};
    return secured
        .then([this, &here, number = place.number](kj::Own<kj::AsyncIoStream> s) {
          auto pages =
              kj::heap<service>(here.pages, here.table, is_loopback(config_.listen.host), places_, number);
          auto http = kj::heap<kj::HttpServer>(here.timer, here.table, *pages, here.settings);
          auto done = http->listenHttp(kj::mv(s));
          return done.attach(kj::mv(http), kj::mv(pages));
        })
        .exclusiveJoin(here.timer.afterDelay(span(config_.connection_within)))
        .exclusiveJoin(kj::mv(place.gives_way))
        .attach(kj::defer([this, number = place.number] { places_.leave(number); }), kj::mv(tls));
  }
  void taskFailed(kj::Exception&&) override {} // a client that spoke nonsense or went away

  const admin_config config_;
  admin_source& source_;
  std::uint16_t port_ = 0;
  renewable<kj::TlsContext> tls_;          ///< nothing on loopback
  places places_{config_.connections_max}; ///< used on the loop only
  kj_thread pages_;                        ///< asks the source, so that the loop never waits
  std::optional<std::string> pages_failed_;
  kj_thread thread_; ///< last: it uses all of the above
};

} // namespace

bool is_loopback(const std::string& host) {
  in_addr four{};
  return host == "localhost" || host == "::1" ||
         (::inet_pton(AF_INET, host.c_str(), &four) == 1 && ntohl(four.s_addr) >> 24 == 127);
}

tl::expected<std::unique_ptr<admin_server>, std::string> start_admin_server(const admin_config& config,
                                                                            admin_source& source) {
  auto s = std::make_unique<server>(config, source);
  if (const auto why = s->started())
    return tl::unexpected{*why};
  return s;
}

} // namespace parley::cluster
