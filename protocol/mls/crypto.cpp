#include "protocol/mls/crypto.hpp"
#include "protocol/mls/codec.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

namespace parley::mls {

namespace {

constexpr std::size_t curve_bytes = 32; ///< every key of X25519 and Ed25519
constexpr std::size_t hash_block_bytes = 64;

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using pkey = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using pkey_context = std::unique_ptr<EVP_PKEY_CTX, freed_by<EVP_PKEY_CTX_free>>;
using hash_context = std::unique_ptr<EVP_MD_CTX, freed_by<EVP_MD_CTX_free>>;
using cipher_context = std::unique_ptr<EVP_CIPHER_CTX, freed_by<EVP_CIPHER_CTX_free>>;

/// For calls that fail only when no memory is left.
void must(bool ok) {
  if (!ok)
    throw std::bad_alloc{};
}

/// All users of OpenSSL on a thread share its error queue. TLS connections are among them, and they
/// treat an error left in the queue as a failure of their own.
struct errors_kept {
  errors_kept() { ERR_set_mark(); }
  ~errors_kept() { ERR_pop_to_mark(); }
  errors_kept(const errors_kept&) = delete;
  errors_kept& operator=(const errors_kept&) = delete;
};

// The algorithms are fetched once, because a lookup costs more than running the algorithm on a few
// blocks. They are never freed, because OpenSSL may shut down before our static objects are destroyed.
const EVP_MD* sha256() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched;
}
const EVP_CIPHER* aes128gcm() {
  static const EVP_CIPHER* const fetched = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  return fetched;
}

using digest = std::array<std::uint8_t, hash_bytes>;

/// The hash context of this thread. After each use it is initialized again, which overwrites the
/// chaining value and the last block: they may reveal secrets.
class sha256_run {
public:
  sha256_run() : context_{of_this_thread()} {}
  ~sha256_run() {
    if (!is_anew_)
      begin_anew(context_);
  }
  sha256_run(const sha256_run&) = delete;
  sha256_run& operator=(const sha256_run&) = delete;
  void add(bytes_view data) {
    is_anew_ = false;
    must(EVP_DigestUpdate(context_, data.data(), data.size()) == 1);
  }
  void finish(std::uint8_t* out) {
    is_anew_ = false;
    must(EVP_DigestFinal_ex(context_, out, nullptr) == 1);
    must(begin_anew(context_));
    is_anew_ = true;
  }

private:
  static bool begin_anew(EVP_MD_CTX* c) { return EVP_DigestInit_ex2(c, sha256(), nullptr) == 1; }
  static EVP_MD_CTX* of_this_thread() {
    thread_local const hash_context context = [] {
      hash_context c{EVP_MD_CTX_new()};
      must(c && begin_anew(c.get()));
      return c;
    }();
    return context.get();
  }
  EVP_MD_CTX* context_;
  bool is_anew_ = true;
};

/// HMAC-SHA-256 (RFC 2104) over the hash above. OpenSSL's own implementation sets up parameters and
/// contexts for each key, which costs several times as much as hashing the four blocks of a short
/// input. One call for each piece of the input would be as expensive, so the pieces are gathered first.
class hmac {
public:
  explicit hmac(bytes_view key) {
    const auto pad = std::span{gathered_}.first(hash_block_bytes);
    if (key.size() > hash_block_bytes) {
      run_.add(key);
      run_.finish(pad.data());
    } else {
      std::ranges::copy(key, pad.begin());
    }
    std::ranges::copy(pad, outer_.begin());
    for (auto& b : pad)
      b ^= 0x36;
    for (auto& b : std::span{outer_}.first(hash_block_bytes))
      b ^= 0x5c;
    size_ = hash_block_bytes;
  }
  ~hmac() {
    wipe(gathered_.data(), gathered_.size());
    wipe(outer_.data(), outer_.size());
  }
  hmac(const hmac&) = delete;
  hmac& operator=(const hmac&) = delete;

