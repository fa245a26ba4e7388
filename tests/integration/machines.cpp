#include "machines.h"

#include <unistd.h>

#include <filesystem>

#include "cluster_process.h"

namespace potluck::integration {

namespace fs = std::filesystem;

void Machines::SetUp() {
    std::string pattern = (fs::temp_directory_path() / "potluck-machines-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    address_ = "127.0.0.1:" + std::to_string(free_port());
}

void Machines::TearDown() {
    fs::remove_all(root_);
}

std::string Machines::init(const std::string& name) const {
    const auto made = run_program({"init", "--dir", dir(name), "--address", address_});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return trimmed(made.out);
}

std::vector<std::string> Machines::coordinator(int workers,
                                               const std::vector<std::string>& more) const {
    // Each is to have a part in the answers, however fast the other one is.
    std::vector<std::string> arguments = {"--dir",    dir("home"), "--listen",
                                          address_,   "--workers", std::to_string(workers),
                                          "--use-all"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

std::vector<std::string> Machines::worker(const std::string& name, const std::string& token,
                                          const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"worker",   "--dir",       dir(name),   "--name", name,
                                          "--listen", "127.0.0.1:0", "--threads", "1"};
    if (!token.empty()) arguments.insert(arguments.end(), {"--join", token});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

}  // namespace potluck::integration
