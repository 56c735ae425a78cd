#include "cluster/membership/formation_service.hpp"

#include "cluster/ops/logging.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

namespace parley::cluster {
namespace {

constexpr std::string_view promise_key = "f/promise";
constexpr std::size_t askers_max = 16;

/// A row that is there and cannot be read must not look like none: the node would promise or found again.
template <class T>
std::optional<T> stored(storage::environment& env, std::string_view key, std::string& objection) {
  const auto txn = env.begin_read();
  const auto bytes = txn->get(storage::table::node, key);
  auto row = bytes ? core::decode_whole<T>(*bytes) : core::decoded<T>{};
  if (row.why != core::format_fault::none)
    objection =
        fmt::format("the row {} of this node's data directory {}: start the version of parleyd that wrote "
                    "it, or give this node another data directory",
                    key, core::describe(row.why));
  return std::move(row.it);
}

} // namespace

std::vector<core::node_record> read_peers(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  std::ostringstream bytes;
  bytes << in.rdbuf();
  const auto list = core::decode<peers_list>(bytes.str());
  return list ? list->nodes : std::vector<core::node_record>{};
}

/// Answers to one round of questions. Shared with callbacks that may be called after the round has ended.
struct formation_service::round {
  struct shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t open = 0;
    struct answer {
      endpoint seed;
      std::optional<formation_answer> what;
      bool newer_record = false;
    };
    std::vector<answer> answers;
  };
  std::shared_ptr<shared> s = std::make_shared<shared>();
};

formation_service_config make_formation_config(const node_config& c, disk_id disk) {
  formation_service_config out;
  out.decision.self = {c.node, disk, to_string(c.peer_advertise), to_string(c.client_advertise)};
  out.decision.seeds = c.seeds;
  out.decision.shards = c.shards;
  out.decision.replicas = c.replicas;
  out.decision.form = c.form;
  out.decision.fresh = storage::random_cluster_id();
  out.peers_file = c.data_dir + "/peers";
  return out;
}

formation_service::formation_service(formation_service_config config, storage::environment& env)
    : config_{std::move(config)}, env_{env}, formation_{config_.decision,
                                                        stored<promise>(env, promise_key, objection_),
                                                        stored<founding>(env, founding_key, objection_)} {
  if (!config_.peers_file.empty())
    remembered_ = read_peers(config_.peers_file);
}

std::vector<core::node_record> formation_service::known() const {
  auto out = nodes_ ? nodes_() : remembered_;
  for (const auto& n : formation_.answer().nodes) // founders, unless something newer is known of them
    if (std::none_of(out.begin(), out.end(), [&](const auto& o) { return o.id == n.id; }))
      out.push_back(n);
  return out;
}

std::string formation_service::answer(node_id from, std::string_view bytes) {
  const auto question = core::decode<formation_question>(bytes);
  if (!question || question->self.id != from) // proved by the link, so this is a lie or another version
    return {};
  if (!objection_.empty()) // this node does not know what it promised or founded, and must not seem empty
    return {};
  std::function<void(const core::node_record&)> admit;
  std::string out;
  {
    std::lock_guard guard{mutex_};
    auto a = formation_.answer();
    if (a.as == formation_answer::standing::member)
      a.nodes = known();
    else
      note_asker(question->self);
    using kind = formation_question::kind;
    const bool member = a.as == formation_answer::standing::member;
    if (member && whole_without_ &&
        (question->what == kind::whole_without || question->what == kind::list_me)) {
      auto w = whole_without_(from);
      a.has_session = w.has_session ? 1 : 0;
      if (question->what == kind::whole_without)
        a.whole = std::move(w.shards);
    }
    // One that runs beside it would move the node's address to where it listens, before any link has judged it.
    if (member && question->what == kind::list_me && !a.has_session &&
        !std::any_of(a.nodes.begin(), a.nodes.end(), [&](const auto& n) { return n == question->self; }))
      admit = admit_;
    out = core::encode(a);
  }
  if (admit)
    admit(question->self);
  return out;
}

void formation_service::note_asker(const core::node_record& who) {
  if (const auto at = parse_endpoint(who.peer_address);
      at && askers_.size() < askers_max && std::find(askers_.begin(), askers_.end(), *at) == askers_.end()) {
    askers_.push_back(*at);
    const auto asked_until = std::chrono::steady_clock::now() + std::chrono::seconds{1};
    listens_until_ =
        std::max(listens_until_, asked_until); // it is asked what it knows before anything is founded
  }
}

