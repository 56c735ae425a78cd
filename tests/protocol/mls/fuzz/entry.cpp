// One target as libFuzzer calls it; the build selects the target.
#include "tests/protocol/mls/fuzz/fuzz.hpp"

#include <cstring>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t size_max);
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, std::size_t),
                                                         void (*on_free)(const volatile void*));

namespace {
namespace fuzz = parley::mls::fuzz;
constexpr const fuzz::target& chosen = fuzz::PARLEY_FUZZ_TARGET;
} // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const auto count = [](const volatile void*, std::size_t size) { fuzz::allocated_bytes += size; };
  return __sanitizer_install_malloc_and_free_hooks(count, [](const volatile void*) {}) > 0 ? 0 : 1;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen.run({data, size});
  return 0;
}

/// In half of the cases an input is changed according to its structure, if the target knows one.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t size_max,
                                               unsigned seed) {
  if (chosen.mutate && seed % 2 == 0) {
    const auto next = chosen.mutate({data, size}, seed / 2, LLVMFuzzerMutate);
    if (!next.empty() && next.size() <= size_max) {
      std::memcpy(data, next.data(), next.size());
      return next.size();
    }
  }
  return LLVMFuzzerMutate(data, size, size_max);
}
