// Runs the targets without a fuzzer: on their seeds, and on inputs that once broke something.
#include "tests/protocol/mls/fuzz/corpus.hpp"

#include <doctest/doctest.h>

using namespace parley::mls;
using namespace parley::mls::fuzz;

namespace {
const std::filesystem::path here{PARLEY_FUZZ_SOURCES};

void check_runs(const target& t, const std::string& name, const bytes& input) {
  try {
    t.run(input);
  } catch (const broken_law& e) {
    FAIL_CHECK((std::string{t.name} + ", " + name + ": " + e.what()));
  }
}
} // namespace

TEST_CASE("inputs with which the fuzzers once found a defect find none any more") {
  for (const auto* t : all_targets())
    for (const auto& [name, input] : inputs_in(here / "found" / t->name))
      check_runs(*t, name, input);
}

TEST_CASE("the inputs with which the fuzzers start keep all laws") {
  const auto vectors = byte_strings_in(here / "../vectors");
  for (const auto* t : all_targets()) {
    std::size_t n = 0;
    t->seeds(vectors, [&](const bytes& seed) { check_runs(*t, "seed " + std::to_string(n++), seed); });
    CHECK(n > 0);
  }
}
