#pragma once

// Machines in processes of their own: a coordinator and workers that join it, each with a folder
// for what it keeps.

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace potluck::integration {

class Machines : public ::testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    std::string dir(const std::string& name) const { return root_ + "/" + name; }
    /// A cluster in dir(name), which is to be at address_; its first token.
    std::string init(const std::string& name) const;
    /// Arguments behind "coordinator", for the cluster in dir("home").
    std::vector<std::string> coordinator(int workers,
                                         const std::vector<std::string>& more = {}) const;
    /// Arguments of the program; without a token for one that has joined.
    std::vector<std::string> worker(const std::string& name, const std::string& token = {},
                                    const std::vector<std::string>& more = {}) const;

    std::string root_;
    std::string address_;  ///< where the coordinator listens for workers
};

}  // namespace potluck::integration
