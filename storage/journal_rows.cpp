#include "storage/journal_rows.hpp"

#include "protocol/values/codec.hpp"

namespace parley::storage {
namespace {

constexpr std::uint8_t mark_version = 1;

void put_bytes(std::string& out, std::string_view v) {
  append_number(out, static_cast<std::uint32_t>(v.size()));
  out.append(v);
}
void put_op(std::string& out, journal_op what, table t, std::string_view key) {
  append_number(out, what);
  append_number(out, t);
  put_bytes(out, key);
}

} // namespace

bool is_known(journal_op what) {
  switch (what) {
  case journal_op::put:
  case journal_op::append:
  case journal_op::erase:
  case journal_op::erase_range:
    return true;
  }
  return false;
}

void note_put(std::string& out, table t, std::string_view key, std::string_view value) {
  put_op(out, journal_op::put, t, key);
  put_bytes(out, value);
}
void note_append(std::string& out, table t, std::string_view key, std::string_view value) {
  put_op(out, journal_op::append, t, key);
  put_bytes(out, value);
}
void note_erase(std::string& out, table t, std::string_view key) {
  put_op(out, journal_op::erase, t, key);
}
void note_erase_range(std::string& out, table t, std::string_view from, std::string_view to,
                      std::size_t rows_max) {
  put_op(out, journal_op::erase_range, t, from);
  put_bytes(out, to);
  append_number(out, static_cast<std::uint64_t>(rows_max));
}

record_fault redo(write_txn& txn, std::string_view payload) {
  reader in{payload};
  while (in.ok() && !in.rest().empty()) {
    const auto what = in.get<journal_op>();
    if (!is_known(what))
      return what == journal_op{} ? record_fault::damaged : record_fault::newer;
    const auto t = in.get<table>();
    if (in.ok() && static_cast<std::size_t>(t) >= table_count)
      return record_fault::newer;
    const auto key = in.get_bytes();
    if (!in.ok())
      break;
    switch (what) {
    case journal_op::put:
      txn.put(t, key, in.get_bytes());
      break;
    case journal_op::append:
      txn.append(t, key, in.get_bytes());
      break;
    case journal_op::erase:
      txn.erase(t, key);
      break;
    case journal_op::erase_range: {
      const auto to = in.get_bytes();
      txn.erase_range(t, key, to, static_cast<std::size_t>(in.get<std::uint64_t>()));
      break;
    }
    }
  }
  return in.done() ? record_fault::none : record_fault::damaged;
}

std::string encode(journal_mark m) {
  writer w;
  const auto start = w.open(mark_version);
  w.put(m.salt).put(m.sequence).close(start);
  return std::move(w).bytes();
}

std::optional<journal_mark> decode_mark(std::string_view row) {
  reader in{row};
  const auto [version, body] = in.get_envelope();
  reader fields{body};
  journal_mark mark;
  mark.salt = fields.get<std::uint64_t>();
  mark.sequence = fields.get<std::uint64_t>();
  if (!in.done() || !fields.done() || version != mark_version || mark.salt == 0)
    return std::nullopt;
  return mark;
}

} // namespace parley::storage
