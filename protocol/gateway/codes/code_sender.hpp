#pragma once
// How a confirmation code reaches its phone. Thread: that of the KJ loop whose gateway asks.
#include "protocol/values/errors.hpp"

#include <kj/async.h>

#include <string>
#include <string_view>

namespace parley::gateway {

class code_sender {
public:
  virtual ~code_sender() noexcept(false) = default;
  /// Resolves with `none` once the code is on its way, else `code_send_failed` or `overloaded`. Never blocks
  /// and never rejects; takes no longer than the sender's own deadline.
  virtual kj::Promise<ec> send(std::string phone, std::string code) = 0;
};

/// "+49…12": enough to tell two phones of a demo apart.
std::string veiled(std::string_view phone);

} // namespace parley::gateway
