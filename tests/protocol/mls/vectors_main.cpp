// mls_vectors DIR: checks every file of test vectors below DIR. Prints one line per file, then the totals.
#include "tests/protocol/mls/vectors.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

namespace parley::mls::vectors {

bytes from_hex(const std::string& hex) {
  const auto digit = [&](char c) -> int {
    if (c >= '0' && c <= '9')
      return c - '0';
    if (c >= 'a' && c <= 'f')
      return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
      return c - 'A' + 10;
    throw wrong{"not hexadecimal: " + hex.substr(0, 40)};
  };
  if (hex.size() % 2 != 0)
    throw wrong{"half a byte: " + hex.substr(0, 40)};
  bytes out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  return out;
}

bytes hex(const json& one, const char* key) {
  return from_hex(text(one, key));
}

std::string text(const json& one, const char* key) {
  if (!one.contains(key) || !one.at(key).is_string())
    throw wrong{std::string{"the case has no "} + key};
  return one.at(key).get<std::string>();
}

void expect(bool holds, const std::string& what) {
  if (!holds)
    throw wrong{what};
}

void expect_equal(bytes_view got, bytes_view wanted, const std::string& what) {
  expect(equal(got, wanted), what + " differs");
}

random_source fixed_random(bytes v) {
  return [v = std::move(v)](std::span<std::uint8_t> out) {
    expect(out.size() == v.size(), "another number of random bytes was asked for");
    std::ranges::copy(v, out.begin());
  };
}

random_source counting_random(std::uint64_t seed) {
  return [seed](std::span<std::uint8_t> out) mutable {
    ++seed;
    const bytes key{static_cast<std::uint8_t>(seed >> 16), static_cast<std::uint8_t>(seed >> 8),
                    static_cast<std::uint8_t>(seed)};
    std::ranges::copy(kdf_expand(key, {}, out.size()).view(), out.begin());
  };
}

namespace {

std::vector<kind> all_kinds() {
  std::vector<kind> all;
  for (const auto group : {crypto_kinds, tree_kinds, keys_kinds, message_kinds, group_kinds})
    std::ranges::move(group(), std::back_inserter(all));
  return all;
}

/// By what the first case contains: whoever records cases names the file as they like.
const kind& kind_of(const std::vector<kind>& kinds, const json& cases) {
  if (cases.empty())
    throw wrong{"the file has no cases"};
  const kind* found = nullptr;
  for (const auto& k : kinds) {
    if (!std::ranges::all_of(k.keys, [&](const auto& key) { return cases.at(0).contains(key); }))
      continue;
    if (found)
      throw wrong{"the fields are those of " + found->name + " and of " + k.name};
    found = &k;
  }
  if (!found)
    throw wrong{"no kind of vector has these fields"};
  return *found;
}

struct counts {
  int passed = 0, failed = 0, skipped = 0;
};

bool is_skipped(const kind& k, const json& one) {
  return (one.is_object() && one.contains("cipher_suite") && one.at("cipher_suite") != cipher_suite_1) ||
         (k.skips && k.skips(one));
}

void run_file(const std::filesystem::path& path, const std::vector<kind>& kinds, counts& sum) {
  counts here;
  const auto name = path.filename().string();
  std::string kind_name = "unknown kind";
  try {
    std::ifstream in{path};
    const auto parsed = json::parse(in);
    const auto cases = parsed.is_array() ? parsed : json::array({parsed});
    const auto& k = kind_of(kinds, cases);
    kind_name = k.name;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (is_skipped(k, cases[i])) {
        ++here.skipped;
        continue;
      }
      try {
        k.check(cases[i]);
        ++here.passed;
      } catch (const std::exception& e) {
        ++here.failed;
        std::cout << "  " << name << " [" << i << "]: " << e.what() << "\n";
      }
    }
  } catch (const std::exception& e) {
    ++here.failed;
    std::cout << "  " << name << ": " << e.what() << "\n";
  }
  std::cout << name << " (" << kind_name << "): " << here.passed << " passed, " << here.failed << " failed, "
            << here.skipped << " skipped\n";
  sum.passed += here.passed;
  sum.failed += here.failed;
  sum.skipped += here.skipped;
}

int run(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{folder})
    if (entry.is_regular_file() && entry.path().extension() == ".json")
      files.push_back(entry.path());
  std::ranges::sort(files);
  const auto kinds = all_kinds();
  counts sum;
  for (const auto& file : files)
    run_file(file, kinds, sum);
  if (files.empty()) {
    std::cout << "no vectors below " << folder << "\n";
    sum.failed = 1;
  }
  std::cout << sum.passed << " passed, " << sum.failed << " failed, " << sum.skipped << " skipped\n";
  return sum.failed == 0 ? 0 : 1;
}

} // namespace

} // namespace parley::mls::vectors

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: mls_vectors DIR\n";
    return 2;
  }
  try {
    return parley::mls::vectors::run(argv[1]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 2;
  }
}
