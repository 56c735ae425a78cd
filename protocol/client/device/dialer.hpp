#pragma once
#include "protocol/client/device/config.hpp"
#include "protocol/transport/name_lookup.hpp"

#include <capnp/serialize-async.h>
#include <kj/async-unix.h>

#include <array>

namespace parley::client {

/// An open connection to one node, which has proved who it is.
class line {
public:
  virtual ~line() noexcept(false) = default;
  virtual capnp::MessageStream& messages() = 0;
  /// 32 bytes that only the two ends of this very connection know.
  virtual std::array<std::uint8_t, 32> exporter() const = 0;
};

/// Opens lines. One dialer serves any number of devices of a loop.
class dialer {
public:
  virtual ~dialer() noexcept(false) = default;
  /// Rejects with a sentence for a person. Dropping the promise gives up.
  virtual kj::Promise<kj::Own<line>> dial(const server_address& to) = 0;
};

/// Dials over TLS 1.3. It trusts one authority only, and checks that the certificate is for the host dialled.
/// Looking a name up does not block, and all its addresses are tried. The caller sets the deadline.
class tls_dialer final : public dialer {
public:
  tls_dialer(kj::UnixEventPort& port, transport::tls_context context,
             transport::stream_limits limits = transport::stream_limits::for_client());
  kj::Promise<kj::Own<line>> dial(const server_address& to) override;

private:
  kj::UnixEventPort& port_;
  transport::tls_context context_;
  transport::stream_limits limits_;
  transport::name_lookup names_;
};

/// The context for `tls_dialer`: `ca_file` is the client-facing authority's certificate.
result<transport::tls_context> trust(const std::string& ca_file);

} // namespace parley::client
