#include "tests/harness/chaos/probe.hpp"

#include "protocol/values/errors.hpp"
#include "protocol/wire/codec.hpp"
#include "tests/harness/cluster/lean_client.hpp"

#include <kj/async-io.h>

#include <stdexcept>

namespace parley::chaos {
namespace {

constexpr std::size_t first_phone = 8'900; // of `test_phone`: the load has the lower ones

/// Nothing is sent: the checker knows only of what the load has sent.
kj::Promise<void> meet(test::lean_connection& line, const test::lean_device& with) {
  auto open = line.session().openDirectRequest();
  open.setUser(number(with.user));
  return open.send().then([&line](capnp::Response<rpc::Session::OpenDirectResults> r) -> kj::Promise<void> {
    if (const auto why = wire::to_code(r.getError()); why != ec::none)
      return test::refusal(why, "openDirect");
    auto read = line.session().syncConversationRequest();
    wire::write(read.initConversation(), wire::to_conversation(r.getConversation()));
    return read.send().then(
        [](capnp::Response<rpc::Session::SyncConversationResults> page) -> kj::Promise<void> {
          if (const auto why = wire::to_code(page.getError()); why != ec::none)
            return test::refusal(why, "syncConversation");
          return kj::READY_NOW;
        });
  });
}

} // namespace

std::optional<std::string> serves(test::process_cluster& cluster, std::size_t node) {
  auto io = kj::setupAsyncIo();
  auto lean = test::make_lean_context(io, cluster.client_ca());
  const auto to = transport::resolve(*transport::parse_server_address(cluster.client(node).text()));
  if (!to)
    throw std::runtime_error{"the address of a node cannot be used"};
  test::lean_device who[2];
  const auto code_of = [&](const std::string& phone) { return cluster.code_for(phone); };
  const auto enroll = [&](std::size_t i) {
    who[i].phone = test::test_phone(first_phone + 2 * node + i);
    who[i].key = client::make_key();
    return test::lean_connection::open(lean, *to).then([&, i](kj::Own<test::lean_connection> line) {
      auto& it = *line;
      return it.enroll(who[i], code_of).attach(kj::mv(line));
    });
  };
  auto all = enroll(0)
                 .then([&] { return enroll(1); })
                 .then([&] { return test::lean_connection::open(lean, *to); })
                 .then([&](kj::Own<test::lean_connection> line) {
                   auto& it = *line;
                   return it.login(who[0]).then([&] { return meet(it, who[1]); }).attach(kj::mv(line));
                 });
  try {
    lean.timer.timeoutAfter(10 * kj::SECONDS, kj::mv(all)).wait(io.waitScope);
    return std::nullopt;
  } catch (const kj::Exception& e) {
    const auto why = test::refusal_code(e);
    return why != ec::none ? std::string{describe(why).name} : std::string{e.getDescription().cStr()};
  }
}

std::uint64_t sum_of(const test::process_cluster& cluster, std::string_view metric) {
  std::uint64_t sum = 0;
  for (std::size_t n = 1; n <= cluster.size(); ++n) {
    const auto page = cluster.get(n, "/metrics", std::chrono::milliseconds{2'000});
    if (!page) {
      ++sum;
      continue;
    }
    const std::string name = "\n" + std::string{metric};
    for (auto at = page->find(name); at != std::string::npos; at = page->find(name, at + 1)) {
      const auto after = at + name.size();
      const auto value = page->find(' ', after);
      if (((*page)[after] == ' ' || (*page)[after] == '{') && value != std::string::npos)
        sum += std::stoull(page->substr(value + 1));
    }
  }
  return sum;
}

} // namespace parley::chaos
