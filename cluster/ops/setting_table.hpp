#pragma once
// Every setting with its field of `node_config`: how a value is read from text, written as text, and checked.
#include "cluster/ops/node_config.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace parley::cluster {

/// One setting. All texts are made from its declaration in protocol/values/settings.hpp.
struct setting_entry {
  using words = std::vector<std::string>; ///< one value, or the items of a list

  std::string key; ///< in the file: "peer.listen"
  settings::topic about{};
  std::string help;
  std::string looks_like; ///< "TIME"
  std::string wants;      ///< what a value has to be: "a whole number from 1 to 7"
  std::string standard;   ///< the default as an operator would read it; empty: there is none
  std::string within;     ///< "from 50ms to 1min"; empty: any value
  bool list = false;
  bool needs_value = true; ///< on the command line
  bool quoted = true;      ///< in the file; false: whole numbers, true and false

  /// `none`, or the word that cannot be read.
  std::function<std::optional<std::string>(node_config&, const words&)> set;
  std::function<words(const node_config&)> get;
  std::function<bool(const node_config&)> in_bounds;

  std::string flag() const;     ///< "--peer-listen"
  std::string variable() const; ///< "PARLEY_PEER_LISTEN"
};

/// In the order of --help: topic by topic.
const std::vector<setting_entry>& setting_table();

/// The heading of a topic in --help.
std::string_view title(settings::topic t);

} // namespace parley::cluster
