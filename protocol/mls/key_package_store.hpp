#pragma once
// Own key packages whose Welcome may still come. Their private keys are state of the device: without them it
// could not join after a restart.
//
//   k/REF   a key package and its two private keys
//
// Order: `save` and commit the transaction, then publish. Join, then save the group and `erase` the package
// in one transaction: its keys are good for one Welcome (RFC 9420, section 10), but for those of a last
// resort.
#include "protocol/mls/group_store.hpp"

namespace parley::mls {

class key_package_store {
public:
  static result<void> save(const own_key_package& package, part_store& to);
  /// The one that a Welcome is for. Nothing: it is for none of these.
  static result<std::optional<own_key_package>> find(bytes_view welcome, const part_store& from);
  /// To count them, or to erase those that nobody may use any more.
  static result<std::vector<own_key_package>> all(const part_store& from);
  static result<void> erase(const own_key_package& package, part_store& from);
};

} // namespace parley::mls
