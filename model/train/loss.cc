#include "model/train/loss.h"

#include <torch/torch.h>

#include <algorithm>

namespace lfm2 {
namespace {

class CrossEntropySum : public torch::autograd::Function<CrossEntropySum> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& head, const at::Tensor& targets, int64_t chunk_rows) {
    const bool hidden_needs = hidden.requires_grad(), head_needs = head.requires_grad();
    const int64_t n = hidden.size(0);
    at::Tensor loss = at::zeros({}, hidden.options().dtype(at::kFloat));
    at::Tensor hidden_grad, head_grad;
    if (hidden_needs) hidden_grad = at::empty_like(hidden, at::MemoryFormat::Contiguous);
    if (head_needs) head_grad = at::zeros(head.sizes(), head.options().dtype(at::kFloat));
    for (int64_t begin = 0; begin < n; begin += chunk_rows) {
      const int64_t length = std::min(chunk_rows, n - begin);
      const at::Tensor rows = hidden.narrow(0, begin, length);
      const at::Tensor index = targets.narrow(0, begin, length).unsqueeze(1);
      at::Tensor scores = at::matmul(rows, head.t()).to(at::kFloat);  // [length, vocab]
      scores.sub_(scores.amax(1, /*keepdim=*/true));
      const at::Tensor target_scores = scores.gather(1, index);
      scores.exp_();
      const at::Tensor total = scores.sum(1, /*keepdim=*/true);
      loss.add_((total.log() - target_scores).sum());
      if (!hidden_needs && !head_needs) continue;
      scores.div_(total);
      scores.scatter_add_(1, index, at::full_like(total, -1.0));
      const at::Tensor grad = scores.to(hidden.scalar_type());
      if (hidden_needs) {
        at::Tensor out = hidden_grad.narrow(0, begin, length);
        at::matmul_out(out, grad, head);
      }
      if (head_needs) AddProduct(head_grad, grad.t(), rows);
    }
    context->save_for_backward({hidden_grad, head_grad});
    context->saved_data["head_type"] = static_cast<int64_t>(head.scalar_type());
    return loss;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const auto head_type = static_cast<at::ScalarType>(context->saved_data["head_type"].toInt());
    at::Tensor hidden_grad, head_grad;
    if (saved[0].defined()) hidden_grad = saved[0] * upstream[0].to(saved[0].scalar_type());
    if (saved[1].defined()) head_grad = (saved[1] * upstream[0]).to(head_type);
    return {hidden_grad, head_grad, at::Tensor(), at::Tensor()};
  }

 private:
  // sum += a @ b; the sum over the chunks is float32.
  static void AddProduct(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
    if (a.scalar_type() == at::kFloat) {
      sum.addmm_(a, b);
    } else {
      sum.add_(at::mm(a, b));
    }
  }
};

}  // namespace

at::Tensor ChunkedCrossEntropySum(const at::Tensor& hidden, const at::Tensor& head,
                                  const at::Tensor& targets, int64_t chunk_elements) {
  const int64_t chunk_rows = std::max<int64_t>(1, chunk_elements / head.size(0));
  if (!at::GradMode::is_enabled()) {
    // Detached, so that gradients that nobody needs are not computed.
    return CrossEntropySum::apply(hidden.detach(), head.detach(), targets, chunk_rows);
  }
  return CrossEntropySum::apply(hidden, head, targets, chunk_rows);
}

}  // namespace lfm2
