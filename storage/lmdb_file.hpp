#pragma once
// What is said and asked about an LMDB file beside its transactions. Internal to storage/.
#include "storage/disk_fault.hpp"

#include <lmdb.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace parley::storage {

/// Why LMDB cannot use `file`, with advice.
disk_fault lmdb_failure(const std::string& file, const char* doing, int rc);

/// LMDB's own: it found a page that cannot be, and would abort. Its user context is the file's name.
void assertion_failed(MDB_env* env, const char* what);

/// Pages that were freed before `moment`, the number of a commit.
std::uint64_t count_free_pages(MDB_txn* txn, std::size_t moment);

} // namespace parley::storage
