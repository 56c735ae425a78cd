#include "cluster/links/link_identity.hpp"

#include "protocol/values/chance.hpp"
#include "protocol/values/codec.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>

namespace parley::cluster {
namespace {

template <auto Free>
struct freed_by {
  void operator()(auto* p) const { Free(p); }
};
using bio = std::unique_ptr<BIO, freed_by<BIO_free_all>>;
using x509 = std::unique_ptr<X509, freed_by<X509_free>>;
using verification = std::unique_ptr<X509_STORE_CTX, freed_by<X509_STORE_CTX_free>>;
using digest = std::unique_ptr<EVP_MD_CTX, freed_by<EVP_MD_CTX_free>>;

constexpr std::size_t certificate_bytes_max = 16 << 10;

std::optional<std::string> file_bytes(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  std::ostringstream out;
  if (!in || !(out << in.rdbuf()))
    return std::nullopt;
  return std::move(out).str();
}

x509 parse_certificate(std::string_view pem) {
  ERR_clear_error();
  bio in{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
  return x509{PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)};
}

} // namespace

std::optional<node_id> node_named_in(const X509* certificate) {
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  std::optional<node_id> found;
  bool only_one = true;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS)
      continue;
    std::string_view text{reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                          static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName))};
    if (!text.starts_with("node-") || !text.ends_with(".parley"))
      continue;
    text.remove_prefix(5);
    text.remove_suffix(7);
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    only_one = only_one && !found && error == std::errc{} && end == text.data() + text.size() && n > 0 &&
               text.front() != '0';
    found = node_id{n};
  }
  GENERAL_NAMES_free(names);
  return only_one ? found : std::nullopt;
}

bool peer_certificate::verify(std::string_view bytes, std::string_view signature) const {
  ERR_clear_error();
  digest d{EVP_MD_CTX_new()};
  const bool good =
      key && EVP_DigestVerifyInit(d.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
      EVP_DigestVerify(d.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                       reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) == 1;
  ERR_clear_error();
  return good;
}

tl::expected<link_identity, std::string> link_identity::load(node_id node, const std::string& cert_file,
                                                             const std::string& key_file,
                                                             const std::string& ca_file) {
  link_identity self;
  self.node_ = node;
  const auto cert = file_bytes(cert_file);
  const auto key = file_bytes(key_file);
  if (!cert || !key)
    return tl::unexpected(
        fmt::format("nodes talk only with certificates: cannot read {}", cert ? key_file : cert_file));
  self.certificate_ = *cert;
  bio in{BIO_new_mem_buf(key->data(), static_cast<int>(key->size()))};
  // An empty pass phrase instead of OpenSSL's question on the terminal.
  self.key_ = {PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, const_cast<char*>("")), EVP_PKEY_free};
  if (!self.key_)
    return tl::unexpected(
        fmt::format("{} holds no private key that can be read without a pass phrase", key_file));
  self.authority_ = {X509_STORE_new(), X509_STORE_free};
  if (X509_STORE_load_file(self.authority_.get(), ca_file.c_str()) != 1)
    return tl::unexpected(
        fmt::format("nodes talk only with certificates: cannot read the node authority {}", ca_file));
  const auto own = self.check(self.certificate_);
  if (!own)
    return tl::unexpected(fmt::format("{}: {}", cert_file, own.error()));
  if (own->node != node)
    return tl::unexpected(fmt::format("{} is the certificate of node {}, this is node {}", cert_file,
                                      number(own->node), number(node)));
  if (EVP_PKEY_eq(own->key.get(), self.key_.get()) != 1)
    return tl::unexpected(fmt::format("{} is not the key of {}", key_file, cert_file));
  return self;
}

std::string link_identity::sign(std::string_view bytes) const {
  digest d{EVP_MD_CTX_new()};
  std::string out(512, '\0');
  auto size = out.size();
  if (EVP_DigestSignInit(d.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(d.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                     reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) != 1)
    size = 0; // the other side refuses an empty signature
  out.resize(size);
  return out;
}

tl::expected<peer_certificate, std::string> link_identity::check(std::string_view pem) const {
  if (pem.size() > certificate_bytes_max)
    return tl::unexpected(std::string{"the certificate is too large"});
  const auto certificate = parse_certificate(pem);
  if (!certificate)
    return tl::unexpected(std::string{"not a certificate"});
  verification v{X509_STORE_CTX_new()};
  if (X509_STORE_CTX_init(v.get(), authority_.get(), certificate.get(), nullptr) != 1 ||
      X509_verify_cert(v.get()) != 1) {
    const std::string why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(v.get()));
    ERR_clear_error();
    return tl::unexpected(fmt::format("not a certificate of the node authority: {}", why));
  }
  const auto node = node_named_in(certificate.get());
  if (!node)
    return tl::unexpected(std::string{"the certificate does not name one node (node-N.parley)"});
  return peer_certificate{*node, {X509_get_pubkey(certificate.get()), EVP_PKEY_free}};
}

std::string random_nonce() {
  std::string out(32, '\0');
  system_chance().fill({reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
  return out;
}

static std::string transcript(std::string_view role, const handshake_facts& f) {
  writer w;
  w.put(std::string_view{"parley link 1"}).put(role).put(static_cast<std::uint8_t>(f.is_query));
  w.put(f.caller).put(f.door).put(std::string_view{f.caller_nonce}).put(std::string_view{f.door_nonce});
  w.put(f.session).put(f.caller_min).put(f.caller_max).put(f.version);
  for (const auto* s : {&f.caller_start, &f.door_start}) {
    w.put(s->disk).put(s->number).put(static_cast<std::uint32_t>(s->words.size()));
    for (const auto word : s->words)
      w.put(word);
  }
  if (role == "caller")
    w.put(f.verdict);
  return std::move(w).bytes();
}
std::string handshake_facts::for_door() const {
  return transcript("door", *this);
}
std::string handshake_facts::for_caller() const {
  return transcript("caller", *this);
}

} // namespace parley::cluster
