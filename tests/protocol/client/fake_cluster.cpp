#include "tests/protocol/client/fake_cluster.hpp"

#include "protocol/transport/login_proof.hpp"

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <openssl/evp.h>

#include <algorithm>

namespace parley::test {
namespace {

constexpr cluster_id cluster_name{0xc1, 0xc2};
constexpr std::array<std::uint8_t, 32> challenge{3, 1, 4, 1, 5};
constexpr std::array<std::uint8_t, 32> pipe_exporter{7, 7, 7};

bool verified(const std::array<std::uint8_t, 32>& key, const std::string& bytes,
              const std::string& signature) {
  auto* k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size());
  auto* context = EVP_MD_CTX_new();
  EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, k);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* proof = reinterpret_cast<const unsigned char*>(signature.data());
  const bool good = EVP_DigestVerify(context, proof, signature.size(), data, bytes.size()) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(k);
  return good;
}

class pipe_line final : public client::line {
public:
  explicit pipe_line(kj::Own<kj::AsyncIoStream> end) : end_{kj::mv(end)}, stream_{*end_} {}
  capnp::MessageStream& messages() override { return stream_; }
  std::array<std::uint8_t, 32> exporter() const override { return pipe_exporter; }

private:
  kj::Own<kj::AsyncIoStream> end_;
  capnp::AsyncIoMessageStream stream_;
};

std::size_t index_of(capnp::Data::Reader cursor) {
  const auto text = wire::bytes(cursor);
  return text.empty() ? 0 : std::stoul(text);
}

} // namespace

template <class Results>
void fake_cluster::tell_place(device_id device, const std::string& cursor, Results results) {
  if (cursor.empty())
    return;
  const auto at = std::stoul(cursor), acknowledged = acknowledged_[device];
  results.setPlace(at == acknowledged  ? rpc::CursorPlace::ACKNOWLEDGED
                   : at > acknowledged ? rpc::CursorPlace::AFTER
                                       : rpc::CursorPlace::BEFORE);
  const auto known = std::to_string(acknowledged);
  results.setAcknowledged(wire::as_data(known));
}

/// The node's end of one connection.
class fake_link {
public:
  fake_link(fake_cluster& cluster, kj::Own<capnp::MessageStream> stream,
            std::array<std::uint8_t, 32> exporter, std::uint16_t port, rpc::Gateway::Client gateway)
      : cluster{cluster}, port{port}, exporter{exporter}, stream_{kj::mv(stream)},
        network_{*stream_, capnp::rpc::twoparty::Side::SERVER}, system_{capnp::makeRpcServer(
                                                                    network_, kj::mv(gateway))} {}
  kj::Promise<void> gone() { return network_.onDisconnect(); }

  void stream_rows() {
    auto& rows = cluster.inboxes_[user];
    KJ_IF_MAYBE (r, receiver)
      while (sent_upto < rows.size()) {
        const auto at = sent_upto++;
        if (const auto* m = std::get_if<client::message_row>(&rows[at]);
            m && cluster.lost_seqs.count(number(m->msg.seq)))
          continue;
        for (unsigned n = 0; n < cluster.deliver_times; ++n) {
          auto call = r->deliverRequest();
          wire::write(call.initItems(1)[0], rows[at]);
          const auto cursor = std::to_string(at + 1);
          call.setCursor(wire::as_data(cursor));
          cluster.tasks_.add(call.send());
        }
      }
  }

  fake_cluster& cluster;
  std::uint16_t port;
  std::array<std::uint8_t, 32> exporter;
  user_id user{};
  device_id device{};
  std::size_t sent_upto = 0;
  kj::Maybe<rpc::Receiver::Client> receiver;

private:
  kj::Own<capnp::MessageStream> stream_;
  capnp::TwoPartyVatNetwork network_;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> system_;
};

class fake_session final : public rpc::Session::Server {
public:
  explicit fake_session(fake_link& l) : link_{l}, cluster_{l.cluster} {}

