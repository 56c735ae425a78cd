// Measures what a device in a large group pays to store what it sends and receives: the engine's
// parts and the message in one transaction of the profile's database, on a real disk. It prints the
// figures and judges none.
#include "protocol/client/store/group_parts.hpp"
#include "tests/harness/bench/figures.hpp"
#include "tests/harness/bench/large_group.hpp"

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

using namespace parley;
using namespace parley::bench;
using namespace parley::mls::bench;

namespace {

constexpr conversation_id talk{1, 2};

struct settings {
  std::uint32_t members = 1'000;
  int rounds = 5, messages = 200;
  std::string directory = ".";
  bool json = false;
};

/// All bytes that this process has written, including what the WAL and its checkpoints repeat.
std::uint64_t bytes_written() {
  std::ifstream io{"/proc/self/io"};
  std::string key;
  for (std::uint64_t value = 0; io >> key >> value;)
    if (key == "wchar:")
      return value;
  return 0;
}

/// The database's key is in a file beside it, as in any profile.
struct device {
  client::sqlite_store store;
  client::group_parts parts{store, mls::view_of("bench")};
  explicit device(const std::filesystem::path& at) : store{at} {}

  mls::group loaded(const mls::client_identity& who) const {
    return taken(mls::group_store::load(parts, who.copy()), "loading");
  }
  void save(mls::group& g) {
    auto all = store.begin();
    check(mls::group_store::save(g, parts), "saving");
    all.commit();
  }

  mls::bytes sends(mls::group& g, const mls::surroundings& s, std::string words) {
    auto all = store.begin();
    auto sealed = taken(g.send(mls::view_of(words), {}, s), "sending");
    store.enqueue(talk, std::move(words));
    save(g);
    all.commit();
    return sealed;
  }
  void gets(mls::group& g, const mls::surroundings& s, const mls::bytes& sealed, std::uint64_t nth) {
    auto all = store.begin();
    const auto heard = std::get<mls::application_message>(taken(g.receive(sealed, s), "receiving"));
    client::message m;
    m.conversation = talk;
    m.seq = seq_no{nth};
    const auto words = heard.data.view();
    m.body.assign(words.begin(), words.end());
    client::applied_batch batch;
    batch.messages.push_back(&m);
    batch.positions.emplace_back(talk, m.seq);
    batch.upto = "after " + std::to_string(nth);
    store.apply(batch);
    save(g);
    all.commit();
  }
};

/// Measures the disk alone: the bytes of one page, synced, in an existing file.
std::vector<sample> sync_alone(const std::filesystem::path& directory, const settings& how) {
  const auto file = directory / "sync";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT, 0600);
  const std::array<char, 4096> page{};
  const auto write = [&](int i) {
    if (::pwrite(fd, page.data(), page.size(), 4096 * (i % 64)) < 0 || ::fdatasync(fd) != 0)
      std::perror("profile_bench");
  };
  for (int i = 0; i < 64; ++i)
    write(i);
  auto all = rounds_of(how.rounds, how.messages, write);
  ::close(fd);
  return all;
}

void measure(report& out, const std::filesystem::path& directory, const settings& how) {
  const world w{how.members};
  large_group g{w, how.members, true};
  auto &from = g.live.at(0), &to = g.live.at(1);
  device mine{directory / "sends"}, theirs{directory / "receives"};
  const auto n = std::to_string(how.members);

  const auto first_save = timed(1, [&](int) { mine.save(from); });
  out.time("first_save", "keep a group for the first time, N = " + n, {first_save});
  theirs.save(to);
  out.time("load", "load it", rounds_of(how.rounds, 1, [&](int) { mine.loaded(w.devices[0].identity); }));
  out.time("sync", "(a page and a sync, without a database)", sync_alone(directory, how));

  std::vector<mls::bytes> way(static_cast<std::size_t>(how.messages));
  std::vector<sample> sent, received;
  std::uint64_t sent_bytes = 0, received_bytes = 0, nth = 0;
  way[0] = mine.sends(from, *w.s, "the first of the epoch"); // writes more than the messages after it
  theirs.gets(to, *w.s, way[0], ++nth);
  for (int r = 0; r < how.rounds; ++r) {
    auto before = bytes_written();
    sent.push_back(timed(how.messages, [&](int i) {
      way[static_cast<std::size_t>(i)] = mine.sends(from, *w.s, std::string(100, 'a'));
    }));
    sent_bytes += bytes_written() - before;
    before = bytes_written();
    received.push_back(
        timed(how.messages, [&](int i) { theirs.gets(to, *w.s, way[static_cast<std::size_t>(i)], ++nth); }));
    received_bytes += bytes_written() - before;
  }
  const auto all = static_cast<double>(how.rounds * how.messages);
  out.time("send", "send 100 bytes and keep it", sent);
  out.number("send_bytes", "given to the disk for it, checkpoints too", static_cast<double>(sent_bytes) / all,
             "bytes");
  out.time("receive", "receive 100 bytes and keep them", received);
  out.number("receive_bytes", "given to the disk for it", static_cast<double>(received_bytes) / all, "bytes");

  std::vector<sample> commits;
  for (int r = 0; r < how.rounds; ++r) {
    auto made = taken(from.commit({}, *w.s), "a commit");
    check(from.confirm(std::move(made.pending)), "confirming");
    mine.save(from);
    commits.push_back(timed(1, [&](int) {
      check(to.confirm(g.received(to, made.commit)), "confirming");
      theirs.save(to);
    }));
  }
  out.time("commit", "process a commit and keep the epoch", commits);
}

} // namespace

int main(int argc, char** argv) {
  settings how;
  CLI::App app{
      "profile_bench: measures the cost of storing a message of a large group, on the disk of a directory."};
  app.add_option("--members", how.members, "The number of members of the group")
      ->capture_default_str()
      ->check(CLI::Range(3, 50'000));
  app.add_option("--rounds", how.rounds, "The number of rounds; their median is printed")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000));
  app.add_option("--messages", how.messages, "The number of messages in a round")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app.add_option("--directory", how.directory,
                 "The directory in which two profiles are created and then removed")
      ->capture_default_str()
      ->check(CLI::ExistingDirectory);
  app.add_flag("--json", how.json, "Also prints the figures as one line of JSON at the end");
  CLI11_PARSE(app, argc, argv);
  auto made = (std::filesystem::path{how.directory} / "profile_bench-XXXXXX").string();
  if (!::mkdtemp(made.data())) {
    std::perror("profile_bench");
    return 1;
  }
  report out;
  std::printf("%-64s %10s %10s\n", "microseconds, medians", "CPU", "wall");
  int code = 0;
  try {
    measure(out, made, how);
    if (how.json)
      out.print_json();
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "profile_bench: %s\n", failed.what());
    code = 1;
  }
  std::filesystem::remove_all(made);
  return code;
}
