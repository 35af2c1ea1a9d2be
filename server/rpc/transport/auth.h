// Who the caller is and which methods it may call. A tokens file holds one line per token:
//
//   <sha256 hex of the token> <name> <scope>[,<scope>]      # scopes: generate, train, export,
//   admin
//
// '#' starts a comment. Only its owner may be able to read the file. Every method of every service
// has one row in a table; a method without a row is denied. Without a tokens file every caller is
// "local" with all scopes, which is allowed only on loopback or a Unix socket (bind.h). Thread
// rule: const after construction.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lfm2 {

enum Scope : unsigned { kGenerateScope = 1, kTrainScope = 2, kExportScope = 4, kAdminScope = 8 };
inline constexpr unsigned kAllScopes = 15;

struct Principal {
  std::string name;
  unsigned scopes = 0;
};

struct MethodAccess {
  enum class Rule { kOpen, kAnyToken, kScope };
  std::string_view method;  // "/lfm2.v1.Generation/Generate"
  Rule rule;
  unsigned scope = 0;
};

// Null for a method that is not in the table, which is denied.
const MethodAccess* AccessOf(std::string_view method);

class Authenticator {
 public:
  static Authenticator Local() { return Authenticator(); }
  // kConfigInvalid, naming the line and the broken rule.
  static absl::StatusOr<Authenticator> FromFile(const std::string& path);

  // `authorization`: the header's value, or nullopt. kCredentialMissing, kCredentialInvalid,
  // kScopeRequired {scope}.
  absl::StatusOr<Principal> Check(std::string_view method,
                                  std::optional<std::string_view> authorization) const;
  bool uses_tokens() const { return !entries_.empty(); }

 private:
  struct Entry {
    std::array<unsigned char, 32> hash;
    Principal principal;
  };
  static absl::StatusOr<Entry> ParseLine(std::string_view line);
  // Always compares with every entry, each in constant time.
  const Principal* Find(std::string_view token) const;
  std::vector<Entry> entries_;
};

}  // namespace lfm2
