#include "protocol/client/device/observer.hpp"

namespace parley::client {

std::string_view name(link_state s) {
  switch (s) {
  case link_state::offline:
    return "offline";
  case link_state::connecting:
    return "connecting";
  case link_state::online:
    return "online";
  case link_state::fenced:
    return "fenced";
  case link_state::refused:
    return "refused";
  case link_state::broken:
    return "broken";
  case link_state::stopped:
    return "stopped";
  }
  return "unknown";
}

} // namespace parley::client
