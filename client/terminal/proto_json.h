// Converts any message of the protocol to JSON: numbers as numbers, enums as the lower-case word
// after their prefix (JOB_STATE_RUNNING is "running"), bytes as text with U+FFFD for invalid parts.
// Unset optional fields and messages are left out.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "client/terminal/console.h"

namespace lfm2 {

Json ProtoToJson(const google::protobuf::Message& message);
std::string EnumWord(const google::protobuf::EnumValueDescriptor& value);

// "running" of JOB_STATE_RUNNING.
template <class Enum>
std::string EnumWord(Enum value) {
  const auto* found =
      google::protobuf::GetEnumDescriptor<Enum>()->FindValueByNumber(static_cast<int>(value));
  return found == nullptr ? std::to_string(static_cast<int>(value)) : EnumWord(*found);
}

}  // namespace lfm2
