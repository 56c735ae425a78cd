#pragma once
// This device's own key packages whose Welcome may still arrive. Their private keys are state of the
// device: without them it could not join after a restart.
//
//   k/REF   a key package and its two private keys
//
// Order: call `save` and commit the transaction, then publish the package. After joining, save the
// group and `erase` the package in one transaction: its keys may be used for one Welcome only (RFC
// 9420, section 10), except those of a package of last resort.
#include "protocol/mls/group_store.hpp"

namespace parley::mls {

class key_package_store {
public:
  static result<void> save(const own_key_package& package, part_store& to);
  /// Finds the package that a Welcome is addressed to. Returns an empty optional if it is addressed
  /// to none of them.
  static result<std::optional<own_key_package>> find(bytes_view welcome, const part_store& from);
  /// Returns all packages, so that the caller can count them or erase those that must not be used any more.
  static result<std::vector<own_key_package>> all(const part_store& from);
  static result<void> erase(const own_key_package& package, part_store& from);
};

} // namespace parley::mls
