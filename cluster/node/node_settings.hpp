#pragma once
// From a node's configuration to what each of its parts runs with.
#include "actors/router.hpp"
#include "actors/session.hpp"
#include "actors/shard.hpp"
#include "cluster/membership/founding.hpp"
#include "cluster/node/store.hpp"
#include "cluster/ops/node_config.hpp"
#include "protocol/gateway/codes/webhook_code_sender.hpp"
#include "protocol/gateway/config.hpp"
#include "storage/lmdb_environment.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace parley::cluster {

router_config router_settings(const node_config& c, const founding& f);
shard_config shard_settings(const node_config& c, const founding& f);
session_config session_settings(const node_config& c);
gateway::gateway_config gateway_settings(const node_config& c, const founding& f);
/// The webhook for codes; nothing if codes go to the console. Reads the file of its secret. Else a sentence for the
/// operator, without the secret.
tl::expected<std::optional<gateway::webhook_config>, std::string> webhook_settings(const node_config& c);
store_config store_settings(const node_config& c, disk_id disk);
storage::lmdb_config storage_settings(const node_config& c);

/// Lowers `limits.connections` to what a process that may open `descriptors` files can hold, because running out of
/// them stops more than new clients: links to other nodes, the admin port. Returns `none` if nothing had to be
/// lowered, else a sentence for the operator.
std::optional<std::string> fit_connections(node_config& c, std::uint64_t descriptors);

/// `none` if every part can run with what a valid `c` gives it, which is so within the bounds of all
/// settings; else a sentence for the operator.
std::optional<std::string> validate_parts(const node_config& c, const founding& f);

} // namespace parley::cluster
