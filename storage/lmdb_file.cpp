#include "storage/lmdb_file.hpp"

#include "protocol/values/last_words.hpp"

#include <cerrno>
#include <cstring>

namespace parley::storage {

disk_fault lmdb_failure(const std::string& file, const char* doing, int rc) {
  const bool rotten = rc == MDB_INVALID || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND;
  std::string what = std::string{"cannot "} + doing + " " + file + ": " + mdb_strerror(rc);
  if (rotten)
    what += ". The file is damaged. " + std::string{replace_directory_advice};
  else if (rc == EACCES || rc == EPERM)
    what += ". Run the node as the user who owns its data directory";
  return {rotten ? ec::corrupt : ec::storage_failed, std::move(what)};
}

void assertion_failed(MDB_env* env, const char* what) {
  const auto* file = static_cast<const std::string*>(mdb_env_get_userctx(env));
  end_process("parleyd: the data file " + (file ? *file : std::string{}) + " is damaged (LMDB: " + what +
              "). " + std::string{replace_directory_advice} + ".");
}

std::uint64_t count_free_pages(MDB_txn* txn, std::size_t moment) {
  // Table 0 is LMDB's own list: one record per transaction that freed pages, under its number; its first
  // word is how many.
  MDB_cursor* cursor = nullptr;
  if (mdb_cursor_open(txn, 0, &cursor) != 0)
    return 0;
  std::uint64_t pages = 0;
  MDB_val key{}, list{};
  while (mdb_cursor_get(cursor, &key, &list, MDB_NEXT) == 0) {
    std::size_t freed_at = 0, n = 0;
    if (key.mv_size >= sizeof freed_at)
      std::memcpy(&freed_at, key.mv_data, sizeof freed_at);
    if (freed_at >= moment)
      break;
    if (list.mv_size >= sizeof n)
      std::memcpy(&n, list.mv_data, sizeof n);
    pages += n;
  }
  mdb_cursor_close(cursor);
  return pages;
}

} // namespace parley::storage
