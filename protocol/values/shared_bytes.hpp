#pragma once
#include <concepts>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace parley {

/// Bytes that never change and that copies share. A message's body is held in them, because it is sent to
/// many recipients and many devices.
///
/// Thread: any; copies may be on other threads.
/// Holds:  an object that was moved from is empty.
class shared_bytes {
public:
  shared_bytes() = default;
  template <class T>
  requires std::convertible_to<const T&, std::string_view> &&
      (!std::same_as<T, shared_bytes>)shared_bytes(const T& from) {
    const std::string_view v{from};
    if (v.empty())
      return;
    auto copy = std::make_shared_for_overwrite<char[]>(v.size()); // count and bytes in one allocation
    std::memcpy(copy.get(), v.data(), v.size());
    bytes_ = std::move(copy);
    size_ = v.size();
  }
  shared_bytes(const shared_bytes&) = default;
  shared_bytes& operator=(const shared_bytes&) = default;
  // Written out, because a size that stays behind would name bytes that are gone.
  shared_bytes(shared_bytes&& from) noexcept
      : bytes_{std::move(from.bytes_)}, size_{std::exchange(from.size_, 0)} {}
  shared_bytes& operator=(shared_bytes&& from) noexcept {
    bytes_ = std::move(from.bytes_);
    size_ = std::exchange(from.size_, 0);
    return *this;
  }
  ~shared_bytes() = default;

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {bytes_.get(), size_}; }
  operator std::string_view() const { return view(); }

  template <class T>
  requires std::convertible_to<const T&, std::string_view>
  friend bool operator==(const shared_bytes& a, const T& b) { return a.view() == std::string_view{b}; }

private:
  std::shared_ptr<const char[]> bytes_;
  std::size_t size_ = 0;
};

} // namespace parley
