#pragma once
// A node that cannot go on ends its process with a sentence (protocol/values/last_words.hpp). Here all nodes share one
// process, so only what the node was doing ends: the linker sends `end_process` here (CMakeLists.txt).
#include <functional>
#include <optional>
#include <string>

namespace parley::sim {

/// Runs `what`, and returns the sentence if that ends its process. Then its frames are left as they are, without
/// destructors, as those of a process that is gone: nothing that it used may be used or destroyed any more.
/// Thread: one.
std::optional<std::string> last_words_of(const std::function<void()>& what);

/// Whether `what` of `last_words_of` runs now.
bool runs_process();

} // namespace parley::sim
