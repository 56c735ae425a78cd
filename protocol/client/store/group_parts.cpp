#include "protocol/client/store/group_parts.hpp"

#include "protocol/mls/crypto.hpp"

namespace parley::client {
namespace {

std::string_view text_of(mls::bytes_view v) {
  return {reinterpret_cast<const char*>(v.data()), v.size()};
}

/// The engine knows no exceptions; and a caller who did not look at its answer must not commit the rest.
template <class F>
auto or_refused(database& db, F&& work) -> decltype(work()) {
  try {
    return work();
  } catch (const store_error&) {
    db.doom();
    return mls::refuse(mls::rule::store_failed);
  }
}

} // namespace

group_parts::group_parts(database& in, std::string owner) : db_{in}, owner_{std::move(owner)} {}
group_parts::group_parts(sqlite_store& in, mls::bytes_view group_id)
    : group_parts{in.db_, "group " + std::string{text_of(mls::hash(group_id))}} {}
group_parts group_parts::of_device(sqlite_store& in) {
  return {in.db_, "device"};
}

mls::result<void> group_parts::put(std::string_view name, mls::bytes_view value) {
  return or_refused(db_, [&]() -> mls::result<void> {
    db_.prepare("INSERT INTO parts VALUES (?, ?, ?) "
                "ON CONFLICT(owner, name) DO UPDATE SET value = excluded.value")
        .bind(std::string_view{owner_})
        .bind(name)
        .bind(text_of(value))
        .step();
    return {};
  });
}

mls::result<void> group_parts::erase(std::string_view name) {
  return or_refused(db_, [&]() -> mls::result<void> {
    db_.prepare("DELETE FROM parts WHERE owner = ? AND name = ?")
        .bind(std::string_view{owner_})
        .bind(name)
        .step();
    return {};
  });
}

mls::result<std::optional<mls::secret>> group_parts::get(std::string_view name) const {
  return or_refused(db_, [&]() -> mls::result<std::optional<mls::secret>> {
    auto s = db_.prepare("SELECT value FROM parts WHERE owner = ? AND name = ?");
    s.bind(std::string_view{owner_}).bind(name);
    if (!s.step())
      return std::nullopt;
    return std::optional{mls::secret{mls::view_of(s.view())}};
  });
}

mls::result<std::vector<std::string>> group_parts::names(std::string_view prefix) const {
  return or_refused(db_, [&]() -> mls::result<std::vector<std::string>> {
    // Names are ASCII: the first that does not begin with the prefix is before prefix and 0xff.
    const auto end = std::string{prefix} + '\xff';
    auto s = db_.prepare("SELECT name FROM parts WHERE owner = ? AND name >= ? AND name < ? ORDER BY name");
    s.bind(std::string_view{owner_}).bind(prefix).bind(std::string_view{end});
    std::vector<std::string> out;
    while (s.step())
      out.push_back(s.bytes());
    return out;
  });
}

} // namespace parley::client
