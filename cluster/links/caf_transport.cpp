#include "cluster/links/caf_transport.hpp"

#include "cluster/ops/logging.hpp"

#include <caf/detail/socket_guard.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/doorman.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/middleman_actor_impl.hpp>
#include <caf/io/network/acceptor.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/interfaces.hpp>
#include <caf/io/network/stream.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace parley::cluster {
namespace {

namespace net = caf::io::network;
using side = peer_tls_session::side;
using outcome = peer_tls_session::outcome;

/// CAF's stream over a TLS session. Its scribe owns it.
class peer_stream final : public net::stream {
public:
  peer_stream(net::default_multiplexer& loop, int fd, const peer_tls_context& context, side which,
              net::stream_manager& scribe)
      : stream{loop, fd}, scribe_{scribe}, session_{context, fd, which} {}

  bool established() const { return session_.established(); }

  void begin() {
    start(&scribe_);
    session_.handshake(); // the caller's first step; a failure shows when the socket is read
  }

  /// Sends the bytes of the buffer at once. Only those that the socket does not accept wait for the loop.
  void write_now() {
    if (state_.writing || !session_.established())
      return; // then the loop does it, or the end of the handshake
    flush(&scribe_);
    if (!state_.writing)
      return;
    handle_event(net::operation::write);
    // The loop does not know yet that this stream wants to write, so it will not report that
    // it no longer does.
    if (!state_.writing || write_failed_)
      removed_from_loop(net::operation::write);
  }

  void handle_event(net::operation what) override {
    if (what != net::operation::read)
      return handle_event_impl(what, *this);
    const bool was_established = session_.established();
    session_.begin_reading();
    handle_event_impl(what, *this);
    if (!was_established)
      write_now();
  }

  // The functions that CAF's stream requires of its transport.

  net::rw_state read_some(std::size_t& got, int, void* to, std::size_t size) {
    const auto r = session_.read(static_cast<char*>(to), size);
    got = r.bytes;
    return r.what == outcome::over ? net::rw_state::failure : net::rw_state::success;
  }
  bool must_read_more(int, std::size_t) { return session_.holds_more(); }
  net::rw_state write_some(std::size_t& put, int, const void* from, std::size_t size) {
    const auto r = session_.write(static_cast<const char*>(from), size);
    put = r.bytes;
    write_failed_ = r.what == outcome::over;
    return write_failed_ ? net::rw_state::failure : net::rw_state::success;
  }

private:
  net::stream_manager& scribe_;
  peer_tls_session session_;
  bool write_failed_ = false;
};

class newcomers;

/// A connection, as CAF's brokers know it.
class tls_scribe final : public caf::io::scribe {
public:
  /// `strangers` is told when it ends; nobody for a connection that this node opened.
  tls_scribe(net::default_multiplexer& loop, int fd, const peer_tls_context& context, side which,
             std::weak_ptr<newcomers> strangers = {})
      : scribe{net::conn_hdl_from_socket(fd)}, strangers_{std::move(strangers)}, stream_{loop, fd, context,
                                                                                         which, *this} {}

  void configure_read(caf::io::receive_policy::config config) override {
    stream_.configure_read(config);
    if (!std::exchange(launched_, true))
      stream_.begin();
  }
  void ack_writes(bool enable) override { stream_.ack_writes(enable); }
  std::vector<char>& wr_buf() override { return stream_.wr_buf(); }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }

  /// Messages of one turn of the loop are sent together, at its end.
  void flush() override {
    if (!wr_buf().empty() && !std::exchange(flush_posted_, true))
      stream_.backend().exec_later(new flusher{*this}); // takes the reference that it begins with
  }
  void graceful_shutdown() override {
    stream_.write_now();
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }
  std::string addr() const override {
    auto a = net::remote_addr_of_fd(stream_.fd());
    return a ? std::move(*a) : std::string{};
  }
  std::uint16_t port() const override {
    const auto p = net::remote_port_of_fd(stream_.fd());
    return p ? *p : std::uint16_t{0};
  }
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }

  bool is_newcomer() const { return !detached() && !stream_.established(); }
  /// The loop then reads the end of the stream, and closes the connection as if the peer had done so.
  void hang_up() { ::shutdown(stream_.fd(), SHUT_RDWR); }

protected:
  void detach_from(caf::io::abstract_broker* broker) override;

private:
  class flusher final : public net::multiplexer::runnable {
  public:
    explicit flusher(tls_scribe& of) : of_{&of} {}
    resume_result resume(caf::execution_unit*, std::size_t) override {
      of_->flush_posted_ = false;
      of_->stream_.write_now();
      return done;
    }

  private:
    caf::intrusive_ptr<tls_scribe> of_;
  };

  const std::weak_ptr<newcomers> strangers_;
  bool launched_ = false, flush_posted_ = false;
  peer_stream stream_;
};

/// Accepts peers. If file descriptors have run out, it accepts one with a descriptor that it keeps for this, and
/// closes it: the peer calls again later. A connection that stayed in the backlog would make the loop, which
/// reports it as long as it is there, turn without end.
class sparing_acceptor final : public net::acceptor {
public:
  using acceptor::acceptor;
  void handle_event(net::operation what) override { handle_event_impl(what, *this); }

  bool try_accept(net::native_socket& accepted, net::native_socket from) {
    accepted = ::accept4(from, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted >= 0)
      return true;
    if ((errno == EMFILE || errno == ENFILE) && spare_ >= 0) {
      ::close(spare_);
      if (const int refused = ::accept4(from, nullptr, nullptr, SOCK_CLOEXEC); refused >= 0)
        ::close(refused);
      spare_ = open_spare();
      static log::limiter limiter{std::chrono::seconds{10}};
      if (const auto left_out = limiter.admit(); left_out >= 0)
        log::warn("peer-refused",
                  {{"why", "this process has no file descriptor left"},
                   {"left_out", left_out},
                   {"next", "raise the limit (ulimit -n, LimitNOFILE=), then restart the node"}});
    }
    return false;
  }
  ~sparing_acceptor() override {
    if (spare_ >= 0)
      ::close(spare_);
  }

private:
  static int open_spare() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
  int spare_ = open_spare();
};

