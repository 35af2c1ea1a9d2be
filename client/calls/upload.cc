#include "client/calls/upload.h"

#include <unistd.h>

#include <fstream>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "client/terminal/progress.h"

namespace lfm2 {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;  // the limit of UploadDatasetRequest.chunk

using Writer = grpc::ClientWriter<v1::UploadDatasetRequest>;

// Ends early without an error when the server has closed the stream; Finish then gives the reason.
absl::Status SendFile(Session& session, const LocalFile& file, int64_t bytes, Writer& writer) {
  std::ifstream in(file.path, std::ios::binary);
  if (!in) return Error(Reason::kFileNotFound, file.path.string() + " cannot be opened");
  StatusLine status(session.console);
  std::vector<char> buffer(kChunkBytes);
  v1::UploadDatasetRequest part;
  int64_t sent = 0;
  while (in.read(buffer.data(), kChunkBytes) || in.gcount() > 0) {
    part.set_chunk(buffer.data(), static_cast<size_t>(in.gcount()));
    if (!writer.Write(part)) return absl::OkStatus();
    sent += in.gcount();
    const double fraction = bytes > 0 ? static_cast<double>(sent) / static_cast<double>(bytes) : 1;
    status.Show("upload " + file.name + " " + RenderBar(fraction, 20, session.console.unicode) +
                " " + FormatBytes(static_cast<double>(sent)) + " of " +
                FormatBytes(static_cast<double>(bytes)));
  }
  if (in.bad()) return Error(Reason::kStorageIoError, file.path.string() + " cannot be read");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> HashOf(const LocalFile& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file.path, error) || access(file.path.c_str(), R_OK) != 0) {
    return Error(Reason::kFileNotFound,
                 file.path.string() + " cannot be opened or is not a regular file");
  }
  return Sha256OfFile(file.path);
}

absl::StatusOr<v1::Dataset> UploadFile(Session& session, const LocalFile& file) {
  if (!IsValidUtf8(file.name)) {
    return Error(Reason::kInvalidUtf8, "the name of " + file.path.string() + " is not UTF-8");
  }
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  LFM2_ASSIGN_OR_RETURN(const std::string sha256, HashOf(file));
  std::error_code error;
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(file.path, error));
  if (error) return Error(Reason::kStorageIoError, file.path.string() + ": " + error.message());
  grpc::ClientContext context;
  client->Prepare(context, CallLength::kLong);
  const Interrupts::Scope scope(session.interrupts, &context);
  v1::Dataset dataset;
  const std::unique_ptr<Writer> writer = client->training().UploadDataset(&context, &dataset);
  v1::UploadDatasetRequest header;
  header.mutable_header()->set_name(file.name);
  header.mutable_header()->set_bytes(bytes);
  header.mutable_header()->set_sha256(sha256);
  absl::Status sent;
  if (writer->Write(header)) sent = SendFile(session, file, bytes, *writer);
  if (!sent.ok()) context.TryCancel();
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  LFM2_RETURN_IF_ERROR(sent);
  LFM2_RETURN_IF_ERROR(Client::Failed(status, context));
  if (dataset.id() != "sha256:" + sha256) {
    return Error(Reason::kDatasetHashMismatch, "the server stored " + file.name + " as " +
                                                   dataset.id() + ", sent was sha256:" + sha256);
  }
  return dataset;
}

absl::StatusOr<v1::Source> UploadSource(Session& session, const ResolvedSource& resolved) {
  v1::Source source;
  switch (resolved.kind) {
    case ResolvedSource::Kind::kBytes:
      source.set_bytes(true);
      break;
    case ResolvedSource::Kind::kHf:
      source.set_hf(resolved.name);
      break;
    case ResolvedSource::Kind::kModel:
      source.set_model(resolved.name);
      break;
    case ResolvedSource::Kind::kFiles:
      for (const LocalFile& file : resolved.files) {
        LFM2_ASSIGN_OR_RETURN(const v1::Dataset dataset, UploadFile(session, file));
        v1::NamedDataset* named = source.mutable_files()->add_files();
        named->set_name(file.name);
        named->set_dataset(dataset.id());
      }
      break;
  }
  return source;
}

absl::StatusOr<v1::Source> MakeSource(Session& session, const std::string& text,
                                      SourcePurpose purpose) {
  LFM2_ASSIGN_OR_RETURN(const ResolvedSource resolved, ResolveSource(text, purpose));
  return UploadSource(session, resolved);
}

}  // namespace lfm2
