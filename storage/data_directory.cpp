#include "storage/data_directory.hpp"

#include "protocol/values/chance.hpp"
#include "protocol/values/codec.hpp"
#include "protocol/values/last_words.hpp"
#include "storage/os.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

namespace parley::storage {
namespace {

constexpr std::string_view layout_text = "parley-data 1\n";
constexpr std::string_view identity_key = "i/identity";
constexpr std::string_view promise_key = "i/promise";
constexpr std::string_view start_key = "i/start";
constexpr std::string_view seen_prefix = "i/seen/";
constexpr std::size_t fence_bytes_max = 4096;
constexpr std::uint8_t row_version = 1;

tl::unexpected<disk_fault> objection(ec code, std::string what) {
  return tl::make_unexpected(disk_fault{code, std::move(what)});
}

tl::unexpected<disk_fault> os_objection(const std::string& doing, const std::string& path, int error) {
  std::string what = "cannot " + doing + " " + path + ": " + std::strerror(error);
  if (error == EACCES || error == EPERM)
    what += ". Run the node as the user who owns its data directory";
  return objection(error == ENOSPC ? ec::disk_full : ec::storage_failed, std::move(what));
}

std::string hex(cluster_id id) {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(id.hi),
                static_cast<unsigned long long>(id.lo));
  return text;
}

/// The content of a small file, or an errno.
tl::expected<std::string, int> slurp(const std::string& path, std::size_t bytes_max = 256) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return tl::make_unexpected(errno);
  std::string bytes(bytes_max, '\0');
  const auto n = ::read(fd, bytes.data(), bytes.size());
  const int error = errno;
  ::close(fd);
  if (n < 0)
    return tl::make_unexpected(error);
  bytes.resize(static_cast<std::size_t>(n));
  return bytes;
}

int write_durably(const std::string& directory, const std::string& path, std::string_view bytes) {
  const auto fresh = path + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    return errno;
  int error = 0;
  errno = ENOSPC; // what a short write means
  if (::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) || ::fsync(fd) != 0)
    error = errno;
  ::close(fd);
  if (error == 0 && ::rename(fresh.c_str(), path.c_str()) != 0)
    error = errno;
  return error != 0 ? error : sync_directory(directory);
}

tl::expected<void, disk_fault> check_layout(const std::string& directory, bool make) {
  const auto path = directory + "/layout";
  const auto found = slurp(path);
  if (!found && found.error() != ENOENT) // perhaps of another version, so it is not written anew
    return os_objection("read", path, found.error());
  if (!found && make) {
    if (const int error = write_durably(directory, path, layout_text); error != 0)
      return os_objection("write", path, error);
    return {};
  }
  if (!found)
    return objection(ec::bad_config, directory + " is no data directory of a node: it has no layout file");
  if (*found != layout_text)
    return objection(ec::unsupported_version,
                     directory +
                         " was laid out by another version of parleyd (its layout file does not say \"" +
                         std::string{layout_text.substr(0, layout_text.size() - 1)} +
                         "\"): start that version, or give this node another data directory");
  return {};
}

/// The descriptor of the lock file, locked.
tl::expected<int, disk_fault> take_lock(const std::string& directory, int flags) {
  const auto path = directory + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0600);
  if (fd < 0)
    return os_objection("open", path, errno);
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    if (error == EINTR)
      continue;
    ::close(fd);
    if (error != EWOULDBLOCK)
      return os_objection("lock", path, error);
    auto pid = slurp(path).value_or(std::string{});
    while (!pid.empty() && pid.back() == '\n')
      pid.pop_back();
    return objection(ec::storage_failed,
                     directory + " is in use by process " + (pid.empty() ? "?" : pid) +
                         ": stop that one first, or give this node another data directory");
  }
  // The pid is for people only, so the node starts even if the disk is too full to store it.
  const auto pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) == 0)
    (void)!::pwrite(fd, pid.data(), pid.size(), 0);
  return fd;
}

