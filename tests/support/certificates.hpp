#pragma once
// Certificates that scripts/make_certs.sh would not make. The program has to define PARLEY_SOURCE_DIR.
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace parley::test {

/// Certificates of the named nodes ("1 2"), in `dir`.
inline void make_certificates(const std::string& dir, const std::string& nodes) {
  const auto command =
      std::string{PARLEY_SOURCE_DIR} + "/scripts/make_certs.sh " + dir + " " + nodes + " >/dev/null";
  if (std::system(command.c_str()) != 0)
    throw std::runtime_error{"scripts/make_certs.sh failed"};
}

/// Replaces the certificate of `kind` (client, node, admin) by one for the same key that lives for `days` from now;
/// with 0 it has expired.
inline void make_short_lived(const std::string& dir, const std::string& kind, const std::string& node,
                             int days) {
  const auto home = dir + "/node-" + node, name = "node-" + node + ".parley", request = home + "/short.csr";
  const auto command = "openssl req -new -key " + home + "/" + kind + ".key -subj /CN=" + name + " -out " +
                       request + " && echo 'subjectAltName=DNS:" + name + ",DNS:localhost,IP:127.0.0.1' > " +
                       home + "/short.ext && openssl x509 -req -in " + request + " -CA " + dir + "/" + kind +
                       "-ca.pem -CAkey " + dir + "/ca/" + kind + "-ca.key -set_serial 77 -sha256 -days " +
                       std::to_string(days) + " -extfile " + home + "/short.ext -out " + home + "/" + kind +
                       ".pem 2>/dev/null";
  if (std::system(command.c_str()) != 0)
    throw std::runtime_error{"a short-lived certificate could not be made"};
}

} // namespace parley::test
