#pragma once
// Subjects of commits: "area: what it does", so that `git log --grep '^cluster'` finds the history of a part.
#include <optional>
#include <string>
#include <string_view>

namespace parley::tidy {

inline constexpr std::size_t subject_columns_max = 72;

/// Nothing if the subject is well made, else what is wrong with it. `scripts/git_setup.sh` installs a hook that says
/// the same before a commit is made.
std::optional<std::string> objection_to_subject(std::string_view subject);

} // namespace parley::tidy