  hmac& add(bytes_view data) {
    if (data.size() > gathered_.size() - size_) {
      flush();
      if (data.size() > gathered_.size()) {
        run_.add(data);
        return *this;
      }
    }
    std::ranges::copy(data, gathered_.begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += data.size();
    return *this;
  }
  hmac& add(std::string_view text) { return add(view_of(text)); }
  hmac& add(std::uint8_t byte) { return add(bytes_view{&byte, 1}); }
  /// Adds the length prefix of an opaque v<V>.
  hmac& add_length(std::size_t n) {
    if (n < 64) // one byte: all labels and most contexts
      return add(static_cast<std::uint8_t>(n));
    encoder e;
    e.length(n);
    return add(e.out());
  }
  void finish(std::uint8_t* out) {
    flush();
    run_.finish(outer_.data() + hash_block_bytes);
    run_.add(outer_);
    run_.finish(out);
  }

private:
  void flush() {
    run_.add(bytes_view{gathered_}.first(size_));
    size_ = 0;
  }
  sha256_run run_;
  std::array<std::uint8_t, 3 * hash_block_bytes> gathered_{}; ///< the inner hash's input, after the key's pad
  std::size_t size_ = 0;
  std::array<std::uint8_t, hash_block_bytes + hash_bytes> outer_{}; ///< pad and the inner digest
};

/// HKDF-Expand (RFC 5869) with an info that is given in parts: `add_info(h)` adds them all.
template <class AddInfo>
secret expand(bytes_view key, std::size_t size, AddInfo&& add_info) {
  auto out = secret::zeros(size);
  const auto to = out.mutable_view();
  digest block;
  std::uint8_t counter = 1;
  for (std::size_t done = 0; done < size; ++counter) {
    {
      hmac h{key};
      if (counter > 1)
        h.add(block);
      add_info(h);
      h.add(counter).finish(block.data());
    }
    const auto n = std::min(size - done, block.size());
    std::copy_n(block.begin(), n, to.begin() + static_cast<std::ptrdiff_t>(done));
    done += n;
  }
  wipe(block.data(), block.size());
  return out;
}

constexpr std::string_view label_prefix = "MLS 1.0 ";

// --- keys

enum class curve { x25519, ed25519 };

/// The context that creates keys of one curve; it holds none of them.
EVP_PKEY_CTX* key_maker(curve which) {
  const auto make = [](const char* name) {
    pkey_context c{EVP_PKEY_CTX_new_from_name(nullptr, name, nullptr)};
    must(c && EVP_PKEY_fromdata_init(c.get()) == 1);
    return c;
  };
  if (which == curve::x25519) {
    thread_local const pkey_context context = make("X25519");
    return context.get();
  }
  thread_local const pkey_context context = make("ED25519");
  return context.get();
}

/// Either key may be empty, but not both. With only a private key OpenSSL computes the public one,
/// which costs as much as using the key once, so pass both where both are known.
pkey make_key(curve which, bytes_view private_key, bytes_view public_key) {
  const auto param = [](const char* name, bytes_view v) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(v.data()), v.size());
  };
  std::array<OSSL_PARAM, 3> params;
  std::size_t n = 0;
  if (!private_key.empty())
    params[n++] = param(OSSL_PKEY_PARAM_PRIV_KEY, private_key);
  if (!public_key.empty())
    params[n++] = param(OSSL_PKEY_PARAM_PUB_KEY, public_key);
  params[n] = OSSL_PARAM_construct_end();
  EVP_PKEY* made = nullptr;
  const int selection = private_key.empty() ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR;
  if (EVP_PKEY_fromdata(key_maker(which), &made, selection, params.data()) != 1)
    return nullptr;
  return pkey{made};
}

bytes public_key_of(curve which, bytes_view private_key) {
  const auto key = make_key(which, private_key, {});
  must(key != nullptr);
  bytes out(curve_bytes);
  auto size = out.size();
  must(EVP_PKEY_get_raw_public_key(key.get(), out.data(), &size) == 1 && size == curve_bytes);
  return out;
}

/// The cipher context of this thread. It deletes its key when the guard is destroyed.
class cipher_guard {
public:
  cipher_guard() : context_{of_this_thread()} {}
  ~cipher_guard() { EVP_CIPHER_CTX_reset(context_); }
  cipher_guard(const cipher_guard&) = delete;
  cipher_guard& operator=(const cipher_guard&) = delete;
  EVP_CIPHER_CTX* get() const { return context_; }

private:
  static EVP_CIPHER_CTX* of_this_thread() {
    thread_local const cipher_context context{EVP_CIPHER_CTX_new()};
    must(context != nullptr);
    return context.get();
  }
  EVP_CIPHER_CTX* context_;
};

} // namespace

