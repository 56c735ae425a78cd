#include "cluster/ops/certificates.hpp"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <ctime>
#include <memory>

namespace parley::cluster {
namespace {

std::optional<calendar_time> time_of(const ASN1_TIME* t) {
  std::tm utc{};
  if (!t || ASN1_TIME_to_tm(t, &utc) != 1)
    return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

using file = std::unique_ptr<BIO, int (*)(BIO*)>;
file open_file(const std::string& name) {
  return {BIO_new_file(name.c_str(), "r"), BIO_free};
}

std::unique_ptr<X509, void (*)(X509*)> read_certificate(const std::string& pem_file) {
  ERR_clear_error();
  const auto in = open_file(pem_file);
  std::unique_ptr<X509, void (*)(X509*)> out{
      in ? PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr) : nullptr, X509_free};
  ERR_clear_error();
  return out;
}

} // namespace

std::string day_of(calendar_time t) {
  const auto seconds = std::chrono::system_clock::to_time_t(t);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

tl::expected<certificate_dates, std::string> dates_of(const std::string& pem_file) {
  const auto certificate = read_certificate(pem_file);
  if (!certificate)
    return tl::unexpected{pem_file + ": no certificate can be read from it"};
  const auto from = time_of(X509_get0_notBefore(certificate.get()));
  const auto until = time_of(X509_get0_notAfter(certificate.get()));
  if (!from || !until)
    return tl::unexpected{pem_file + ": the dates of the certificate cannot be read"};
  return certificate_dates{*from, *until};
}

std::optional<std::string> key_objection(const std::string& pem_file, const std::string& key_file) {
  const auto certificate = read_certificate(pem_file);
  if (!certificate)
    return pem_file + ": no certificate can be read from it";
  const auto in = open_file(key_file);
  // An empty pass phrase instead of OpenSSL's question on the terminal.
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key{
      in ? PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, const_cast<char*>("")) : nullptr,
      EVP_PKEY_free};
  const bool fits = key && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return fits ? std::nullopt : std::optional{key_file + " is not the key of " + pem_file};
}

std::optional<std::string> date_objection(const std::string& pem_file, calendar_time now) {
  const auto dates = dates_of(pem_file);
  if (!dates)
    return dates.error();
  if (now < dates->from)
    return fmt::format("{}: the certificate is not valid before {}; is the clock of this machine right?",
                       pem_file, day_of(dates->from));
  if (now >= dates->until)
    return fmt::format("{}: the certificate has expired on {}", pem_file, day_of(dates->until));
  return std::nullopt;
}

void certificate_calendar::use(const std::string& name, const std::string& pem_file) {
  const auto dates = dates_of(pem_file);
  std::lock_guard guard{mutex_};
  if (!dates) {
    entries_.erase(name);
    return;
  }
  auto& e = entries_[name];
  if (e.what.until != dates->until)
    e.warned_at.reset(); // it is another certificate
  e.what = {name, pem_file, dates->until};
}

std::vector<certificate_end> certificate_calendar::ends() const {
  std::lock_guard guard{mutex_};
  std::vector<certificate_end> out;
  for (const auto& [name, e] : entries_)
    out.push_back(e.what);
  return out;
}

std::vector<certificate_end> certificate_calendar::due(calendar_time now) {
  std::lock_guard guard{mutex_};
  std::vector<certificate_end> out;
  for (auto& [name, e] : entries_) {
    if (e.what.until - now > warn_before || (e.warned_at && now - *e.warned_at < warn_every))
      continue;
    e.warned_at = now;
    out.push_back(e.what);
  }
  return out;
}

} // namespace parley::cluster