std::string encode(const identity& id) {
  writer w;
  const auto start = w.open(row_version);
  w.put(id.node).put(id.disk).put(id.cluster.hi).put(id.cluster.lo).close(start);
  return std::move(w).bytes();
}

std::string encode(cluster_id promised) {
  writer w;
  const auto start = w.open(row_version);
  w.put(promised.hi).put(promised.lo).close(start);
  return std::move(w).bytes();
}

/// What such a row holds; nothing, if it is not of this version. These rows are written again, so what a
/// newer version appended is not skipped.
std::optional<std::string_view> body_of(std::string_view row) {
  reader in{row};
  const auto e = in.get_envelope();
  return in.done() && e.version == row_version ? std::optional{e.body} : std::nullopt;
}

} // namespace

tl::expected<data_directory, disk_fault> data_directory::lock(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path{path}.parent_path(), error);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return os_objection("make", path, errno);
  auto fd = take_lock(path, O_CREAT);
  if (!fd)
    return tl::make_unexpected(std::move(fd.error()));
  data_directory locked{path, *fd};
  if (auto ok = check_layout(path, true); !ok)
    return tl::make_unexpected(std::move(ok.error()));
  return locked;
}

tl::expected<data_directory, disk_fault> data_directory::lock_existing(const std::string& path) {
  if (::access((path + "/layout").c_str(), F_OK) != 0)
    return objection(ec::bad_config, path + " is no data directory of a node: it has no layout file");
  auto fd = take_lock(path, O_CREAT); // a copy of a directory may lack it
  if (!fd)
    return tl::make_unexpected(std::move(fd.error()));
  data_directory locked{path, *fd};
  if (auto ok = check_layout(path, false); !ok)
    return tl::make_unexpected(std::move(ok.error()));
  return locked;
}

data_directory::data_directory(data_directory&& other) noexcept
    : path_{std::move(other.path_)}, fd_{std::exchange(other.fd_, -1)} {}