void wipe(void* at, std::size_t size) {
  OPENSSL_cleanse(at, size);
}

bool equal_in_constant_time(bytes_view a, bytes_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

random_source system_random() {
  return [](std::span<std::uint8_t> out) {
    // Continuing with bytes that an attacker could guess would be worse than terminating.
    if (RAND_priv_bytes(out.data(), static_cast<int>(out.size())) != 1)
      std::abort();
  };
}

bytes hash(bytes_view data) {
  bytes out(hash_bytes);
  sha256_run run;
  run.add(data);
  run.finish(out.data());
  return out;
}

bytes mac(bytes_view key, bytes_view data) {
  bytes out(hash_bytes);
  hmac{key}.add(data).finish(out.data());
  return out;
}

secret kdf_extract(bytes_view salt, std::initializer_list<bytes_view> input_key) {
  auto out = secret::zeros(hash_bytes);
  hmac h{salt};
  for (const auto part : input_key)
    h.add(part);
  h.finish(out.mutable_view().data());
  return out;
}

secret kdf_expand(bytes_view secret_key, std::initializer_list<bytes_view> info, std::size_t size) {
  return expand(secret_key, size, [&](hmac& h) {
    for (const auto part : info)
      h.add(part);
  });
}

secret expand_with_label(bytes_view key, std::string_view label, bytes_view context, std::size_t size) {
  return expand(key, size, [&](hmac& h) {
    h.add(static_cast<std::uint8_t>(size >> 8)).add(static_cast<std::uint8_t>(size));
    h.add_length(label_prefix.size() + label.size()).add(label_prefix).add(label);
    h.add_length(context.size()).add(context);
  });
}

secret derive_secret(bytes_view key, std::string_view label) {
  return expand_with_label(key, label, {}, hash_bytes);
}

secret derive_tree_secret(bytes_view key, std::string_view label, std::uint32_t generation,
                          std::size_t size) {
  const std::array context{static_cast<std::uint8_t>(generation >> 24),
                           static_cast<std::uint8_t>(generation >> 16),
                           static_cast<std::uint8_t>(generation >> 8), static_cast<std::uint8_t>(generation)};
  return expand_with_label(key, label, context, size);
}

bytes ref_hash(std::string_view label, bytes_view value) {
  encoder before;
  before.opaque(view_of(label)).length(value.size());
  bytes out(hash_bytes);
  sha256_run run;
  run.add(before.out());
  run.add(value);
  run.finish(out.data());
  return out;
}

bytes aead_seal(bytes_view key, bytes_view nonce, bytes_view aad, bytes_view plaintext) {
  must(key.size() == key_bytes && nonce.size() == nonce_bytes);
  const cipher_guard context;
  bytes out(plaintext.size() + tag_bytes);
  int n = 0;
  must(EVP_EncryptInit_ex2(context.get(), aes128gcm(), key.data(), nonce.data(), nullptr) == 1);
  if (!aad.empty())
    must(EVP_EncryptUpdate(context.get(), nullptr, &n, aad.data(), static_cast<int>(aad.size())) == 1);
  if (!plaintext.empty())
    must(EVP_EncryptUpdate(context.get(), out.data(), &n, plaintext.data(),
                           static_cast<int>(plaintext.size())) == 1);
  auto* const tag = out.data() + plaintext.size();
  must(EVP_EncryptFinal_ex(context.get(), tag, &n) == 1);
  must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag_bytes, tag) == 1);
  return out;
}

result<secret> aead_open(bytes_view key, bytes_view nonce, bytes_view aad, bytes_view ciphertext) {
  if (key.size() != key_bytes || nonce.size() != nonce_bytes)
    return refuse(rule::bad_key);
  if (ciphertext.size() < tag_bytes)
    return refuse(rule::cannot_open);
  const errors_kept errors;
  const cipher_guard context;
  const auto body = ciphertext.first(ciphertext.size() - tag_bytes);
  std::array<std::uint8_t, tag_bytes> tag;
  std::ranges::copy(ciphertext.last(tag_bytes), tag.begin());
  auto out = secret::zeros(body.size());
  int n = 0;
  must(EVP_DecryptInit_ex2(context.get(), aes128gcm(), key.data(), nonce.data(), nullptr) == 1);
  if (!aad.empty())
    must(EVP_DecryptUpdate(context.get(), nullptr, &n, aad.data(), static_cast<int>(aad.size())) == 1);
  if (!body.empty())
    must(EVP_DecryptUpdate(context.get(), out.mutable_view().data(), &n, body.data(),
                           static_cast<int>(body.size())) == 1);
  must(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag.data()) == 1);
  std::array<std::uint8_t, tag_bytes> rest;
  if (EVP_DecryptFinal_ex(context.get(), rest.data(), &n) != 1)
    return refuse(rule::cannot_open);
  return out;
}

