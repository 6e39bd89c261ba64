#include "proxy/process/takeover.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>

namespace pgmend::proxy {

namespace {

constexpr auto successor_within = std::chrono::seconds{30};
constexpr int first_descriptor = 3;
/// Above every number that is handed over, so that no dup2 closes one that is still to come.
constexpr int beside = 512;
constexpr std::size_t pid_digits = 10;
constexpr std::string_view pid_variable = "LISTEN_PID=";

std::vector<std::string> own_arguments() {
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::vector<std::string> words;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\0', at), text.size());
        words.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

/// The environment but for what names a process or its descriptors. The first entry is where the successor's
/// number goes.
std::vector<std::string> environment_for(const std::vector<inherited_socket>& sockets) {
    std::vector<std::string> words{std::string{pid_variable} + std::string(pid_digits, '\0')};
    for (char** each = environ; *each != nullptr; ++each) {
        const std::string_view word = *each;
        if (word.starts_with("LISTEN_") || word.starts_with("WATCHDOG_PID=")) continue;
        words.emplace_back(word);
    }
    std::string names = "LISTEN_FDNAMES=";
    for (const auto& socket : sockets)
        names.append(socket.name).append(":");
    words.push_back(names.append(descriptor_name::predecessor));
    words.push_back("LISTEN_FDS=" + std::to_string(sockets.size() + 1));
    return words;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> result;
    for (auto& word : words)
        result.push_back(word.data());
    result.push_back(nullptr);
    return result;
}

/// Only what is safe between fork and exec of a process with threads: no allocation, no lock.
void write_number(char* to, pid_t number) noexcept {
    char digits[pid_digits];
    std::size_t count = 0;
    for (; number > 0; number /= 10)
        digits[count++] = static_cast<char>('0' + number % 10);
    while (count > 0)
        *to++ = digits[--count];
    *to = '\0';
}

}  // namespace

takeover::takeover(boost::asio::io_context& control) : deadline_(control), answer_(control) {
    char path[PATH_MAX] = "";
    if (const auto length = ::readlink("/proc/self/exe", path, sizeof path); length > 0)
        program_.assign(path, static_cast<std::size_t>(length));
}

bool takeover::start(const std::vector<inherited_socket>& sockets, std::function<void(const outcome&)> done) {
    if (successor_ != 0 || ::getpid() == 1) return false;
    done_ = std::move(done);
    int pipe[2] = {-1, -1};
    if (::pipe2(pipe, O_CLOEXEC) != 0) return false;
    std::vector<int> descriptors;
    for (const auto& socket : sockets)
        descriptors.push_back(::fcntl(socket.descriptor, F_DUPFD_CLOEXEC, beside));
    descriptors.push_back(::fcntl(pipe[1], F_DUPFD_CLOEXEC, beside));
    ::close(pipe[1]);
    auto argument_words = own_arguments();
    auto environment_words = environment_for(sockets);
    const auto arguments = pointers(argument_words);
    const auto environment = pointers(environment_words);
    const bool copied =
        std::none_of(descriptors.begin(), descriptors.end(), [](int each) { return each < 0; });
    errno = copied ? 0 : EMFILE;
    // Until it is another program, a signal to the child would be one to this process: they share the pipe
    // that signals are written to.
    sigset_t every;
    sigset_t before;
    ::sigfillset(&every);
    ::pthread_sigmask(SIG_SETMASK, &every, &before);
    const pid_t child = copied ? ::fork() : -1;
    if (child == 0) {
        for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2})
            ::signal(each, SIG_DFL);
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        int at = first_descriptor;
        for (const int descriptor : descriptors)
            ::dup2(descriptor, at++);
        // Not everything is opened to be closed here, and a copy of a client's connection would keep it open.
        ::close_range(static_cast<unsigned>(at), ~0U, 0);
        write_number(environment[0] + pid_variable.size(), ::getpid());
        ::execve(program_.c_str(), arguments.data(), environment.data());
        ::_exit(127);
    }
    const int error_number = errno;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    for (const int descriptor : descriptors)
        ::close(descriptor);
    answer_.assign(pipe[0]);
    if (child < 0) {
        finish(std::string{"fork: "} + std::strerror(error_number));
        return true;
    }
    successor_ = child;
    told_ = false;
    deadline_.expires_after(successor_within);
    deadline_.async_wait([this](const boost::system::error_code& error) {
        if (!error) answer_.cancel();
    });
    boost::asio::async_read(
        answer_, boost::asio::buffer(&byte_, 1),
        [this](const boost::system::error_code& error, std::size_t) {
            finish(error ? "the new process did not get as far as serving" : "");
        }
    );
    return true;
}

void takeover::end_successor() noexcept {
    if (successor_ <= 0 || told_) return;
    told_ = true;
    ::kill(successor_, SIGTERM);
}

void takeover::finish(std::string problem) {
    deadline_.cancel();
    answer_.close();
    const outcome result{successor_, std::move(problem), told_};
    if (!result.problem.empty() && successor_ > 0) {
        ::kill(successor_, SIGKILL);
        ::waitpid(successor_, nullptr, 0);
    }
    successor_ = 0;
    const auto done = std::move(done_);
    done(result);
}

}  // namespace pgmend::proxy
