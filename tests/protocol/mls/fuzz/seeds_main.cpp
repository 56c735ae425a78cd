// mls_fuzz_seeds VECTORS CORPUS TARGET: writes the initial inputs of a target into CORPUS/TARGET.
#include "tests/protocol/mls/fuzz/corpus.hpp"

#include <cstdio>
#include <fstream>

int main(int argc, char** argv) {
  namespace fuzz = parley::mls::fuzz;
  if (argc != 4) {
    std::fprintf(stderr, "mls_fuzz_seeds VECTORS CORPUS TARGET\n");
    return 2;
  }
  const auto& all = fuzz::all_targets();
  const auto chosen = std::ranges::find(all, std::string_view{argv[3]}, &fuzz::target::name);
  if (chosen == all.end()) {
    std::fprintf(stderr, "mls_fuzz_seeds: there is no target %s\n", argv[3]);
    return 2;
  }
  const auto folder = std::filesystem::path{argv[2]} / argv[3];
  std::filesystem::create_directories(folder);
  int n = 0;
  (*chosen)->seeds(fuzz::byte_strings_in(argv[1]), [&](const parley::mls::bytes& seed) {
    std::ofstream out{folder / ("seed-" + std::to_string(n++)), std::ios::binary};
    out.write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
  });
}
