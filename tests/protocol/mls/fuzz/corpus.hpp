#pragma once
// Inputs to start from, and inputs that are kept.
#include "tests/protocol/mls/fuzz/fuzz.hpp"

#include <filesystem>

namespace parley::mls::fuzz {

/// Everything in the JSON files of a folder that is written in hexadecimal.
std::vector<bytes> byte_strings_in(const std::filesystem::path& vectors);
/// The files of a folder by name; none where there is no such folder.
std::map<std::string, bytes> inputs_in(const std::filesystem::path& folder);

} // namespace parley::mls::fuzz
