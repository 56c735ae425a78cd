#include "protocol/wire/codec.hpp"

#include "protocol/values/chance.hpp"
#include "protocol/values/limits.hpp"

#include <capnp/any.h>
#include <capnp/message.h>
#include <capnp/serialize.h>
#include <doctest/doctest.h>

using namespace parley;

namespace {

constexpr std::uint64_t seed = 20'261'129;
constexpr int rounds = 2'000;

/// Values of every size that the schema allows, each time the same ones. Small numbers come up more often
/// than their share, because 0, 1 and the end of a range are where codecs go wrong.
class generator {
public:
  std::uint64_t number() {
    switch (dice_.below(4)) {
    case 0:
      return dice_.below(3);
    case 1:
      return UINT64_MAX - dice_.below(3);
    default:
      return dice_.number();
    }
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(dice_.below(n)); }
  std::string bytes(std::size_t size_max) {
    std::string out(below(size_max + 1), '\0');
    dice_.fill({reinterpret_cast<std::uint8_t*>(out.data()), out.size()});
    return out;
  }
  conversation_id conversation() {
    const auto hi = number();
    return {hi, number()};
  }
  message any_message() {
    message m;
    m.conversation = conversation();
    m.seq = seq_no{number()};
    m.id = {number(), number()};
    m.sender = user_id{number()};
    m.client_id = {device_id{number()}, number()};
    m.at = unix_ms{static_cast<std::int64_t>(number())};
    m.body = bytes(300);
    return m;
  }
  watermark any_watermark() {
    return {conversation(), user_id{number()}, seq_no{number()}, seq_no{number()}};
  }
  conversation_info any_info() {
    conversation_info out;
    out.conversation = conversation();
    for (auto n = below(5); n > 0; --n)
      out.members.push_back(user_id{number()});
    out.last = seq_no{number()};
    return out;
  }
  inbox_item any_item() {
    switch (below(4)) {
    case 0:
      return message_row{seq_no{number()}, any_message()};
    case 1:
      return any_info();
    case 2:
      return device_added{device_id{number()}, "phone " + std::to_string(number()),
                          unix_ms{static_cast<std::int64_t>(number())}};
    default:
      return any_watermark();
    }
  }
  failure any_failure() {
    auto code = ec{static_cast<std::uint16_t>(1 + below(0xffff))};
    failure f{code, "A sentence " + std::to_string(number()) + ".",
              std::chrono::milliseconds{below(1'000'000)}};
    if (!is_known(code)) { // what the table says of the others, both ends know
      f.retryable = below(2) == 1;
      f.stored = was_stored{static_cast<std::uint8_t>(below(3))};
    }
    return f;
  }

private:
  seeded_chance dice_{seed};
};

/// What a peer at the other end of a connection reads: the message, as bytes and back.
template <class Struct, class Write>
auto sent(Write write) {
  capnp::MallocMessageBuilder out;
  write(out.initRoot<Struct>());
  struct received {
    kj::Array<capnp::word> words;
    capnp::FlatArrayMessageReader reader;
    explicit received(kj::Array<capnp::word> w) : words{kj::mv(w)}, reader{words} {}
  };
  return kj::heap<received>(capnp::messageToFlatArray(out));
}

/// Writes an item of a kind that this version of the schema does not have.
void write_unknown(rpc::InboxItem::Builder b) {
  // Where the kind stands: the one place in which an empty message and an empty watermark differ.
  capnp::MallocMessageBuilder other;
  auto second = other.initRoot<rpc::InboxItem>();
  second.initWatermark();
  b.initMessage();
  auto bytes = capnp::AnyStruct::Builder{capnp::toAny(b)}.getDataSection();
  const auto others = capnp::AnyStruct::Builder{capnp::toAny(second)}.getDataSection();
  REQUIRE(bytes.size() == others.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] != others[i])
      bytes[i] = 0x63;
}

} // namespace

// --- what a newer or a hostile peer sends ------------------------------------------------------------------

TEST_CASE("an item of an unknown kind is skipped, and those around it are read") {
  generator any;
  const auto first = any.any_item();
  const auto last = any.any_item();
  auto it = sent<rpc::Session::SyncResults>([&](auto b) {
    auto items = b.initItems(3);
    wire::write(items[0], first);
    write_unknown(items[1]);
    wire::write(items[2], last);
  });
  const auto items = it->reader.getRoot<rpc::Session::SyncResults>().getItems();
  CHECK_FALSE(wire::to_item(items[1]).has_value());
  CHECK(wire::to_items(items) == std::vector{first, last});
}

TEST_CASE("an unknown error carries whether anything was stored and whether to try again") {
  const auto read = [](std::uint16_t code, rpc::Stored stored, bool retryable) {
    auto it = sent<rpc::Error>([&](auto b) {
      b.setCode(code);
      b.setStored(stored);
      b.setRetryable(retryable);
    });
    return wire::to_failure(it->reader.getRoot<rpc::Error>());
  };
  const auto outcome = read(500, rpc::Stored::NO, true);
  CHECK(outcome.retryable);
  CHECK(outcome.stored == was_stored::no);
  CHECK(outcome.code == ec{500});
  CHECK(outcome.sentence == describe(ec{500}).sentence); // none came: the table's for its band
  CHECK_FALSE(read(1500, rpc::Stored::YES, false).retryable);
  CHECK(read(1500, rpc::Stored::YES, false).stored == was_stored::yes);
  CHECK(read(1500, static_cast<rpc::Stored>(7), true).stored == was_stored::unknown);
}

