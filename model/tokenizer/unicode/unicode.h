// Classes of code points as the reference's libraries define them.
// Thread rule: all functions are pure.
#pragma once

namespace lfm2 {

bool IsWhitespace(char32_t code_point);  // White_Space
bool IsNumeric(char32_t code_point);     // Nd, Nl, No
bool IsPunctuation(
    char32_t code_point);  // P*, and all of ASCII that is neither alphanumeric, space nor control
bool IsWordCharacter(char32_t code_point);  // UTS #18 \w: Alphabetic, M, Nd, Pc, Join_Control

}  // namespace lfm2
