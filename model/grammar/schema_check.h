// Finds the part of a JSON schema that the library would not enforce. xgrammar uses one keyword of
// a schema that says what the value is ($ref, const, enum, anyOf, oneOf, allOf, else type) and
// ignores others beside it. It ignores some keywords always and some only in combination, without
// an error (json_schema_converter.cc of xgrammar 0.2); the text might then not match the schema.
//
// Thread rule: pure.
#pragma once

#include <string>

#include "base/json.h"

namespace lfm2 {

// Empty when every part is enforced; else where and what, such as "#/properties/a: uniqueItems is
// not enforced". oneOf is enforced like anyOf: a value may match two of its schemas. Unknown
// formats and keywords that JSON Schema does not define are ignored, as JSON Schema requires.
std::string NotEnforced(const Json& schema);

}  // namespace lfm2
