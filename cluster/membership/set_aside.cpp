#include "cluster/membership/set_aside.hpp"

#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

namespace parley::cluster {

bool are_whole(const std::vector<formation_answer>& answers) {
  std::optional<founding> cluster;
  std::set<std::uint16_t> whole;
  for (const auto& a : answers) {
    if (a.as != formation_answer::standing::member)
      continue;
    if (cluster && cluster->cluster != a.what.record.cluster)
      return false;
    cluster = a.what.record;
    if (a.has_session != 0)
      return false;
    whole.insert(a.whole.begin(), a.whole.end());
  }
  if (!cluster)
    return false;
  for (std::uint16_t s = 0; s < cluster->shards; ++s)
    if (!whole.contains(s))
      return false;
  return true;
}

bool wait_until_whole(const set_aside_config& config, links& transport, const std::atomic<bool>& stop) {
  const auto question =
      core::encode(formation_question{formation_question::kind::whole_without, config.self});
  struct round {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t open = 0;
    std::vector<formation_answer> answers;
  };
  while (!stop) {
    const auto next = std::chrono::steady_clock::now() + config.ask_every;
    const auto r = std::make_shared<round>();
    r->open = config.ask.size();
    for (const auto& at : config.ask)
      transport.query(at.host, at.port, question, [r](tl::expected<query_answer, std::string> said) {
        auto a = said ? core::decode<formation_answer>(said->bytes) : std::nullopt;
        std::lock_guard guard{r->mutex};
        if (a && a->self.id == said->from)
          r->answers.push_back(std::move(*a));
        --r->open;
        r->changed.notify_all();
      });
    {
      std::unique_lock lock{r->mutex};
      r->changed.wait_for(lock, std::chrono::seconds{10},
                          [&] { return r->open == 0; }); // each ends by itself
      if (are_whole(r->answers))
        return true;
    }
    while (!stop && std::chrono::steady_clock::now() < next)
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
  }
  return false;
}

} // namespace parley::cluster
