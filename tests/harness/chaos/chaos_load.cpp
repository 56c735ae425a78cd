#include "tests/harness/chaos/chaos_load.hpp"

#include "protocol/client/client.hpp"
#include "protocol/values/sha256.hpp"
#include "tests/harness/chaos/body_sizes.hpp"
#include "tests/harness/chaos/room.hpp"
#include "tests/harness/cluster/lean_client.hpp"
#include "tests/harness/cluster/process_cluster.hpp"

#include <kj/async-io.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <time.h>

namespace parley::chaos {

namespace {

std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

constexpr unsigned newcomer_tries = 60; ///< to register, about a second apart
constexpr std::size_t first_other_phone =
    4'000; ///< of `test_phone`, for those whose number has no codes left

bool falls_silent(conversation_id where) {
  return where.lo % 2 == 0;
}

} // namespace

void shared_history::put(event e) {
  const std::lock_guard guard{mutex_};
  e.t_mono_ns = now_ns(); // set under the lock, so that file order is time order
  out_.put(e);
  ++size_;
}
bool shared_history::flush() {
  const std::lock_guard guard{mutex_};
  return out_.flush();
}

/// One device. Its store survives `kill`; everything else is destroyed.
struct chaos_load::person final : client::observer, client::recorder {
  person(loop& l, std::size_t index) : owner{l}, index{index} {}
  ~person() noexcept override {} // a KJ destructor may throw, an observer's may not

  void start();
  void kill();
  bool alive() const { return device.get() != nullptr; }
  void record(const client::history_event& h) override;
  void on_state(const client::connection_state& s) override { state = s; }

