#include "protocol/mls/stored_parts.hpp"

namespace parley::mls {
namespace {
constexpr std::string_view sum_part = "sum";
}

void toggle(tree_digest& sum, std::string_view name, bytes_view value) {
  encoder e{encoder::of_secrets{}};
  e.reserve(name.size() + value.size() + 8);
  e.opaque(view_of(name)).raw(value);
  const auto digest = hash(e.out());
  for (std::size_t i = 0; i < sum.size(); ++i)
    sum[i] ^= digest[i];
}

result<void> part_writer::take_out(std::string_view name, bool& was_there) {
  const auto old = to_.get(name);
  if (!old)
    return tl::unexpected(old.error());
  was_there = old->has_value();
  if (was_there)
    toggle(sum_, name, (*old)->view());
  return {};
}

result<void> part_writer::put(std::string_view name, bytes_view value) {
  bool was_there = false;
  if (auto done = take_out(name, was_there); !done)
    return done;
  toggle(sum_, name, value);
  return to_.put(name, value);
}

result<void> part_writer::erase(std::string_view name) {
  bool was_there = false;
  if (auto done = take_out(name, was_there); !done || !was_there)
    return done;
  return to_.erase(name);
}

result<void> part_writer::erase_all(std::string_view prefix) {
  const auto names = to_.names(prefix);
  if (!names)
    return tl::unexpected(names.error());
  for (const auto& n : *names)
    if (auto done = erase(n); !done)
      return done;
  return {};
}

result<void> part_writer::start_anew() {
  auto done = erase_all("");
  sum_ = {};
  return done;
}

result<void> part_writer::finish() {
  return sum_ == before_ ? result<void>{} : to_.put(sum_part, sum_);
}

result<read_parts> read_parts::of(const part_store& from) {
  const auto names = from.names("");
  if (!names)
    return tl::unexpected(names.error());
  read_parts out;
  std::optional<secret> written;
  for (const auto& n : *names) {
    auto value = from.get(n);
    if (!value)
      return tl::unexpected(value.error());
    if (!*value)
      return refuse(rule::state_damaged);
    if (n == sum_part) {
      written = std::move(*value);
      continue;
    }
    toggle(out.sum_, n, (*value)->view());
    out.parts_.insert_or_assign(n, std::move(**value));
  }
  if (!written || !equal(written->view(), out.sum_))
    return refuse(rule::state_damaged);
  return out;
}

std::optional<bytes_view> read_parts::get(std::string_view name) const {
  const auto at = parts_.find(name);
  return at == parts_.end() ? std::nullopt : std::optional{at->second.view()};
}

std::vector<read_parts::found> read_parts::all(std::string_view prefix) const {
  std::vector<found> out;
  for (auto at = parts_.lower_bound(prefix); at != parts_.end() && at->first.starts_with(prefix); ++at)
    out.push_back({at->first, at->second.view()});
  return out;
}

} // namespace parley::mls
