#pragma once
// The decision how empty nodes become one cluster, and never two. It knows no network, disk or clock.
//
// A seed list names the first nodes. When every seed has answered that it is empty, the seed with the lowest
// number writes a founding record: what the cluster will be. Every other seed durably promises that record
// once it, too, has an answer of all seeds. A node that has seen all promises founds the cluster. A promise
// lasts for ever, so two records cannot both be promised by all seeds. Two things stop formation: a seed that
// does not answer is waited for, and a seed that already belongs to a cluster is joined.
//
// With --form an operator states that no cluster is behind the seeds that do not answer: they count as
// absent, and earlier promises become void. Nodes that already belong to a cluster ignore it.
//
// Thread: its owner's. The owner makes durable what `decide` asks for *before* it
// calls `promised` or `founded`.
#include "cluster/membership/founding.hpp"
#include "cluster/ops/node_config.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

struct promise {
  static constexpr auto inside = core::nested::grows;
  founding record;
  /// By --form: the record, and not the seed list, names the nodes that have to promise.
  std::uint8_t forced = 0;
  template <class F>
  auto fields(F&& f) {
    return f(record, forced);
  }
};

/// A node's answer about itself. It contains only what is durable.
struct formation_answer {
  enum class standing : std::uint8_t { empty = 0, promised = 1, member = 2 };
  core::node_record self;
  standing as = standing::empty;
  std::uint64_t seeds_digest = 0;
  std::uint8_t wants_form = 0;
  promise what;                         ///< promised: the promise; member: the cluster's record
  std::vector<core::node_record> nodes; ///< member: all nodes it knows
  /// To `whole_without`: shards that this node leads and of which a majority without the asker has everything.
  std::vector<std::uint16_t> whole;
  /// To `whole_without` and `list_me`: 1 if a process of the asker's node has a session here. Who asks to be listed has
  /// none yet, so that is another process.
  std::uint8_t has_session = 0;
  template <class F>
  auto fields(F&& f) {
    return f(self, as, seeds_digest, wants_form, what, nodes, whole, has_session);
  }
};

/// Whether an encoded answer holds a founding record of a newer version. What such an answer says of its node
/// is understood, but the record is not to be stored: this program would drop what it does not know of it.
bool holds_newer_record(std::string_view answer, node_id from);

/// What a node asks at another's door.
struct formation_question {
  enum class kind : std::uint8_t { standing = 0, list_me = 1, whole_without = 2 };
  kind what = kind::standing;
  core::node_record self;
  template <class F>
  auto fields(F&& f) {
    return f(what, self);
  }
};

/// The file `peers`: the nodes that this one knew last.
struct peers_list {
  std::vector<core::node_record> nodes;
  template <class F>
  auto fields(F&& f) {
    return f(nodes);
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
    promise, ///< make `what` durable, then call `promised`
    found,   ///< make `what.record` durable, with this node's shards, then call `founded`
    /// `what.record` is a cluster without this disk: make it durable, call `founded`, then ask to be listed.
    join,
    done ///< this node belongs to a cluster
  } as = kind::wait;
  promise what;
  std::vector<core::node_record> nodes; ///< join: the nodes to ask
  std::string why;
};

class formation {
public:
  /// `promised` and `founded`: what is stored on the disk.
  formation(formation_config config, std::optional<promise> promised, std::optional<founding> founded);

  /// To be called when a seed has answered the last question, or has not.
  void heard(const endpoint& seed, formation_answer answer);
  void silent(const endpoint& seed);
  /// The seed belongs to a cluster, or has promised one, whose record this program does not know as a whole.
  void not_understood(const endpoint& seed);
  void promised(promise p) { promised_ = std::move(p); }
  void founded(founding f) { founded_ = std::move(f); }

  formation_step decide() const;
  formation_answer answer() const;
  /// Seeds other than this node.
  std::vector<endpoint> to_ask() const;

private:
  struct seed_state {
    std::optional<formation_answer> last; ///< none: it did not answer
    std::uint32_t silences = 0;
    bool newer = false; ///< its last answer was not understood
  };
  struct view; ///< the nodes of the other seeds, each once
  formation_step as_told(const formation_answer& member) const;
  formation_step as_promised(const view& v) const;
  formation_step propose(const view& v, std::uint8_t forced) const;
  bool is_seed() const;

  formation_config config_;
  std::optional<promise> promised_;
  std::optional<founding> founded_;
  std::map<endpoint, seed_state> seeds_;
};

/// Does not depend on the order of the list.
std::uint64_t digest(std::vector<endpoint> seeds);

/// Whether `nodes` contains this node with this disk.
bool lists(const std::vector<core::node_record>& nodes, const core::node_record& who);

} // namespace parley::cluster