TEST_CASE("an unknown error of a gateway that says nothing about trying again may be tried again") {
  auto it = sent<rpc::Error>([](auto b) { b.setCode(500); }); // as from before `retryable` existed
  const auto f = wire::to_failure(it->reader.getRoot<rpc::Error>());
  CHECK(f.code == ec{500});
  CHECK(f.retryable);
  CHECK(f.stored == was_stored::unknown);
}

TEST_CASE("for a known error the table is trusted, not the peer") {
  auto it = sent<rpc::Error>([&](auto b) {
    b.setCode(static_cast<std::uint16_t>(ec::timed_out));
    b.setStored(rpc::Stored::NO);
    b.setRetryable(false);
  });
  const auto f = wire::to_failure(it->reader.getRoot<rpc::Error>());
  CHECK(f.retryable);
  CHECK(f.stored == was_stored::unknown);
}

TEST_CASE("a field of fixed length is read only with that length") {
  const std::string bytes(33, 'x');
  CHECK_FALSE(wire::fixed<32>(wire::as_data(bytes)).has_value());
  CHECK_FALSE(wire::fixed<32>(wire::as_data(std::string_view{bytes}.substr(0, 31))).has_value());
  CHECK_FALSE(wire::fixed<32>(wire::as_data("")).has_value());
  CHECK(wire::fixed<33>(wire::as_data(bytes)).has_value());
}

TEST_CASE("structs that are missing are read as their defaults") {
  auto it = sent<rpc::Session::SyncConversationResults>([](auto) {});
  const auto page = wire::to_page(it->reader.getRoot<rpc::Session::SyncConversationResults>());
  CHECK(page == conversation_page{});
  auto m = sent<rpc::Message>([](auto) {});
  CHECK(wire::to_message(m->reader.getRoot<rpc::Message>()) == message{});
  auto e = sent<rpc::Error>([](auto) {});
  CHECK(wire::to_failure(e->reader.getRoot<rpc::Error>()).code == ec::none);
}

// --- round trips -------------------------------------------------------------------------------------------

TEST_CASE("every item, page, list and error comes back as it was written") {
  generator any;
  for (int i = 0; i < rounds; ++i) {
    CAPTURE(i);
    const auto item = any.any_item();
    auto one = sent<rpc::InboxItem>([&](auto b) { wire::write(b, item); });
    REQUIRE(wire::to_item(one->reader.getRoot<rpc::InboxItem>()) == item);

    conversation_page page;
    for (auto n = any.below(4); n > 0; --n)
      page.messages.push_back(any.any_message());
    for (auto n = any.below(4); n > 0; --n)
      page.marks.push_back(any.any_watermark());
    page.last = seq_no{any.number()};
    page.more = any.below(2) == 1;
    auto pages = sent<rpc::Session::SyncConversationResults>([&](auto b) { wire::write(b, page); });
    REQUIRE(wire::to_page(pages->reader.getRoot<rpc::Session::SyncConversationResults>()) == page);

    conversation_list list;
    for (auto n = any.below(4); n > 0; --n)
      list.items.push_back(any.any_info());
    list.more = any.below(2) == 1;
    auto lists = sent<rpc::Session::ConversationsResults>([&](auto b) { wire::write(b, list); });
    REQUIRE(wire::to_list(lists->reader.getRoot<rpc::Session::ConversationsResults>()) == list);

    const auto why = any.any_failure();
    auto errors = sent<rpc::Error>([&](auto b) { wire::write(b, why); });
    REQUIRE(wire::to_failure(errors->reader.getRoot<rpc::Error>()) == why);
  }
}

TEST_CASE("every error of the table comes back as the failure that it stands for") {
  for (const auto& row : error_table().subspan(1)) {
    CAPTURE(row.name);
    auto it = sent<rpc::Error>([&](auto b) { wire::write(b, row.code, 70); });
    const auto e = it->reader.getRoot<rpc::Error>();
    CHECK(wire::to_failure(e) == failure_of(row.code, std::chrono::milliseconds{70}));
    CHECK(wire::view(e.getName()) == row.name);
  }
}

TEST_CASE("the size that is computed for a message is enough: it has one segment") {
  generator any;
  for (int i = 0; i < 200; ++i) {
    const auto m = any.any_message();
    capnp::MallocMessageBuilder out{static_cast<unsigned>(wire::words_of_message(m.body.size()) + 1),
                                    capnp::AllocationStrategy::FIXED_SIZE};
    wire::write(out.initRoot<rpc::Message>(), m);
    CHECK(out.getSegmentsForOutput().size() == 1);
    const auto info = any.any_info();
    capnp::MallocMessageBuilder second{static_cast<unsigned>(wire::words_of_info(info.members.size()) + 1),
                                       capnp::AllocationStrategy::FIXED_SIZE};
    wire::write(second.initRoot<rpc::ConversationInfo>(), info);
    CHECK(second.getSegmentsForOutput().size() == 1);
  }
  for (const auto& row : error_table()) {
    capnp::MallocMessageBuilder out{static_cast<unsigned>(wire::words_of(row.code) + 1),
                                    capnp::AllocationStrategy::FIXED_SIZE};
    wire::write(out.initRoot<rpc::Error>(), row.code);
    CHECK(out.getSegmentsForOutput().size() == 1);
  }
}
