#include "server/rpc/transport/auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "server/rpc/transport/private_file.h"

namespace lfm2 {
namespace {

using Rule = MethodAccess::Rule;

constexpr MethodAccess kMethods[] = {
    {"/lfm2.v1.Generation/Generate", Rule::kScope, kGenerateScope},
    {"/lfm2.v1.Generation/Score", Rule::kScope, kGenerateScope},
    {"/lfm2.v1.Generation/Tokenize", Rule::kScope, kGenerateScope},
    {"/lfm2.v1.Generation/Detokenize", Rule::kScope, kGenerateScope},
    {"/lfm2.v1.Training/StartTraining", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Training/GetJob", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Training/ListJobs", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Training/WatchJob", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Training/CancelJob", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Training/UploadDataset", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Training/ListDatasets", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Models/ListModels", Rule::kAnyToken},
    {"/lfm2.v1.Models/GetModel", Rule::kAnyToken},
    {"/lfm2.v1.Models/InitModel", Rule::kScope, kTrainScope},
    {"/lfm2.v1.Models/Export", Rule::kScope, kExportScope},
    {"/lfm2.v1.Models/Parity", Rule::kScope, kExportScope},
    {"/grpc.health.v1.Health/Check", Rule::kOpen},
    {"/grpc.health.v1.Health/Watch", Rule::kOpen},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Rule::kAnyToken},
};

struct ScopeName {
  std::string_view name;
  Scope scope;
};
constexpr ScopeName kScopeNames[] = {{"generate", kGenerateScope},
                                     {"train", kTrainScope},
                                     {"export", kExportScope},
                                     {"admin", kAdminScope}};

std::string NameOfScope(unsigned scope) {
  for (const ScopeName& entry : kScopeNames) {
    if (entry.scope == scope) return std::string(entry.name);
  }
  return "";
}

absl::StatusOr<unsigned> ParseScopes(absl::string_view list) {
  unsigned scopes = 0;
  for (absl::string_view word : absl::StrSplit(list, ',')) {
    const auto* entry =
        std::find_if(std::begin(kScopeNames), std::end(kScopeNames), [&](const ScopeName& name) {
          return name.name == std::string_view(word.data(), word.size());
        });
    if (entry == std::end(kScopeNames)) {
      return Error(
          Reason::kConfigInvalid,
          absl::StrCat("scope \"", word, "\" is not one of generate, train, export, admin"));
    }
    scopes |= entry->scope;
  }
  return scopes;
}

bool IsPrincipalName(absl::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' ||
           c == '@';
  });
}

// "Bearer <token>"; the scheme's case does not matter (RFC 9110).
std::optional<std::string_view> BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  const absl::string_view text(authorization.data(), authorization.size());
  if (!absl::StartsWithIgnoreCase(text, absl::string_view(kScheme.data(), kScheme.size()))) {
    return std::nullopt;
  }
  std::string_view token = authorization.substr(kScheme.size());
  while (!token.empty() && token.front() == ' ') token.remove_prefix(1);
  if (token.empty()) return std::nullopt;
  return token;
}

}  // namespace

const MethodAccess* AccessOf(std::string_view method) {
  const auto* it =
      std::find_if(std::begin(kMethods), std::end(kMethods),
                   [&](const MethodAccess& access) { return access.method == method; });
  return it == std::end(kMethods) ? nullptr : it;
}

absl::StatusOr<Authenticator::Entry> Authenticator::ParseLine(std::string_view line) {
  const std::vector<std::string> words = absl::StrSplit(absl::string_view(line.data(), line.size()),
                                                        absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (words.size() != 3) {
    return Error(Reason::kConfigInvalid,
                 "must be \"<sha256 of the token> <name> <scope>[,<scope>]\"");
  }
  const bool hex =
      words[0].size() == 64 && std::all_of(words[0].begin(), words[0].end(), [](char c) {
        return absl::ascii_isxdigit(static_cast<unsigned char>(c));
      });
  if (!hex) {
    return Error(Reason::kConfigInvalid, "does not start with a SHA-256 of 64 hexadecimal digits");
  }
  if (!IsPrincipalName(words[1])) {
    return Error(Reason::kConfigInvalid,
                 "names a principal that is not 1 to 64 of letters, digits and \"-_.@\"");
  }
  Entry entry;
  const std::string bytes = absl::HexStringToBytes(words[0]);
  std::copy(bytes.begin(), bytes.end(), entry.hash.begin());
  entry.principal.name = words[1];
  LFM2_ASSIGN_OR_RETURN(entry.principal.scopes, ParseScopes(words[2]));
  return entry;
}

absl::StatusOr<Authenticator> Authenticator::FromFile(const std::string& path) {
  LFM2_ASSIGN_OR_RETURN(const std::string text,
                        ReadConfiguredFile("tokens", path, FilePrivacy::kOwnerOnly));
  Authenticator out;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    absl::StatusOr<Entry> entry = ParseLine(std::string_view(line.data(), line.size()));
    if (!entry.ok()) {
      return Annotate(entry.status(), absl::StrCat("tokens line ", number));
    }
    out.entries_.push_back(*std::move(entry));
  }
  if (out.entries_.empty()) {
    return Error(Reason::kConfigInvalid, "the tokens file is empty: no client could connect");
  }
  return out;
}

const Principal* Authenticator::Find(std::string_view token) const {
  std::array<unsigned char, 32> hash{};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  const Principal* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.hash.data(), hash.data(), hash.size()) == 0) found = &entry.principal;
  }
  return found;
}

absl::StatusOr<Principal> Authenticator::Check(
    std::string_view method, std::optional<std::string_view> authorization) const {
  const MethodAccess* access = AccessOf(method);
  if (access == nullptr) {
    return Error(Reason::kScopeRequired, "this method may not be called with any scope");
  }
  if (entries_.empty()) return Principal{"local", kAllScopes};
  if (access->rule == Rule::kOpen) return Principal{"anonymous", 0};
  if (!authorization) {
    return Error(Reason::kCredentialMissing, "the call has no \"authorization: Bearer\" metadata");
  }
  const std::optional<std::string_view> token = BearerToken(*authorization);
  if (!token) {
    return Error(Reason::kCredentialInvalid,
                 "the authorization metadata is not \"Bearer <token>\"");
  }
  const Principal* principal = Find(*token);
  if (principal == nullptr) {
    return Error(Reason::kCredentialInvalid, "the server does not know this bearer token");
  }
  if (access->rule == Rule::kScope && (principal->scopes & access->scope) == 0) {
    const std::string scope = NameOfScope(access->scope);
    return Error(Reason::kScopeRequired, "this call needs a token with the scope " + scope,
                 {{"scope", scope}});
  }
  return *principal;
}

}  // namespace lfm2