signature_key_pair make_signature_key(const random_source& random) {
  auto seed = secret::zeros(curve_bytes);
  random(seed.mutable_view());
  auto public_key = public_key_of(curve::ed25519, seed.view());
  return {std::move(seed), std::move(public_key)};
}

result<signature_key_pair> signature_key_from_private(bytes_view private_key) {
  if (private_key.size() != curve_bytes)
    return refuse(rule::bad_key);
  return signature_key_pair{secret{private_key}, public_key_of(curve::ed25519, private_key)};
}

bytes labelled(std::string_view label, bytes_view content) {
  encoder e;
  e.reserve(label_prefix.size() + label.size() + content.size() + 8);
  e.length(label_prefix.size() + label.size());
  e.raw(view_of(label_prefix)).raw(view_of(label)).opaque(content);
  return std::move(e).out();
}

bytes sign_with_label(const signature_key_pair& key, std::string_view label, bytes_view content) {
  must(key.private_key.size() == curve_bytes && key.public_key.size() == curve_bytes);
  auto signed_bytes = labelled(label, content);
  const auto k = make_key(curve::ed25519, key.private_key.view(), key.public_key);
  const hash_context context{EVP_MD_CTX_new()};
  bytes out(signature_bytes);
  auto size = out.size();
  must(k && context &&
       EVP_DigestSignInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, k.get(), nullptr) == 1 &&
       EVP_DigestSign(context.get(), out.data(), &size, signed_bytes.data(), signed_bytes.size()) == 1);
  wipe(signed_bytes.data(), signed_bytes.size()); // contains the plaintext of a message
  return out;
}

result<void> verify_with_label(bytes_view public_key, std::string_view label, bytes_view content,
                               bytes_view signature) {
  if (public_key.size() != curve_bytes)
    return refuse(rule::bad_key);
  if (signature.size() != signature_bytes)
    return refuse(rule::bad_signature);
  const errors_kept errors;
  const auto k = make_key(curve::ed25519, {}, public_key);
  if (!k)
    return refuse(rule::bad_key);
  auto signed_bytes = labelled(label, content);
  const hash_context context{EVP_MD_CTX_new()};
  must(context &&
       EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, k.get(), nullptr) == 1);
  const bool is_good = EVP_DigestVerify(context.get(), signature.data(), signature.size(),
                                        signed_bytes.data(), signed_bytes.size()) == 1;
  wipe(signed_bytes.data(), signed_bytes.size());
  if (!is_good)
    return refuse(rule::bad_signature);
  return {};
}

result<hpke_key_pair> hpke_key_from_private(bytes_view private_key) {
  if (private_key.size() != curve_bytes)
    return refuse(rule::bad_key);
  return hpke_key_pair{secret{private_key}, public_key_of(curve::x25519, private_key)};
}

result<secret> diffie_hellman(const hpke_key_pair& own, bytes_view peer) {
  if (own.private_key.size() != curve_bytes || own.public_key.size() != curve_bytes ||
      peer.size() != curve_bytes)
    return refuse(rule::bad_key);
  const errors_kept errors;
  const auto mine = make_key(curve::x25519, own.private_key.view(), own.public_key);
  const auto theirs = make_key(curve::x25519, {}, peer);
  if (!mine || !theirs)
    return refuse(rule::bad_key);
  const pkey_context context{EVP_PKEY_CTX_new_from_pkey(nullptr, mine.get(), nullptr)};
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer_ex(context.get(), theirs.get(), 0) != 1)
    return refuse(rule::crypto_failed);
  auto out = secret::zeros(curve_bytes);
  auto size = out.size();
  if (EVP_PKEY_derive(context.get(), out.mutable_view().data(), &size) != 1 || size != curve_bytes ||
      out == secret::zeros(curve_bytes)) // the peer's key is a point of small order
    return refuse(rule::bad_key);
  return out;
}

} // namespace parley::mls
