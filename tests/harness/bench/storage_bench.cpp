// Measures the cost of a commit on this machine's disk, and the part of it beyond the sync. It prints
// the figures and judges none.
//
//   storage_bench [directory on the disk to measure] [seconds per line]
#include "storage/crc32c.hpp"
#include "storage/lmdb_environment.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

using namespace parley;
using namespace parley::storage;

namespace {

using steady = std::chrono::steady_clock;

double micros(steady::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

double at(std::vector<double>& sorted, double share) {
  return sorted.empty()
             ? 0
             : sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * sorted.size()))];
}

std::string big_endian(std::uint64_t n) {
  std::string key(8, '\0');
  for (int i = 7; i >= 0; --i, n >>= 8)
    key[static_cast<std::size_t>(i)] = static_cast<char>(n & 0xff);
  return key;
}

void floor_line(const std::string& directory, std::chrono::duration<double> for_) {
  const auto path = directory + "/floor";
  const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  const std::string page(4096, 'p');
  std::vector<double> took;
  for (const auto end = steady::now() + for_; steady::now() < end;) {
    const auto began = steady::now();
    if (fd < 0 || ::write(fd, page.data(), page.size()) != 4096 || ::fdatasync(fd) != 0) {
      std::perror(path.c_str());
      std::exit(1);
    }
    took.push_back(micros(steady::now() - began));
  }
  ::close(fd);
  ::unlink(path.c_str());
  std::sort(took.begin(), took.end());
  std::printf("%-38s %9s %9s %9.0f %9.0f\n", "floor: append 4 KiB, fdatasync", "", "", at(took, .5),
              at(took, .99));
}

struct shape {
  const char* name;
  int appended; ///< log rows per commit
  int put;      ///< state rows per commit, at random keys among `keys`
  std::uint64_t keys;
  std::size_t bytes; ///< per row
  bool trims; ///< also erases as many log rows, those that were appended 5,000 rows ago: the steady state
};

std::uint64_t sequence = 0;

void commit_line(lmdb_environment& env, const shape& s, std::chrono::duration<double> for_) {
  std::mt19937_64 random{1};
  const std::string value(s.bytes, 'v');
  std::vector<double> building, committing;
  std::uint64_t rows = 0;
  const auto start = steady::now();
  for (const auto end = start + for_; steady::now() < end;) {
    const auto began = steady::now();
    auto txn = env.begin_write();
    for (int i = 0; i < s.appended; ++i)
      txn->append(table::log, big_endian(++sequence), value);
    for (int i = 0; i < s.put; ++i)
      txn->put(table::state, big_endian(mix64(random() % s.keys)), value);
    rows += static_cast<std::uint64_t>(s.appended + s.put);
    if (s.trims && sequence > 5000)
      txn->erase_range(table::log, {}, big_endian(sequence - 5000), 2 * static_cast<std::size_t>(s.appended));
    const auto built = steady::now();
    if (txn->commit() != ec::none)
      std::exit(1);
    building.push_back(micros(built - began));
    committing.push_back(micros(steady::now() - built));
  }
  const auto seconds = std::chrono::duration<double>(steady::now() - start).count();
  std::sort(building.begin(), building.end());
  std::sort(committing.begin(), committing.end());
  std::printf("%-38s %9.0f %9.0f %9.0f %9.0f %11.0f\n", s.name, at(building, .5), at(building, .99),
              at(committing, .5), at(committing, .99), static_cast<double>(rows) / seconds);
}

template <class Once>
void per_call(const char* name, int times, Once once) {
  const auto began = steady::now();
  for (int i = 0; i < times; ++i)
    once();
  std::printf("%-38s %9.0f ns\n", name, 1000 * micros(steady::now() - began) / times);
}

} // namespace

int main(int argc, char** argv) {
  const auto where = std::filesystem::path{argc > 1 ? argv[1] : "."};
  const std::chrono::duration<double> for_{argc > 2 ? std::atof(argv[2]) : 2.0};
  auto pattern = (where / "storage-bench-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    std::perror(pattern.c_str());
    return 1;
  }
  {
    auto env = lmdb_environment::open(pattern, {});
    if (!env) {
      std::fprintf(stderr, "%s\n", env.error().what.c_str());
      return 1;
    }
    std::printf("%-38s %9s %9s %9s %9s %11s\n", "microseconds", "build p50", "p99", "commit p50", "p99",
                "rows/s");
    floor_line(pattern, for_);
    for (const auto& s : {
             shape{"1 log row of 200 B", 1, 0, 1, 200, false},
             shape{"30 log rows", 30, 0, 1, 200, false},
             shape{"300 log rows", 300, 0, 1, 200, false},
             shape{"5 log + 25 state rows, 10,000 keys", 5, 25, 10'000, 200, false},
             shape{"5 log + 25 state rows, trimming", 5, 25, 10'000, 200, true},
             shape{"50 log + 250 state rows, trimming", 50, 250, 10'000, 200, true},
             shape{"4 log rows of 64 KiB, trimming", 4, 0, 1, 64 << 10, true},
         })
      commit_line(**env, s, for_);

    std::mt19937_64 random{2};
    per_call("begin_read and end", 200'000, [&] { (*env)->begin_read(); });
    per_call("room", 50'000, [&] { (*env)->room(); });
    auto txn = (*env)->begin_read();
    std::uint64_t found = 0;
    per_call("get of a 200 B row", 500'000,
             [&] { found += txn->get(table::state, big_endian(mix64(random() % 10'000))) ? 1 : 0; });
    std::uint64_t scanned = 0;
    const auto began = steady::now();
    for (int i = 0; i < 20; ++i)
      txn->ascend(table::state, {}, {}, [&](std::string_view, std::string_view) {
        ++scanned;
        return scan::more;
      });
    std::printf("%-38s %9.0f ns\n", "scan, per 200 B row",
                1000 * micros(steady::now() - began) /
                    static_cast<double>(std::max<std::uint64_t>(scanned, 1)));
    const std::string block(64 << 10, 'b');
    std::uint32_t sum = 0;
    per_call("crc32c of 64 KiB", 2'000, [&] { sum ^= crc32c(block, sum); });
    per_call("crc32c of 64 KiB, by table", 500, [&] { sum ^= crc32c_by_table(block, sum); });
    const auto stats = (*env)->stats();
    std::printf("(%llu commits, %llu rows found, file %llu MiB of which free %llu MiB, checksum %08x)\n",
                static_cast<unsigned long long>(stats.commits), static_cast<unsigned long long>(found),
                static_cast<unsigned long long>(stats.used_bytes >> 20),
                static_cast<unsigned long long>(stats.free_bytes >> 20), sum);
  }
  std::error_code ignored;
  std::filesystem::remove_all(pattern, ignored);
}
