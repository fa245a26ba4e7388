#pragma once

// Whether the other side of a control link lives. Each side sends a Ping at every beat and expects
// any message between two beats; a Ping is answered by a Pong, so that the two sides need not agree
// on how often. A connection that is lost says so itself; this is for processes that hang, machines
// that are cut off, and networks that are silent.
//
// Silence is counted in beats, not measured in time: a process that was itself held up (a laptop
// that slept, a machine that computes with every core) comes back to one beat, reads what has
// arrived meanwhile before the next one, and suspects nobody.
//
// The beats are those of the loop that owns the link, on purpose. No loop computes, reads files or
// waits (executors and pools do), so a beat is late by milliseconds at most; and a loop that does
// not answer does not pass batches on either, which a thread that only answers would hide.

#include <algorithm>
#include <chrono>

namespace potluck::links {

class Heartbeat {
  public:
    /// Beats without a word after which the peer is taken for dead.
    static constexpr int kBeats = 5;
    /// Between two beats, for a peer that is to be suspected after `silence` (and at most a fifth
    /// more).
    static constexpr std::chrono::milliseconds interval(std::chrono::milliseconds silence) {
        return std::max(silence / kBeats, std::chrono::milliseconds(1));
    }

    /// Anything came.
    void heard() { missed_ = -1; }
    /// At every beat: false if the peer has been silent for too long, else ping it.
    bool beat() { return ++missed_ < kBeats; }

  private:
    int missed_ = -1;
};

}  // namespace potluck::links
