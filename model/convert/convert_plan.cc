#include "model/convert/convert_plan.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lfm2 {
namespace {

constexpr std::string_view kLayers = "model.layers.";

// What becomes float32 on the way, because a plain tensor file has no such type or nobody wants it.
bool IsWidened(DType dtype) { return dtype == DType::kF64 || IsBlockType(dtype); }

// "model.layers.7.mlp.up_proj.weight": 7 and "mlp.up_proj.weight".
struct SplitName {
  int64_t layer = -1;  // -1: outside the layers
  std::string prefix, rest;
};

SplitName Split(const std::string& name) {
  if (name.rfind(kLayers, 0) != 0) return {-1, "", name};
  const size_t dot = name.find('.', kLayers.size());
  if (dot == std::string::npos) return {-1, "", name};
  SplitName out;
  const char* end = name.data() + dot;
  if (std::from_chars(name.data() + kLayers.size(), end, out.layer).ptr != end)
    return {-1, "", name};
  out.prefix = name.substr(0, dot + 1);
  out.rest = name.substr(dot + 1);
  return out;
}

struct Rename {
  std::string_view hybrid, lfm2, llama;
};

// Everything of the hybrid that another architecture has under its own name. The other's norm
// before the operator feeds both of the hybrid's.
constexpr Rename kModelRenames[] = {
    {"model.embed_tokens.weight", "model.embed_tokens.weight", "model.embed_tokens.weight"},
    {"model.norm.weight", "model.embedding_norm.weight", "model.norm.weight"},
    {"lm_head.weight", "lm_head.weight", "lm_head.weight"},
};
constexpr Rename kLayerRenames[] = {
    {"attention_norm.weight", "operator_norm.weight", "input_layernorm.weight"},
    {"ssm_norm.weight", "operator_norm.weight", "input_layernorm.weight"},
    {"ffn_norm.weight", "ffn_norm.weight", "post_attention_layernorm.weight"},
    {"self_attn.q_proj.weight", "self_attn.q_proj.weight", "self_attn.q_proj.weight"},
    {"self_attn.k_proj.weight", "self_attn.k_proj.weight", "self_attn.k_proj.weight"},
    {"self_attn.v_proj.weight", "self_attn.v_proj.weight", "self_attn.v_proj.weight"},
    {"self_attn.o_proj.weight", "self_attn.out_proj.weight", "self_attn.o_proj.weight"},
    {"mlp.gate_proj.weight", "feed_forward.w1.weight", "mlp.gate_proj.weight"},
    {"mlp.up_proj.weight", "feed_forward.w3.weight", "mlp.up_proj.weight"},
    {"mlp.down_proj.weight", "feed_forward.w2.weight", "mlp.down_proj.weight"},
};

template <size_t N>
std::string_view Renamed(const Rename (&table)[N], Architecture source, std::string_view hybrid) {
  for (const Rename& rename : table) {
    if (rename.hybrid == hybrid) return source == Architecture::kLfm2 ? rename.lfm2 : rename.llama;
  }
  return {};
}

// The source's name of a tensor of the hybrid; empty when the source has nothing like it.
std::string SourceNameOf(Architecture source, const std::string& hybrid_name) {
  const SplitName split = Split(hybrid_name);
  const std::string_view found = split.layer < 0 ? Renamed(kModelRenames, source, split.rest)
                                                 : Renamed(kLayerRenames, source, split.rest);
  return found.empty() ? "" : split.prefix + std::string(found);
}

class Planner {
 public:
  Planner(const TensorArchive& source, const ModelConfig* source_config, const ModelConfig& target)
      : source_(source), config_(source_config), target_(target) {}

  ConversionPlan Run() {
    ConversionPlan plan;
    for (const TensorSpec& spec : target_.TensorSpecs()) plan.tensors.push_back(PlanOne(spec));
    for (const TensorView& tensor : source_.tensors) {
      if (used_.count(tensor.name) > 0) continue;
      plan.left_over.push_back({tensor.name, TensorFate::kUnexpected, WhyLeftOver(tensor)});
    }
    return plan;
  }

 private:
  bool Crosses() const {
    return config_ != nullptr && config_->architecture != target_.architecture;
  }

