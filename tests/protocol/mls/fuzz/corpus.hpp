#pragma once
// The inputs that a fuzzer starts from, and the inputs that are kept.
#include "tests/protocol/mls/fuzz/fuzz.hpp"

#include <filesystem>

namespace parley::mls::fuzz {

/// Returns every hexadecimal string in the JSON files of a folder.
std::vector<bytes> byte_strings_in(const std::filesystem::path& vectors);
/// Returns the files of a folder by name; none if there is no such folder.
std::map<std::string, bytes> inputs_in(const std::filesystem::path& folder);

} // namespace parley::mls::fuzz
