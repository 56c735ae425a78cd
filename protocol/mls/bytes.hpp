#pragma once
// Byte strings, public and secret.
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace parley::mls {

using bytes = std::vector<std::uint8_t>;
using bytes_view = std::span<const std::uint8_t>;

inline bytes_view view_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline bytes to_bytes(bytes_view v) {
  return {v.begin(), v.end()};
}
bool equal(bytes_view a, bytes_view b);

/// Overwrites memory in a way that the compiler does not optimize away (crypto.cpp: OPENSSL_cleanse).
void wipe(void* at, std::size_t size);
/// Takes the same time for any two byte strings of one length. Use it for secrets, tags and confirmations.
bool equal_in_constant_time(bytes_view a, bytes_view b);

/// Wipes all memory before it is freed, so that no copy of a secret is left when a vector
/// grows or is destroyed.
template <class T>
struct wiping_allocator {
  using value_type = T;
  wiping_allocator() = default;
  template <class U>
  wiping_allocator(const wiping_allocator<U>&) {}
  T* allocate(std::size_t n) { return std::allocator<T>{}.allocate(n); }
  void deallocate(T* at, std::size_t n) {
    wipe(at, n * sizeof(T));
    std::allocator<T>{}.deallocate(at, n);
  }
  bool operator==(const wiping_allocator&) const = default;
};

/// A key, or anything that keys are derived from. Copies are explicit, comparison takes constant time,
/// and there is no way to print one.
class secret {
public:
  secret() = default;
  explicit secret(bytes_view v) : bytes_(v.begin(), v.end()) {}
  static secret zeros(std::size_t n) {
    secret s;
    s.bytes_.resize(n);
    return s;
  }
  secret(secret&& other) noexcept : bytes_{std::move(other.bytes_)} { other.bytes_.clear(); }
  secret& operator=(secret&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
    return *this;
  }
  secret(const secret&) = delete;
  secret& operator=(const secret&) = delete;
  secret copy() const { return secret{view()}; }

  bytes_view view() const { return bytes_; }
  std::span<std::uint8_t> mutable_view() { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  friend bool operator==(const secret& a, const secret& b) {
    return equal_in_constant_time(a.view(), b.view());
  }

private:
  std::vector<std::uint8_t, wiping_allocator<std::uint8_t>> bytes_;
};

} // namespace parley::mls
