// Joins the TUN devices of network namespaces to one switch with rates, delays, loss and wires that
// can be pulled. README.md says how to use it.

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/file_descriptor.h"
#include "tools/netshape/network.h"
#include "tools/netshape/tun.h"
#include "tools/netshape/units.h"

namespace potluck::netshape {
namespace {

constexpr std::size_t kMostPacketBytes = 65'535;
constexpr int kPacketsPerTurn = 64;  ///< of one port before the others have theirs

struct Options {
    std::string rate = "1gbit";
    std::string rtt = "0.3ms";
    std::string loss = "0";
    int mtu = 1500;
    std::uint64_t seed = 1;
    std::vector<std::string> machines;  ///< "namespace=address"
};

nanoseconds now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

class Program {
  public:
    explicit Program(std::uint64_t seed) : network_(seed) {}

    Status open(const Options& options);
    /// Until standard input ends or the timer fails.
    void run();

  private:
    void arm(nanoseconds at) const;
    std::vector<pollfd> wanted(nanoseconds time) const;
    void take_packets(PortIndex port);
    bool read_commands();
    std::string obey(const std::string& line);
    Result<std::string> change(const std::string& verb, PortIndex port, const std::string& value);
    std::string counters() const;

    Network network_;
    std::vector<FileDescriptor> tuns_;  ///< by port
    std::map<std::string, PortIndex> names_;
    FileDescriptor timer_{timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    std::string input_;  ///< of a command that is not whole yet
    std::array<std::byte, kMostPacketBytes> packet_{};
};

Status Program::open(const Options& options) {
    PortShape shape;
    POTLUCK_ASSIGN(shape.bits_per_second, parse_rate(options.rate));
    POTLUCK_ASSIGN(const nanoseconds rtt, parse_time(options.rtt));
    POTLUCK_ASSIGN(shape.loss, parse_share(options.loss));
    shape.delay = rtt / 4;  // there and back, over two ports each
    for (const auto& machine : options.machines) {
        const auto split = machine.find('=');
        if (split == std::string::npos) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("'{}' is not NAMESPACE=ADDRESS", machine));
        }
        const std::string name = machine.substr(0, split);
        POTLUCK_ASSIGN(const std::uint32_t address, parse_address(machine.substr(split + 1)));
        POTLUCK_ASSIGN(auto tun, open_tun(name, address, options.mtu));
        tuns_.push_back(std::move(tun));
        names_[name] = network_.add_port(address, shape);
    }
    return {};
}

/// At once if that time is over.
void Program::arm(nanoseconds at) const {
    itimerspec when{};
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at);
    when.it_value.tv_sec = seconds.count();
    when.it_value.tv_nsec = std::max<std::int64_t>((at - seconds).count(), 1);
    timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

/// Standard input, the timer, and the ports whose uplinks have room; the timer rings when the next
/// packet moves or an uplink has room again.
std::vector<pollfd> Program::wanted(nanoseconds time) const {
    std::vector<pollfd> polled{{STDIN_FILENO, POLLIN, 0}, {timer_.get(), POLLIN, 0}};
    auto next = network_.next();
    for (PortIndex port = 0; port < tuns_.size(); ++port) {
        const bool has_room = network_.accepts(time, port);
        polled.push_back({has_room ? tuns_[port].get() : -1, POLLIN, 0});
        if (has_room) continue;
        const nanoseconds at = network_.accepts_at(port);
        next = next ? std::min(*next, at) : at;
    }
    if (next) arm(*next);
    return polled;
}

void Program::take_packets(PortIndex port) {
    for (int i = 0; i < kPacketsPerTurn; ++i) {
        const nanoseconds time = now();
        if (!network_.accepts(time, port)) return;
        const auto bytes = read(tuns_[port].get(), packet_.data(), packet_.size());
        if (bytes <= 0) return;
        network_.send(time, port, std::span(packet_).first(static_cast<std::size_t>(bytes)));
    }
}

void Program::run() {
    while (true) {
        auto polled = wanted(now());
        if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
        if (polled[0].revents != 0 && !read_commands()) return;
        if (polled[1].revents != 0) {
            std::uint64_t rang = 0;
            if (read(timer_.get(), &rang, sizeof rang) < 0 && errno != EAGAIN) return;
        }
        for (PortIndex port = 0; port < tuns_.size(); ++port) {
            if (polled[port + 2].revents != 0) take_packets(port);
        }
        network_.advance(now(), [&](PortIndex port, std::span<const std::byte> packet) {
            // A machine that has no room loses the packet, as with a network card.
            if (write(tuns_[port].get(), packet.data(), packet.size()) < 0) return;
        });
    }
}

/// False at the end of input.
bool Program::read_commands() {
    std::array<char, 4096> text{};
    const auto bytes = read(STDIN_FILENO, text.data(), text.size());
    if (bytes <= 0) return false;
    input_.append(text.data(), static_cast<std::size_t>(bytes));
    for (auto end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
        fmt::print("{}\n", obey(input_.substr(0, end)));
        input_.erase(0, end + 1);
    }
    std::fflush(stdout);
    return true;
}

std::string Program::obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    std::string name;
    std::string value;
    words >> verb >> name >> value;
    if (verb == "stats" && name.empty()) return counters();
    const auto port = names_.find(name);
    if (port == names_.end()) return fmt::format("error: no machine '{}'", name);
    auto answer = change(verb, port->second, value);
    return answer ? *answer : "error: " + answer.error().message;
}

