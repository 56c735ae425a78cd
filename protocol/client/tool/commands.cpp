#include "protocol/client/tool/commands.hpp"

namespace parley::tool {

std::vector<command> all_commands(context& shared) {
  return {register_command(shared),      send_command(shared),     sync_command(shared), chat_command(shared),
          conversations_command(shared), contacts_command(shared), top_command(shared)};
}

} // namespace parley::tool
