#pragma once
// A cluster in a few maps, reached through in-process pipes, that misbehaves on request.
#include "protocol/client/client.hpp"
#include "protocol/wire/codec.hpp"

#include <functional>
#include <map>
#include <set>

namespace parley::test {

class fake_link;

class fake_cluster final : public client::dialer, private kj::TaskSet::ErrorHandler {
public:
  explicit fake_cluster(kj::Timer& timer) : timer_{timer}, tasks_{*this} {}
  ~fake_cluster() noexcept(false) override;

  /// A dead port refuses; every other is a node of this cluster, numbered by its port.
  kj::Promise<kj::Own<client::line>> dial(const client::server_address& to) override;

  /// The same over real TLS, for programs: listens on a free port of 127.0.0.1 and answers it.
  std::uint16_t listen(kj::UnixEventPort& port, transport::tls_context tls);
  /// What a node prints on its console.
  std::function<void(const std::string& phone, const std::string& code)> on_code;
  bool codes_differ = false;  ///< 123456, 123457 …; otherwise each is 123456
  bool draws_tickets = false; ///< as gateways did before clients chose them

  // --- misbehaviour, counted down as it happens ------------------------------------------------------------
  std::set<std::uint16_t> dead_ports;
  unsigned store_then_cut = 0;           ///< sends that are stored; the connection ends before the answer
  unsigned store_then_silence = 0;       ///< sends that are stored and never answered
  std::vector<ec> send_refusals;         ///< of the next sends, first to last; `none`: it is stored
  unsigned deliver_times = 1;            ///< every delivery so often
  std::set<std::uint64_t> lost_seqs;     ///< messages whose row never arrives, though rows after it do
  ec code_refusal = ec::none;            ///< of every request for a code
  unsigned code_then_cut = 0;            ///< requests that are served; the connection ends before the answer
  std::vector<std::uint32_t> code_waits; ///< of the next requests for a code, in ms; 0: a code is sent
  unsigned sync_refusals = 0;
  ec sync_refusal = ec::unavailable; ///< what those are refused with
  unsigned cursor_refusals = 0;
  std::vector<std::string> named_nodes; ///< at a login
  bool receipts = false;                ///< acknowledgements become the senders' ticks
  ec login_refusal = ec::none;          ///< until changed
  ec resume_refusal = ec::none;         ///< until changed

  void close_all(ec why, std::uint32_t reconnect_after_ms); ///< tells the clients, then waits for them to go
  void cut_all();

  // --- what happened ---------------------------------------------------------------------------------------
  struct attempt {
    std::uint64_t counter = 0;
    std::string body;
    std::uint16_t port = 0;
  };
  std::vector<attempt> attempts; ///< every send, repeats too
  std::vector<std::uint16_t> dialled;
  std::vector<std::string> acks; ///< cursors, as acknowledged
  std::map<user_id, std::uint64_t> reads;
  std::vector<session_number> numbers; ///< of every login and resume, refused ones too
  unsigned codes_asked = 0;            ///< that were sent
  unsigned opened = 0;                 ///< calls of openDirect
  unsigned wrong_codes = 0;
  unsigned logins = 0, resumes = 0, pings = 0, syncs = 0, bad_proofs = 0;

  std::vector<client::message>& talk(conversation_id c) { return talks_[c]; }
  user_id user_of(const std::string& phone);
  conversation_id direct(user_id a, user_id b);
  /// A message that `from` sends with a device that is not connected here.
  void say(user_id from, conversation_id c, const std::string& body);
  void raise(user_id to, const client::watermark& mark);
  std::size_t links() const { return links_.size(); }

  /// All that its disks hold. To put an older copy back, cut the connections.
  struct disks {
    std::map<user_id, std::vector<client::inbox_row>> inboxes;
    std::map<std::pair<user_id, conversation_id>, seq_no> last_row;
    std::map<conversation_id, std::vector<client::message>> talks;
    std::map<conversation_id, std::vector<user_id>> members;
    std::map<device_id, std::size_t> acknowledged;
  };
  disks copy() const { return {inboxes_, last_row_, talks_, members_, acknowledged_}; }
  void put_back(const disks& old);

private:
  friend class fake_link;
  friend class fake_gateway;
  friend class fake_session;
  struct device_entry {
    user_id user{};
    std::array<std::uint8_t, 32> key{};
  };
  void taskFailed(kj::Exception&&) override {}
  void place(client::message m);
  void append(user_id to, client::inbox_row row);
  void drop(fake_link& l);
  template <class Results>
  void tell_place(device_id device, const std::string& cursor, Results results);
  void welcome(kj::Own<capnp::MessageStream> stream, std::array<std::uint8_t, 32> exporter,
               std::uint16_t port);
  kj::Promise<void> accept(kj::UnixEventPort& port, int listener, kj::UnixEventPort::FdObserver& ready,
                           transport::tls_context tls, std::uint16_t number);

  kj::Timer& timer_;
  std::map<std::string, user_id> phones_;
  std::map<std::string, std::pair<std::string, std::string>> tickets_; ///< phone and code of each
  std::map<device_id, device_entry> devices_;
  std::map<user_id, std::vector<client::inbox_row>> inboxes_;
  std::map<std::pair<user_id, conversation_id>, seq_no> last_row_;
  std::map<conversation_id, std::vector<client::message>> talks_;
  std::map<conversation_id, std::vector<user_id>> members_;
  std::map<device_id, std::size_t> acknowledged_; ///< rows of the inbox
  std::vector<std::shared_ptr<fake_link>> links_;
  transport::stream_limits limits_;
  kj::TaskSet tasks_;
};

} // namespace parley::test
