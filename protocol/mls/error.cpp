#include "protocol/mls/error.hpp"

namespace parley::mls {

rule_text describe(rule r) {
  switch (r) {
  case rule::none:
    return {"", "Nothing was refused."};
  case rule::malformed:
    return {"2.1", "The bytes are not what they should encode."};
  case rule::too_large:
    return {"", "It is larger than this library takes."};
  case rule::wrong_version:
    return {"6", "The protocol version is not mls10."};
  case rule::wrong_cipher_suite:
    return {"5.1", "The cipher suite is not the one that is spoken here."};
  case rule::bad_signature:
    return {"5.1.2", "The signature is not valid."};
  case rule::cannot_open:
    return {"5.1", "What was encrypted cannot be opened with this key."};
  case rule::bad_key:
    return {"5.1.1", "A key is not one of this cipher suite."};
  case rule::crypto_failed:
    return {"", "The cryptographic library failed."};
  }
  return {"", "Refused."};
}

} // namespace parley::mls
