// Tells systemd what the daemon does: one datagram to $NOTIFY_SOCKET; nothing without it. Thread
// rule: any thread.
#pragma once

#include <string_view>

namespace lfm2 {

void SdNotify(std::string_view state);  // "READY=1", "STOPPING=1", "STATUS=…"

}  // namespace lfm2
