// Tells systemd the daemon's state: one datagram to $NOTIFY_SOCKET; does nothing when it is unset.
// Thread rule: any thread.
#pragma once

#include <string_view>

namespace lfm2 {

void SdNotify(std::string_view state);  // "READY=1", "STOPPING=1", "STATUS=…"

}  // namespace lfm2
