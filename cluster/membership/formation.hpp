#pragma once
// How nodes that have nothing become one cluster, and never two: the decision, without network, disk or
// clock.
//
// A seed list names the first nodes. The seed with the lowest number writes down what the cluster shall be (a
// founding record) once every seed has told it that it holds nothing; every other seed promises that record,
// durably, once it too has heard from all of them; whoever has seen all promises founds it. A promise is for
// ever, so two records cannot both be promised by all. A seed that is silent, or holds a cluster already,
// stops all of this: the first is waited for, the second is joined.
//
// An operator's --form takes silent seeds for absent and makes earlier promises void. It is their word that
// no cluster is behind them; only who already holds a cluster does not listen.
//
// Thread: its owner's. The owner makes durable what `decide` asks for *before* it says `promised` or
// `founded`.
#include "cluster/membership/founding.hpp"
#include "cluster/ops/node_config.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

struct promise {
  founding record;
  std::uint8_t forced = 0; ///< made by --form: the record, not the seed list, says who has to promise
  template <class F>
  auto fields(F&& f) {
    return f(record, forced);
  }
};

/// What a node says of itself when asked. Only what is durable.
struct formation_answer {
  enum class standing : std::uint8_t { empty = 0, promised = 1, member = 2 };
  core::node_record self;
  standing as = standing::empty;
  std::uint64_t seeds_digest = 0;
  std::uint8_t wants_form = 0;
  promise what;                         ///< promised: that; member: the cluster's record
  std::vector<core::node_record> nodes; ///< member: all nodes it knows
  template <class F>
  auto fields(F&& f) {
    return f(self, as, seeds_digest, wants_form, what, nodes);
  }
};

struct formation_config {
  core::node_record self;
  std::vector<endpoint> seeds;
  std::uint16_t shards = settings::shards.standard;
  std::uint16_t replicas = settings::replicas.standard;
  bool form = false;
  std::uint32_t form_after_silences = 3; ///< a seed counts as absent after this many unanswered questions
  cluster_id fresh;                      ///< random: the name of a cluster that this node proposes
};

struct formation_step {
  enum class kind {
    wait,    ///< ask the seeds (again); `why` tells the operator what is missing
    promise, ///< make `what` durable, then say `promised`
    found,   ///< make `what.record` durable, with this node's shards, then say `founded`
    join,    ///< `what.record` is a cluster without this disk: make it durable, then say `founded`, and be
             ///< listed
    done     ///< belongs to a cluster
  } as = kind::wait;
  promise what;
  std::vector<core::node_record> nodes; ///< join: whom to ask
  std::string why;
};

class formation {
public:
  /// `promised` and `founded`: what the disk holds.
  formation(formation_config config, std::optional<promise> promised, std::optional<founding> founded);

  /// The last question to a seed was answered, or not.
  void heard(const endpoint& seed, formation_answer answer);
  void silent(const endpoint& seed);
  void promised(promise p) { promised_ = std::move(p); }
  void founded(founding f) { founded_ = std::move(f); }

  formation_step decide() const;
  formation_answer answer() const;
  /// Seeds other than this node.
  std::vector<endpoint> to_ask() const;

private:
  struct seed_state {
    std::optional<formation_answer> last; ///< none: silent
    std::uint32_t silences = 0;
  };
  struct view; ///< the other seeds' nodes, each once
  formation_step as_told(const formation_answer& member) const;
  formation_step as_promised(const view& v) const;
  formation_step propose(const view& v, std::uint8_t forced) const;
  bool is_seed() const;

  formation_config config_;
  std::optional<promise> promised_;
  std::optional<founding> founded_;
  std::map<endpoint, seed_state> seeds_;
};

/// The same for lists with the same addresses in any order.
std::uint64_t digest(std::vector<endpoint> seeds);

/// Is this disk of this node among `nodes`?
bool lists(const std::vector<core::node_record>& nodes, const core::node_record& who);

} // namespace parley::cluster