  kj::Promise<void> send(SendContext context) override {
    const auto c = wire::to_conversation(context.getParams().getConversation());
    const auto counter = context.getParams().getId().getCounter();
    const auto body = wire::bytes(context.getParams().getBody());
    cluster_.attempts.push_back({counter, body, link_.port});
    auto results = context.getResults();
    if (!cluster_.send_refusals.empty()) {
      const auto why = cluster_.send_refusals.front();
      cluster_.send_refusals.erase(cluster_.send_refusals.begin());
      if (why != ec::none) {
        wire::write(results.initError(), why);
        return kj::READY_NOW;
      }
    }
    const auto& talk = cluster_.talks_[c];
    const client_msg_id id{link_.device, counter};
    auto found = std::find_if(talk.begin(), talk.end(), [&](const auto& m) { return m.client_id == id; });
    const bool duplicate = found != talk.end();
    if (!duplicate) {
      client::message m;
      m.conversation = c;
      m.sender = link_.user;
      m.client_id = id;
      m.body = body;
      cluster_.place(std::move(m));
      found = talk.end() - 1;
    } else if (found->body != body) {
      wire::write(results.initError(), ec::conflict);
    }
    if (cluster_.store_then_silence > 0) {
      --cluster_.store_then_silence;
      return kj::NEVER_DONE;
    }
    if (cluster_.store_then_cut > 0) {
      --cluster_.store_then_cut;
      cluster_.drop(link_);
      return kj::NEVER_DONE;
    }
    results.setSeq(number(found->seq));
    wire::write(results.initMsgId(), found->id);
    results.setDuplicate(duplicate);
    return kj::READY_NOW;
  }

  kj::Promise<void> sync(SyncContext context) override {
    const auto from = index_of(context.getParams().getCursor());
    const auto& rows = cluster_.inboxes_[link_.user];
    auto results = context.getResults();
    if (from > rows.size()) {
      wire::write(results.initError(), ec::bad_cursor);
      return kj::READY_NOW;
    }
    cluster_.tell_place(link_.device, wire::bytes(context.getParams().getCursor()), results);
    const auto n = std::min<std::size_t>(rows.size() - from, context.getParams().getLimit());
    std::vector<client::inbox_row> page;
    for (std::size_t i = from; i < from + n; ++i)
      if (const auto* m = std::get_if<client::message_row>(&rows[i]);
          !m || !cluster_.lost_seqs.contains(number(m->msg.seq)))
        page.push_back(rows[i]);
    auto items = results.initItems(static_cast<unsigned>(page.size()));
    for (unsigned i = 0; i < page.size(); ++i)
      wire::write(items[i], page[i]);
    const bool more = from + n < rows.size();
    const auto next = std::to_string(page.empty() && !more ? from : from + n);
    results.setNext(wire::as_data(next));
    results.setMore(more);
    return kj::READY_NOW;
  }

  kj::Promise<void> syncConversation(SyncConversationContext context) override {
    ++cluster_.syncs;
    auto results = context.getResults();
    if (cluster_.sync_refusals > 0) {
      --cluster_.sync_refusals;
      wire::write(results.initError(), cluster_.sync_refusal);
      return kj::READY_NOW;
    }
    const auto& talk = cluster_.talks_[wire::to_conversation(context.getParams().getConversation())];
    const auto after = std::min<std::size_t>(context.getParams().getAfter(), talk.size());
    const auto n =
        std::min<std::size_t>({talk.size() - after, context.getParams().getLimit(), 3}); // short pages
    auto messages = results.initMessages(static_cast<unsigned>(n));
    for (unsigned i = 0; i < n; ++i)
      wire::write(messages[i], talk[after + i]);
    results.setLast(talk.size());
    results.setMore(after + n < talk.size());
    return kj::READY_NOW;
  }

