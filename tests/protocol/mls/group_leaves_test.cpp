// What the leaves of our members state about them (RFC 9420, 7.2).
#include "tests/protocol/mls/group_fixture.hpp"

namespace parley::mls::test {
namespace {

TEST_CASE("7.2: our leaves list the extensions that they contain, and no default type") {
  room r{2};
  auto who = r.identity("carol");
  who.capabilities.extensions = {extension_type::external_senders};
  who.capabilities.proposals = {proposal_type::add};
  who.leaf_extensions = {{extension_type{0xf001}, {}}, {extension_type::application_id, {}}};
  const auto g = r.invite(std::move(who));
  auto made = r.commit(0, {g.add()});
  r.conclude(0, made);
  r.members.push_back(taken(r.try_join(made, g)));
  r.concluded(2);
  r.check_talk();
  for (const auto& c :
       {g.package.package.leaf_node.capabilities, state_of(r[0]).now.tree.leaf(leaf_index{2}).capabilities}) {
    CHECK(c.extensions == std::vector{extension_type{0xf001}});
    CHECK(c.proposals.empty());
  }
}

} // namespace
} // namespace parley::mls::test
