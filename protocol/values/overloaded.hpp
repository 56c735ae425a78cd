#pragma once

namespace parley {

/// One visitor out of several lambdas: `std::visit(overloaded{…}, variant)`. Without a lambda that takes
/// everything, a new alternative does not compile until the visit decides about it.
template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloaded(Fs...) -> overloaded<Fs...>;

} // namespace parley
