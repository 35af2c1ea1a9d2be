// Which part of a JSON schema the library would not hold text to. xgrammar looks at one keyword of
// a schema that says what the value is ($ref, const, enum, anyOf, oneOf, allOf, else type) and
// passes over those beside it, over some keywords always and over some in company: its text would
// not be of the schema, and nobody would be told (json_schema_converter.cc of xgrammar 0.2).
//
// Thread rule: pure.
#pragma once

#include <string>

#include "base/json.h"

namespace lfm2 {

// Empty when every part is held to; else where and what, as "#/properties/a: uniqueItems is not
// enforced". oneOf is held to as anyOf is: a value may be of two of its schemas. A format that is
// not known and a keyword that is none of JSON Schema's say nothing about the text, as in JSON
// Schema.
std::string NotEnforced(const Json& schema);

}  // namespace lfm2
