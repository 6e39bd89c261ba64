#pragma once
// What binds the processes of one service when one follows another: the attendant that the service manager
// sees, the process that comes next, and those that were left behind with clients of theirs. SIGTERM ends
// them all, so each follower holds a socket to every one that was left behind: a byte on it asks for the end,
// and that it is closed tells of it. Control thread.

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <vector>

#include "proxy/process/attendant.hpp"
#include "proxy/process/inherited_sockets.hpp"

namespace pgmend::proxy {

class kinship {
public:
    explicit kinship(boost::asio::io_context& control) : attendant_(control), follower_(control) {}
    ~kinship();
    kinship(const kinship&) = delete;
    kinship& operator=(const kinship&) = delete;

    /// Takes the descriptors over. `orphaned`: the attendant is gone, and with it the service.
    void adopt(const inherited_sockets& inherited, std::function<void()> orphaned);

    bool attended() const noexcept { return attendant_.is_open(); }
    /// Which process is the service from now on; to be called once, as the link is closed.
    void tell_attendant(const attended_service& service);

    /// A descriptor for who follows, to be closed by the caller when it has been handed over; -1 when there
    /// is none to be had.
    int bind_follower();
    /// Whether anybody has that descriptor.
    bool followed();
    /// Somebody follows. Calls `asked_to_end` when that one, or one that follows it, asks; those that were
    /// left behind are its business from now on. `kept`: the service manager has the follower's descriptor
    /// too, until the service is stopped, and so that it is closed says the same.
    void heed_follower(std::function<void()> asked_to_end, bool kept);

    /// What a successor is to inherit with the sockets. The descriptors stay ours.
    std::vector<inherited_socket> heritage();
    const std::vector<int>& left_behind() const noexcept { return left_behind_; }
    void end_left_behind() const;
    /// Whether none of those that were left behind is there any more.
    bool alone() const;

private:
    void close_left_behind() noexcept;
    void wait_for_attendant();
    void wait_for_follower();

    boost::asio::posix::stream_descriptor attendant_;
    boost::asio::posix::stream_descriptor follower_;
    std::function<void()> orphaned_;
    std::function<void()> asked_to_end_;
    bool kept_ = false;
    char byte_ = 0;
    std::vector<int> left_behind_;
};

}  // namespace pgmend::proxy
