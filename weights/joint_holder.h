#pragma once

// Two holders as one: of the models that a coordinator gives out side by side.

#include <memory>

#include "weights/holder.h"

namespace potluck::weights {

/// `second` is asked for what `first` does not have.
std::unique_ptr<Holder> make_joint_holder(std::unique_ptr<Holder> first,
                                          std::unique_ptr<Holder> second);

}  // namespace potluck::weights
