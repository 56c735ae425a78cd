// What applying costs on a real LMDB environment: microseconds of CPU and bytes written per command.
//   apply_cost DIRECTORY [messages per commit] [conversations] [commits]
// Each message goes the whole way inside one shard: appended, put into the other's inbox, confirmed,
// acknowledged.
#include "actors/core/calls.hpp"
#include "cluster/machine/shard_machine.hpp"
#include "storage/lmdb_environment.hpp"

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>

using namespace parley;

namespace {

double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return 1e6 * static_cast<double>(t.tv_sec) + 1e-3 * static_cast<double>(t.tv_nsec);
}

struct meter {
  double us = 0;
  std::uint64_t commands = 0;
};

} // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: apply_cost DIRECTORY [messages per commit] [conversations] [commits]\n");
    return 2;
  }
  const std::uint64_t batch = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 200;
  const std::uint64_t pairs = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 200;
  const std::uint64_t commits = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 300;
  std::filesystem::create_directories(argv[1]);
  auto env = storage::lmdb_environment::open(argv[1], {});
  if (!env) {
    std::fprintf(stderr, "cannot open %s\n", argv[1]);
    return 1;
  }
  constexpr shard_id shard{1};
  cluster::shard_machine machine;
  machine.set_leading(shard, true);
  std::uint64_t index = 0;
  std::map<std::string, meter> meters;

  auto txn = (*env)->begin_write();
  const auto apply = [&](const char* name, const core::command& c) {
    const auto bytes = core::encode_for(core::format_number::newest, c);
    storage::shard_txn state{*txn, shard, 0};
    ++index;
    const auto before = cpu_us();
    if (machine.apply(state, {shard, generation{1}, 1, index}, bytes, index))
      std::abort();
    auto& m = meters[name];
    m.us += cpu_us() - before;
    ++m.commands;
    return machine.take_results();
  };
  double commit_us = 0;
  const auto commit = [&] {
    const auto before = cpu_us();
    if (txn->commit() != ec::none)
      std::abort();
    commit_us += cpu_us() - before;
    txn.reset();
    txn = (*env)->begin_write();
  };

  for (std::uint64_t p = 0; p < pairs; ++p) {
    const user_id a{2 * p + 1}, b{2 * p + 2};
    apply("set up", core::put_device{a, "+1", {device_id{number(a)}, {}, "", {}}});
    apply("set up", core::put_device{b, "+1", {device_id{number(b)}, {}, "", {}}});
    apply("set up", core::open_direct{core::direct_conversation(a, b), a, b, {}});
  }
  commit();
  commit_us = 0;
  const auto pages_before = (*env)->stats();
  std::map<user_id, inbox_pos> last;
  for (std::uint64_t i = 0; i < commits; ++i) {
    std::vector<core::incurred> debts;
    for (std::uint64_t n = 0; n < batch; ++n) {
      const auto k = i * batch + n;
      const auto p = mix64(k) % pairs;
      const user_id a{2 * p + 1}, b{2 * p + 2};
      core::submission s;
      s.conversation = core::direct_conversation(a, b);
      s.from = k % 2 ? a : b;
      s.id = {device_id{number(s.from)}, k + 1};
      s.hash[0] = static_cast<std::uint8_t>(k);
      s.at = unix_ms{static_cast<std::int64_t>(k)};
      s.body = std::string(200, 'x');
      for (auto& d : apply("append_message", core::append_message{std::move(s)}).debts)
        debts.push_back(std::move(d));
    }
    commit();
    core::append_inbox c;
    std::uint64_t upto = 0;
    for (auto& d : debts) {
      const auto& m = std::get<core::owed_message>(d.what);
      upto = d.number;
      for (const auto& t : m.to)
        c.parts.push_back(
            {t.user, m.conversation, t.membership, t.prev, m.seq, {core::message_news{t.prev, *d.full}}});
    }
    const auto news = apply("append_inbox (batch)", c);
    apply("confirm_debts (batch)", core::confirm_debts{upto});
    commit();
    std::uint64_t owed_to = 0;
    core::raise_watermarks raise;
    for (const auto& a : news.arrivals)
      for (const auto& d :
           apply("advance_cursor", core::advance_cursor{a.user, device_id{number(a.user)}, a.rows.back().pos})
               .debts) {
        raise.marks.push_back(std::get<core::owed_watermark>(d.what).mark);
        owed_to = d.number;
      }
    const auto receipts = apply("raise_watermarks (batch)", raise);
    if (!receipts.debts.empty())
      owed_to = receipts.debts.back().number;
    apply("confirm_debts (batch)", core::confirm_debts{owed_to});
    commit();
  }
  const auto messages = static_cast<double>(batch * commits);
  for (const auto& [name, m] : meters)
    std::printf("%-26s %9llu commands  %8.2f us each  %7.2f us per message\n", name.c_str(),
                static_cast<unsigned long long>(m.commands), m.us / static_cast<double>(m.commands),
                m.us / messages);
  const auto s = (*env)->stats();
  std::printf("commit                     %9llu commits             %14.2f us CPU per message\n",
              static_cast<unsigned long long>(s.commits - pages_before.commits), commit_us / messages);
  std::printf("file: %.0f bytes used per message\n",
              static_cast<double>(s.used_bytes - s.free_bytes) / messages);
  return 0;
}
