// The only file that includes sentencepiece. Its header redefines absl::string_view and its library
// contains its own protobuf, so both are hidden behind the C interface of spm_abi.h, in a library
// that is opened with dlopen.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "model/tokenizer/spm/spm_abi.h"

#define LFM2_SPM_EXPORT __attribute__((visibility("default")))

struct lfm2_spm {
  sentencepiece::SentencePieceProcessor processor;
};

namespace {

int Fail(lfm2_spm_error* error, const std::string& text) {
  std::snprintf(error->text, sizeof(error->text), "%s", text.c_str());
  return 1;
}

// Runs `body`, which returns 0 or what Fail returns, and turns an exception into a failure.
template <typename Body>
int Guarded(lfm2_spm_error* error, const Body& body) noexcept {
  try {
    return body();
  } catch (const std::exception& e) {
    return Fail(error, e.what());
  } catch (...) {
    return Fail(error, "sentencepiece threw an exception");
  }
}

template <typename T>
T* CopyOf(const T* data, size_t count) {
  T* copy = static_cast<T*>(std::malloc(std::max<size_t>(1, count * sizeof(T))));
  if (copy == nullptr) throw std::bad_alloc();
  if (count > 0) std::memcpy(copy, data, count * sizeof(T));
  return copy;
}

}  // namespace

extern "C" {

LFM2_SPM_EXPORT int lfm2_spm_create(const char* bytes, size_t size, lfm2_spm** out,
                                    lfm2_spm_error* error) {
  return Guarded(error, [&] {
    auto model = std::make_unique<lfm2_spm>();
    const auto status = model->processor.LoadFromSerializedProto({bytes, size});
    if (!status.ok()) return Fail(error, status.ToString());
    *out = model.release();
    return 0;
  });
}

LFM2_SPM_EXPORT void lfm2_spm_free(lfm2_spm* model) { delete model; }

LFM2_SPM_EXPORT int32_t lfm2_spm_size(const lfm2_spm* model) {
  return model->processor.GetPieceSize();
}

LFM2_SPM_EXPORT const char* lfm2_spm_piece(const lfm2_spm* model, int32_t id, size_t* size) {
  const std::string& piece = model->processor.IdToPiece(id);
  *size = piece.size();
  return piece.data();
}

LFM2_SPM_EXPORT int lfm2_spm_kind_of(const lfm2_spm* model, int32_t id) {
  const sentencepiece::SentencePieceProcessor& processor = model->processor;
  if (processor.IsUnknown(id)) return LFM2_SPM_UNKNOWN;
  if (processor.IsControl(id)) return LFM2_SPM_CONTROL;
  if (processor.IsUnused(id)) return LFM2_SPM_UNUSED;
  return processor.IsByte(id) ? LFM2_SPM_BYTE : LFM2_SPM_NORMAL;
}

LFM2_SPM_EXPORT int32_t lfm2_spm_bos(const lfm2_spm* model) { return model->processor.bos_id(); }
LFM2_SPM_EXPORT int32_t lfm2_spm_eos(const lfm2_spm* model) { return model->processor.eos_id(); }
LFM2_SPM_EXPORT int32_t lfm2_spm_pad(const lfm2_spm* model) { return model->processor.pad_id(); }

LFM2_SPM_EXPORT int lfm2_spm_encode(const lfm2_spm* model, const char* text, size_t size,
                                    int32_t** ids, size_t* count, lfm2_spm_error* error) {
  return Guarded(error, [&] {
    std::vector<int> encoded;
    const auto status = model->processor.Encode({text, size}, &encoded);
    if (!status.ok()) return Fail(error, status.ToString());
    const std::vector<int32_t> result(encoded.begin(), encoded.end());
    *ids = CopyOf(result.data(), result.size());
    *count = result.size();
    return 0;
  });
}

LFM2_SPM_EXPORT int lfm2_spm_decode(const lfm2_spm* model, const int32_t* ids, size_t count,
                                    char** text, size_t* size, lfm2_spm_error* error) {
  return Guarded(error, [&] {
    std::string decoded;
    const auto status = model->processor.Decode(std::vector<int>(ids, ids + count), &decoded);
    if (!status.ok()) return Fail(error, status.ToString());
    *text = CopyOf(decoded.data(), decoded.size());
    *size = decoded.size();
    return 0;
  });
}

LFM2_SPM_EXPORT void lfm2_spm_free_ids(int32_t* ids) { std::free(ids); }
LFM2_SPM_EXPORT void lfm2_spm_free_text(char* text) { std::free(text); }

}  // extern "C"
