#include "tests/protocol/mls/fuzz/corpus.hpp"

#include <fstream>
#include <iterator>

namespace parley::mls::fuzz {
namespace {

bytes read_file(const std::filesystem::path& at) {
  std::ifstream in{at, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

int digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/// Returns nothing if the text is not hexadecimal.
bytes from_hex(std::string_view text) {
  bytes out;
  if (text.size() % 2 != 0)
    return out;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0)
      return {};
    out.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  return out;
}

} // namespace

std::vector<bytes> byte_strings_in(const std::filesystem::path& vectors) {
  std::vector<std::filesystem::path> files;
  for (const auto& f : std::filesystem::directory_iterator{vectors})
    if (f.path().extension() == ".json")
      files.push_back(f.path());
  std::ranges::sort(files); // the same order on every machine
  std::vector<bytes> out;
  for (const auto& f : files) {
    const auto text = read_file(f);
    const std::string_view all{reinterpret_cast<const char*>(text.data()), text.size()};
    for (auto begin = all.find('"'); begin != all.npos;) {
      const auto end = all.find('"', begin + 1);
      if (end == all.npos)
        break;
      if (auto v = from_hex(all.substr(begin + 1, end - begin - 1)); !v.empty())
        out.push_back(std::move(v));
      begin = all.find('"', end + 1);
    }
  }
  return out;
}

std::map<std::string, bytes> inputs_in(const std::filesystem::path& folder) {
  std::map<std::string, bytes> out;
  if (std::filesystem::is_directory(folder))
    for (const auto& f : std::filesystem::directory_iterator{folder})
      out.emplace(f.path().filename().string(), read_file(f.path()));
  return out;
}

} // namespace parley::mls::fuzz
