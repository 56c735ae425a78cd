#include "storage/spare_pages.hpp"

#include <cstdio>
#include <string>

namespace parley::storage {
namespace {

constexpr unsigned pages_in_turn = 64; ///< that one transaction writes; as many are kept in the end

/// Two rows fill a page.
bool write_pages(MDB_txn* txn, MDB_dbi table, const std::string& row) {
  for (unsigned i = 0; i < 2 * pages_in_turn; ++i) {
    char key[16];
    MDB_val k{static_cast<std::size_t>(std::snprintf(key, sizeof key, "\xff\xffspare%04u", i)), key};
    MDB_val value{row.size(), const_cast<char*>(row.data())};
    if (mdb_put(txn, table, &k, &value, 0) != 0)
      return false;
  }
  return true;
}

} // namespace

void free_pages(MDB_env* env, MDB_dbi table, std::uint64_t page_bytes, std::uint64_t pages) {
  MDB_txn* outer = nullptr;
  if (mdb_txn_begin(env, nullptr, 0, &outer) != 0)
    return;
  const std::string row(page_bytes / 2 - 128, '\0');
  bool goes_on = write_pages(outer, table, row);
  for (std::uint64_t freed = 0; freed < pages && goes_on; freed += pages_in_turn) {
    MDB_txn* inner = nullptr;
    if (mdb_txn_begin(env, outer, 0, &inner) != 0)
      break;
    goes_on = write_pages(inner, table, row);
    if (!goes_on)
      mdb_txn_abort(inner);
    else
      goes_on = mdb_txn_commit(inner) == 0;
  }
  mdb_txn_abort(outer);
}

} // namespace parley::storage
