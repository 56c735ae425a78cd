#include "protocol/mls/follower.hpp"

namespace parley::mls {

result<follower> follower::begin(bytes_view group_info_message, std::optional<bytes_view> tree_apart,
                                 const surroundings& s, const follower_settings& settings) {
  auto read = read_message(group_info_message, settings.limits);
  if (!read)
    return tl::unexpected(read.error());
  auto* info = std::get_if<group_info>(&read->body);
  if (!info)
    return refuse(rule::unexpected_message);
  auto tree = checked_tree(*info, tree_apart, s);
  if (!tree)
    return tl::unexpected(tree.error());
  public_epoch now;
  now.tree = std::move(*tree);
  auto text = encoded(info->context);
  if (auto entered = now.enter(std::move(info->context), std::move(text), info->confirmation_tag); !entered)
    return tl::unexpected(entered.error());
  return follower{std::move(now), settings};
}

result<authenticated_content> follower::open(bytes_view message) const {
  if (is_over_)
    return refuse(rule::group_over);
  auto read = read_message(message, settings_.limits);
  if (!read)
    return tl::unexpected(read.error());
  if (const auto* sealed = read->as<private_message>(); sealed && sealed->type != content_type::application)
    return refuse(rule::handshake_not_public);
  auto* plain = std::get_if<public_message>(&read->body);
  if (!plain)
    return refuse(rule::unexpected_message);
  if (auto good = check_public(*plain, now_.view()); !good)
    return tl::unexpected(good.error());
  return authenticated_content{wire_format::public_message, std::move(plain->content),
                               std::move(plain->auth)};
}

result<proposal_ref> follower::propose(bytes_view message, const surroundings& s) {
  const auto content = open(message);
  if (!content)
    return tl::unexpected(content.error());
  if (!content->content.as<proposal>())
    return refuse(rule::unexpected_message);
  return now_.take_proposal(*content, s, settings_.proposals_max);
}

result<followed_commit> follower::check(bytes_view message, const surroundings& s) {
  const auto content = open(message);
  if (!content)
    return tl::unexpected(content.error());
  if (!content->content.as<commit>())
    return refuse(rule::unexpected_message);
  auto staged = stage_commit(now_, *content, s);
  if (!staged)
    return tl::unexpected(staged.error());
  changing_tree changing{now_.tree, changing_tree::from::already};
  followed_commit out;
  out.effects_ = std::move(staged->effects);
  out.context_ = std::move(staged->context);
  out.encoded_context_ = std::move(staged->encoded_context);
  out.confirmation_tag_ = *content->auth.confirmation_tag;
  out.tree_ = now_.tree.take();
  changing.settled();
  return out;
}

result<commit_effects> follower::apply(followed_commit next) {
  if (is_over_)
    return refuse(rule::group_over);
  if (next.epoch() != epoch() + 1 || !equal(next.context_.group_id, id()) || !now_.tree.fits(next.tree_))
    return refuse(rule::pending_out_of_date);
  now_.tree.apply(std::move(next.tree_));
  // This cannot fail: the extensions were decoded when the list was planned.
  if (auto entered =
          now_.enter(std::move(next.context_), std::move(next.encoded_context_), next.confirmation_tag_);
      !entered)
    return tl::unexpected(entered.error());
  is_over_ = next.effects_.reinit.has_value();
  return std::move(next.effects_);
}

} // namespace parley::mls
