#include "protocol/client/blocking.hpp"

#include <stdexcept>

namespace parley::client {
namespace {

transport::tls_context trusted(const std::string& ca_file) {
  auto context = trust(ca_file);
  if (!context)
    throw std::invalid_argument{context.error().sentence};
  return *context;
}

} // namespace

blocking_device::blocking_device(const std::filesystem::path& profile, const std::string& ca_file,
                                 config settings, observer& events, const std::filesystem::path& key_file)
    : io_{kj::setupAsyncIo()}, store_{profile, key_file}, dialer_{io_.unixEventPort, trusted(ca_file)},
      device_{io_.provider->getTimer(), dialer_, std::move(settings), store_, events} {}

} // namespace parley::client
