// The forward pass of llama, qwen2 and qwen3 written straight from the papers, in double, one token
// after another, with no graph, no cache layout and no kernels: what the engine is compared with.

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "tests/support/tiny_model.h"

namespace potluck::engine {

class PlainModel {
  public:
    explicit PlainModel(const test::TinyModel& tiny) : tiny_(tiny), spec_(tiny.spec) {}

    /// Logits after each token. Only for F32 weights.
    std::vector<std::vector<double>> forward(std::span<const TokenId> tokens);

  private:
    using Values = std::vector<double>;

    const std::vector<float>& tensor(const std::string& name) const {
        return tiny_.tensors.at(name).values;
    }
    bool has(const std::string& name) const { return tiny_.tensors.contains(name); }
    Values product(const std::string& stem, const Values& x) const;
    Values norm(const Values& x, const std::string& name) const;
    Values heads_norm(const Values& x, const std::string& name) const;
    void turn(Values& x, std::size_t position) const;
    Values attend(std::size_t layer, const Values& q) const;
    Values layer(std::size_t index, Values x, std::size_t position);

    const test::TinyModel& tiny_;
    const test::TinySpec& spec_;
    std::vector<std::vector<Values>> keys_, values_;  ///< [layer][position]
};

}  // namespace potluck::engine