/// A node that is its only seed has nobody to ask. If its cluster has grown since, and its disk was lost, it would found
/// another one beside it. The other nodes look for it where it was.
bool formation_service::listens(const formation_step& step) const {
  using kind = formation_step::kind;
  return (step.as == kind::promise || step.as == kind::found) && !config_.decision.form &&
         formation_.to_ask().empty() && std::chrono::steady_clock::now() < listens_until_;
}

void formation_service::ask(links& transport, const std::vector<endpoint>& whom, const std::string& question,
                            round& r) {
  {
    std::lock_guard guard{r.s->mutex};
    r.s->open = whom.size();
  }
  for (const auto& address : whom)
    transport.query(address.host, address.port, question,
                    [s = r.s, address](tl::expected<query_answer, std::string> said) {
                      std::optional<formation_answer> a;
                      if (said)
                        a = core::decode<formation_answer>(said->bytes);
                      if (a && a->self.id != said->from)
                        a.reset();
                      // Also of bytes that are no answer to this program: their node is not silent.
                      const bool newer = said && holds_newer_record(said->bytes, said->from);
                      std::lock_guard guard{s->mutex};
                      s->answers.push_back({address, std::move(a), newer});
                      --s->open;
                      s->changed.notify_all();
                    });
  std::unique_lock lock{r.s->mutex};
  r.s->changed.wait_for(lock, std::chrono::seconds{10},
                        [&] { return r.s->open == 0; }); // each query ends by itself
}

tl::expected<void, std::string> formation_service::persist(const formation_step& step,
                                                           const found_shards& found) {
  using kind = formation_step::kind;
  const auto txn = env_.begin_write();
  const auto& record = step.what.record;
  const bool over =
      step.what.forced || step.as == kind::join; // see formation.hpp: earlier promises are void then
  if (auto kept = storage::promise_cluster(
          *txn, record.cluster, over ? storage::earlier_promise::is_void : storage::earlier_promise::binds);
      !kept)
    return tl::unexpected(kept.error().what);
  if (step.as == kind::promise) {
    txn->put(storage::table::node, promise_key, core::encode(step.what));
  } else {
    if (auto joined = storage::join_cluster(*txn, record.cluster); !joined)
      return tl::unexpected(joined.error().what);
    txn->put(storage::table::node, founding_key, core::encode(record));
    if (step.as == kind::found && found)
      found(*txn, record);
  }
  if (txn->commit() != ec::none || env_.publish(storage::environment::publishing::now) != ec::none)
    return tl::unexpected(
        std::string{"the data directory could not be written while the cluster formed, so this node has "
                    "not joined it: check the disk, then start the node again"});
  return {};
}

void formation_service::say(const std::string& why) {
  const auto now = std::chrono::steady_clock::now();
  if (why == said_ && now - said_at_ < config_.say_every)
    return;
  said_ = why;
  said_at_ = now;
  log::info("forming", {{"waits", why}});
}

