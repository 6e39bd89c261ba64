#pragma once
// A restart that refuses nobody: this process starts its successor from the program file that is there now,
// with the same arguments, and hands it the listening sockets. Only when the successor says that it serves
// does this one stop accepting; one that does not get that far changes nothing. Control thread.

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <string>
#include <vector>

#include "proxy/process/inherited_sockets.hpp"

namespace pgmend::proxy {

class takeover {
public:
    struct outcome {
        pid_t successor = 0;
        std::string problem;  ///< empty when the successor serves
        bool told = false;    ///< by end_successor
    };

    /// Remembers where the program is: by the time it is asked, an upgrade may have replaced the file.
    explicit takeover(boost::asio::io_context& control);
    takeover(const takeover&) = delete;
    takeover& operator=(const takeover&) = delete;

    /// Starts a successor that inherits `sockets`. `done` is called once, later. False while another one is
    /// under way, or when this process is the first of a container, whose end would be the container's.
    bool start(const std::vector<inherited_socket>& sockets, std::function<void(const outcome&)> done);

    bool under_way() const noexcept { return successor_ != 0; }
    /// Who asks this process to end means the one that is on its way, too: it gets one SIGTERM, and ends
    /// before it serves, or in order if it does already. `done` follows as ever.
    void end_successor() noexcept;

private:
    void finish(std::string problem);

    boost::asio::steady_timer deadline_;
    boost::asio::posix::stream_descriptor answer_;
    char byte_ = 0;
    pid_t successor_ = 0;
    bool told_ = false;
    std::string program_;
    std::function<void(const outcome&)> done_;
};

}  // namespace pgmend::proxy
