#pragma once
// Names for people and conversations, instead of ids.
#include "protocol/client/client.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tool {

/// A phone number as the cluster wants it, if `text` is one however people write it: "+49 170 123-4567",
/// "0049 (170) 1234567". A number without its country is none.
std::optional<std::string> phone_number(std::string_view text);

/// What this person calls others: a name of their own choice, else the phone number that was used, else the id.
///
/// Owns:   a copy of the profile's contacts. Changes are written back at once.
/// Thread: that of the store.
class names {
public:
  /// `store` outlives it.
  explicit names(client::client_store& store);

  std::string of(user_id user) const; ///< "you" for this person; safe to print
  /// The other members, as people read a list of them; "you" for a conversation with nobody else.
  std::string of(const std::vector<user_id>& members) const;
  /// That of a conversation that this profile knows; else the beginning of its id.
  std::string of(conversation_id c) const;

  /// The contact with this name, phone number or id of a user.
  const client::contact* find(std::string_view whom) const;
  const std::vector<client::contact>& all() const { return all_; }

  /// The phone number was used, and belongs to `user`.
  void met(user_id user, const std::string& phone);
  /// Gives `whom` a name; an empty one takes it away. False if `whom` is neither known nor a phone number nor an
  /// id of a user.
  bool rename(std::string_view whom, const std::string& name);
  void forget(std::string_view whom);

private:
  client::contact* entry(std::string_view whom);
  void keep();

  client::client_store& store_;
  client::identity me_;
  std::vector<client::contact> all_;
  std::vector<conversation_info> conversations_;
};

} // namespace parley::tool
