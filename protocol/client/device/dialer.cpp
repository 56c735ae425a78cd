#include "protocol/client/device/dialer.hpp"

#include <fmt/format.h>

namespace parley::client {
namespace {

class tls_line final : public line {
public:
  explicit tls_line(kj::Own<transport::message_stream> stream) : stream_{kj::mv(stream)} {}
  capnp::MessageStream& messages() override { return *stream_; }
  std::array<std::uint8_t, 32> exporter() const override { return stream_->login_exporter(); }

private:
  kj::Own<transport::message_stream> stream_;
};

} // namespace

tls_dialer::tls_dialer(kj::UnixEventPort& port, transport::tls_context context,
                       transport::stream_limits limits)
    : port_{port}, context_{std::move(context)}, limits_{limits} {}

kj::Promise<kj::Own<line>> tls_dialer::dial(const server_address& to) {
  return names_.find(to)
      .then([this, host = to.host](transport::name_lookup::addresses&& found) {
        return transport::connect_to_any(port_, port_.getTimer(), std::move(found), host, context_, limits_);
      })
      .then([](kj::Own<transport::message_stream>&& stream) -> kj::Own<line> {
        return kj::heap<tls_line>(kj::mv(stream));
      });
}

result<transport::tls_context> trust(const std::string& ca_file) {
  auto context = transport::make_client_context({ca_file});
  if (!context)
    return tl::unexpected{
        failure{ec::bad_config,
                fmt::format("The file {} cannot be used as the cluster's authority: {}. Give the cluster's "
                            "client-ca.pem with --ca.",
                            ca_file, context.error().detail),
                {}}};
  return *context;
}

} // namespace parley::client