data_directory& data_directory::operator=(data_directory&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

data_directory::~data_directory() {
  if (fd_ >= 0)
    ::close(fd_);
}

tl::expected<std::optional<identity>, disk_fault> read_identity(read_txn& txn) {
  const auto row = txn.get(table::node, identity_key);
  if (!row) {
    if (txn.status() != ec::none)
      return objection(
          txn.status(),
          "the identity of this node cannot be read from its data directory: the file is damaged. " +
              std::string{replace_directory_advice});
    return std::nullopt;
  }
  const auto body = body_of(*row);
  reader in{body.value_or("")};
  identity id;
  id.node = in.get<node_id>();
  id.disk = in.get<disk_id>();
  id.cluster.hi = in.get<std::uint64_t>();
  id.cluster.lo = in.get<std::uint64_t>();
  if (!in.done())
    return objection(
        ec::corrupt,
        "the identity of this node in its data directory has an unknown format: start the version of parleyd "
        "that wrote it. If there is none: " +
            std::string{replace_directory_advice});
  return id;
}

tl::expected<identity, disk_fault> claim_identity(write_txn& txn, node_id node) {
  auto found = read_identity(txn);
  if (!found)
    return tl::make_unexpected(std::move(found.error()));
  if (const auto promised = read_promise(txn); !promised)
    return tl::make_unexpected(promised.error());
  if (*found) {
    if ((*found)->node != node)
      return objection(ec::bad_config,
                       "the data directory belongs to node " + std::to_string(number((*found)->node)) +
                           ", and this is node " + std::to_string(number(node)) +
                           ": correct the number (--node), or give this node another data directory");
    return **found;
  }
  const identity fresh{node, disk_id{system_chance().nonzero()}, {}};
  txn.put(table::node, identity_key, encode(fresh));
  return fresh;
}

tl::expected<void, disk_fault> join_cluster(write_txn& txn, cluster_id cluster) {
  auto found = read_identity(txn);
  if (!found)
    return tl::make_unexpected(std::move(found.error()));
  if (!*found)
    return objection(ec::internal, "a node without an identity cannot join a cluster");
  auto id = **found;
  if (id.cluster == cluster)
    return {};
  if (id.cluster.is_set())
    return objection(ec::wrong_cluster, "the data directory belongs to cluster " + hex(id.cluster) +
                                            ", and the others are cluster " + hex(cluster) +
                                            ": correct the seeds, or give this node another data directory");
  const auto promised = read_promise(txn);
  if (!promised)
    return tl::make_unexpected(promised.error());
  if (*promised && **promised != cluster)
    return objection(ec::wrong_cluster,
                     "this node promised to form cluster " + hex(**promised) +
                         ", and the others are cluster " + hex(cluster) +
                         ": if that formation was given up, start it with an empty data directory");
  id.cluster = cluster;
  txn.put(table::node, identity_key, encode(id));
  return {};
}

tl::expected<std::optional<cluster_id>, disk_fault> read_promise(read_txn& txn) {
  const auto row = txn.get(table::node, promise_key);
  if (!row) {
    if (txn.status() != ec::none)
      return objection(txn.status(),
                       "this node's promise cannot be read from its data directory: check the disk");
    return std::nullopt;
  }
  const auto body = body_of(*row);
  reader in{body.value_or("")};
  cluster_id id;
  id.hi = in.get<std::uint64_t>();
  id.lo = in.get<std::uint64_t>();
  if (!in.done())
    return objection(ec::corrupt,
                     "this node's promise in its data directory is of an unknown form: start the "
                     "version of parleyd that wrote it, or give this node another data directory");
  return id;
}

tl::expected<void, disk_fault> promise_cluster(write_txn& txn, cluster_id cluster, earlier_promise policy) {
  auto found = read_identity(txn);
  if (!found)
    return tl::make_unexpected(std::move(found.error()));
  if (*found && (*found)->cluster.is_set() && (*found)->cluster != cluster)
    return objection(ec::wrong_cluster, "this node already belongs to cluster " + hex((*found)->cluster) +
                                            ", so it joins no other: give it another data directory");
  const auto promised = read_promise(txn);
  if (!promised)
    return tl::make_unexpected(promised.error());
  if (*promised == cluster)
    return {};
  if (*promised && policy == earlier_promise::binds)
    return objection(ec::wrong_cluster,
                     "this node already promised to form cluster " + hex(**promised) +
                         ": if that formation was given up, start it with an empty data directory");
  txn.put(table::node, promise_key, encode(cluster));
  return {};
}

tl::expected<start_history, disk_fault> begin_start(write_txn& txn) {
  start_history h;
  if (const auto row = txn.get(table::node, start_key)) {
    const auto body = body_of(*row);
    reader in{body.value_or("")};
    h.number = in.get<std::uint64_t>();
    const auto n = in.get<std::uint32_t>();
    for (std::uint32_t i = 0; i < n && i <= start_history::words_max && in.ok(); ++i)
      h.words.push_back(in.get<std::uint64_t>());
    if (!in.done() || h.words.empty())
      return objection(
          ec::corrupt,
          "the number of this node's last start in its data directory is of an unknown form: start the "
          "version of parleyd that wrote it, or move the directory away and start this node with an "
          "empty one, which the other replicas, if there are any, fill");
  } else if (txn.status() != ec::none) {
    return objection(
        txn.status(),
        "the number of this node's last start cannot be read from its data directory: check the disk");
  }
  ++h.number;
  h.words.push_back(system_chance().nonzero());
  if (h.words.size() > start_history::words_max)
    h.words.erase(h.words.begin());
  writer w;
  const auto start = w.open(row_version);
  w.put(h.number).put(static_cast<std::uint32_t>(h.words.size()));
  for (const auto word : h.words)
    w.put(word);
  w.close(start);
  txn.put(table::node, start_key, std::move(w).bytes());
  return h;
}

std::string seen_key(node_id node) {
  return key_writer{}.raw(seen_prefix).put(node).bytes();
}

tl::expected<std::vector<std::pair<node_id, std::string>>, disk_fault> read_seen(read_txn& txn) {
  std::vector<std::pair<node_id, std::string>> out;
  std::string above{seen_prefix};
  ++above.back();
  txn.ascend(table::node, seen_prefix, above, [&](std::string_view key, std::string_view value) {
    key_reader in{key.substr(seen_prefix.size())};
    const auto node = in.get<node_id>();
    if (in.ok() && in.rest().empty())
      out.emplace_back(node, value);
    return scan::more;
  });
  if (txn.status() != ec::none)
    return objection(txn.status(),
                     "what this node saw of the starts of other nodes cannot be read from its data "
                     "directory: check the disk");
  return out;
}

static constexpr std::string_view anew_line = "begin anew once the others have everything\n";

tl::expected<fence, disk_fault> read_fence(const std::string& directory) {
  const auto path = directory + "/fenced";
  const auto found = slurp(path, fence_bytes_max);
  if (!found && found.error() == ENOENT)
    return fence{};
  if (!found)
    return os_objection("read", path, found.error());
  fence f;
  f.why = found->substr(0, found->find('\n'));
  if (f.why.empty())
    f.why = "this directory was fenced earlier";
  if (found->ends_with(anew_line))
    f.next = fence::then::begin_anew;
  return f;
}

tl::expected<void, disk_fault> write_fence(const std::string& directory, const fence& f) {
  const auto path = directory + "/fenced";
  if (::access(path.c_str(), F_OK) == 0)
    return {};
  auto text = f.why.substr(0, fence_bytes_max / 2) + "\n";
  if (f.next == fence::then::begin_anew)
    text.append(anew_line);
  if (const int error = write_durably(directory, path, text); error != 0)
    return os_objection("write", path, error);
  return {};
}

tl::expected<void, disk_fault> remove_fence(const std::string& directory) {
  const auto path = directory + "/fenced";
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return os_objection("remove", path, errno);
  if (const int failed = sync_directory(directory); failed != 0)
    return os_objection("sync", directory, failed);
  return {};
}

tl::expected<std::string, disk_fault> set_aside(const std::string& directory, const std::string& when) {
  namespace fs = std::filesystem;
  std::error_code error;
  auto from = fs::absolute(directory, error).lexically_normal();
  if (!from.has_filename())
    from = from.parent_path();
  const auto begins = from.filename().string() + ".aside-";
  std::size_t asides = 0;
  for (const auto& entry : fs::directory_iterator{from.parent_path(), error})
    asides += entry.path().filename().string().starts_with(begins);
  if (error)
    return os_objection("look at", from.parent_path().string(), error.value());
  if (asides >= asides_max)
    return objection(ec::storage_failed,
                     from.parent_path().string() + " holds " + std::to_string(asides) +
                         " directories that were set aside already: look why, and remove those that "
                         "you do not need");
  std::uintmax_t held = 0;
  for (const auto& entry : fs::recursive_directory_iterator{from, error})
    if (std::error_code not_a_file; entry.is_regular_file(not_a_file))
      held += entry.file_size(not_a_file);
  const auto disk = fs::space(from, error);
  if (error)
    return os_objection("look at", from.string(), error.value());
  if (disk.available < held)
    return objection(
        ec::disk_full,
        from.string() + " holds " + std::to_string(held >> 20) + " MiB, and its disk has " +
            std::to_string(disk.available >> 20) +
            " MiB free: what the other nodes send again does not fit beside it. Free space, or move "
            "the directory to another disk and start the node with an empty one");
  auto to = from.string() + ".aside-" + when;
  if (::rename(from.c_str(), to.c_str()) != 0)
    return os_objection("rename", from.string() + " to " + to, errno);
  if (const int failed = sync_directory(from.parent_path().string()); failed != 0)
    return os_objection("sync", from.parent_path().string(), failed);
  return to;
}

cluster_id random_cluster_id() {
  return {system_chance().nonzero(), system_chance().nonzero()};
}

} // namespace parley::storage
