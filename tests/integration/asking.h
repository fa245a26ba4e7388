#pragma once

// Completions as tests ask for them: of a running cluster, and of one process alone.

#include <cstdint>
#include <string>

#include <boost/json/object.hpp>

#include "cluster_process.h"

namespace potluck::integration {

struct Question {
    std::string prompt;
    double temperature = 0;
    std::string speculation;  ///< empty: as the cluster does it
    int max_tokens = 64;
    int seed = 11;
    bool ignore_eos = false;
};

struct Answer {
    std::string text;  ///< or "error: …"
    boost::json::object usage;
    /// Of what usage says about speculation; 0 where it says nothing.
    std::int64_t figure(const char* name) const;
};

Answer ask(const Cluster& cluster, const Question& question);
/// What one process answers, without a network and without drafts.
std::string answer_alone(const Question& question);
/// The question for a StreamClient.
std::string fields(const Question& question);

/// Much of the answer stands in the question, and some of it was changed.
std::string edit_prompt(const std::string& from, const std::string& to);

}  // namespace potluck::integration
