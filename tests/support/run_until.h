#pragma once

#include <chrono>
#include <functional>

#include <boost/asio/io_context.hpp>

namespace potluck::test {

/// Runs the loop until this holds; false if it takes too long.
inline bool run_until(boost::asio::io_context& loop, const std::function<bool()>& done,
                      std::chrono::seconds patience = std::chrono::seconds(30)) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!done() && std::chrono::steady_clock::now() < end) {
        loop.restart();
        loop.run_one_for(std::chrono::milliseconds(20));
    }
    return done();
}

}  // namespace potluck::test
