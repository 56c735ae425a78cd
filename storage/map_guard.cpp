#include "storage/map_guard.hpp"

#include "protocol/values/last_words.hpp"

#include <execinfo.h>
#include <link.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>

namespace parley::storage {
namespace {

/// The sentence is composed when the file is opened, because a signal handler must not allocate.
struct guarded {
  std::atomic<std::uintptr_t> begin{0}, end{0}; ///< 0: nothing
  std::array<char, 1024> sentence{};
  bool taken = false; ///< guarded by `mutex`
};

constexpr std::size_t nowhere = ~std::size_t{0};
/// A length in a page has 32 bits, so what is read may end so far behind the map.
constexpr std::uintptr_t behind_map = std::uintptr_t{4} << 30;

std::array<guarded, 8> all; ///< a process opens one, tests a few
std::mutex mutex;
struct sigaction before_segv, before_bus;

/// Where LMDB's code is; nothing if it is linked statically.
std::uintptr_t code_begin = 0, code_end = 0;

int find_code(dl_phdr_info* of, std::size_t, void*) {
  if (std::strstr(of->dlpi_name, "liblmdb") == nullptr)
    return 0;
  for (int i = 0; i < of->dlpi_phnum; ++i)
    if (const auto& part = of->dlpi_phdr[i]; part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0) {
      code_begin = of->dlpi_addr + part.p_vaddr;
      code_end = code_begin + part.p_memsz;
    }
  return 1;
}

/// Whether this thread was in LMDB, or in what LMDB calls: it calls nothing of ours.
bool was_in_lmdb() {
  std::array<void*, 24> frames{};
  const int n = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  for (int i = 0; i < n; ++i)
    if (const auto at = reinterpret_cast<std::uintptr_t>(frames[static_cast<std::size_t>(i)]);
        at >= code_begin && at < code_end)
      return true;
  return false;
}

void on_fault(int signal, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const guarded* of = nullptr;
  bool inside = false;
  for (const auto& g : all) {
    const auto begin = g.begin.load(std::memory_order_relaxed);
    if (begin == 0 || inside)
      continue;
    of = &g;
    inside = at >= begin && at < g.end.load(std::memory_order_relaxed) + behind_map;
  }
  // A page may also lead it to where nothing ever was. A program that is not a test has one file.
  if (of != nullptr && (inside || was_in_lmdb()))
    end_process({of->sentence.data(), ::strnlen(of->sentence.data(), of->sentence.size())});
  ::sigaction(signal, signal == SIGSEGV ? &before_segv : &before_bus, nullptr); // the instruction is repeated
}

void handle(int signal, struct sigaction& before) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault)
    return;
  struct sigaction ours {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  before = now;
  ::sigaction(signal, &ours, nullptr);
}

/// For each file, because somebody else may have put a handler of its own in front of ours meanwhile.
void install() {
  static const bool once = [] {
    ::dl_iterate_phdr(find_code, nullptr);
    return was_in_lmdb(); // the first call may load a library, which a handler must not do
  }();
  static_cast<void>(once);
  handle(SIGSEGV, before_segv);
  handle(SIGBUS, before_bus);
}

} // namespace

map_guard::map_guard(const std::string& file) : file_{file}, place_{nowhere} {
  std::lock_guard guard{mutex};
  for (std::size_t i = 0; i < all.size() && place_ == nowhere; ++i)
    if (!all[i].taken)
      place_ = i;
  if (place_ == nowhere)
    return;
  auto& g = all[place_];
  g.taken = true;
  const auto sentence = "parleyd: the data file " + file +
                        " is damaged: a page of it points out of the file. " +
                        std::string{replace_directory_advice} + ".";
  g.sentence.fill('\0');
  sentence.copy(g.sentence.data(), g.sentence.size() - 1);
  install();
}

map_guard::~map_guard() {
  if (place_ == nowhere)
    return;
  cover(0, 0);
  std::lock_guard guard{mutex};
  all[place_].taken = false;
}

void map_guard::find_map() {
  struct stat is {};
  if (::stat(file_.c_str(), &is) != 0)
    return;
  // 7f0c0000-7f0d0000 r--s 00000000 fe:01 1234   /data/store.mdb
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words{line};
    std::string range, access, offset, device;
    std::uint64_t inode = 0;
    if (!(words >> range >> access >> offset >> device >> inode) || inode != is.st_ino ||
        access.find('s') == std::string::npos)
      continue;
    std::uintptr_t begin = 0, end = 0;
    const auto dash = range.find('-');
    if (dash == std::string::npos)
      continue;
    std::from_chars(range.data(), range.data() + dash, begin, 16);
    std::from_chars(range.data() + dash + 1, range.data() + range.size(), end, 16);
    if (end - begin >=
        static_cast<std::uintptr_t>(is.st_size)) // and not LMDB's lock file, or another file's map
      return cover(begin, end);
  }
}

void map_guard::cover(std::uintptr_t begin, std::uintptr_t end) {
  if (place_ == nowhere)
    return;
  all[place_].begin.store(0, std::memory_order_relaxed);
  all[place_].end.store(end, std::memory_order_relaxed);
  all[place_].begin.store(begin, std::memory_order_release);
}

} // namespace parley::storage
