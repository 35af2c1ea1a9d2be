#include "model/convert/convert_plan.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/arch/registry.h"

namespace lfm2 {
namespace {

// Types that become float32, because a plain tensor file cannot store them or, for F64, because
// nothing uses them.
bool IsWidened(DType dtype) { return dtype == DType::kF64 || IsBlockType(dtype); }

// The source's name of the tensor that a target tensor is made from; empty if the source does not
// have one.
std::string SourceNameOf(const ModelConfig& source, const ModelConfig& target, TensorId id) {
  id.role = SpecOf(target).converted_from(id.role);
  return NameOf(source.names(), id);
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
    const std::string from = Crosses() ? SourceNameOf(*config_, target_, spec.id) : spec.name;
    const TensorView* view = from.empty() ? nullptr : source_.Find(from);
    if (view == nullptr) {
      plan.report.note = WhyFresh(spec.id, from);
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

  // k and v projections for fewer kv heads: each new head is the mean of the old heads that its
  // queries used.
  bool Average(const TensorView& view, const TensorSpec& spec, TensorPlan& plan) const {
    const bool keys_or_values = spec.id.role == Role::kKey || spec.id.role == Role::kValue;
    if (!Crosses() || !keys_or_values) return false;
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

  std::string WhyFresh(const TensorId& id, const std::string& from) const {
    if (from.empty()) {
      return absl::StrCat(Crosses() ? NameOf(config_->architecture) : "the source",
                          " has no such tensor");
    }
    if (Crosses() && id.layer >= config_->num_layers()) return "the source has fewer layers";
    if (Crosses() && IsOfAttention(id.role)) {
      return absl::StrCat("layer ", id.layer, " of the source has a conv instead of attention");
    }
    return absl::StrCat("the source has no ", from);
  }

  std::string WhyLeftOver(const TensorView& tensor) const {
    if (!Crosses()) return "the new model has no tensor of this name";
    const std::string the_target = absl::StrCat("the ", NameOf(target_.architecture));
    const std::optional<TensorId> id = IdOf(config_->names(), tensor.name);
    const int64_t layer = LayerOf(tensor.name).value_or(-1);
    if (layer >= target_.num_layers()) return "the new model has fewer layers";
    if (!id) return the_target + " has no such tensor";
    if (id->role == Role::kQueryNorm || id->role == Role::kKeyNorm) {
      return the_target + "'s attention has no norm on q and k";
    }
    if (IsOfShortConv(id->role)) return the_target + " has no conv; its SSM starts fresh";
    if (IsOfAttention(id->role)) {
      return absl::StrCat("layer ", layer, " of the new model has no attention");
    }
    if (id->role == Role::kFeedForwardNorm) return "parallel_residual has no separate norm";
    return the_target + " has no such tensor";
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
