#include "cluster/node/rescue_shard.hpp"

#include "actors/core/commands.hpp"
#include "cluster/machine/shard_queries.hpp"
#include "cluster/membership/founding.hpp"
#include "cluster/replication/rescue.hpp"
#include "storage/data_directory.hpp"
#include "storage/journaled_environment.hpp"

#include <fmt/format.h>

namespace parley::cluster {
namespace {

std::string line_of(std::FILE* in) {
  std::string line;
  for (int c = 0; line.size() < 200 && (c = std::fgetc(in)) != EOF && c != '\n';)
    line += static_cast<char>(c);
  return line;
}

std::string report(shard_id shard, member self, const rescue_view& v) {
  auto text = fmt::format("Shard {}, generation {}. Its members are", number(shard), number(v.gen));
  for (const auto& m : v.members)
    text += fmt::format(" {}{}", number(m.node), m == self ? " (this node)" : "");
  text += fmt::format(".\nThis node has its entries up to {} (of term {}); {} of them are applied.\n", v.last,
                      v.last_term, v.applied);
  for (const auto& k : v.known_elsewhere)
    text += fmt::format("Node {} had stored entries up to {} (in term {}): at least {} are missing here.\n",
                        number(k.node), k.position.index, k.position.term, k.position.index - v.last);
  return text + "\nThe shard will go on with this node alone and with these entries. All that was "
                "acknowledged beyond them is "
                "lost\nfor good, and the other members give up what they have when they come back. Do this "
                "only if no "
                "majority of the\nmembers can be started again, and only on the survivor with the highest "
                "term and, within "
                "it, the highest entry.\n";
}

std::string report(const storage::fence& f) {
  return fmt::format("This data directory is fenced: {}.\nA node does not run on it. It is used all the same "
                     "only if no other node "
                     "has what it lacks: what was acknowledged\nbeyond it is lost for good. A node that "
                     "refused it refuses it again, "
                     "so that node has to begin with an empty\ndirectory.\n",
                     f.why);
}

/// The command that counts the rescue, as the shard's format has it.
std::string counting(storage::read_txn& txn, shard_id shard, const founding& f) {
  storage::shard_view state{txn, shard, replication::state_slot(txn, shard).value_or(0)};
  return core::encode_for(queries::read_format(state), core::command{core::count_rescue{f.shards}});
}

std::optional<founding> founding_in(storage::read_txn& txn) {
  const auto bytes = txn.get(storage::table::node, founding_key);
  return bytes ? core::decode_whole<founding>(*bytes).it : std::nullopt;
}

bool is_typed(std::FILE* in, std::FILE* out, const std::string& text, std::string_view wanted) {
  fmt::print(out, "{}\nType \"{}\" to do it: ", text, wanted);
  std::fflush(out);
  return line_of(in) == wanted;
}

} // namespace

std::optional<std::string> rescue_shard(const std::string& data_dir, shard_id shard, std::FILE* in,
                                        std::FILE* out) {
  const auto directory = storage::data_directory::lock_existing(data_dir);
  if (!directory)
    return directory.error().what;
  const auto env = storage::journaled_environment::open(data_dir, {}, {});
  if (!env)
    return env.error().what;
  const auto identity = storage::read_identity(*(*env)->begin_read());
  if (!identity)
    return identity.error().what;
  if (!*identity)
    return data_dir + " belongs to no node yet";
  const member self{(*identity)->node, (*identity)->disk};
  const auto seen = look_at(*(*env)->begin_read(), shard, self);
  if (!seen)
    return seen.error();
  const auto cluster = founding_in(*(*env)->begin_read());
  if (!cluster)
    return data_dir + " holds no record of its cluster's founding that this program can read";
  const auto fence = storage::read_fence(data_dir);
  if (!fence)
    return fence.error().what;
  if (!fence->why.empty() && !is_typed(in, out, report(*fence), "use this directory"))
    return "nothing was changed";
  if (!is_typed(in, out, report(shard, self, *seen), fmt::format("rescue shard {}", number(shard))))
    return "nothing was changed";
  {
    const auto txn = (*env)->begin_write();
    if (const auto done = rescue(*txn, shard, self, counting(*txn, shard, *cluster)); !done)
      return done.error();
    if (txn->commit() != ec::none || (*env)->publish(storage::environment::publishing::now) != ec::none)
      return "the data directory cannot be written: check the disk";
  }
  if (!fence->why.empty()) // last: with the fence alone gone, the node would run as before
    if (const auto removed = storage::remove_fence(data_dir); !removed)
      return removed.error().what;
  fmt::print(out,
             "Shard {} goes on when this node is started. The other nodes are given new replicas of it by "
             "themselves.\n",
             number(shard));
  return std::nullopt;
}

} // namespace parley::cluster