  kj::Promise<void> ackDelivered(AckDeliveredContext context) override {
    const auto cursor = wire::bytes(context.getParams().getCursor());
    cluster_.acks.push_back(cursor);
    const auto upto =
        std::min(index_of(context.getParams().getCursor()), cluster_.inboxes_[link_.user].size());
    auto& acknowledged = cluster_.acknowledged_[link_.device];
    acknowledged = std::max(acknowledged, upto);
    for (std::size_t i = 0; i < upto && cluster_.receipts; ++i)
      if (const auto* m = std::get_if<client::message_row>(&cluster_.inboxes_[link_.user][i]))
        cluster_.raise(m->msg.sender, {m->msg.conversation, link_.user, m->msg.seq, seq_no::none});
    return kj::READY_NOW;
  }
  kj::Promise<void> ackRead(AckReadContext context) override {
    auto& seq = cluster_.reads[link_.user];
    seq = std::max(seq, context.getParams().getSeq());
    const auto c = wire::to_conversation(context.getParams().getConversation());
    if (cluster_.receipts)
      for (auto user : cluster_.members_[c])
        if (user != link_.user)
          cluster_.raise(user, {c, link_.user, seq_no{seq}, seq_no{seq}});
    return kj::READY_NOW;
  }
  kj::Promise<void> conversations(ConversationsContext context) override {
    std::vector<conversation_id> mine;
    for (const auto& [c, members] : cluster_.members_)
      if (std::count(members.begin(), members.end(), link_.user))
        mine.push_back(c);
    auto items = context.getResults().initItems(static_cast<unsigned>(mine.size()));
    for (unsigned i = 0; i < mine.size(); ++i) {
      wire::write(items[i], mine[i], cluster_.members_[mine[i]], seq_no{cluster_.talks_[mine[i]].size()});
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> openDirect(OpenDirectContext context) override {
    ++cluster_.opened;
    const auto params = context.getParams();
    const auto with = params.getUser() ? user_id{params.getUser()} : cluster_.user_of(params.getPhone());
    auto results = context.getResults();
    wire::write(results.initConversation(), cluster_.direct(link_.user, with));
    results.setUser(number(with));
    return kj::READY_NOW;
  }
  kj::Promise<void> receive(ReceiveContext context) override {
    if (cluster_.cursor_refusals > 0 && context.getParams().getCursor().size() > 0) {
      --cluster_.cursor_refusals;
      wire::write(context.getResults().initError(), ec::bad_cursor);
      return kj::READY_NOW;
    }
    const auto cursor = wire::bytes(context.getParams().getCursor());
    link_.receiver = context.getParams().getReceiver();
    link_.sent_upto = cursor.empty() ? cluster_.acknowledged_[link_.device] : std::stoul(cursor);
    if (link_.sent_upto > cluster_.inboxes_[link_.user].size()) // as the session does: it finds out later
      cluster_.close_all(ec::bad_cursor, 0);
    cluster_.tell_place(link_.device, cursor, context.getResults());
    link_.stream_rows();
    return kj::READY_NOW;
  }
  kj::Promise<void> ping(PingContext) override {
    ++cluster_.pings;
    return kj::READY_NOW;
  }
  kj::Promise<void> logout(LogoutContext) override { return kj::READY_NOW; }

private:
  fake_link& link_;
  fake_cluster& cluster_;
};

class fake_gateway final : public rpc::Gateway::Server {
public:
  fake_gateway(fake_cluster& cluster, std::uint16_t port) : cluster_{cluster}, port_{port} {}
  fake_link* link = nullptr;

  kj::Promise<void> hello(HelloContext context) override {
    auto results = context.getResults();
    results.setVersion(rpc::PROTOCOL_VERSION);
    wire::write(results.initCluster(), cluster_name);
    results.setNode(port_);
    results.setChallenge(kj::arrayPtr(challenge.data(), challenge.size()));
    return kj::READY_NOW;
  }
  kj::Promise<void> requestCode(RequestCodeContext context) override {
    if (!cluster_.code_waits.empty()) {
      const auto wait = cluster_.code_waits.front();
      cluster_.code_waits.erase(cluster_.code_waits.begin());
      if (wait > 0) {
        wire::write(context.getResults().initError(), ec::rate_limited, wait);
        return kj::READY_NOW;
      }
    }
    auto results = context.getResults();
    if (cluster_.code_refusal != ec::none) {
      wire::write(results.initError(), cluster_.code_refusal);
      return kj::READY_NOW;
    }
    auto ticket = wire::bytes(context.getParams().getTicket());
    if (cluster_.draws_tickets)
      ticket = "ticket " + std::to_string(cluster_.codes_asked);
    results.setExpiresInS(300);
    results.setTicket(wire::as_data(ticket));
    if (!cluster_.tickets_.contains(ticket)) { // else its code was sent
      const auto code = std::to_string(123'456 + (cluster_.codes_differ ? cluster_.codes_asked : 0));
      if (cluster_.on_code)
        cluster_.on_code(context.getParams().getPhone(), code);
      ++cluster_.codes_asked;
      cluster_.tickets_[ticket] = {context.getParams().getPhone(), code};
    }
    if (cluster_.code_then_cut > 0) {
      --cluster_.code_then_cut;
      cluster_.drop(*link);
      return kj::NEVER_DONE;
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> register_(RegisterContext context) override {
    const auto params = context.getParams();
    auto results = context.getResults();
    const auto out = cluster_.tickets_.find(wire::bytes(params.getTicket()));
    if (out == cluster_.tickets_.end() || out->second.first != params.getPhone().cStr()) {
      wire::write(results.initError(), ec::code_expired);
      return kj::READY_NOW;
    }
    if (out->second.second != params.getCode().cStr()) {
      ++cluster_.wrong_codes;
      wire::write(results.initError(), ec::code_wrong);
      return kj::READY_NOW;
    }
    fake_cluster::device_entry d;
    d.user = cluster_.user_of(params.getPhone());
    std::copy(params.getDeviceKey().begin(), params.getDeviceKey().end(), d.key.begin());
    const device_id id{100U + d.key[0] * 256U + d.key[1]}; // of the key: repeating it is harmless
    const bool is_new = cluster_.devices_.count(id) == 0;
    const bool others = std::any_of(cluster_.devices_.begin(), cluster_.devices_.end(),
                                    [&](const auto& other) { return other.second.user == d.user; });
    cluster_.devices_[id] = d;
    if (is_new && others)
      cluster_.append(d.user,
                      client::device_added{id, params.getDeviceName().cStr(), unix_ms{1'700'000'000'000}});
    results.setUser(number(d.user));
    results.setDevice(number(id));
    return kj::READY_NOW;
  }
  kj::Promise<void> login(LoginContext context) override {
    const auto params = context.getParams();
    const auto user = params.getUser(), device = params.getDevice();
    const auto signature = wire::bytes(params.getSignature());
    ++cluster_.logins;
    cluster_.numbers.push_back(session_number{params.getSessionNumber()});
    return enter(context, cluster_.login_refusal, user_id{user}, device_id{device}, signature);
  }
  kj::Promise<void> resume(ResumeContext context) override {
    const auto token = wire::bytes(context.getParams().getResumeToken());
    const auto signature = wire::bytes(context.getParams().getSignature());
    const device_id device{std::stoull(token)};
    ++cluster_.resumes;
    cluster_.numbers.push_back(session_number{context.getParams().getSessionNumber()});
    return enter(context, cluster_.resume_refusal, cluster_.devices_[device].user, device, signature);
  }

private:
  template <class Context>
  kj::Promise<void> enter(Context& context, ec refusal, user_id user, device_id device,
                          const std::string& signature) {
    auto results = context.getResults();
    if (refusal == ec::none) {
      const transport::login_claim claim{cluster_name, node_id{port_},          challenge,     user,
                                         device,       cluster_.numbers.back(), link->exporter};
      const auto known = cluster_.devices_.find(device);
      if (known == cluster_.devices_.end() || known->second.user != user ||
          !verified(known->second.key, transport::login_proof_bytes(claim), signature)) {
        ++cluster_.bad_proofs;
        refusal = ec::bad_signature;
      }
    }
    if (refusal != ec::none) {
      wire::write(results.initError(), refusal);
      return kj::READY_NOW;
    }
    link->user = user;
    link->device = device;
    results.setSession(kj::heap<fake_session>(*link));
    const auto token = std::to_string(number(device));
    results.setResumeToken(wire::as_data(token));
    auto nodes = results.initNodes(static_cast<unsigned>(cluster_.named_nodes.size()));
    for (unsigned i = 0; i < nodes.size(); ++i)
      nodes.set(i, cluster_.named_nodes[i].c_str());
    return kj::READY_NOW;
  }

  fake_cluster& cluster_;
  std::uint16_t port_;
};

fake_cluster::~fake_cluster() noexcept(false) = default;

kj::Promise<kj::Own<client::line>> fake_cluster::dial(const client::server_address& to) {
  dialled.push_back(to.port);
  if (dead_ports.count(to.port))
    return KJ_EXCEPTION(DISCONNECTED, "connection refused");
  auto pipe = kj::newTwoWayPipe();
  auto stream = kj::heap<capnp::AsyncIoMessageStream>(*pipe.ends[1]);
  welcome(stream.attach(kj::mv(pipe.ends[1])), pipe_exporter, to.port);
  return kj::Own<client::line>{kj::heap<pipe_line>(kj::mv(pipe.ends[0]))};
}

void fake_cluster::welcome(kj::Own<capnp::MessageStream> stream, std::array<std::uint8_t, 32> exporter,
                           std::uint16_t port) {
  auto gateway = kj::heap<fake_gateway>(*this, port);
  auto& g = *gateway;
  auto l = std::make_shared<fake_link>(*this, kj::mv(stream), exporter, port, kj::mv(gateway));
  g.link = l.get();
  links_.push_back(l);
  tasks_.add(l->gone().then([this, it = l.get()] { drop(*it); }));
}

std::uint16_t fake_cluster::listen(kj::UnixEventPort& port, transport::tls_context tls) {
  const auto at = transport::resolve({"127.0.0.1", 0});
  auto listening = transport::listen_on(*at, 64);
  KJ_REQUIRE(listening.has_value());
  auto fd = kj::mv(*listening);
  const auto number = transport::local_port(fd.get());
  const int listener = fd.get();
  auto ready =
      kj::heap<kj::UnixEventPort::FdObserver>(port, listener, kj::UnixEventPort::FdObserver::OBSERVE_READ);
  auto& observer = *ready;
  tasks_.add(accept(port, listener, observer, kj::mv(tls), number).attach(kj::mv(ready)).attach(kj::mv(fd)));
  return number;
}

kj::Promise<void> fake_cluster::accept(kj::UnixEventPort& port, int listener,
                                       kj::UnixEventPort::FdObserver& ready, transport::tls_context tls,
                                       std::uint16_t number) {
  for (;;) {
    kj::AutoCloseFd fd{::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (fd.get() < 0)
      break;
    auto stream =
        kj::heap<transport::message_stream>(port, kj::mv(fd), tls, transport::side::server, limits_);
    auto shaken = stream->handshake();
    tasks_.add(shaken.then([this, number, stream = kj::mv(stream)]() mutable {
      const auto exporter = stream->login_exporter();
      welcome(kj::mv(stream), exporter, number);
    }));
  }
  return ready.whenBecomesReadable().then(
      [this, &port, listener, &ready, tls, number] { return accept(port, listener, ready, tls, number); });
}

// Never at once: the caller may be a call on that very connection.
void fake_cluster::drop(fake_link& l) {
  tasks_.add(kj::evalLater(
      [this, gone = &l] { std::erase_if(links_, [&](const auto& x) { return x.get() == gone; }); }));
}

void fake_cluster::cut_all() {
  for (auto& l : links_)
    drop(*l);
}

void fake_cluster::close_all(ec why, std::uint32_t reconnect_after_ms) {
  for (auto& l : links_)
    KJ_IF_MAYBE (r, l->receiver) {
      auto call = r->closedRequest();
      wire::write(call.initError(), why);
      call.setReconnectAfterMs(reconnect_after_ms);
      tasks_.add(call.send().ignoreResult());
    }
}

void fake_cluster::put_back(const disks& old) {
  inboxes_ = old.inboxes;
  last_row_ = old.last_row;
  talks_ = old.talks;
  members_ = old.members;
  acknowledged_ = old.acknowledged;
}

user_id fake_cluster::user_of(const std::string& phone) {
  return phones_.try_emplace(phone, user_id{phones_.size() + 1}).first->second;
}

conversation_id fake_cluster::direct(user_id a, user_id b) {
  const conversation_id c{number(std::min(a, b)), number(std::max(a, b))};
  if (members_.try_emplace(c, std::vector{std::min(a, b), std::max(a, b)}).second)
    for (auto user : members_[c])
      append(user, client::conversation_info{c, members_[c], {}});
  return c;
}

void fake_cluster::place(client::message m) {
  auto& talk = talks_[m.conversation];
  m.seq = seq_no{talk.size() + 1};
  m.id = derive_message_id(m.conversation, m.seq);
  talk.push_back(m);
  for (auto user : members_[m.conversation])
    if (user != m.sender) {
      auto& prev = last_row_[{user, m.conversation}];
      append(user, client::message_row{prev, m});
      prev = m.seq;
    }
}

void fake_cluster::say(user_id from, conversation_id c, const std::string& body) {
  client::message m;
  m.conversation = c;
  m.sender = from;
  m.client_id = {device_id{9'000'000 + number(from)}, talks_[c].size() + 1};
  m.body = body;
  place(std::move(m));
}

void fake_cluster::raise(user_id to, const client::watermark& mark) {
  append(to, mark);
}

void fake_cluster::append(user_id to, client::inbox_row row) {
  inboxes_[to].push_back(std::move(row));
  for (auto& l : links_)
    if (l->user == to)
      l->stream_rows();
}

} // namespace parley::test
