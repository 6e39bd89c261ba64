#include "proxy/process/kinship.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

namespace pgmend::proxy {

namespace {

/// Whoever was left behind holds the only other end, and never writes.
bool closed_by_peer(int descriptor) {
    char byte = 0;
    return ::recv(descriptor, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

}  // namespace

kinship::~kinship() { close_left_behind(); }

void kinship::close_left_behind() noexcept {
    for (const int each : left_behind_)
        ::close(each);
    left_behind_.clear();
}

void kinship::adopt(const inherited_sockets& inherited, std::function<void()> orphaned) {
    left_behind_ = inherited.left_behind;
    if (inherited.attendant < 0) return;
    orphaned_ = std::move(orphaned);
    attendant_.assign(inherited.attendant);
    wait_for_attendant();
}

/// It never writes: what becomes readable is its end.
void kinship::wait_for_attendant() {
    attendant_.async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [this](const boost::system::error_code& error) {
            if (!error && attendant_.is_open()) orphaned_();
        }
    );
}

void kinship::tell_attendant(const attended_service& service) {
    [[maybe_unused]] const auto told =
        ::send(attendant_.native_handle(), &service, sizeof service, MSG_NOSIGNAL);
    attendant_.close();
}

int kinship::bind_follower() {
    int pair[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return -1;
    if (follower_.is_open()) follower_.close();
    follower_.assign(pair[0]);
    return pair[1];
}

bool kinship::followed() { return follower_.is_open() && !closed_by_peer(follower_.native_handle()); }

void kinship::heed_follower(std::function<void()> asked_to_end, bool kept) {
    asked_to_end_ = std::move(asked_to_end);
    kept_ = kept;
    close_left_behind();
    if (follower_.is_open()) wait_for_follower();
}

/// A follower that is gone without a word has crashed, which is no reason to end: another one may be started,
/// and gets the descriptor from the manager. When that has closed it too, none will be.
void kinship::wait_for_follower() {
    follower_.async_read_some(
        boost::asio::buffer(&byte_, 1),
        [this](const boost::system::error_code& error, std::size_t length) {
            const bool stopped = kept_ && error == boost::asio::error::eof;
            if (stopped || (!error && length == 1)) asked_to_end_();
        }
    );
}

std::vector<inherited_socket> kinship::heritage() {
    std::vector<inherited_socket> result;
    if (attended()) result.push_back({attendant_.native_handle(), descriptor_name::attendant});
    for (const int each : left_behind_) {
        if (!closed_by_peer(each)) result.push_back({each, descriptor_name::left_behind});
    }
    return result;
}

void kinship::end_left_behind() const {
    for (const int each : left_behind_)
        [[maybe_unused]] const auto asked = ::send(each, "E", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool kinship::alone() const { return std::all_of(left_behind_.begin(), left_behind_.end(), closed_by_peer); }

}  // namespace pgmend::proxy
