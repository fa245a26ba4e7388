#pragma once

// A planner's verdict for people, and for programs.

#include <string>

#include "coordinator/planner/planner.h"

namespace potluck::cli {

struct PlanReport {
    const planner::ModelParts& model;
    const planner::Inventory& inventory;
    const planner::PlanRequest& request;
    const planner::Planning& planning;
};
std::string to_table(const PlanReport& report);
/// One object on one line; docs/planning.md lists its keys.
std::string to_json(const PlanReport& report);

}  // namespace potluck::cli
