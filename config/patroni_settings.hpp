#pragma once
// Where Patroni tells which servers there are. Part of settings.hpp.

#include "config/setting.hpp"

namespace pgmend::config {

using namespace std::chrono_literals;

struct patroni_settings : section {
    using section::section;
    setting<api_url_list> urls{
        this,
        "upstream.patroni.urls",
        {},
        reload_class::restart,
        "Patroni's REST API, of each of its members or of a name that stands for them: http://host:8008, "
        "https://host:8008. The first that answers /cluster says which servers there are; those that are new "
        "are used, those that are gone are left, without a restart. It is a hint: who is the primary each "
        "server says itself."};
    setting<milliseconds> interval{
        this,
        "upstream.patroni.interval",
        10s,
        between(200ms, 1h),
        reload_class::restart,
        "Time between two questions while all is well; Patroni asks its store for each of them. While there "
        "is no primary it is asked each second."};
    setting<milliseconds> timeout{
        this,
        "upstream.patroni.timeout",
        2s,
        between(50ms, 1min),
        reload_class::restart,
        "Longest time one URL may take to answer; then the next one is asked."};
    setting<std::string> ca{
        this, "upstream.patroni.ca", "", reload_class::restart,
        "PEM file with the authorities that the certificates of https URLs must come from. Empty: those of "
        "the operating system."};
    setting<byte_size> max_lag{
        this,
        "upstream.patroni.max_lag",
        byte_size{0},
        between(byte_size{0}, gib(1024)),
        reload_class::restart,
        "A standby that lags farther behind, by Patroni's word, is none for clients that want a standby, as "
        "with its /replica?lag=; nor is one tagged noloadbalance. 0: however far."};
};

}  // namespace pgmend::config
