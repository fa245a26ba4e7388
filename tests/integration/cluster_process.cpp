#include "cluster_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>
#include <thread>

#include <boost/algorithm/string/case_conv.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>

namespace potluck::integration {
namespace {

namespace http = boost::beast::http;
using boost::asio::ip::tcp;

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string scratch_file(const std::string& name) {
    static int counter = 0;
    return (std::filesystem::temp_directory_path() / ("potluck-test-" + std::to_string(::getpid()) +
                                                      "-" + std::to_string(++counter) + "-" + name))
        .string();
}

pid_t spawn(const std::vector<std::string>& arguments, const std::string& in,
            const std::string& out, const std::string& err) {
    std::vector<std::string> owned = arguments;
    owned.insert(owned.begin(), program());
    std::vector<char*> argv;
    for (auto& a : owned)
        argv.push_back(a.data());
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    // What machines are measured to do is kept among builds' files, not the user's.
    ::setenv("XDG_CACHE_HOME", POTLUCK_BINARY_DIR "/cache", 1);
    const int input = ::open(in.c_str(), O_RDONLY);
    const int output = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int errors =
        err == out ? output : ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(input, 0);
    ::dup2(output, 1);
    ::dup2(errors, 2);
    ::execv(argv[0], argv.data());
    ::_exit(127);
}

}  // namespace

std::string program() {
    return std::string(POTLUCK_BINARY_DIR) + "/bin/potluck";
}
std::string bundled_model() {
    return std::string(POTLUCK_SOURCE_DIR) + "/models/tiny-coder-q8_0.gguf";
}

Finished run_program(const std::vector<std::string>& arguments, const std::string& input) {
    const std::string in = scratch_file("in");
    const std::string out = scratch_file("out");
    const std::string err = scratch_file("err");
    std::ofstream(in, std::ios::binary) << input;
    const pid_t pid = spawn(arguments, in, out, err);
    int status = 0;
    ::waitpid(pid, &status, 0);
    Finished finished{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                      read_file(out), read_file(err)};
    for (const auto& file : {in, out, err})
        std::filesystem::remove(file);
    return finished;
}

bool eventually(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < until) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

std::size_t count(const std::string& text, const std::string& of) {
    std::size_t n = 0;
    for (auto at = text.find(of); at != std::string::npos; at = text.find(of, at + of.size()))
        ++n;
    return n;
}

std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

std::uint16_t free_port() {
    boost::asio::io_context loop;
    tcp::acceptor acceptor(loop, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    return acceptor.local_endpoint().port();
}

Process::Process(const std::vector<std::string>& arguments) : log_(scratch_file("log")) {
    pid_ = spawn(arguments, "/dev/null", log_, log_);
}

Process::~Process() {
    if (running()) {
        signal(SIGTERM);
        wait_for_exit();
    }
    std::filesystem::remove(log_);
}

bool Process::running() {
    if (pid_ < 0) return false;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
    exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = -1;
    return false;
}

int Process::wait_for_exit() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (running() && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (pid_ >= 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
        exit_code_ = -SIGKILL;
    }
    return exit_code_;
}

bool Process::wait_for(const std::string& text) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (output().find(text) == std::string::npos) {
        if (!running() || std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

void Process::signal(int number) {
    if (pid_ >= 0) ::kill(pid_, number);
}

std::string Process::output() const {
    return read_file(log_);
}

namespace {

std::vector<std::string> with_port(const std::vector<std::string>& arguments,
                                   const std::string& command, std::uint16_t port) {
    std::vector<std::string> all = {command, "--port", std::to_string(port)};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
}

}  // namespace

Cluster::Cluster(const std::vector<std::string>& arguments, const std::string& command)
    : Cluster(arguments, command, free_port()) {}
Cluster::Cluster(const std::vector<std::string>& arguments, const std::string& command,
                 std::uint16_t port)
    : Process(with_port(arguments, command, port)), port_(port) {}

std::vector<int> Cluster::worker_pids() const {
    const std::string text = output();
    std::smatch found;
    std::vector<int> pids;
    if (!std::regex_search(text, found, std::regex("started .*\\(process ([0-9, ]+)\\)")))
        return pids;
    std::istringstream list(std::regex_replace(found[1].str(), std::regex(","), " "));
    for (int pid = 0; list >> pid;)
        pids.push_back(pid);
    return pids;
}

bool Cluster::wait_until_ready(std::chrono::seconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < until && running()) {
        if (get("/health").status == 200) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

namespace {

HttpAnswer request(std::uint16_t port, http::verb verb, const std::string& path,
                   const std::string& body, const std::string& key) {
    try {
        boost::asio::io_context loop;
        tcp::socket socket(loop);
        socket.connect({boost::asio::ip::address_v4::loopback(), port});
        http::request<http::string_body> message(verb, path, 11);
        message.set(http::field::host, "127.0.0.1");
        message.set(http::field::connection, "close");
        if (!key.empty()) message.set(http::field::authorization, "Bearer " + key);
        message.body() = body;
        message.prepare_payload();
        http::write(socket, message);
        boost::beast::flat_buffer buffer;
        http::response<http::string_body> answer;
        http::read(socket, buffer, answer);
        HttpAnswer out{static_cast<int>(answer.result_int()), answer.body(), {}};
        for (const auto& field : answer) {
            std::string name(field.name_string());
            boost::algorithm::to_lower(name);
            out.headers[name] = field.value();
        }
        return out;
    } catch (const std::exception&) {
        return {};
    }
}

}  // namespace

HttpAnswer Cluster::get(const std::string& path, const std::string& key) const {
    return request(port_, http::verb::get, path, {}, key);
}
HttpAnswer Cluster::post(const std::string& path, const std::string& body,
                         const std::string& key) const {
    return request(port_, http::verb::post, path, body, key);
}

std::string Cluster::complete(const std::string& prompt, int max_tokens) const {
    const boost::json::object body = {
        {"prompt", prompt}, {"max_tokens", max_tokens}, {"temperature", 0}};
    const auto answer = post("/v1/completions", boost::json::serialize(body));
    if (answer.status != 200) return "error: " + std::to_string(answer.status) + " " + answer.body;
    const auto parsed = boost::json::parse(answer.body);
    return std::string(parsed.at("choices").at(0).at("text").as_string());
}

}  // namespace potluck::integration
