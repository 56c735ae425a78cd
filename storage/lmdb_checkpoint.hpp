#pragma once
// One commit of an LMDB file, named so that a later start finds it, whatever was written to the file after it.
// Internal to storage/.
//
// LMDB writes each changed page in a new place and ends a commit with one of two meta pages, in turn; the newer one says
// where the trees begin. Without a sync before it, a meta page can reach the disk earlier than the pages it leads to. So a
// power failure leaves meta pages that cannot be believed, but every page of a commit that was synced once, as long as a
// reader kept LMDB from using them again. The name of such a commit holds both meta pages as they were behind it: with them
// in their places, LMDB opens that commit and knows of none later.
//
//   u32 page bytes, u32 crc of the page with the roots of the tables, 152 bytes of the first meta page, 152 of the second
//
// Which journal the file belongs to stands in its first page, behind what LMDB uses of it: u32 magic "PLid", u32 0, u64 salt, u64
// another salt, that of the journal before while a new one begins.
//
// The layout of a meta page is that of LMDB 0.9 on 64-bit machines (mdb.c: MDB_page's header, MDB_meta).
#include "storage/disk_fault.hpp"

#include <tl/expected.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::storage {

/// Writes that the file belongs to the journals with these salts. Not synced. 0, or an errno.
int belong_to(int file, std::uint64_t salt, std::uint64_t or_to);

/// Of the newest commit in the file, with pages of that size. Thread: the writer's, so that no commit comes between. An errno:
/// it could not be read.
tl::expected<std::string, int> name_commit(int file, std::uint64_t page_bytes);

/// What the operator is told of a data file that does not belong to the journal beside it.
disk_fault not_of_the_journal(const std::string& file);

/// Makes `file`, which nobody has open, begin with that commit, which the journal with that salt names. Not synced: until
/// something else is named, the next start does it again.
/// Errors: `corrupt` if the file is missing, or is not the one whose commit was named; it was not written to.
std::optional<disk_fault> return_to_commit(const std::string& file, std::uint64_t salt,
                                           std::string_view name);

} // namespace parley::storage