  loop& owner;
  std::size_t index;
  test::lean_device who;
  bool pulls = false;
  client::memory_store store;
  client::connection_state state;
  std::vector<conversation_id> rooms;
  std::uint32_t process = 0;
  std::uint64_t connection = 0;
  std::set<std::pair<std::uint64_t, conversation_id>> open; ///< attempts without an answer
  std::int64_t back_at_ns = 0, read_at_ns = 0;
  bool fetching = false;
  std::size_t final_reads_left = 0;
  kj::Own<client::device> device;
};

struct chaos_load::loop final : kj::TaskSet::ErrorHandler {
  explicit loop(chaos_load& l)
      : load{l}, config{l.config_}, io{kj::setupAsyncIo()}, timer{io.provider->getTimer()},
        lean{test::make_lean_context(io, config.ca_file)},
        dial{io.unixEventPort, *client::trust(config.ca_file)}, random{config.seed}, tasks{*this} {
    for (const auto& s : config.seeds)
      settings.seeds.push_back(*transport::parse_server_address(s));
    settings.reconnect = {std::chrono::milliseconds{50}, std::chrono::milliseconds{500}};
    settings.resend = {std::chrono::milliseconds{20}, std::chrono::milliseconds{300}};
    settings.dial_timeout = std::chrono::milliseconds{1'500};
    settings.call_timeout = std::chrono::milliseconds{4'000}; // a stopped node sends no answer at all
    settings.ping_every = std::chrono::milliseconds{2'000};
    settings.stable_after = std::chrono::milliseconds{1'000};
    settings.ack_every = std::chrono::milliseconds{100};
  }

  void set_up();
  static void set_identity(person& c);
  kj::Promise<void> register_client(person& c, unsigned tries_left);
  kj::Promise<void> open_room(person& a, person& b);
  void tick(std::int64_t now);
  void generate(std::int64_t now);
  void say_last();
  void welcome(std::int64_t now);
  kj::Promise<void> settle_in(person& c);
  kj::Promise<void> befriend(person& c);
  void revive(std::int64_t now);
  void read_some(person& c, std::int64_t now);
  kj::Promise<void> read_room(person& c, conversation_id room, seq_no after);
  bool settled() const;
  bool caught_up() const;
  void read_everything();
  void pass(kj::Duration time) { timer.afterDelay(time).wait(io.waitScope); }
  template <class F>
  bool wait_until(milliseconds deadline, F&& done) {
    const auto end = now_ns() + std::chrono::nanoseconds{deadline}.count();
    while (!done()) {
      if (now_ns() > end)
        return false;
      pass(20 * kj::MILLISECONDS);
    }
    return true;
  }
  void put(const person& c, phase is, action f, conversation_id where = {}) {
    event e;
    e.process = c.process;
    e.is = is;
    e.f = f;
    e.conversation = where;
    e.reader = c.who.user;
    e.sender = c.who.device;
    load.history_.put(e);
  }
  void complain(std::string what) {
    if (load.complaints_.size() < 50)
      load.complaints_.push_back(std::move(what));
  }
  void taskFailed(kj::Exception&& e) override {
    complain(std::string{"a client's task failed: "} + e.getDescription().cStr());
  }

  chaos_load& load;
  const load_config& config;
  kj::AsyncIoContext io;
  kj::Timer& timer;
  test::lean_context lean;
  client::tls_dialer dial;
  client::config settings;
  std::mt19937_64 random;
  std::vector<std::unique_ptr<person>> clients;
  std::vector<std::unique_ptr<person>> arriving; ///< newcomers that are not registered yet
  std::size_t strangers = 0;                     ///< newcomers without a conversation yet
  std::int64_t newcomer_at_ns = 0;
  std::size_t other_phones = first_other_phone; ///< the next one
  std::map<conversation_id, room> rooms;
  std::uint32_t processes = 0;
  double due = 0;
  std::int64_t generated_ns = 0;
  std::uint64_t bodies = 0;
  bool generating = false, hushed = false;
  std::set<client_msg_id> last_messages; ///< of the conversations that fell silent
  kj::TaskSet tasks;                     ///< must be last: its promises use all members above
};

// --- one client --------------------------------------------------------------------------------------------

void chaos_load::person::start() {
  process = owner.processes++;
  connection = 0;
  owner.put(*this, phase::ok, action::connect);
  auto settings = owner.settings;
  settings.how = pulls ? client::intake::pull : client::intake::live;
  settings.chance = owner.random() | 1;
  device = kj::heap<client::device>(owner.timer, owner.dial, settings, store, *this, this);
  device->start();
}

void chaos_load::person::kill() {
  owner.put(*this, phase::ok, action::client_kill);
  device = nullptr;
  fetching = false;
  for (const auto& [counter, where] : open) {
    event e;
    e.process = process;
    e.is = phase::info;
    e.f = action::send;
    e.conversation = where;
    e.sender = who.device;
    e.counter = counter;
    owner.load.history_.put(e);
  }
  open.clear();
}

void chaos_load::person::record(const client::history_event& h) {
  using what = client::history_event::what;
  using kind = client::history_event::kind;
  if (h.connection != connection) { // rules 7 and 8 apply to one connection at a time
    connection = h.connection;
    owner.put(*this, phase::ok, action::resync);
    owner.put(*this, phase::ok, action::inbox_begin);
  }
  event e;
  e.process = process;
  e.is = static_cast<phase>(h.type);
  e.node = h.node;
  e.conversation = h.conversation;
  e.sender = h.id.device;
  e.counter = h.id.counter;
  e.reader = who.user;
  e.prev = h.prev;
  e.seq = h.seq;
  e.msg = h.msg_id;
  e.hash = h.hash;
  switch (h.f) {
  case what::send: {
    e.f = action::send;
    const std::pair key{h.id.counter, h.conversation};
    if (h.type == kind::invoke) {
      open.insert(key);
    } else {
      open.erase(key);
      // A refusal of a later attempt does not tell the outcome of an earlier one whose answer was lost.
      // The checker takes this into account.
      if (h.type == kind::ok) {
        auto& highest = owner.rooms[h.conversation].highest_acked[who.user];
        highest = std::max(highest, h.seq);
        ++owner.load.counters_.acked;
        owner.load.counters_.last_acked += owner.last_messages.contains(h.id);
      }
    }
    break;
  }
  case what::push:
    e.f = action::push;
    break;
  case what::pull:
    e.f = action::inbox;
    break;
  case what::applied:
    e.f = action::applied;
    ++owner.load.counters_.applied;
    break;
  case what::sync: {
    e.f = action::read;
    if (h.type == kind::fail)
      e.is = phase::info;
    if (h.type == kind::ok && h.page) {
      for (const auto& m : h.page->messages) {
        event item = e;
        item.f = action::read_item;
        item.sender = m.client_id.device;
        item.counter = m.client_id.counter;
        item.seq = m.seq;
        item.msg = m.id;
        item.hash = sha256(m.body);
        owner.load.history_.put(item);
      }
      if (h.page->more) // the sync has not reached the end, so it is not yet complete
        e.is = phase::info;
    }
    break;
  }
  }
  owner.load.history_.put(e);
}

void chaos_load::loop::set_identity(person& c) {
  client::identity me;
  me.user = c.who.user;
  me.device = c.who.device;
  me.key = c.who.key;
  me.phone = c.who.phone;
  c.store.set_identity(me);
}

// --- set-up ------------------------------------------------------------------------------------------------

kj::Promise<void> chaos_load::loop::register_client(person& c, unsigned tries_left) {
  const auto to = transport::resolve(settings.seeds[(c.index + tries_left) % settings.seeds.size()]);
  return test::lean_connection::open(lean, *to, test::lean_source(c.index, tries_left))
      .then([this, &c](kj::Own<test::lean_connection> line) {
        auto& l = *line;
        return l.enroll(c.who, load.code_of_).attach(kj::mv(line));
      })
      .catch_([this, &c, tries_left](kj::Exception&& e) -> kj::Promise<void> {
        if (tries_left == 0)
          return kj::mv(e);
        // A number has few codes an hour, and each attempt that a fault ends takes one: who has none left takes another.
        if (test::refusal_code(e) == ec::rate_limited)
          c.who.phone = test::test_phone(other_phones++);
        return timer.afterDelay(1'100 * kj::MILLISECONDS).then([this, &c, tries_left] {
          return register_client(c, tries_left - 1);
        });
      });
}

kj::Promise<void> chaos_load::loop::open_room(person& a, person& b) {
  return a.device->open_direct(b.who.user).then([this, &a, &b](client::result<client::opened_direct> r) {
    if (!r)
      throw std::runtime_error{"a conversation could not be opened: " + r.error().sentence};
    auto& it = rooms[r->conversation];
    if (!it.members.empty())
      return;
    for (const auto* m : {&a, &b}) {
      it.members.push_back(m->who.user);
      put(*m, phase::ok, action::member, r->conversation);
    }
    for (auto& c : clients) {
      if (c->who.user == a.who.user || c->who.user == b.who.user)
        c->rooms.push_back(r->conversation);
    }
  });
}

void chaos_load::loop::set_up() {
  const auto devices = config.users + config.second_devices;
  for (std::size_t i = 0; i < devices; ++i) {
    clients.push_back(std::make_unique<person>(*this, i));
    auto& c = *clients.back();
    c.who.key = client::make_key();
    c.who.phone = test::test_phone(i < config.users ? i : i - config.users);
    c.pulls = i % 7 == 6 && i / 7 < config.pullers;
  }
  const auto enroll = [this](std::size_t first, std::size_t last) {
    for (auto i = first; i < last; i += 8) {
      kj::Vector<kj::Promise<void>> batch;
      for (auto k = i; k < std::min(i + 8, last); ++k)
        batch.add(register_client(*clients[k], 15));
      kj::joinPromises(batch.releaseAsArray()).wait(io.waitScope);
    }
  };
  enroll(0, config.users);
  enroll(config.users, devices); // the second code of a phone is requested a second after its first
  for (auto& c : clients) {
    set_identity(*c);
    c->start();
  }
  if (!wait_until(config.setup_deadline, [this] {
        return std::all_of(clients.begin(), clients.end(),
                           [](const auto& c) { return c->state.state == client::link_state::online; });
      }))
    throw std::runtime_error{"not every client came online"};
  for (std::size_t i = 0; i < config.users; ++i) {
    for (std::size_t k = 1; k <= config.rooms_per_user; ++k)
      open_room(*clients[i], *clients[(i + k * k) % config.users]).wait(io.waitScope);
  }
  generated_ns = now_ns();
}

// --- chatting ----------------------------------------------------------------------------------------------

void chaos_load::loop::generate(std::int64_t now) {
  due += config.rate * static_cast<double>(now - generated_ns) / 1e9;
  generated_ns = now;
  due = std::min(due, config.rate); // after the harness has stalled, at most one second's worth
                                    // of messages is due
  for (; due >= 1; due -= 1) {
    auto& c = *clients[random() % clients.size()];
    if (!c.alive() || c.rooms.empty() || c.device->unsettled() >= config.unsettled_max) {
      ++load.counters_.withheld;
      continue;
    }
    auto body = "message " + std::to_string(++bodies) + " ";
    body.resize(draw_size(random, body.size(), config.with.contains(trial::bodies)),
                static_cast<char>('a' + bodies % 26));
    const auto where = c.rooms[random() % c.rooms.size()];
    if (hushed && falls_silent(where))
      continue;
    if (c.device->post(where, std::move(body)))
      ++load.counters_.posted;
  }
}

void chaos_load::loop::say_last() {
  hushed = true;
  std::set<conversation_id> said;
  for (auto& c : clients) {
    for (const auto where : c->rooms) {
      if (!falls_silent(where) || said.contains(where) || !c->alive() ||
          c->state.state != client::link_state::online)
        continue;
      if (const auto counter = c->device->post(where, "the last message here")) {
        ++load.counters_.posted;
        said.insert(where);
        last_messages.insert({c->who.device, *counter});
      }
    }
  }
}

/// Newcomers register, open a conversation and say the first word in it while nodes fail.
void chaos_load::loop::welcome(std::int64_t now) {
  if (!config.with.contains(trial::newcomers) || !generating || load.finish_ || now < newcomer_at_ns)
    return;
  newcomer_at_ns = now + std::chrono::nanoseconds{config.newcomer_every}.count();
  const auto index = clients.size() + arriving.size();
  arriving.push_back(std::make_unique<person>(*this, index));
  auto& c = *arriving.back();
  c.who.key = client::make_key();
  c.who.phone = test::test_phone(index - config.second_devices);
  ++strangers;
  tasks.add(register_client(c, newcomer_tries)
                .then([this, &c] { return settle_in(c); })
                .then([this] { --strangers; })
                .catch_([this](kj::Exception&& e) {
                  --strangers;
                  complain(std::string{"a newcomer found no way in: "} + e.getDescription().cStr());
                }));
}

kj::Promise<void> chaos_load::loop::settle_in(person& c) {
  set_identity(c);
  c.start();
  const auto at =
      std::find_if(arriving.begin(), arriving.end(), [&](const auto& p) { return p.get() == &c; });
  clients.push_back(std::move(*at));
  arriving.erase(at);
  return befriend(c);
}

/// Tries again until it has a conversation: an attempt fails if a node, or one of the two clients, dies.
kj::Promise<void> chaos_load::loop::befriend(person& c) {
  if (!c.rooms.empty()) {
    const auto counter = c.alive() ? c.device->post(c.rooms.front(), "the first message here")
                                   : client::result<std::uint64_t>{0};
    load.counters_.posted += counter.has_value();
    return kj::READY_NOW;
  }
  const auto again = [this, &c] {
    return timer.afterDelay(200 * kj::MILLISECONDS).then([this, &c] { return befriend(c); });
  };
  auto& other = *clients[random() % config.users];
  if (!c.alive() || c.state.state != client::link_state::online || other.who.user == c.who.user)
    return again();
  return open_room(c, other).then([this, &c] { return befriend(c); },
                                  [again](kj::Exception&&) { return again(); });
}

void chaos_load::loop::read_some(person& c, std::int64_t now) {
  if (c.fetching || now < c.read_at_ns || c.rooms.empty())
    return;
  const auto gap = std::chrono::nanoseconds{config.read_every}.count();
  c.read_at_ns = now + gap / 2 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(gap));
  const auto where = c.rooms[random() % c.rooms.size()];
  const auto life = c.process;
  c.fetching = true;
  const auto done = [&c, life] {
    if (c.process == life)
      c.fetching = false;
  };
  if (c.pulls && (!generating || random() % 4 != 0)) { // at the end everything is fetched
    put(c, phase::ok, action::inbox_begin);
    c.read_at_ns = now + gap / 10;
    tasks.add(c.device->sync_inbox().then([done](auto&&) { done(); }, [done](kj::Exception&&) { done(); }));
    return;
  }
  const auto after = c.device->position(where);
  if (random() % 3 == 0)
    c.device->ack_read(where, after);
  // A destroyed device rejects its promises, and then there is nothing to do.
  tasks.add(c.device->sync_conversation(where, after, 200)
                .then([done](auto&&) { done(); }, [done](kj::Exception&&) { done(); }));
}

void chaos_load::loop::revive(std::int64_t now) {
  for (; load.kills_wanted_ > 0; --load.kills_wanted_) {
    std::vector<person*> busy, others;
    for (auto& c : clients) {
      if (c->alive())
        (c->open.empty() ? others : busy).push_back(c.get());
    }
    auto& from = busy.empty() ? others : busy;
    if (from.empty())
      continue;
    auto& c = *from[random() % from.size()];
    c.kill();
    c.back_at_ns = now + static_cast<std::int64_t>(50 + random() % 1'500) * 1'000'000;
  }
  for (auto& c : clients) {
    if (!c->alive() && now >= c->back_at_ns)
      c->start();
  }
}

void chaos_load::loop::tick(std::int64_t now) {
  revive(now);
  if (load.hush_ && !hushed)
    say_last();
  welcome(now);
  if (generating)
    generate(now);
  std::uint64_t unsettled = 0, online = 0;
  for (auto& c : clients) {
    if (!c->alive())
      continue;
    read_some(*c, now);
    unsettled += c->device->unsettled();
    online += c->state.state == client::link_state::online;
  }
  load.counters_.unsettled = unsettled;
  load.counters_.online = online;
}

// --- the end -----------------------------------------------------------------------------------------------

bool chaos_load::loop::settled() const {
  return strangers == 0 && std::all_of(clients.begin(), clients.end(), [](const auto& c) {
           return c->alive() && c->device->unsettled() == 0;
         });
}

bool chaos_load::loop::caught_up() const {
  for (const auto& c : clients) {
    for (const auto r : c->rooms) {
      if (c->device->position(r) < rooms.at(r).owed_to(c->who.user))
        return false;
    }
  }
  return true;
}

kj::Promise<void> chaos_load::loop::read_room(person& c, conversation_id where, seq_no after) {
  return c.device->sync_conversation(where, after, 500)
      .then([this, &c, where, after](client::result<client::conversation_page> p) -> kj::Promise<void> {
        if (!p) {
          complain("a last sync was refused: " + p.error().sentence);
          return kj::READY_NOW;
        }
        if (!p->more)
          return kj::READY_NOW;
        if (p->messages.empty()) {
          complain("a last sync's page says that there is more, and is empty");
          return kj::READY_NOW;
        }
        return read_room(c, where, p->messages.back().seq);
      });
}

/// All at once: a client asks again for a while where a row is damaged, and one after the other would take as long as
/// all of them together.
void chaos_load::loop::read_everything() {
  kj::Vector<kj::Promise<void>> all;
  for (auto& c : clients)
    for (const auto r : c->rooms)
      all.add(read_room(*c, r, seq_no::none));
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
}

chaos_load::chaos_load(load_config config, shared_history& history,
                       std::function<std::optional<std::string>(const std::string&)> code_of)
    : config_{std::move(config)}, history_{history}, code_of_{std::move(code_of)} {}
chaos_load::~chaos_load() = default;

void chaos_load::run() {
  loop l{*this};
  l.set_up();
  ready_ = true;
  l.generating = true;
  const auto step = [&l] {
    l.tick(now_ns());
    l.pass(5 * kj::MILLISECONDS);
  };
  while (!finish_)
    step();
  // Acknowledgements have to resume after the last healing, so the clients chat a little longer.
  for (const auto end = now_ns() + 2'000'000'000; now_ns() < end;)
    step();
  l.generating = false;
  const auto settle_end = now_ns() + std::chrono::nanoseconds{config_.settle_deadline}.count();
  while (!l.settled() && now_ns() < settle_end)
    step();
  if (!l.settled())
    l.complain(std::to_string(counters_.unsettled) + " sends had no outcome long after healing");
  if (l.strangers > 0)
    l.complain(std::to_string(l.strangers) + " newcomers had no conversation long after healing");
  const auto began = now_ns();
  const auto limit = began + std::chrono::nanoseconds{config_.catch_up_max}.count();
  while (!l.caught_up() && now_ns() < limit)
    step();
  catch_up_took_ = milliseconds{(now_ns() - began) / 1'000'000};
  for (const auto& c : l.clients) {
    if (c->state.final())
      l.complain("a client gave up: " + c->state.sentence);
  }
  event e;
  e.is = phase::ok;
  e.f = action::caught_up;
  history_.put(e);
  l.read_everything();
  for (auto& c : l.clients)
    c->device = nullptr;
  history_.flush();
  finished_ = true;
}

} // namespace parley::chaos