  TensorPlan PlanOne(const TensorSpec& spec) {
    TensorPlan plan;
    plan.target = spec;
    plan.report = {spec.name, TensorFate::kFresh, ""};
    const std::string from = Crosses() ? SourceNameOf(config_->architecture, spec.name) : spec.name;
    const TensorView* view = from.empty() ? nullptr : source_.Find(from);
    if (view == nullptr) {
      plan.report.note = WhyFresh(spec.name, from);
      return plan;
    }
    used_.insert(from);
    if (!IsFloatingPoint(view->dtype)) {
      plan.report.fate = TensorFate::kWrongShape;
      plan.report.note = absl::StrCat("stored as ", SafetensorsName(view->dtype), "; left fresh");
    } else if (view->shape == spec.shape) {
      plan.source = view;
      plan.report.fate = IsWidened(view->dtype) ? TensorFate::kConverted : TensorFate::kCopied;
      if (IsWidened(view->dtype)) {
        plan.report.note = absl::StrCat(SafetensorsName(view->dtype), " to F32");
      }
      if (from != spec.name) plan.report.note = absl::StrCat("from ", from);
    } else if (!Average(*view, spec, plan)) {
      plan.report.fate = TensorFate::kWrongShape;
      plan.report.note = absl::StrCat(ShapeToString(view->shape), " against ",
                                      ShapeToString(spec.shape), "; left fresh");
    }
    return plan;
  }

  // k and v projections for fewer kv heads: each new head is the mean of the old ones that its
  // queries used.
  bool Average(const TensorView& view, const TensorSpec& spec, TensorPlan& plan) const {
    const std::string rest = Split(spec.name).rest;
    if (!Crosses() || (rest != "self_attn.k_proj.weight" && rest != "self_attn.v_proj.weight")) {
      return false;
    }
    const int64_t old_heads = config_->num_key_value_heads;
    const int64_t new_heads = target_.num_key_value_heads;
    const bool whole =
        new_heads > 0 && old_heads % new_heads == 0 &&
        view.shape == std::vector<int64_t>{old_heads * target_.head_dim, target_.hidden_size};
    if (!whole) return false;
    plan.source = &view;
    plan.averaged_heads = old_heads / new_heads;
    plan.report.fate = TensorFate::kConverted;
    plan.report.note = absl::StrCat("kv heads ", old_heads, " averaged to ", new_heads);
    return true;
  }

  std::string WhyFresh(const std::string& name, const std::string& from) const {
    if (from.empty()) {
      return absl::StrCat(Crosses() ? NameOf(config_->architecture) : "the source",
                          " has no such tensor");
    }
    const SplitName split = Split(name);
    if (Crosses() && split.layer >= config_->num_layers()) return "the source has fewer layers";
    if (Crosses() && split.rest.rfind("self_attn.", 0) == 0) {
      return absl::StrCat("layer ", split.layer, " of the source has a conv, no attention");
    }
    return absl::StrCat("the source has no ", from);
  }

  std::string WhyLeftOver(const TensorView& tensor) const {
    if (!Crosses()) return "the new model has no tensor of this name";
    const SplitName split = Split(tensor.name);
    if (split.layer >= target_.num_layers()) return "the new model has fewer layers";
    if (split.rest.find("_layernorm.") != std::string::npos) {
      return "the hybrid's attention has no norm on q and k";
    }
    if (split.rest.rfind("conv.", 0) == 0) return "the hybrid has no conv; its SSM starts fresh";
    if (split.rest.rfind("self_attn.", 0) == 0) {
      return absl::StrCat("layer ", split.layer, " of the new model has no attention");
    }
    if (split.rest.rfind("ffn_norm.", 0) == 0) return "parallel_residual has no norm of its own";
    return "the hybrid has no such tensor";
  }

  const TensorArchive& source_;
  const ModelConfig* config_;
  const ModelConfig& target_;
  std::set<std::string> used_;
};

}  // namespace

bool ConversionPlan::IsWholeSource() const {
  return left_over.empty() &&
         std::all_of(tensors.begin(), tensors.end(), [](const TensorPlan& tensor) {
           return tensor.source != nullptr && tensor.averaged_heads == 0 &&
                  tensor.source->name == tensor.target.name;
         });
}

ConversionPlan PlanTensors(const TensorArchive& source, const ModelConfig* source_config,
                           const ModelConfig& target) {
  return Planner(source, source_config, target).Run();
}

}  // namespace lfm2
