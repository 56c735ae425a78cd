#include "protocol/client/tool/errands.hpp"

#include "protocol/values/codec.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace parley::tool {
namespace {

constexpr auto socket_name = "socket";
constexpr std::uint32_t frame_bytes_max = body_bytes_max + 4'096;

/// A path below an open directory is short, and the address of a socket has no room for a long one.
sockaddr_un address_below(int directory) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  const auto path = fmt::format("/proc/self/fd/{}/{}", directory, socket_name);
  std::memcpy(at.sun_path, path.data(), path.size());
  return at;
}

kj::AutoCloseFd open_directory(const std::filesystem::path& profile) {
  return kj::AutoCloseFd{::open(profile.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
}

/// A frame is its length in four bytes, in the order of this machine, and its bytes: both ends are programs of one
/// machine.
kj::Promise<void> write_frame(kj::AsyncIoStream& to, std::string bytes) {
  auto frame = std::make_unique<std::string>(4, '\0');
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(frame->data(), &size, 4);
  *frame += bytes;
  auto done = to.write(frame->data(), frame->size());
  return done.attach(kj::mv(frame));
}

/// None at the end of the stream, and for a frame that is longer than any of ours.
kj::Promise<std::optional<std::string>> read_frame(kj::AsyncIoStream& from) {
  using frame = std::optional<std::string>;
  auto size = std::make_unique<std::uint32_t>(0);
  auto read = from.tryRead(size.get(), 4, 4);
  return read.then([&from, size = kj::mv(size)](std::size_t got) -> kj::Promise<frame> {
    if (got < 4 || *size > frame_bytes_max)
      return frame{};
    auto bytes = std::make_unique<std::string>(*size, '\0');
    auto rest = from.tryRead(bytes->data(), bytes->size(), bytes->size());
    return rest.then([bytes = kj::mv(bytes)](std::size_t n) -> frame {
      return n == bytes->size() ? frame{std::move(*bytes)} : frame{};
    });
  });
}

constexpr std::uint8_t version = 1; ///< of both envelopes

std::string packed(const errand& e) {
  writer w;
  const auto start = w.open(version);
  w.put(std::string_view{e.whom}).put(std::string_view{e.body});
  w.close(start);
  return std::move(w).bytes();
}

std::optional<errand> unpack_errand(std::string_view bytes) {
  reader outer{bytes};
  reader r{outer.get_envelope().body};
  errand e;
  e.whom = r.get_bytes();
  e.body = r.get_bytes();
  return outer.ok() && r.ok() ? std::optional{std::move(e)} : std::nullopt;
}

std::string packed(const errand_answer& a) {
  writer w;
  const auto start = w.open(version);
  w.put(static_cast<std::uint8_t>(a.how)).put(std::string_view{a.sentence});
  w.put(a.placed.counter).put(a.placed.conversation).put(a.placed.seq).put(a.placed.id).put(a.placed.at);
  w.put(std::uint8_t{a.placed.duplicate}).put(std::uint8_t{a.kept});
  w.close(start);
  return std::move(w).bytes();
}

std::optional<errand_answer> unpack_answer(std::string_view bytes) {
  reader outer{bytes};
  reader r{outer.get_envelope().body};
  errand_answer a;
  const auto how = r.get<std::uint8_t>();
  a.how = how <= static_cast<std::uint8_t>(status::fenced) ? static_cast<status>(how) : status::local;
  a.sentence = r.get_bytes();
  a.placed.counter = r.get<std::uint64_t>();
  a.placed.conversation = r.get_conversation();
  a.placed.seq = r.get<seq_no>();
  a.placed.id = r.get_message_id();
  a.placed.at = r.get<unix_ms>();
  a.placed.duplicate = r.get<std::uint8_t>() != 0;
  if (!r.rest().empty()) // a chat of an older parley says nothing in between
    a.kept = r.get<std::uint8_t>() != 0;
  return outer.ok() && r.ok() ? std::optional{std::move(a)} : std::nullopt;
}

} // namespace

errand_desk::errand_desk(kj::AsyncIoContext& io, const std::filesystem::path& profile, handler serve)
    : file_{profile / socket_name}, serve_{std::move(serve)} {
  ::unlink(file_.c_str()); // of a chat that was killed: this one has the lock of the profile
  const auto directory = open_directory(profile);
  kj::AutoCloseFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  const auto at = address_below(directory.get());
  const auto mask = ::umask(0177);
  const bool bound =
      fd.get() >= 0 && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
  ::umask(mask);
  if (!bound || ::listen(fd.get(), connections_max) != 0)
    return;
  port_ =
      io.lowLevelProvider->wrapListenSocketFd(kj::mv(fd), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC |
                                                              kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
  accepting_ = accept().eagerlyEvaluate([](kj::Exception&&) {}); // out of descriptors: the desk is closed
}

errand_desk::~errand_desk() noexcept(false) {
  if (port_.get() != nullptr)
    ::unlink(file_.c_str());
}

kj::Promise<void> errand_desk::accept() {
  if (open_ >= connections_max) {
    auto paf = kj::newPromiseAndFulfiller<void>();
    room_ = kj::mv(paf.fulfiller);
    return paf.promise.then([this] { return accept(); });
  }
  return port_->accept().then([this](kj::Own<kj::AsyncIoStream> stream) {
    ++open_;
    auto& with = *stream;
    served_.add(
        serve_all(with).attach(kj::mv(stream)).then([this] { left(); }, [this](kj::Exception&&) { left(); }));
    return accept();
  });
}

void errand_desk::left() {
  --open_;
  if (room_.get() != nullptr && room_->isWaiting())
    room_->fulfill();
}

kj::Promise<void> errand_desk::serve_all(kj::AsyncIoStream& with) {
  return read_frame(with).then([this, &with](std::optional<std::string>&& frame) -> kj::Promise<void> {
    auto asked = frame ? unpack_errand(*frame) : std::nullopt;
    if (!asked)
      return kj::READY_NOW;
    return serve_(std::move(*asked))
        .then([this, &with](errand_taken&& taken) { return answer(with, kj::mv(taken)); })
        .then([this, &with] { return serve_all(with); });
  });
}

kj::Promise<void> errand_desk::answer(kj::AsyncIoStream& with, errand_taken taken) {
  if (taken.now)
    return write_frame(with, packed(*taken.now));
  // As the only answer it is understood by a `send` of an older parley, which waits for no other.
  const errand_answer kept{
      status::unreachable, "The chat that has the profile open keeps the message.", {}, true};
  // Whoever asked may be gone. What becomes of the message is waited for all the same: the chat shows it.
  return write_frame(with, packed(kept))
      .catch_([](kj::Exception&&) {})
      .then([&with, later = kj::mv(taken.later)]() mutable {
        return later.then([&with](errand_answer&& a) { return write_frame(with, packed(a)); });
      });
}

std::optional<errand_line> errand_line::open(kj::AsyncIoContext& io, const std::filesystem::path& profile) {
  const auto directory = open_directory(profile);
  kj::AutoCloseFd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const auto at = address_below(directory.get());
  if (directory.get() < 0 || fd.get() < 0 ||
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
    return std::nullopt;
  return errand_line{
      io.lowLevelProvider->wrapSocketFd(kj::mv(fd), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC)};
}

kj::Promise<errand_end> errand_line::hand_over(errand what, std::function<void()> kept) {
  // Where a local socket closes with bytes that its process has not read, or before its process has taken it from the
  // queue, the kernel resets the connection: what was in it was never seen by anybody. Otherwise it only ends.
  return write_frame(*stream_, packed(what))
      .then([this, kept = std::move(kept)] { return read_answer(kept); })
      .catch_([](kj::Exception&&) {
        return errand_end{{}, false};
      });
}

kj::Promise<errand_end> errand_line::read_answer(std::function<void()> kept) {
  return read_frame(*stream_).then(
      [this, kept = std::move(kept)](std::optional<std::string>&& frame) -> kj::Promise<errand_end> {
        auto a = frame ? unpack_answer(*frame) : std::nullopt;
        if (!a || !a->kept)
          return errand_end{kj::mv(a)};
        kept();
        return read_answer(kept);
      });
}

} // namespace parley::tool
