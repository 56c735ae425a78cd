#pragma once
// What a record of the journal holds, and the row of the tables that names the last record in them.
//
//   put, append    u8 op, u8 table, bytes key, bytes value
//   erase          u8 op, u8 table, bytes key
//   erase_range    u8 op, u8 table, bytes from, bytes to, u64 rows_max
//
// The operations of a batch follow each other without lengths of their own, so a reader that does not know
// one of them cannot read those behind it. Earlier programs therefore refuse a record with a new operation or
// table. An operation that exists never changes without a new version of the record (journal.cpp).
#include "storage/environment.hpp"
#include "storage/journal.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace parley::storage {

enum class journal_op : std::uint8_t { put = 1, append = 2, erase = 3, erase_range = 4 }; // never renumber
/// Whether this program knows the operation.
bool is_known(journal_op what);

void note_put(std::string& out, table t, std::string_view key, std::string_view value);
void note_append(std::string& out, table t, std::string_view key, std::string_view value);
void note_erase(std::string& out, table t, std::string_view key);
void note_erase_range(std::string& out, table t, std::string_view from, std::string_view to,
                      std::size_t rows_max);

/// Repeats on `txn` what was noted.
record_fault redo(write_txn& txn, std::string_view payload);

/// An envelope: u64 salt, never 0, and u64 sequence.
inline constexpr std::string_view mark_key = "j/journal";
std::string encode(journal_mark m);
/// `none`: damaged, or of another version.
std::optional<journal_mark> decode_mark(std::string_view row);

} // namespace parley::storage