Result<std::string> Program::change(const std::string& verb, PortIndex port,
                                    const std::string& value) {
    PortShape shape = network_.shape(port);
    if (verb == "up" || verb == "down") {
        shape.up = verb == "up";
    } else if (verb == "rate") {
        POTLUCK_ASSIGN(shape.bits_per_second, parse_rate(value));
    } else if (verb == "delay") {
        POTLUCK_ASSIGN(shape.delay, parse_time(value));
    } else if (verb == "loss") {
        POTLUCK_ASSIGN(shape.loss, parse_share(value));
    } else {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("'{}' is none of up, down, rate, delay, loss, stats", verb));
    }
    network_.reshape(port, shape);
    return "ok";
}

/// One line, so that every answer is one.
std::string Program::counters() const {
    std::string text;
    for (const auto& [name, port] : names_) {
        const auto& c = network_.counters(port);
        text += fmt::format("{}{} in={}/{}B out={}/{}B lost={} overflowed={} down={} strange={}",
                            text.empty() ? "" : "; ", name, c.packets_in, c.bytes_in, c.packets_out,
                            c.bytes_out, c.lost, c.overflowed, c.down, c.strange);
    }
    return text;
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app{"A network of namespaces with rates, delays, loss and wires that can be pulled"};
    app.add_option("--rate", options.rate, "of every wire, each way")->capture_default_str();
    app.add_option("--rtt", options.rtt, "between any two machines, there and back")
        ->capture_default_str();
    app.add_option("--loss", options.loss, "share of packets, on each wire each way")
        ->capture_default_str();
    app.add_option("--mtu", options.mtu)->capture_default_str()->check(CLI::Range(576, 65535));
    app.add_option("--seed", options.seed, "of the loss")->capture_default_str();
    app.add_option("machines", options.machines, "NAMESPACE=ADDRESS")->required();
    CLI11_PARSE(app, argc, argv);
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);  // the default of 50 µs is much beside 75 µs
    Program program(options.seed);
    if (auto opened = program.open(options); !opened) {
        fmt::print(stderr, "netshape: {}\n", opened.error().message);
        return 1;
    }
    fmt::print("ready\n");
    std::fflush(stdout);
    program.run();
    return 0;
}

}  // namespace
}  // namespace potluck::netshape

int main(int argc, char** argv) {
    return potluck::netshape::run(argc, argv);
}
