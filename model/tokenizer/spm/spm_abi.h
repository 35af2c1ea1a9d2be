// The C interface between sentencepiece.cc and liblfm2_spm.so. It passes no C++ types, exceptions
// or statuses. Functions that can fail return 0 on success and otherwise write a text to `error`.
// Thread rule: const calls from many threads.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern "C" {

struct lfm2_spm;

struct lfm2_spm_error {
  char text[256];
};

enum lfm2_spm_kind {
  LFM2_SPM_NORMAL = 0,
  LFM2_SPM_UNKNOWN = 1,
  LFM2_SPM_CONTROL = 2,
  LFM2_SPM_UNUSED = 3,
  LFM2_SPM_BYTE = 4,
};

// `bytes` is a serialized ModelProto; it is copied.
int lfm2_spm_create(const char* bytes, size_t size, lfm2_spm** out, lfm2_spm_error* error);
void lfm2_spm_free(lfm2_spm* model);

int32_t lfm2_spm_size(const lfm2_spm* model);
// Ids are 0 to size - 1. The text is valid as long as the model.
const char* lfm2_spm_piece(const lfm2_spm* model, int32_t id, size_t* size);
int lfm2_spm_kind_of(const lfm2_spm* model, int32_t id);
// -1 when the model has no such token.
int32_t lfm2_spm_bos(const lfm2_spm* model);
int32_t lfm2_spm_eos(const lfm2_spm* model);
int32_t lfm2_spm_pad(const lfm2_spm* model);

// Results are freed with lfm2_spm_free_ids and lfm2_spm_free_text.
int lfm2_spm_encode(const lfm2_spm* model, const char* text, size_t size, int32_t** ids,
                    size_t* count, lfm2_spm_error* error);
int lfm2_spm_decode(const lfm2_spm* model, const int32_t* ids, size_t count, char** text,
                    size_t* size, lfm2_spm_error* error);
void lfm2_spm_free_ids(int32_t* ids);
void lfm2_spm_free_text(char* text);

}  // extern "C"
