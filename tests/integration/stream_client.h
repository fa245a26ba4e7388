#pragma once

// A client that reads an answer as it comes, on a thread of its own.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

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
    // After answer():
    /// The pieces of text, in the order in which they came.
    const std::vector<std::string>& texts() const { return texts_; }
    /// `system_fingerprint` of the first and of the last piece.
    const std::string& first_fingerprint() const { return first_fingerprint_; }
    const std::string& last_fingerprint() const { return last_fingerprint_; }

  private:
    void run(std::uint16_t port, const std::string& body);
    void take(const std::string& event);

    std::atomic<std::size_t> pieces_ = 0;
    std::atomic<bool> ended_ = false;
    std::atomic<bool> hangs_up_ = false;
    std::string text_;
    std::vector<std::string> texts_;
    std::string first_fingerprint_;
    std::string last_fingerprint_;
    std::string finish_ = "cut off";
    std::thread thread_;
};

using Streams = std::vector<std::unique_ptr<StreamClient>>;

/// Of each stream, in their order; waits for all.
std::vector<std::string> answers(const Streams& streams);
/// Waits until so many pieces of each have come; false after half a minute.
bool all_have(const Streams& streams, std::size_t pieces);

}  // namespace potluck::integration
