#pragma once
// Where random numbers come from. Code that draws them takes a `chance`, so that a simulation can pass one
// whose numbers repeat. Private keys are no business of this file: OpenSSL makes them.
#include <cstdint>
#include <span>

namespace parley {

class chance {
public:
  virtual ~chance() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;

  std::uint64_t number() {
    std::uint64_t n = 0;
    fill({reinterpret_cast<std::uint8_t*>(&n), sizeof n});
    return n;
  }
  /// Where 0 means "none".
  std::uint64_t nonzero() {
    std::uint64_t n = 0;
    while (n == 0)
      n = number();
    return n;
  }
  /// 0 … n - 1, each equally likely; 0 for n = 0.
  std::uint64_t below(std::uint64_t n);
};

/// The kernel's generator: fit for challenges, codes and nonces. A process that cannot get randomness stops,
/// because a guessable challenge is worse than a node less. Thread: any.
chance& system_chance();

/// Repeats itself for its seed. For simulations and jitter, never for secrets.
class seeded_chance final : public chance {
public:
  explicit seeded_chance(std::uint64_t seed) : state_{seed} {}
  void fill(std::span<std::uint8_t> out) override;

private:
  std::uint64_t state_;
};

} // namespace parley
