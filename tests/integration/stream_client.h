#pragma once

// A client that reads an answer as it comes, on a thread of its own.

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

namespace potluck::integration {

class StreamClient {
  public:
    /// Asks for a completion; `fields` is JSON, e.g. "\"prompt\":\"x\",\"max_tokens\":8".
    StreamClient(std::uint16_t port, const std::string& fields);
    ~StreamClient();
    StreamClient(const StreamClient&) = delete;
    StreamClient& operator=(const StreamClient&) = delete;

    /// Pieces of text that have come.
    std::size_t pieces() const { return pieces_; }
    bool ended() const { return ended_; }
    /// Goes with the next piece, and waits for that.
    void hang_up();
    /// Waits for the end: the text, then "|" and why it ended; or what came instead.
    std::string answer();

  private:
    void run(std::uint16_t port, const std::string& body);
    void take(const std::string& event);

    std::atomic<std::size_t> pieces_ = 0;
    std::atomic<bool> ended_ = false;
    std::atomic<bool> hangs_up_ = false;
    std::string text_;
    std::string finish_ = "cut off";
    std::thread thread_;
};

}  // namespace potluck::integration
