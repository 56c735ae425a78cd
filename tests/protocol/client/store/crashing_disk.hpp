#pragma once
// A disk below SQLite that dies at the n-th write: from then on nothing reaches a file. What lies there is
// what a killed process leaves; or, after `lose_power`, what was synced and some of what was not.
#include <sqlcipher/sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace parley::test {

class crashing_disk {
public:
  /// Becomes SQLite's own idea of a disk for as long as the program runs: make one.
  crashing_disk() : below_{sqlite3_vfs_find(nullptr)} {
    vfs_ = *below_;
    vfs_.zName = "crashing";
    vfs_.szOsFile = static_cast<int>(sizeof(file)) + below_->szOsFile;
    vfs_.xOpen = open;
    vfs_.xDelete = remove;
    the_one = this;
    sqlite3_vfs_register(&vfs_, 1);
  }

  void die_at(std::size_t n) {
    at_ = n;
    count_ = 0;
    is_dead_ = false;
    files_.clear();
  }
  /// Whatever changes the world counts: writes, truncations, syncs, deletions, and messages that leave.
  bool lives() {
    if (!is_dead_ && ++count_ == at_)
      is_dead_ = true;
    return !is_dead_;
  }
  bool is_dead() const { return is_dead_; }
  std::size_t count() const { return count_; }
  std::size_t bytes_written = 0;
  bool remembers = false; ///< for lose_power

  /// Of what was written since the last sync of its file each piece is there, or not, or torn.
  void lose_power(std::uint64_t seed) {
    std::mt19937_64 random{seed};
    for (auto& [path, f] : files_) {
      for (const auto& c : f.since) {
        const auto fate = random() % 3;
        if (fate == 0)
          continue;
        if (c.truncates)
          f.synced.resize(c.offset);
        else {
          const auto n = fate == 1 ? c.data.size() : c.data.size() / 1024 * 512;
          f.synced.resize(std::max(f.synced.size(), c.offset + n));
          f.synced.replace(c.offset, n, c.data.substr(0, n));
        }
      }
      std::ofstream{path, std::ios::binary | std::ios::trunc} << f.synced;
      std::filesystem::remove(path.substr(0, path.rfind(".db")) + ".db-shm");
    }
  }

private:
  struct file {
    sqlite3_file base;
    const char* path;
    sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };
  struct change {
    std::size_t offset = 0;
    std::string data;
    bool truncates = false;
  };
  struct content {
    std::string synced;
    std::vector<change> since;
  };
  static file& of(sqlite3_file* f) { return *reinterpret_cast<file*>(f); }
  static sqlite3_file* under(sqlite3_file* f) { return of(f).below(); }
  static const sqlite3_io_methods* io(sqlite3_file* f) { return under(f)->pMethods; }

  content* content_of(sqlite3_file* f) { return remembers && of(f).path ? &files_[of(f).path] : nullptr; }

  static int open(sqlite3_vfs*, const char* path, sqlite3_file* f, int flags, int* out) {
    of(f).path = path;
    const int code = the_one->below_->xOpen(the_one->below_, path, under(f), flags, out);
    f->pMethods = under(f)->pMethods ? &methods : nullptr;
    return code;
  }
  static int remove(sqlite3_vfs*, const char* path, int sync) {
    if (!the_one->lives())
      return SQLITE_IOERR_DELETE;
    the_one->files_.erase(path);
    return the_one->below_->xDelete(the_one->below_, path, sync);
  }
  static int write(sqlite3_file* f, const void* data, int n, sqlite3_int64 at) {
    if (!the_one->lives())
      return SQLITE_IOERR_WRITE;
    the_one->bytes_written += static_cast<std::size_t>(n);
    if (auto* c = the_one->content_of(f))
      c->since.push_back({static_cast<std::size_t>(at),
                          {static_cast<const char*>(data), static_cast<std::size_t>(n)},
                          false});
    return io(f)->xWrite(under(f), data, n, at);
  }
  static int truncate(sqlite3_file* f, sqlite3_int64 size) {
    if (!the_one->lives())
      return SQLITE_IOERR_TRUNCATE;
    if (auto* c = the_one->content_of(f))
      c->since.push_back({static_cast<std::size_t>(size), {}, true});
    return io(f)->xTruncate(under(f), size);
  }
  /// Only counted: what is synced is a matter of `lose_power`, and tests need not wait for a disk.
  static int sync(sqlite3_file* f, int) {
    if (!the_one->lives())
      return SQLITE_IOERR_FSYNC;
    if (auto* c = the_one->content_of(f)) {
      std::ostringstream now;
      now << std::ifstream{of(f).path, std::ios::binary}.rdbuf();
      *c = {now.str(), {}};
    }
    return SQLITE_OK;
  }

  static inline crashing_disk* the_one = nullptr;
  static inline const sqlite3_io_methods methods = {
      3,
      [](sqlite3_file* f) { return io(f)->xClose(under(f)); },
      [](sqlite3_file* f, void* out, int n, sqlite3_int64 at) { return io(f)->xRead(under(f), out, n, at); },
      write,
      truncate,
      sync,
      [](sqlite3_file* f, sqlite3_int64* size) { return io(f)->xFileSize(under(f), size); },
      [](sqlite3_file* f, int how) { return io(f)->xLock(under(f), how); },
      [](sqlite3_file* f, int how) { return io(f)->xUnlock(under(f), how); },
      [](sqlite3_file* f, int* out) { return io(f)->xCheckReservedLock(under(f), out); },
      [](sqlite3_file* f, int op, void* arg) { return io(f)->xFileControl(under(f), op, arg); },
      [](sqlite3_file* f) { return io(f)->xSectorSize(under(f)); },
      [](sqlite3_file* f) { return io(f)->xDeviceCharacteristics(under(f)); },
      [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
        return io(f)->xShmMap(under(f), page, size, extend, out);
      },
      [](sqlite3_file* f, int at, int n, int flags) { return io(f)->xShmLock(under(f), at, n, flags); },
      [](sqlite3_file* f) { io(f)->xShmBarrier(under(f)); },
      [](sqlite3_file* f, int remove) { return io(f)->xShmUnmap(under(f), remove); },
      [](sqlite3_file* f, sqlite3_int64 at, int n, void** out) {
        return io(f)->xFetch(under(f), at, n, out);
      },
      [](sqlite3_file* f, sqlite3_int64 at, void* p) { return io(f)->xUnfetch(under(f), at, p); },
  };

  sqlite3_vfs* below_;
  sqlite3_vfs vfs_{};
  std::size_t at_ = 0, count_ = 0;
  bool is_dead_ = false;
  std::map<std::string, content> files_;
};

} // namespace parley::test