tl::expected<membership, std::string> formation_service::run(links& transport, const std::atomic<bool>& stop,
                                                             const found_shards& found) {
  using kind = formation_step::kind;
  if (!objection_.empty())
    return tl::unexpected(objection_);
  const auto knows_me = [me = config_.decision.self.id](const std::optional<formation_answer>& a) {
    return a && a->as == formation_answer::standing::member &&
           std::any_of(a->nodes.begin(), a->nodes.end(), [&](const auto& n) { return n.id == me; });
  };
  const bool alone = formation_.to_ask().empty();
  const auto question =
      core::encode(formation_question{formation_question::kind::standing, config_.decision.self});
  {
    std::lock_guard guard{mutex_};
    listens_until_ = std::chrono::steady_clock::now() + config_.listen_first;
  }
  while (!stop) {
    formation_step step;
    std::vector<endpoint> whom;
    {
      std::lock_guard guard{mutex_};
      step = formation_.decide();
      if (step.as == kind::done)
        break;
      if (listens(step)) {
        say("this node is its only seed: it listens for a moment for nodes that know it already");
      } else if (step.as != kind::wait) {
        // Under the lock, because an answer must contain exactly what is durable.
        if (auto done = persist(step, found); !done)
          return tl::unexpected(done.error());
        if (step.as == kind::promise)
          formation_.promised(step.what);
        else
          formation_.founded(step.what.record);
        if (step.as == kind::join)
          remembered_ = step.nodes;
        log::info(step.as == kind::promise ? "promised"
                  : step.as == kind::found ? "founded"
                                           : "joined",
                  {{"cluster",
                    fmt::format("{:016x}{:016x}", step.what.record.cluster.hi, step.what.record.cluster.lo)},
                   {"founders", step.what.record.nodes.size()},
                   {"shards", step.what.record.shards},
                   {"forced", step.what.forced != 0}});
      } else {
        say(step.why);
      }
      whom = alone ? askers_ : formation_.to_ask();
    }
    const auto next_round = std::chrono::steady_clock::now() + config_.ask_every;
    round r;
    ask(transport, whom, question, r);
    bool changed = false;
    {
      std::scoped_lock guard{mutex_, r.s->mutex};
      for (auto& [seed, a, newer] : r.s->answers) {
        if (alone && !newer && !knows_me(a))
          continue; // it is no seed
        if (newer)
          formation_.not_understood(seed);
        else if (a)
          formation_.heard(seed, std::move(*a));
        else
          formation_.silent(seed);
      }
      const auto next = formation_.decide();
      changed = next.as != kind::wait && !listens(next);
    }
    while (!changed && !stop && std::chrono::steady_clock::now() < next_round)
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  return be_listed(transport, stop);
}

tl::expected<membership, std::string> formation_service::be_listed(links& transport,
                                                                   const std::atomic<bool>& stop) {
  const auto& self = config_.decision.self;
  const auto question = core::encode(formation_question{formation_question::kind::list_me, self});
  membership m;
  using clock = std::chrono::steady_clock;
  constexpr auto alone = clock::time_point::max();
  auto beside_since = alone; // of another process of this node
  while (!stop) {
    std::vector<endpoint> whom = config_.decision.seeds;
    {
      std::lock_guard guard{mutex_};
      m.cluster = formation_.answer().what.record;
      m.nodes = known();
      if (lists(m.nodes, self)) // as founder, or from an earlier answer
        return m;
      say("the cluster does not list this node yet, and is asked again and again: "
          "if this lasts, check that a majority of its nodes runs");
    }
    for (const auto& n : m.nodes)
      if (const auto e = parse_endpoint(n.peer_address);
          e && std::find(whom.begin(), whom.end(), *e) == whom.end())
        whom.push_back(*e);
    std::erase_if(whom, [&](const auto& e) { return to_string(e) == self.peer_address; });
    const auto next_round = std::chrono::steady_clock::now() + config_.ask_every;
    round r;
    ask(transport, whom, question, r);
    std::vector<core::node_record> news;
    bool beside = false;
    {
      std::lock_guard guard{r.s->mutex};
      for (const auto& [seed, a, newer] : r.s->answers)
        beside |= a && a->what.record.cluster == m.cluster.cluster && a->has_session != 0;
      for (const auto& [seed, a, newer] : r.s->answers)
        if (a && a->as == formation_answer::standing::member && a->what.record.cluster == m.cluster.cluster &&
            (news.empty() || lists(a->nodes, self)))
          news = a->nodes;
    }
    const auto now = clock::now();
    beside_since = beside ? std::min(beside_since, now) : alone;
    if (beside && now - beside_since >= config_.beside_max) {
      beside_ = true;
      return tl::unexpected(fmt::format("the nodes do not list node {} at {}: {}", number(self.id),
                                        self.peer_address, describe(start_verdict::twice)));
    }
    if (!news.empty())
      remember(news);
    while (!stop && !lists(news, self) && std::chrono::steady_clock::now() < next_round)
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  return tl::unexpected(std::string{"stopped"});
}

void formation_service::serve(std::function<std::vector<core::node_record>()> nodes,
                              std::function<void(const core::node_record&)> admit,
                              std::function<wholeness(node_id)> whole_without) {
  std::lock_guard guard{mutex_};
  nodes_ = std::move(nodes);
  admit_ = std::move(admit);
  whole_without_ = std::move(whole_without);
}

void formation_service::remember(const std::vector<core::node_record>& nodes) {
  {
    std::lock_guard guard{mutex_};
    remembered_ = nodes;
  }
  if (config_.peers_file.empty())
    return;
  // The file is a hint: if it is lost or torn, the founders and the seeds are asked instead.
  const auto fresh = config_.peers_file + ".new";
  std::ofstream{fresh, std::ios::binary | std::ios::trunc} << core::encode(peers_list{nodes});
  std::rename(fresh.c_str(), config_.peers_file.c_str());
}

} // namespace parley::cluster
