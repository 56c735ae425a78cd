#pragma once
// Bugs that are planted on purpose, to prove that the harnesses find them. Only a build with
// PARLEY_PLANTED_BUGS has them; there the environment variable PARLEY_PLANT names those that are on,
// separated by commas. In a release build every check is constantly false.
#include <string_view>

#ifdef PARLEY_PLANTED_BUGS
#include <cstdlib>
#include <string>
#endif

namespace parley {

#ifdef PARLEY_PLANTED_BUGS

inline bool planted(std::string_view bug) {
  static const std::string on = [] {
    const char* names = std::getenv("PARLEY_PLANT");
    return "," + std::string{names ? names : ""} + ",";
  }();
  return on.find("," + std::string{bug} + ",") != std::string::npos;
}

#else

constexpr bool planted(std::string_view) {
  return false;
}

#endif

} // namespace parley