/// Connections whose handshake is not complete. Thread: the loop's.
///
/// It holds them, and with them their descriptors. A connection that ends leaves at once, so that a stranger who failed
/// costs nothing until the next look at the deadlines; one whose handshake is complete stays in the list until then.
class newcomers {
public:
  explicit newcomers(newcomer_limits limits) : limits_{limits} {}

  void add(caf::intrusive_ptr<tls_scribe> who) {
    forget_peers();
    if (waiting_.size() >= limits_.at_once_max) {
      waiting_.front().who->hang_up();
      waiting_.pop_front();
    }
    waiting_.push_back({std::move(who), std::chrono::steady_clock::now() + limits_.handshake_within});
  }
  void ended(const tls_scribe& who) {
    std::erase_if(waiting_, [&](const entry& e) { return e.who.get() == &who; });
  }
  void close_late_ones() {
    forget_peers();
    const auto now = std::chrono::steady_clock::now();
    while (!waiting_.empty() && waiting_.front().until <= now) {
      waiting_.front().who->hang_up();
      waiting_.pop_front();
    }
  }

private:
  struct entry {
    caf::intrusive_ptr<tls_scribe> who;
    std::chrono::steady_clock::time_point until;
  };
  void forget_peers() {
    std::erase_if(waiting_, [](const entry& e) { return !e.who->is_newcomer(); });
  }

  newcomer_limits limits_;
  std::deque<entry> waiting_; ///< the oldest first
};

/// CAF calls it for every end of a connection: a failure, the peer's end, and ours. The stream holds this object until
/// the loop has let go of the socket.
void tls_scribe::detach_from(caf::io::abstract_broker* broker) {
  if (const auto strangers = strangers_.lock())
    strangers->ended(*this);
  scribe::detach_from(broker);
}

/// A port for peers.
class tls_doorman final : public caf::io::doorman {
public:
  tls_doorman(net::default_multiplexer& loop, int fd, peer_tls_context context,
              std::shared_ptr<newcomers> strangers)
      : doorman{net::accept_hdl_from_socket(fd)}, acceptor_{loop, fd}, context_{std::move(context)},
        newcomers_{std::move(strangers)} {}

  bool new_connection() override {
    if (detached())
      return false; // closed while the loop still held this event
    auto& loop = acceptor_.backend();
    const int fd = acceptor_.accepted_socket();
    net::keepalive(fd, true);
    auto scribe =
        caf::make_counted<tls_scribe>(loop, fd, context_, side::door, newcomers_); // owns the socket
    const auto connection = scribe->hdl();
    newcomers_->add(scribe);
    parent()->add_scribe(std::move(scribe));
    return doorman::new_connection(&loop, connection);
  }
  void launch() override { acceptor_.start(this); }
  void graceful_shutdown() override {
    acceptor_.graceful_shutdown();
    detach(&acceptor_.backend(), false);
  }
  std::string addr() const override {
    auto a = net::local_addr_of_fd(acceptor_.fd());
    return a ? std::move(*a) : std::string{};
  }
  std::uint16_t port() const override {
    const auto p = net::local_port_of_fd(acceptor_.fd());
    return p ? *p : std::uint16_t{0};
  }
  void add_to_loop() override { acceptor_.activate(this); }
  void remove_from_loop() override { acceptor_.passivate(); }

private:
  sparing_acceptor acceptor_;
  const peer_tls_context context_;
  const std::shared_ptr<newcomers> newcomers_;
};

class tls_middleman final : public caf::io::middleman_actor_impl {
public:
  tls_middleman(caf::actor_config& config, caf::actor broker, peer_tls_context context,
                std::shared_ptr<newcomers> strangers)
      : middleman_actor_impl{config, std::move(broker)}, context_{std::move(context)}, newcomers_{std::move(
                                                                                           strangers)} {}

  const char* name() const override { return "tls_middleman"; }

protected:
  caf::expected<caf::io::scribe_ptr> connect(const std::string& host, std::uint16_t port) override {
    auto fd = net::new_tcp_connection(host, port);
    if (!fd)
      return std::move(fd.error());
    net::keepalive(*fd, true);
    return caf::make_counted<tls_scribe>(loop(), *fd, context_, side::caller);
  }
  caf::expected<caf::io::doorman_ptr> open(std::uint16_t port, const char* address, bool reuse) override {
    auto fd = net::new_tcp_acceptor_impl(port, address, reuse);
    if (!fd)
      return std::move(fd.error());
    return caf::make_counted<tls_doorman>(loop(), *fd, context_, newcomers_);
  }

private:
  net::default_multiplexer& loop() {
    return static_cast<net::default_multiplexer&>(system().middleman().backend());
  }

  const peer_tls_context context_;
  const std::shared_ptr<newcomers> newcomers_;
};

} // namespace

tls_transport spawn_tls_transport(caf::actor_system& system, peer_tls_context context,
                                  newcomer_limits limits) {
  auto broker = system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  auto strangers = std::make_shared<newcomers>(limits);
  auto middleman = system.spawn<tls_middleman, caf::detached + caf::hidden>(std::move(broker),
                                                                            std::move(context), strangers);
  return {std::move(middleman), [&loop = system.middleman().backend(), strangers] {
            loop.post([strangers] { strangers->close_late_ones(); });
          }};
}

} // namespace parley::cluster
